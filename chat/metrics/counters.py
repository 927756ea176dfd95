"""What happens in this process, counted in plain numbers: a delivery must not pay for being watched.

    counters.deliveries += 1

Each number is counted by the event loop's thread alone, and only grows. Once a second chat.metrics.collector hands
what is new to chat.metrics.prometheus, whose counters have locks, or files that other processes read.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RefusalReason(StrEnum):
    """Why a connection or a socket was not taken."""

    # It did not come from our page, or not to our path.
    ORIGIN = "origin"
    # Too many connections at once from its address, or too many requests; from there so many are open; so many are
    # this person's; so many are open.
    RATE = "rate"
    REQUESTS = "requests"
    ADDRESS = "address"
    PERSON = "person"
    FULL = "full"


class Histogram:
    """How values are spread: how many there were up to each bound and above the one before, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        # The last is of what is above every bound.
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
    """One per process. chat.metrics says of each what it means."""

    # --- Connections ---
    connects: int = 0
    connects_refused: Counter[RefusalReason] = field(default_factory=Counter)
    # By who closed them, "server" or "client", and the code, or "other".
    closed: Counter[tuple[str, str]] = field(default_factory=Counter)
    sign_ins_ended: int = 0
    # --- What is asked ---
    # By the command's class, and by the error's code.
    commands: Counter[type[Any]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    # --- The log ---
    messages: int = 0
    changes: int = 0
    commit_size: Histogram = field(default_factory=_sizes)
    commit_seconds: Histogram = field(default_factory=_seconds)
    # --- What is delivered ---
    deliveries: int = 0
    writes: int = 0
    delivery_seconds: Histogram = field(default_factory=_seconds)
    caught_up: int = 0
    gaps_read: int = 0
    stretches_read: int = 0
    falls: int = 0
    # --- The layer ---
    layer_published: int = 0
    layer_received: int = 0
    layer_failed: int = 0
    # --- The process ---
    loop_lag_seconds: Histogram = field(default_factory=_seconds)
    cpu_seconds: float = 0.0

    def delivered(self, frames: int, sockets: int) -> None:
        """So many frames were written to so many sockets, to each in one write."""
        self.deliveries += frames * sockets
        self.writes += sockets


counters = Counters()
