"""Limits of several processes: each reports what clients took from it, and how many sockets they have open.

A process reports only clients that took a good part of a full bucket since its last report. So reports stay small
however many clients there are. A client that moves from process to process gets at most that part more from each,
plus what it takes between two reports.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from chat.limits.buckets import Holders

LimitsReport: TypeAlias = Sequence[Any]
"""(kind, key, tokens) of each holder that spent much, and (kind, key, sockets) of each with many; or empty."""

REPORT_FRACTION = 16
"""A holder is reported once it has spent a sixteenth of a full bucket."""
REPORT_EXPIRY = 10.0
"""Seconds after which a process's socket counts are dropped: the process has stopped."""
REPORT_LIMIT = 1_000
"""Most holders of one kind in a report. The others follow in the next report."""


def unreported(holders: Holders, now: float) -> Iterator[tuple[str, float]]:
    """(key, tokens) of the holders that spent much since the last report. Counts them as reported."""
    count = 0
    for holder in holders.all():
        bucket = holder.bucket
        if bucket.full_at > now and bucket.unreported * REPORT_FRACTION >= bucket.burst and count < REPORT_LIMIT:
            count += 1
            yield holder.key, bucket.unreported
            bucket.unreported = 0.0


class RemoteSockets:
    """Open sockets of people and addresses in other processes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By process: the time of its last report, and its counts by (kind, key).
        self._reports: dict[str, tuple[float, dict[tuple[str, str], int]]] = {}

    def receive(self, origin: str, counts: Sequence[tuple[str, str, int]]) -> None:
        self._reports[origin] = (self._clock(), {(kind, key): sockets for kind, key, sockets in counts})

    def sockets(self, kind: str, key: str) -> int:
        if not self._reports:
            return 0
        oldest = self._clock() - REPORT_EXPIRY
        self._reports = {origin: report for origin, report in self._reports.items() if report[0] >= oldest}
        return sum(counts.get((kind, key), 0) for _, counts in self._reports.values())
