"""Events between hubs that belong to no room: people, limits, password attempts, questions, disconnects."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chat.hub.bus import Bus, Event
from chat.hub.cluster_query import Answer, ClusterQuery
from chat.limits import Limits, sign_in_limits


class ClusterEvents:
    """One per hub. ``disconnect`` closes sockets of this process, by their ids."""

    def __init__(
        self,
        bus: Bus,
        limits: Limits,
        answers: Mapping[str, Answer],
        disconnect: Callable[[Sequence[str]], None],
    ) -> None:
        self._limits = limits
        self._disconnect = disconnect
        self.queries = ClusterQuery(bus.publish_to_all, lambda: bus.others, answers)
        # Called with the values of events that a kind of room publishes to all hubs, by the events' names.
        self.handlers: dict[str, Callable[..., None]] = {}
        # Called with people who may have lost access, and with sessions that ended (chat.auth.session_digest).
        self.on_people: Callable[[list[str], list[str]], None] = _nothing

    def report(self) -> list[Event]:
        """Events for the other hubs that are due with this second's beat."""
        events = [("limits", self._limits.report()), ("tries", sign_in_limits.report())]
        return [event for event in events if event[1]]

    def receive(self, origin: str, event: Event) -> None:
        """``origin``: the name of the hub that published it."""
        match event:
            case "people", people, sessions:
                self.on_people(list(people), list(sessions))
            case "ask", ticket, topic, question:
                self.queries.asked(ticket, topic, question)
            case "answer", ticket, answer:
                self.queries.answered(ticket, answer)
            case "disconnect", ids:
                self._disconnect(ids)
            case "limits", spent:
                self._limits.receive(origin, spent)
            case "tries", attempts:
                sign_in_limits.receive(attempts)
            case str(kind), *values if kind in self.handlers:
                self.handlers[kind](*values)
            case _:
                raise ValueError(f"an unknown event between hubs: {event[0]!r}")


def people_part(people: Sequence[str] = (), sessions: Sequence[str] = ()) -> Event:
    """The event that people may have lost access, and that sessions ended (chat.auth.session_digest)."""
    return ("people", tuple(people), tuple(sessions))


def _nothing(*_: Any) -> None:
    pass
