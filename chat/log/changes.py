"""A numbered change of a room, encoded for the wire, and a part of a room's log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from msgspec import UNSET

from chat import protocol
from chat.protocol import Position

T = TypeVar("T")

PAGE = 131_072
"""Characters of a page of a log. Servers limit the size of a sent frame too (stock Daphne: 1 MiB)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change, encoded once for all connections."""

    seq: int
    # The changed entry's id: the number that made it, so it equals ``seq`` if the entry is new. 0: about no entry.
    id: int
    # Frame for clients that have received every earlier change.
    frame: str
    # Frame for clients that catch up: the message as it is now. Changes that a client missed may since have moved
    # behind this one. So it cannot be assumed to know any message before it has received all of them.
    fresh: str
    # True if the message's text is deleted. Earlier frames with the text must be dropped then.
    gone: bool = False


@dataclass(frozen=True, slots=True)
class LogSlice:
    """A part of a room's log, as it was read."""

    # The room's slug.
    room: str
    # The number before the first one of this part.
    since: int
    changes: list[Change]
    # True if the log had no further changes.
    whole: bool
    # The room's last number, read with the changes or later.
    last: int

    @property
    def end(self) -> int:
        """The last number that this part covers. Numbers in it without a change are void."""
        return self.last if self.whole else self.changes[-1].seq

    def to_the_end(self) -> list[Change]:
        """The changes. A void change follows if they don't reach the end."""
        last = self.changes[-1].seq if self.changes else self.since
        # If the room was deleted or restored, the end may lie before the beginning.
        return (
            self.changes if last >= self.end else [*self.changes, void_change(self.room, self.end, follows=last)]
        )


def within_page(rows: Sequence[T], limit: int, size: Callable[[T], int]) -> tuple[Sequence[T], bool]:
    """The first ``limit`` rows, or as many as fit a page; and whether there were more.

    ``size``: the characters of a row. A page has at least one row.
    """
    full = 0
    for index, row in enumerate(rows[:limit]):
        if index and full >= PAGE:
            return rows[:index], True
        full += size(row)
    return rows[:limit], len(rows) > limit


def void_change(room: str, seq: int, *, follows: int | None = None) -> Change:
    """A change in place of those up to ``seq`` that later ones have made void."""
    place = {"topic": room} if protocol.is_topic(room) else {"room": room}
    position = Position(**place, seq=seq, follows=UNSET if follows is None else follows)
    frame = protocol.encode(position)
    return Change(seq, 0, frame, frame)
