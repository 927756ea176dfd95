"""The latest changes of a room, in memory: clients that come back get them without the database."""

from bisect import bisect_right
from operator import attrgetter

from chat.conf import chat_settings
from chat.log import Change, void_change

CHARACTERS = 1_000_000
"""Most characters that a room keeps, whatever the number of changes."""

_number = attrgetter("seq")


class RecentChanges:
    """Changes in order, without a gap. A client that has all up to ``floor`` gets the rest from here."""

    def __init__(self, room: str, position: int) -> None:
        self.floor = position
        self._room = room
        self._changes: list[Change] = []
        self._size = 0

    def add(self, change: Change) -> None:
        """Add the next change."""
        self._changes.append(change)
        self._size += len(change.fresh)
        # The list may grow to twice its bound, so it is cut now and then, not at each change.
        if len(self._changes) > 2 * chat_settings().RING or self._size > 2 * CHARACTERS:
            self._cut()

    def since(self, position: int) -> list[Change]:
        """The changes after ``position``, which is at least ``floor``."""
        return self._changes[bisect_right(self._changes, position, key=_number) :]

    def extend_back(self, changes: list[Change], floor: int) -> None:
        """Put changes from the log in front: all after ``floor``, up to the old floor."""
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
        """Drop a deleted message's text: each change that had it becomes a void change.

        Changes after the deletion stay: the staff may have restored the message.
        """
        own = [index for index, change in enumerate(self._changes) if change.id == message]
        gone = max((index for index in own if self._changes[index].gone), default=0)
        for index in own:
            change = self._changes[index]
            if index < gone and not change.gone:
                follows = self._changes[index - 1].seq if index else self.floor
                self._changes[index] = void_change(self._room, change.seq, follows=follows)
