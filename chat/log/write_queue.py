"""The queue of writes, and the order in which they are tried.

A line is what must stay in its order: the writes of a room. A line that another transaction holds up is set
aside with all that follows in it, and tried again by itself after a pause. So it holds up no other.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from chat.database import LOCK_RETRY_SECONDS
from chat.log.writer import BATCH
from chat.log.writes import Write

PAUSE = 0.002
"""Seconds before a line is tried again for the first time: another process has its room for about so long."""
PAUSE_LIMIT = 0.05
"""Seconds between two tries, at most, where a try takes no time: a room that is free again is found soon."""
SHARE = 2
"""A try that waits in the database is followed by a pause so many times as long."""


@dataclass(eq=False, slots=True)
class HeldLine:
    """A line that is held up."""

    # When that was found out, and when it is tried next, in the loop's time.
    since: float
    due: float = 0.0
    pause: float = PAUSE
    writes: deque[Write] = field(default_factory=deque)


class WriteQueue:
    """The writes that wait, for one log."""

    def __init__(self) -> None:
        self._ready: deque[Write] = deque()
        # The lines that are held up; also while they are tried.
        self._aside: dict[Hashable, HeldLine] = {}
        # Were the lines that are held up tried last?
        self._tried = False
        self._number = 0

    def __len__(self) -> int:
        return self._number

    @property
    def disturbed(self) -> bool:
        """Is a line held up?"""
        return bool(self._aside)

    def append(self, write: Write) -> None:
        self._ready.append(write)
        self._number += 1

    def is_full(self, write: Write) -> bool:
        """Is its line held up, and so long that it would leave the others no space?"""
        aside = self._aside.get(write.line) if self._aside else None
        return aside is not None and len(aside.writes) >= BATCH

    def take(self, now: float) -> tuple[list[Write], bool]:
        """The next ones to write, up to BATCH, and whether the database may wait for a lock that they need.

        None if all that is there must rest for a while. Held-up writes come by themselves, in turn with the
        others: they may be held up again, and are waited for only if nothing else is there to do.
        """
        batch: list[Write] = []
        wait = not self._aside
        if self._aside:
            self._set_aside()
            if not (self._tried and self._ready):
                batch = self._due(now)
                wait = not self._ready and len(self._aside) == 1
            self._tried = bool(batch)
        batch = batch or [self._ready.popleft() for _ in range(min(BATCH, len(self._ready)))]
        self._number -= len(batch)
        return batch, wait

    def _set_aside(self) -> None:
        """Move the writes of held-up lines behind those already set aside."""
        ready, self._ready = self._ready, deque()
        for write in ready:
            aside = self._aside.get(write.line)
            (self._ready if aside is None else aside.writes).append(write)

    def _due(self, now: float) -> list[Write]:
        found: list[Write] = []
        for aside in self._aside.values():
            if aside.due <= now and (not found or len(found) + len(aside.writes) <= BATCH):
                found += aside.writes
                aside.writes.clear()
        return found

    def next_due(self) -> float:
        """When the first of the lines that are held up is tried, in the loop's time."""
        return min(aside.due for aside in self._aside.values())

    def settle(self, tried: Iterable[Write], held: Sequence[Write], *, began: float, now: float) -> list[Write]:
        """These were tried from ``began`` on, and of them some were held up, which come first in their lines.

        Returns what has waited for too long, with all that follows in its lines.
        """
        lines: dict[Hashable, list[Write]] = {}
        for write in held:
            lines.setdefault(write.line, []).append(write)
        self._free(write.line for write in tried if write.line not in lines)
        given_up: list[Write] = []
        for line, writes in lines.items():
            given_up += self._put_back(line, writes, began, now)
        self._number += len(held) - len(given_up)
        return given_up

    def _free(self, lines: Iterable[Hashable]) -> None:
        """Put the writes that joined these lines meanwhile back among the ready ones."""
        for line in lines:
            aside = self._aside.pop(line, None)
            if aside:
                self._ready.extendleft(reversed(aside.writes))

    def _put_back(self, line: Hashable, writes: Sequence[Write], began: float, now: float) -> Sequence[Write]:
        # The last of all lines: those that were not tried this time are first the next time.
        aside = self._aside.pop(line, None)
        again = aside is not None
        aside = aside or HeldLine(since=began)
        aside.writes.extendleft(reversed(writes))
        if now - aside.since > LOCK_RETRY_SECONDS:
            return aside.writes
        # The first time it was tried among others, which is no measure.
        aside.due = now + max(aside.pause, SHARE * (now - began) * again)
        aside.pause = min(2 * aside.pause, PAUSE_LIMIT)
        self._aside[line] = aside
        return ()
