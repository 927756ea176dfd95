"""A numbered change of a room, encoded for the wire, and a part of a room's log."""

from dataclasses import dataclass

from msgspec import UNSET

from chat import protocol
from chat.protocol import Position


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


def void_change(room: str, seq: int, *, follows: int | None = None) -> Change:
    """A change in place of those up to ``seq`` that later ones have made void."""
    place = {"topic": room} if protocol.is_topic(room) else {"room": room}
    position = Position(**place, seq=seq, follows=UNSET if follows is None else follows)
    frame = protocol.encode(position)
    return Change(seq, 0, frame, frame)
