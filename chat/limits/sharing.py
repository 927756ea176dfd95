"""What several processes tell each other of limits: what was taken, and how many sockets are open.

Who takes little is nobody's business: what others are told of is who has taken a part of a full bucket since the
last time. So the news stay few however many people there are, and somebody who goes from process to process gets
at most that part more from each, and what they take between two tellings.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from chat.limits.buckets import Holders

News: TypeAlias = Sequence[Any]
"""(kind, key, tokens) of each that was taken from, and (kind, key, sockets) of each that has many; or nothing."""

PART = 16
"""Others are told when one over this of a full bucket was taken."""
FORGET = 10.0
"""Seconds after which what a process said of its sockets does not hold any more: it is gone."""
MOST = 1_000
"""Holders of one kind that are told of at once; the others are told of next time."""


def spent(holders: Holders, now: float) -> Iterator[tuple[str, float]]:
    """Who has taken much since they were last told of, and how much. They count as told of."""
    told = 0
    for holder in holders.all():
        bucket = holder.bucket
        if bucket.full_at <= now:
            # Full again: whatever was taken has come back, in every process.
            bucket.spent = 0.0
        elif bucket.spent * PART >= bucket.burst and told < MOST:
            told += 1
            yield holder.key, bucket.spent
            bucket.spent = 0.0


class Elsewhere:
    """Open sockets of people and addresses in other processes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By process: when it said so, and its counts by kind and key.
        self._said: dict[str, tuple[float, dict[tuple[str, str], int]]] = {}

    def hear(self, origin: str, counts: Sequence[tuple[str, str, int]]) -> None:
        self._said[origin] = (self._clock(), {(kind, key): sockets for kind, key, sockets in counts})

    def sockets(self, kind: str, key: str) -> int:
        if not self._said:
            return 0
        oldest = self._clock() - FORGET
        self._said = {origin: said for origin, said in self._said.items() if said[0] >= oldest}
        return sum(counts.get((kind, key), 0) for _, counts in self._said.values())
