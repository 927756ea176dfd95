"""What can be written into a room's log, and what becomes of it."""

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from chat import models
from chat.log.changes import Change
from chat.log.queries import RoomLog
from chat.protocol import ErrorCode, Invalid

RETRY_AFTER = 1_000
"""Milliseconds after which a refused write is tried again, on average: half as long to half as long again."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write that is committed."""

    # The message that it made or changed, 0 where it is about none, and the number of that one's last change.
    id: int = 0
    seq: int = 0
    timestamp: int = 0
    # None where all was so already.
    change: Change | None = None


Outcome: TypeAlias = Written | Invalid


class Held(Enum):
    """A write is not made: somebody else's transaction has locked what it needs. It can be tried again."""

    HELD = auto()


HELD = Held.HELD


def _nobody_waits(outcome: Outcome) -> None:
    pass


@dataclass(eq=False, slots=True, kw_only=True)
class Write:
    """Something to write into a room's log."""

    room: RoomLog
    # Who does it, as chat.auth names them; and the name that the others see.
    author: str
    username: str
    # Called on the event loop: after the commit, and before anybody hears of it, or with why not.
    done: Callable[[Outcome], None] = _nobody_waits

    @property
    def line(self) -> Hashable:
        """Writes with an equal one stay in their order: those of a room."""
        return self.room.pk


@dataclass(eq=False, slots=True, kw_only=True)
class NewMessage(Write):
    content: str
    # The author's own name for it: a second one with the same gets the first one's answer.
    ref: str | None = None
    reply_to: int | None = None


@dataclass(eq=False, slots=True, kw_only=True)
class OfMessage(Write):
    """Something that changes the message ``id``."""

    id: int
    # The author's own name for it: a second one with the same changes nothing more, however late it comes.
    ref: str | None = None
    # Raises Invalid where the author may not. It may keep a record, in the same transaction.
    allowed: Callable[[models.Message], None]


@dataclass(eq=False, slots=True, kw_only=True)
class EditText(OfMessage):
    content: str


@dataclass(eq=False, slots=True, kw_only=True)
class Erase(OfMessage):
    """Delete: the text is gone, the number stays. A message of somebody else's is hidden instead."""


@dataclass(eq=False, slots=True, kw_only=True)
class Hide(OfMessage):
    """Take a message out of sight, or show it again. Its text is kept."""

    hidden: bool


@dataclass(eq=False, slots=True, kw_only=True)
class Emoji(OfMessage):
    emoji: str
    on: bool


@dataclass(eq=False, slots=True, kw_only=True)
class HasRead(Write):
    seq: int

    @property
    def line(self) -> Hashable:
        """How far somebody has read holds up nobody's messages."""
        return self.room.pk, self.author


def unavailable(message: str = "The server cannot keep this now; try again.") -> Invalid:
    """What a command is refused with while the database is away or has too much to do."""
    return Invalid(ErrorCode.BUSY, message, retry_after=round(RETRY_AFTER * random.uniform(0.5, 1.5)))  # noqa: S311 it spreads a crowd
