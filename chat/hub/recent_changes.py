"""The latest changes of a room, in memory: they serve those who come back without the database."""

from bisect import bisect_right
from operator import attrgetter

from chat.conf import chat_settings
from chat.log import Change, void_change

CHARACTERS = 1_000_000
"""What a room keeps at most, whatever its changes' number."""

_number = attrgetter("seq")


class RecentChanges:
    """Changes in order, without a gap: whoever has all up to ``floor`` gets the rest from here."""

    def __init__(self, room: str, position: int) -> None:
        self.floor = position
        self._room = room
        self._changes: list[Change] = []
        self._size = 0

    def add(self, change: Change) -> None:
        """The next one."""
        self._changes.append(change)
        self._size += len(change.fresh)
        # It may grow to twice what it keeps: so it is cut now and then, not at each change.
        if len(self._changes) > 2 * chat_settings().RING or self._size > 2 * CHARACTERS:
            self._cut()

    def since(self, position: int) -> list[Change]:
        """What came after ``position``, which is not under ``floor``."""
        return self._changes[bisect_right(self._changes, position, key=_number) :]

    def extend_back(self, changes: list[Change], floor: int) -> None:
        """Put before all others what was read from the log: what came after ``floor``, up to where we began."""
        gone = {change.id for change in self._changes if change.gone}
        last = changes[-1].seq if changes else floor
        if last < self.floor:
            changes = [*changes, void_change(self._room, self.floor, follows=last)]
        if len(changes) + len(self._changes) <= 2 * chat_settings().RING:
            self._changes[:0] = changes
            self._size += sum(len(change.fresh) for change in changes)
            self.floor = floor
            for message in gone:
                self.forget(message)

    def start_over(self, position: int) -> None:
        self.floor, self._changes, self._size = position, [], 0

    def _cut(self) -> None:
        kept, size = len(self._changes), 0
        while kept > max(0, len(self._changes) - chat_settings().RING) and size < CHARACTERS:
            kept -= 1
            size += len(self._changes[kept].fresh)
        if kept:
            self.floor = self._changes[kept - 1].seq
            del self._changes[:kept]
        self._size = size

    def forget(self, message: int) -> None:
        """A deleted message's text is not told again: what had it becomes a number without a change.

        Not what came after the deletion: the staff may have brought the message back.
        """
        own = [index for index, change in enumerate(self._changes) if change.id == message]
        gone = max((index for index in own if self._changes[index].gone), default=0)
        for index in own:
            change = self._changes[index]
            if index < gone and not change.gone:
                follows = self._changes[index - 1].seq if index else self.floor
                self._changes[index] = void_change(self._room, change.seq, follows=follows)
