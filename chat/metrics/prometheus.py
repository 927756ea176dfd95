"""What Prometheus is told, and how: the only place that knows its client.

Alone, a process keeps its numbers in memory. Where PROMETHEUS_MULTIPROC_DIR names a folder before this is
imported, each process keeps them in files there, and whoever is asked answers for all: counters and histograms as
sums, also of those that have ended, gauges for each living process, with its ``pid``.

    REGISTRY.register(chat.metrics.registry)    # in a project that has a page of metrics already
"""

import atexit
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from chat.metrics.counters import SECONDS, SIZES, Counters, Histogram, counters

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
ENDED = "ended"
"""In the place of the pid, in the names of the files with the numbers of processes that have ended."""

registry = CollectorRegistry()

_SHARED = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
"""The folder in which each process keeps its numbers; "" where there is only this one."""


class ExportedHistogram(prometheus_client.Histogram):
    """A histogram that takes many values at once."""

    def take(self, counts: Sequence[int], total: float) -> None:
        """So many more up to each bound and above the one before, and above the last; and their sum."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"chat_{name}", meaning, labels, registry=registry)


def _spread(name: str, meaning: str, bounds: Sequence[float]) -> ExportedHistogram:
    return ExportedHistogram(f"chat_{name}", meaning, buckets=bounds, registry=registry)


def _gauge(name: str, meaning: str) -> Gauge:
    return Gauge(f"chat_{name}", meaning, registry=registry, multiprocess_mode="liveall")


COUNTERS = {
    "connects": _counter("connects_total", "Sockets that were opened."),
    "sign_ins_ended": _counter(
        "sign_ins_ended_total", "Sockets that were closed because their sign-in had ended."
    ),
    "messages": _counter("messages_total", "Messages that this process committed."),
    "changes": _counter("changes_total", "Numbered changes that this process committed, new messages among them."),
    "deliveries": _counter("deliveries_total", "Frames of rooms that were written to live sockets."),
    "writes": _counter("writes_total", "Writes to live sockets: each carries one or more of these deliveries."),
    "caught_up": _counter(
        "caught_up_total", "Frames that were written to sockets which came back or were behind."
    ),
    "gaps_read": _counter("gaps_read_total", "Reads of the log for what the layer did not bring."),
    "stretches_read": _counter(
        "stretches_read_total", "Reads of the log for sockets that came back or were behind."
    ),
    "falls": _counter("falls_total", "How often a socket read too slowly and fell behind."),
    "layer_published": _counter("layer_published_total", "Messages that the channel layer took."),
    "layer_received": _counter("layer_received_total", "Messages that came from the channel layer."),
    "layer_failed": _counter("layer_failed_total", "Calls to the channel layer that failed."),
    "cpu_seconds": _counter("cpu_seconds_total", "CPU that the process used, user and system, all its threads."),
}
"""By the tally's field."""
LABELLED: dict[str, tuple[Counter, Callable[[Any], Sequence[str]]]] = {
    "connects_refused": (
        _counter("connects_refused_total", "Connections, sockets and requests that were not taken.", "reason"),
        lambda reason: (reason,),
    ),
    "closed": (
        _counter("closed_total", "Sockets that were closed, by whom and with which code.", "by", "code"),
        lambda by_and_code: by_and_code,
    ),
    "commands": (
        _counter("commands_total", "Commands that were read.", "type"),
        lambda command: (command.__struct_config__.tag,),
    ),
    "refused": (
        _counter("refused_total", "Commands that were answered with an error.", "code"),
        lambda code: (code,),
    ),
}
"""The same for what is counted by something, and its labels."""
SPREADS = {
    "commit_size": _spread(
        "commit_size", "What one commit wrote: messages, other changes, read positions.", SIZES
    ),
    "commit_seconds": _spread(
        "commit_seconds", "From handing a batch to the database's thread to its answer.", SECONDS
    ),
    "delivery_seconds": _spread(
        "delivery_seconds",
        "From a message's timestamp, where its commit begins, until it was written to the last live socket of its "
        "room here: counted for each of them, by the oldest of those that were written together.",
        SECONDS,
    ),
    "loop_lag_seconds": _spread(
        "loop_lag_seconds", "How late a timer of each second fires: how long the event loop is busy.", SECONDS
    ),
}

SOCKETS = _gauge("sockets", "Open sockets.")
LAGGING = _gauge("lagging_sockets", "Sockets that are behind in a room: they read too slowly, or are catching up.")
ROOMS = _gauge("rooms", "Rooms that somebody is in, in this process.")
PEOPLE = _gauge("people", "People with a socket in this process.")
LOG_WAITING = _gauge("log_waiting", "Changes that wait for the database.")
LAYER_AWAY = _gauge("layer_away", "Is the channel layer away? 1: it is.")
DRAINING = _gauge("draining", "Does the process say goodbye to its clients? 1: it does.")
RESIDENT = _gauge("resident_bytes", "Resident memory of the process.")


class Ledger:
    """What of the tally Prometheus was told."""

    def __init__(self, counters: Counters) -> None:
        self._tally = counters
        self._told = Counters()
        self._lock = Lock()

    def hand_over(self) -> None:
        """Tell it the rest."""
        with self._lock:
            for name, counter in COUNTERS.items():
                now = getattr(self._tally, name)
                counter.inc(now - getattr(self._told, name))
                setattr(self._told, name, now)
            for name, (counter, labels) in LABELLED.items():
                self._hand_over_by_label(counter, labels, getattr(self._tally, name), getattr(self._told, name))
            for name, spread in SPREADS.items():
                self._hand_over_spread(spread, getattr(self._tally, name), getattr(self._told, name))

    def _hand_over_by_label(self, counter: Counter, labels: Any, now: Any, told: Any) -> None:
        for key, count in list(now.items()):
            # A zero is told too: a rate needs it to see the first one.
            if count != told.get(key):
                counter.labels(*labels(key)).inc(count - told[key])
                told[key] = count

    def _hand_over_spread(self, spread: ExportedHistogram, now: Histogram, told: Histogram) -> None:
        if now.counts != told.counts:
            counts, total = list(now.counts), now.total
            spread.take([new - old for new, old in zip(counts, told.counts, strict=True)], total - told.total)
            told.counts, told.total = counts, total


ledger = Ledger(counters)
if _SHARED:
    # What the last second brought.
    atexit.register(ledger.hand_over)


# --- One process, or all of them ---


def exposition() -> bytes:
    """All numbers, in Prometheus' text format 0.0.4; of all processes, where they share a folder."""
    if not _SHARED:
        return generate_latest(_Plain(registry))
    every = CollectorRegistry()
    MultiProcessCollector(every, _SHARED)
    with _held(Path(_SHARED), fcntl.LOCK_SH):
        return generate_latest(every)


class _Plain(Collector):
    """Without the times at which each number began, which several processes don't tell either."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def forget(pid: int, folder: Path) -> None:
    """A process has ended: its gauges go; what it counted stays in the sums. For who started it.

    Its files are added to those of all that ended, or each restart would make a scrape dearer. ``folder`` is what
    PROMETHEUS_MULTIPROC_DIR was for the process; who calls this need not have it set.
    """
    with _held(folder, fcntl.LOCK_EX):
        for path in folder.glob(f"gauge_*_{pid}.db"):
            path.unlink()
        for kind in ("counter", "histogram"):
            if (path := folder / f"{kind}_{pid}.db").exists():
                _add(path, folder / f"{kind}_{ENDED}.db")
                path.unlink()


def _add(path: Path, to: Path) -> None:
    sums = MmapedDict(str(to))
    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
        sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
    sums.close()


@contextmanager
def _held(folder: Path, how: int) -> Iterator[None]:
    """While the folder is read no file may be added to another, or its numbers would count twice."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
