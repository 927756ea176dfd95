"""What hubs tell each other that is of no one room: people, limits, questions of the staff."""

from collections.abc import Callable, Sequence
from typing import Any

from chat.hub.bus import Bus, Event
from chat.hub.cluster_query import ClusterQuery
from chat.limits import Limits, sign_in_limits
from chat.loops import current


class ClusterEvents:
    """One per hub. ``disconnect`` closes sockets of this process, by their ids."""

    def __init__(self, bus: Bus, disconnect: Callable[[Sequence[str]], None]) -> None:
        self._bus = bus
        self._disconnect = disconnect
        self._limits = current(Limits)
        self.queries = ClusterQuery(bus.tell, lambda: bus.others)
        # Called with people who may have lost something, and with sessions that ended (chat.auth.session_digest).
        self.on_people: Callable[[list[str], list[str]], None] = _nothing

    def news(self) -> list[Event]:
        """What the others should know, now and then."""
        news = [("limits", self._limits.news()), ("tries", sign_in_limits.news())]
        return [part for part in news if part[1]]

    def hear(self, origin: str, part: Event) -> None:
        match part:
            case "people", people, sessions:
                self.on_people(list(people), list(sessions))
            case "ask", ticket, topic, question:
                self.queries.asked(ticket, topic, question)
            case "answer", ticket, answer:
                self.queries.answered(ticket, answer)
            case "disconnect", ids:
                self._disconnect(ids)
            case (("limits" | "tries"), news):
                if origin != self._bus.name:
                    (self._limits.hear if part[0] == "limits" else _hear_of_tries)(origin, news)
            case _:
                raise ValueError(f"no news of ours: {part[0]!r}")


def _hear_of_tries(_: str, news: Any) -> None:
    sign_in_limits.hear(news)


def people_part(people: Sequence[str] = (), sessions: Sequence[str] = ()) -> Event:
    """The news that people may have lost something, and that sessions ended (chat.auth.session_digest)."""
    return ("people", tuple(people), tuple(sessions))


def _nothing(*_: Any) -> None:
    pass
