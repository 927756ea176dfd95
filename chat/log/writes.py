"""The writes that a room's log takes, and their outcomes."""

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from chat.log.changes import Change
from chat.log.room_log import RoomLog
from chat.protocol import ErrorCode, Invalid

RETRY_AFTER = 1_000
"""Milliseconds until a client retries a refused write, on average. The range is half of it to one and a half."""


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a committed write."""

    # Id of the new or changed message, and the number of its last change. Both are 0 if there is no message.
    id: int = 0
    seq: int = 0
    # Milliseconds since 1970.
    timestamp: int = 0
    # None if the write changed nothing.
    change: Change | None = None


Outcome: TypeAlias = Written | Invalid


class Held(Enum):
    """The outcome of a write that needs a row which another transaction has locked. It can be retried."""

    HELD = auto()


HELD = Held.HELD


def _no_callback(outcome: Outcome) -> None:
    pass


@dataclass(eq=False, slots=True, kw_only=True)
class Write:
    """A write into a room's log."""

    room: RoomLog
    # The author's key, as in chat.auth, and the name that others see.
    author: str
    username: str
    # Called on the event loop with the outcome: after the commit, and before the change is published.
    done: Callable[[Outcome], None] = _no_callback

    @property
    def order_key(self) -> Hashable:
        """Writes with an equal key are made in their order: here, those of a room."""
        return self.room.pk


def ref_reused() -> Invalid:
    """The error for a command whose ref its author has used for another one."""
    message = "ref: you used it here for something else; send this again with another one"
    return Invalid(ErrorCode.REF_REUSED, message, field="ref")


def unavailable(message: str = "The server cannot keep this now; try again.") -> Invalid:
    """The error (busy) for a command while the database is away or has too much to do."""
    return Invalid(ErrorCode.BUSY, message, retry_after=round(RETRY_AFTER * random.uniform(0.5, 1.5)))  # noqa: S311 it spreads a crowd
