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
    # The author's own name for it: the same message with the same one gets the first one's answer.
    ref: str | None = None
    reply_to: int | None = None
    # The words as they were sent, where a filter made others of them.
    sent: str | None = None

    @property
    def words(self) -> str:
        return self.content if self.sent is None else self.sent

    def says(self, words: str, reply_to: int | None) -> bool:
        """Like Message.says, for a message that is not a row yet."""
        return self.words == words and reply_to in (None, self.reply_to)


@dataclass(eq=False, slots=True, kw_only=True)
class MessageChange(Write):
    """Something that changes the message ``id``."""

    id: int
    # The author's own name for it: the same change with the same one is not made again, however late it comes.
    ref: str | None = None
    # Raises Invalid where the author may not. It may keep a record, in the same transaction.
    allowed: Callable[[models.Message], None]

    @property
    def what(self) -> str:
        """The change asked for, to tell it from another one with the same ref."""
        raise NotImplementedError


@dataclass(eq=False, slots=True, kw_only=True)
class EditText(MessageChange):
    content: str
    # The words as they were sent, where a filter made others of them.
    sent: str | None = None

    @property
    def what(self) -> str:
        return f"edit {self.content if self.sent is None else self.sent}"


@dataclass(eq=False, slots=True, kw_only=True)
class DeleteMessage(MessageChange):
    """Delete: the text is gone, the number stays. A message of somebody else's is hidden instead."""

    @property
    def what(self) -> str:
        return "delete"


@dataclass(eq=False, slots=True, kw_only=True)
class SetHidden(MessageChange):
    """Take a message out of sight, or show it again. Its text is kept."""

    hidden: bool

    @property
    def what(self) -> str:
        return "hide" if self.hidden else "show"


@dataclass(eq=False, slots=True, kw_only=True)
class SetReaction(MessageChange):
    emoji: str
    on: bool

    @property
    def what(self) -> str:
        return f"{'react' if self.on else 'unreact'} {self.emoji}"


@dataclass(eq=False, slots=True, kw_only=True)
class MarkRead(Write):
    seq: int

    @property
    def line(self) -> Hashable:
        """How far somebody has read holds up nobody's messages."""
        return self.room.pk, self.author


def ref_reused() -> Invalid:
    """The error for a command whose ref its author has used for another one."""
    message = "ref: you used it here for something else; send this again with another one"
    return Invalid(ErrorCode.REF_REUSED, message, field="ref")


def unavailable(message: str = "The server cannot keep this now; try again.") -> Invalid:
    """What a command is refused with while the database is away or has too much to do."""
    return Invalid(ErrorCode.BUSY, message, retry_after=round(RETRY_AFTER * random.uniform(0.5, 1.5)))  # noqa: S311 it spreads a crowd
