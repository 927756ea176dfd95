"""How many rows strangers may make: guests' sessions and public rooms, which anybody gets for the asking."""

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial

from chat.conf import chat_settings
from chat.limits.addresses import limit_key
from chat.limits.buckets import Bucket, Holders


class RowKind(StrEnum):
    SESSION = "session"
    ROOM = "room"


class CreationLimits:
    """Counts what each address had this process make. Views run in threads, so each question takes a lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all: for tests."""
        self._rows = {row: Holders(partial(_bucket, row)) for row in RowKind}

    def take(self, row: RowKind, address: str) -> float:
        """Take one row. The seconds to wait; 0.0 where it may be made. Without an address nothing is limited."""
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
