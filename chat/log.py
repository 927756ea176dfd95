"""The room log: every change of a room gets the room's next number, and can be read again from a position.

This is its memory form, for one process: it keeps each room's latest messages, and forgets rooms that
nobody has been in for long. A forgotten room that comes back has another ``epoch``, so that no client takes
a number of its old life for one of the new.
"""

import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice

from chat import protocol
from chat.conf import chat_settings
from chat.protocol import Message

PAGE = 131_072
"""Characters of a page of history: servers bound what they send in one frame too (stock Daphne: 1 MiB)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One numbered change of a room, and the text of its frame, encoded once."""

    message: Message
    frame: str

    @property
    def seq(self) -> int:
        return self.message.seq


@dataclass(slots=True)
class RoomLog:
    """One room's numbers and latest messages."""

    epoch: str = field(default_factory=lambda: secrets.token_hex(4))
    # The number of the last change; 0 before the first.
    seq: int = 0
    # The latest changes, oldest first, without a gap up to ``seq``.
    entries: deque[Entry] = field(default_factory=deque)
    # What (author, ref) was answered with, for as long as the entry is kept.
    answers: dict[tuple[str, str], Entry] = field(default_factory=dict)
    # The (author, ref) of each entry, beside ``entries``; None where there was no ref.
    names: deque[tuple[str, str] | None] = field(default_factory=deque)

    @property
    def floor(self) -> int:
        """The position before the oldest change that is kept."""
        return self.seq - len(self.entries)


class Log:
    """All rooms' logs in this process."""

    def __init__(self) -> None:
        self._open: dict[str, RoomLog] = {}
        self._idle: OrderedDict[str, RoomLog] = OrderedDict()

    async def close(self) -> None:
        self._open.clear()
        self._idle.clear()

    def open(self, room: str) -> RoomLog:
        """The log of a room that somebody is in: kept until ``release``."""
        if room not in self._open:
            self._open[room] = self._idle.pop(room) if room in self._idle else RoomLog()
        return self._open[room]

    def release(self, room: str) -> None:
        """Nobody is in the room any more: its log may be forgotten when more recent ones need the space."""
        log = self._open.pop(room)
        if log.seq:
            self._idle[room] = log
        while len(self._idle) > chat_settings().LOG_IDLE_ROOMS:
            self._idle.popitem(last=False)

    def positions(self) -> dict[str, int]:
        """The number of the last change in each room that somebody is in."""
        return {room: log.seq for room, log in list(self._open.items())}

    def append(
        self, room: str, *, author: str, username: str, content: str, ref: str | None
    ) -> tuple[Entry, bool]:
        """Number and keep a message. A ``ref`` that ``author`` used before gives the first entry, and False."""
        log = self.open(room)
        name = (author, ref) if ref else None
        if name and name in log.answers:
            return log.answers[name], False
        log.seq += 1
        message = Message(
            room=room, id=log.seq, seq=log.seq, username=username, content=content, timestamp=protocol.now()
        )
        entry = Entry(message, protocol.encode(message))
        log.entries.append(entry)
        log.names.append(name)
        if name:
            log.answers[name] = entry
        if len(log.entries) > chat_settings().LOG_MESSAGES:
            log.entries.popleft()
            forgotten = log.names.popleft()
            if forgotten:
                del log.answers[forgotten]
        return entry, True

    def since(self, room: str, position: int, epoch: str | None = None) -> list[Entry] | None:
        """Every change after ``position``, in order; None where that can't be told whole.

        It can't when the position is of another life of the log, ahead of it, or older than what is kept:
        part of the truth would look like all of it.
        """
        log = self.open(room)
        if (epoch is not None and epoch != log.epoch) or not log.floor <= position <= log.seq:
            return None
        return list(islice(log.entries, position - log.floor, None))

    def page(self, room: str, *, before: int | None, limit: int) -> tuple[list[Message], bool]:
        """The latest ``limit`` messages before the id ``before``, oldest first, and whether older are kept.

        Fewer where they are long: a page has about PAGE characters at most, and at least one message.
        """
        log = self.open(room)
        end = len(log.entries) if before is None else max(0, min(len(log.entries), before - 1 - log.floor))
        start, size = end, 0
        while start > max(0, end - limit) and size < PAGE:
            start -= 1
            size += len(log.entries[start].frame)
        return [entry.message for entry in islice(log.entries, start, end)], start > 0
