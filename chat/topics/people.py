"""The people who are present in a topic, in all processes, each with a state that they set."""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import UNSET, Raw

from chat import protocol
from chat.protocol import Person, Present

QUESTION = "topics.people"
"""The question to other processes: their people in a topic (chat.hub.cluster_query)."""


@dataclass(frozen=True, slots=True)
class Here:
    """One socket's presence."""

    by: str
    username: str
    # A JSON object, or "".
    state: str = ""

    @property
    def person(self) -> Person:
        return Person(self.by, self.username, Raw(self.state.encode()) if self.state else UNSET)


class People:
    """One per open topic with presence. A user with several sockets is one person: the latest state counts."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        # True: the other processes were asked for theirs.
        self.asked = False
        # By the hub's name and the socket's id, oldest first.
        self._here: dict[tuple[str, str], Here] = {}

    def enter(self, hub: str, socket: str, here: Here) -> str | None:
        """A socket came, or its state is another. Returns the frame for the others, if they see a change."""
        before = self._of(here.by)
        self._here.pop((hub, socket), None)
        self._here[hub, socket] = here
        return self._frame(came=[here.person]) if before != here else None

    def leave(self, hub: str, socket: str) -> str | None:
        """A socket went. Returns the frame for the others, if they see a change."""
        gone = self._here.pop((hub, socket), None)
        if gone is None:
            return None
        left = self._of(gone.by)
        if left is None:
            return self._frame(went=[gone.by])
        return self._frame(came=[left.person]) if left != gone else None

    def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Remove the sockets of processes that are gone. Returns the frames for the others."""
        dead = [place for place in self._here if not is_alive(place[0])]
        return [frame for place in dead if (frame := self.leave(*place))]

    def of_hub(self, hub: str) -> list[tuple[str, Here]]:
        """The sockets of one process."""
        return [(socket, here) for (name, socket), here in self._here.items() if name == hub]

    def whole(self) -> str:
        """The frame with all people."""
        people = {here.by: here.person for here in self._here.values()}
        return protocol.encode(Present(topic=self._topic, came=list(people.values()), whole=True))

    def _of(self, by: str) -> Here | None:
        """The person as the others see them: by their latest socket."""
        return next((here for here in reversed(self._here.values()) if here.by == by), None)

    def _frame(self, *, came: list[Person] | None = None, went: list[str] | None = None) -> str:
        return protocol.encode(Present(topic=self._topic, came=came or [], went=went or []))
