"""Limits on rows that anonymous clients create: guests' sessions and public rooms."""

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial

from chat.conf import chat_settings
from chat.limits.addresses import limit_key
from chat.limits.buckets import Bucket, Holders


class RowKind(StrEnum):
    """A kind of row that any client can have created."""

    SESSION = "session"
    ROOM = "room"


class CreationLimits:
    """Counts the rows that this process created for each address. Views run in threads, so calls take a lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all counts. For tests."""
        self._rows = {row: Holders(partial(_bucket, row)) for row in RowKind}

    def take(self, row: RowKind, address: str) -> float:
        """Count one row. Returns 0.0 if it may be created, else the seconds to wait.

        An unknown address ("") is not limited.
        """
        if not address or not chat_settings().LIMITS:
            return 0.0
        with self._lock:
            now = self._clock()
            return self._rows[row].find(limit_key(address), now).bucket.take(1, now)


def _bucket(row: RowKind) -> Bucket:
    settings = chat_settings()
    if row is RowKind.SESSION:
        return Bucket(settings.GUEST_RATE, settings.GUEST_BURST)
    return Bucket(settings.ROOM_RATE, settings.ROOM_BURST)


creation_limits = CreationLimits()
