"""The queue of writes, and the order in which they are tried.

Writes with the same `order_key` stay in their order. Such a sequence is set aside while another transaction holds
it up, and is retried by itself after a pause. So it delays no other.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from chat.database import LOCK_RETRY_SECONDS
from chat.log.writes import Write

BATCH = 500
"""Writes of one transaction: some 20 ms of work. Readers of a busy database may have to wait that long."""
PAUSE = 0.002
"""Seconds before a held sequence is retried for the first time: another process locks a room for about so long."""
PAUSE_LIMIT = 0.05
"""Longest pause between two tries, in seconds, if a try takes no time: an unlocked room is found soon."""
SHARE = 2
"""Length of the pause after a try that waited in the database, as a multiple of that wait."""


@dataclass(eq=False, slots=True)
class HeldWrites:
    """The writes of one `order_key` that are held up."""

    # When the lock was first met, and when the writes are retried (loop time).
    since: float
    due: float = 0.0
    # Shortest next pause, in seconds.
    pause: float = PAUSE
    writes: deque[Write] = field(default_factory=deque)


class WriteQueue:
    """The writes of one log that wait."""

    def __init__(self) -> None:
        self._ready: deque[Write] = deque()
        # Held-up writes by their `order_key`, also while they are tried.
        self._held: dict[Hashable, HeldWrites] = {}
        # True if the latest batch was one of held-up writes.
        self._tried_held = False
        self._number = 0

    def __len__(self) -> int:
        return self._number

    @property
    def has_held(self) -> bool:
        return bool(self._held)

    def append(self, write: Write) -> None:
        self._ready.append(write)
        self._number += 1

    def is_full(self, write: Write) -> bool:
        """True if the write's sequence is held up, and so long that it would leave the others no space."""
        held = self._held.get(write.order_key) if self._held else None
        return held is not None and len(held.writes) >= BATCH

    def take(self, now: float) -> tuple[list[Write], bool]:
        """The next writes, up to BATCH, and whether the database may wait for a lock that they need.

        No writes if all must rest for a while. Held-up writes come by themselves, in turn with the others. They
        may be held up again, so the database waits for them only if there is nothing else to do.
        """
        batch: list[Write] = []
        wait = not self._held
        if self._held:
            self._set_aside()
            if not (self._tried_held and self._ready):
                batch = self._take_due(now)
                wait = not self._ready and len(self._held) == 1
            self._tried_held = bool(batch)
        batch = batch or [self._ready.popleft() for _ in range(min(BATCH, len(self._ready)))]
        self._number -= len(batch)
        return batch, wait

    def _set_aside(self) -> None:
        """Move ready writes behind the held-up ones of the same `order_key`."""
        ready, self._ready = self._ready, deque()
        for write in ready:
            held = self._held.get(write.order_key)
            (self._ready if held is None else held.writes).append(write)

    def _take_due(self, now: float) -> list[Write]:
        due: list[Write] = []
        for held in self._held.values():
            if held.due <= now and (not due or len(due) + len(held.writes) <= BATCH):
                due += held.writes
                held.writes.clear()
        return due

    def next_due(self) -> float:
        """Earliest retry of held-up writes (loop time)."""
        return min(held.due for held in self._held.values())

    def settle(self, tried: Iterable[Write], held: Sequence[Write], *, began: float, now: float) -> list[Write]:
        """Put back the ``held`` ones of the writes that were ``tried`` from ``began`` on (loop time).

        Returns the writes that have waited for too long, with all later ones of the same `order_key`.
        """
        by_key: dict[Hashable, list[Write]] = {}
        for write in held:
            by_key.setdefault(write.order_key, []).append(write)
        self._release(write.order_key for write in tried if write.order_key not in by_key)
        given_up: list[Write] = []
        for key, writes in by_key.items():
            given_up += self._put_back(key, writes, began, now)
        self._number += len(held) - len(given_up)
        return given_up

    def _release(self, keys: Iterable[Hashable]) -> None:
        """Put the writes that were added behind held-up ones meanwhile back among the ready ones."""
        for key in keys:
            held = self._held.pop(key, None)
            if held:
                self._ready.extendleft(reversed(held.writes))

    def _put_back(self, key: Hashable, writes: Sequence[Write], began: float, now: float) -> Sequence[Write]:
        # They become the last: those that were not tried this time come first the next time.
        held = self._held.pop(key, None)
        again = held is not None
        held = held or HeldWrites(since=began)
        held.writes.extendleft(reversed(writes))
        if now - held.since > LOCK_RETRY_SECONDS:
            return held.writes
        # The first try was made among others, so its duration is no measure.
        held.due = now + max(held.pause, SHARE * (now - began) * again)
        held.pause = min(2 * held.pause, PAUSE_LIMIT)
        self._held[key] = held
        return ()
