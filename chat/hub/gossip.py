"""What hubs tell each other that is of no one room: people, limits, questions of the staff."""

from collections.abc import Callable, Sequence
from typing import Any

from chat.hub.relay import Part, Relay
from chat.hub.surveys import Surveys
from chat.limits import Limits, sign_ins
from chat.loops import of_this_loop


class Gossip:
    """One per hub. ``disconnect`` closes sockets of this process, by their ids."""

    def __init__(self, relay: Relay, disconnect: Callable[[Sequence[str]], None]) -> None:
        self._relay = relay
        self._disconnect = disconnect
        self._limits = of_this_loop(Limits)
        self.surveys = Surveys(relay.tell, lambda: relay.others)
        # Called with people who may have lost something, and with sessions that ended (chat.auth.session_digest).
        self.on_people: Callable[[list[str], list[str]], None] = _nothing

    def news(self) -> list[Part]:
        """What the others should know, now and then."""
        news = [("limits", self._limits.news()), ("tries", sign_ins.news())]
        return [part for part in news if part[1]]

    def hear(self, origin: str, part: Part) -> None:
        match part:
            case "people", people, sessions:
                self.on_people(list(people), list(sessions))
            case "ask", ticket, topic, question:
                self.surveys.asked(ticket, topic, question)
            case "answer", ticket, answer:
                self.surveys.answered(ticket, answer)
            case "disconnect", ids:
                self._disconnect(ids)
            case (("limits" | "tries"), news):
                if origin != self._relay.name:
                    (self._limits.hear if part[0] == "limits" else _hear_of_tries)(origin, news)
            case _:
                raise ValueError(f"no news of ours: {part[0]!r}")


def _hear_of_tries(_: str, news: Any) -> None:
    sign_ins.hear(news)


def people_part(people: Sequence[str] = (), sessions: Sequence[str] = ()) -> Part:
    """The news that people may have lost something, and that sessions ended (chat.auth.session_digest)."""
    return ("people", tuple(people), tuple(sessions))


def _nothing(*_: Any) -> None:
    pass
