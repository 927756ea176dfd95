"""The counters of this process, as plain numbers: counting must cost a delivery nothing.

    counters.deliveries += 1

Only the event loop's thread changes a counter, and counters only grow. Once a second chat.metrics.collector
exports them to chat.metrics.prometheus, whose counters have locks, or files that other processes read.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RefusalReason(StrEnum):
    """The reason why a connection, a socket or a request was refused."""

    # The Origin header is not this site's, or the path is not the chat's.
    ORIGIN = "origin"
    # Its address opened too many connections in a short time.
    RATE = "rate"
    # Its address made too many requests in a short time.
    REQUESTS = "requests"
    # Too many sockets are open from its address, for its user, or in this process.
    ADDRESS = "address"
    PERSON = "person"
    FULL = "full"


class Histogram:
    """The number of values in each bucket, and the sum of all. A bound belongs to the bucket below it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        # The last bucket has the values above every bound.
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def _seconds() -> Histogram:
    return Histogram(SECONDS)


def _sizes() -> Histogram:
    return Histogram(SIZES)


@dataclass(slots=True)
class Counters:
    """All counters of a process. chat.metrics.prometheus has a description of each, under the same name."""

    # --- Connections ---
    connects: int = 0
    connects_refused: Counter[RefusalReason] = field(default_factory=Counter)
    # Keys: who closed the socket ("server" or "client"), and the close code or "other".
    closed: Counter[tuple[str, str]] = field(default_factory=Counter)
    sign_ins_ended: int = 0
    # --- Commands ---
    # Keys: the command's class; the error's code.
    commands: Counter[type[Any]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    # --- The log ---
    messages: int = 0
    changes: int = 0
    commit_size: Histogram = field(default_factory=_sizes)
    commit_seconds: Histogram = field(default_factory=_seconds)
    # --- Deliveries ---
    deliveries: int = 0
    writes: int = 0
    delivery_seconds: Histogram = field(default_factory=_seconds)
    caught_up: int = 0
    gaps_read: int = 0
    stretches_read: int = 0
    falls: int = 0
    # --- The channel layer ---
    layer_published: int = 0
    layer_received: int = 0
    layer_failed: int = 0
    # --- The process ---
    loop_lag_seconds: Histogram = field(default_factory=_seconds)
    cpu_seconds: float = 0.0

    def delivered(self, frames: int, sockets: int) -> None:
        """Count ``frames`` frames to each of ``sockets`` sockets, each socket in one write."""
        self.deliveries += frames * sockets
        self.writes += sockets


counters = Counters()
