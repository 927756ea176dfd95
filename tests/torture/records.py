"""The records of a run, and the state that the verdict compares them with.

Times are seconds since the history began, from one monotonic clock: all clients live in this process, so "before"
and "after" are true between them too.
"""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from chat.protocol import Reaction


class Event(Struct, frozen=True, tag=True, kw_only=True, omit_defaults=True):
    """Something that happened at `at`, to the client `who`."""

    at: float
    who: str = ""


class Sent(Event, frozen=True):
    """A command was handed to the socket; the same ref again is a retry."""

    author: str
    ref: str
    command: dict[str, Any]
    # Which of the client's connections.
    link: int


class Acked(Event, frozen=True):
    author: str
    ref: str
    link: int
    id: int | None
    seq: int | None


class Refused(Event, frozen=True):
    """An error came. Only ``busy`` is asked again."""

    author: str
    ref: str
    code: str


class Asked(Event, frozen=True):
    """A join was sent, from this position."""

    link: int
    since: int | None
    epoch: str | None


class Welcomed(Event, frozen=True):
    link: int
    seq: int
    epoch: str
    resumed: bool
    # The position that the client had.
    last: int | None
    # The address of the server.
    node: str = ""


class Heard(Event, frozen=True):
    """A numbered frame came, as it came: before the client judged it."""

    link: int
    kind: str
    id: int
    seq: int
    # It covers the numbers after this one, up to `seq`.
    lower: int
    # The text and the emoji in it, or None.
    content: str | None
    reactions: str | None
    # Did the client take it? If not it was old, or stood behind a gap.
    taken: bool


class Paged(Event, frozen=True):
    """A page of history came."""

    before: int | None
    after: int | None
    limit: int
    ids: list[int]
    more: bool


class Searched(Event, frozen=True):
    """A search was answered, when nobody said anything any more."""

    query: str
    ids: list[int]


class HasRead(Event, frozen=True):
    """Somebody said that they have read up to there. Nobody answers that."""

    author: str
    seq: int


class Lost(Event, frozen=True):
    """The connection ended. 1006: nobody said why.

    On a busy machine the client notices it seconds later: it still has to read what had come.
    """

    link: int
    code: int
    # When the server, by its own clock, last said something on it: until then at least it held.
    alive: float | None = None


class Leaving(Event, frozen=True):
    """The client is about to leave the room, or to close its connection: from now on it may be gone."""


class Cut(Event, frozen=True):
    """The client's connection is cut now. It learns that when it has read what had come."""


class Listed(Event, frozen=True):
    """A list of who is here came."""

    names: tuple[str, ...]
    count: int
    # When the server said it.
    said: float


class Announced(Event, frozen=True):
    """It was said that somebody came or left."""

    name: str
    came: bool
    # When the server sent it; it may have waited before it was received.
    said: float


class Late(Event, frozen=True):
    """The server said that what others say comes late from now on, or no longer."""

    late: bool


class PutOut(Event, frozen=True):
    """The client was removed from the room; ``known``: it has a session, which distinguishes it from others."""

    code: str
    known: bool


class Gone(Event, frozen=True):
    """The client went for good."""


class Ill(Event, frozen=True):
    """Something stood still, from `at` for so many seconds: a server by its address, a client, or "" for all."""

    whom: str
    lasted: float


class Strange(Event, frozen=True):
    """Something that no server of ours says."""

    says: str


class Fault(Event, frozen=True):
    """A fault: it lasted from `at` for `lasted` seconds."""

    what: str
    lasted: float
    note: str = ""


Kind = TypeVar("Kind", bound=Event)


class State(Struct, frozen=True):
    """A message as it is: in a client's hands, or in the log."""

    id: int
    seq: int
    username: str
    content: str
    edited: int | None = None
    deleted: bool = False
    reply_to: int | None = None
    reactions: str = ""

    def seen(self) -> tuple[object, ...]:
        """The part on which all clients must agree. A deleted message must be deleted and empty."""
        if self.deleted:
            return (self.id, self.seq, self.username, self.content, self.reactions, "deleted")
        return (
            *(self.id, self.seq, self.username, self.content, self.reactions),
            *(self.edited, self.reply_to),
        )


class Row(Struct, frozen=True):
    """A message in the database."""

    state: State
    ref: str | None
    changes: int = 0
    # Its emoji with usernames, oldest first.
    reactors: list[tuple[str, str]] = []


class Log(Struct, frozen=True):
    """The room in the database, at the end."""

    epoch: str
    seq: int
    pruned: int
    rows: list[Row]
    # How far people have read, by username.
    read: dict[str, int] = {}
    # Every text anywhere in the database.
    texts: list[str] = []


class Holding(Struct, frozen=True):
    """A client's state at the end."""

    who: str
    author: str
    # The position that it began at: it must have all that came after.
    first: int
    last: int
    # Oldest first, as its page would show them.
    messages: list[State]
    # Refs of its unanswered commands.
    waiting: list[str] = []


def shown(reactions: Iterable[Reaction]) -> str:
    """Emoji as one short text, so that equal ones are one object and compare at once."""
    return sys.intern("; ".join(f"{r.emoji} {', '.join(r.usernames)} ({r.count})" for r in reactions))


class History:
    """All that happened, in the order in which it did."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._began, self._today = time.monotonic(), time.time()
        self._lists: dict[tuple[str, ...], tuple[str, ...]] = {}

    def clock(self) -> float:
        return time.monotonic() - self._began

    def at(self, timestamp: int) -> float:
        """The clock's time at a moment of the protocol. Servers have this machine's time."""
        return timestamp / 1_000 - self._today

    def names(self, names: list[str]) -> tuple[str, ...]:
        """Everybody is told the same lists: equal ones are one object."""
        return self._lists.setdefault(key := tuple(names), key)

    def add(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if type(event) is kind]

    def write(self, path: Path, *others: Struct) -> None:
        """All of it, one JSON object in a line; ``others`` come first."""
        with path.open("wb") as out:
            for record in (*others, *self.events):
                out.write(msgspec.json.encode(record) + b"\n")
