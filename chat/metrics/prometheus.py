"""The metrics for Prometheus. This is the only module that uses its client library.

A single process keeps its numbers in memory. If PROMETHEUS_MULTIPROC_DIR names a folder when this is imported,
each process keeps them in files there. Any process then answers a scrape for all of them. Counters and histograms
are sums, which include ended processes. Gauges are exported for each living process, with its ``pid``.

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
"""Stands for the pid in the names of the files that have the sums of ended processes."""

registry = CollectorRegistry()

_SHARED = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
"""The folder with the numbers of all processes; "" for a single process."""


class ExportedHistogram(prometheus_client.Histogram):
    """A histogram that adds many values at once."""

    def add_counts(self, counts: Sequence[int], total: float) -> None:
        """Add ``counts`` to the buckets (the last is above every bound), and ``total`` to the sum."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"chat_{name}", meaning, labels, registry=registry)


def _histogram(name: str, meaning: str, bounds: Sequence[float]) -> ExportedHistogram:
    return ExportedHistogram(f"chat_{name}", meaning, buckets=bounds, registry=registry)


def _gauge(name: str, meaning: str) -> Gauge:
    return Gauge(f"chat_{name}", meaning, registry=registry, multiprocess_mode="liveall")


COUNTERS = {
    "connects": _counter("connects_total", "Sockets opened."),
    "sign_ins_ended": _counter("sign_ins_ended_total", "Sockets closed because their sign-in had ended."),
    "messages": _counter("messages_total", "Messages committed by this process."),
    "changes": _counter("changes_total", "Numbered changes committed by this process, including new messages."),
    "deliveries": _counter("deliveries_total", "Frames of rooms written to live sockets."),
    "writes": _counter("writes_total", "Writes to live sockets; each carries one or more deliveries."),
    "caught_up": _counter("caught_up_total", "Frames written to sockets that reconnected or were behind."),
    "gaps_read": _counter(
        "gaps_read_total", "Reads of the log for changes that the channel layer did not deliver."
    ),
    "stretches_read": _counter(
        "stretches_read_total", "Reads of the log for sockets that reconnected or were behind."
    ),
    "falls": _counter("falls_total", "Times that a socket read too slowly and fell behind (slow consumers)."),
    "layer_published": _counter("layer_published_total", "Messages sent to the channel layer."),
    "layer_received": _counter("layer_received_total", "Messages received from the channel layer."),
    "layer_failed": _counter("layer_failed_total", "Failed calls to the channel layer."),
    "cpu_seconds": _counter("cpu_seconds_total", "CPU time of the process, user and system, of all threads."),
}
"""Metrics by the field of ``Counters``."""
LABELLED_COUNTERS: dict[str, tuple[Counter, Callable[[Any], Sequence[str]]]] = {
    "connects_refused": (
        _counter("connects_refused_total", "Connections, sockets and requests refused.", "reason"),
        lambda reason: (reason,),
    ),
    "closed": (
        _counter("closed_total", "Sockets closed, by which side and with which code.", "by", "code"),
        lambda by_and_code: by_and_code,
    ),
    "commands": (
        _counter("commands_total", "Commands received.", "type"),
        lambda command: (command.__struct_config__.tag,),
    ),
    "refused": (
        _counter("refused_total", "Commands answered with an error.", "code"),
        lambda code: (code,),
    ),
}
"""Metrics with labels, by the field of ``Counters``, and a function from the field's key to the labels."""
HISTOGRAMS = {
    "commit_size": _histogram(
        "commit_size", "Writes in one commit: messages, other changes, read positions.", SIZES
    ),
    "commit_seconds": _histogram(
        "commit_seconds", "Seconds from handing a batch to the database's thread to its result.", SECONDS
    ),
    "delivery_seconds": _histogram(
        "delivery_seconds",
        "Seconds from a message's timestamp, set when its commit begins, to its write to the last live socket of "
        "its room here. Counted for each socket, by the oldest message of a write.",
        SECONDS,
    ),
    "loop_lag_seconds": _histogram(
        "loop_lag_seconds",
        "Seconds by which a timer that fires each second is late: the event loop was busy for so long.",
        SECONDS,
    ),
}

SOCKETS = _gauge("sockets", "Open sockets.")
LAGGING = _gauge("lagging_sockets", "Sockets that are behind in a room: they read too slowly or are catching up.")
ROOMS = _gauge("rooms", "Rooms with a socket in this process.")
TOPICS = _gauge("topics", "Topics with a subscriber in this process.")
PEOPLE = _gauge("people", "Users with a socket in this process.")
LOG_WAITING = _gauge("log_waiting", "Changes waiting for the database.")
LAYER_AWAY = _gauge("layer_away", "1 while the channel layer is unreachable, else 0.")
DRAINING = _gauge("draining", "1 while the process drains: it asks its clients to reconnect elsewhere. Else 0.")
RESIDENT = _gauge("resident_bytes", "Resident memory of the process.")


class Exporter:
    """Exports to Prometheus how much ``counters`` has grown since the last export."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._exported = Counters()
        self._lock = Lock()

    def export(self) -> None:
        """Export the difference to the last export."""
        with self._lock:
            for name, counter in COUNTERS.items():
                now = getattr(self._counters, name)
                counter.inc(now - getattr(self._exported, name))
                setattr(self._exported, name, now)
            for name, (counter, labels) in LABELLED_COUNTERS.items():
                self._export_labelled(
                    counter, labels, getattr(self._counters, name), getattr(self._exported, name)
                )
            for name, histogram in HISTOGRAMS.items():
                self._export_histogram(histogram, getattr(self._counters, name), getattr(self._exported, name))

    def _export_labelled(self, counter: Counter, labels: Any, now: Any, exported: Any) -> None:
        for key, count in list(now.items()):
            # Export zeros too: a rate needs one to see the first event.
            if count != exported.get(key):
                counter.labels(*labels(key)).inc(count - exported[key])
                exported[key] = count

    def _export_histogram(self, histogram: ExportedHistogram, now: Histogram, exported: Histogram) -> None:
        if now.counts != exported.counts:
            counts, total = list(now.counts), now.total
            histogram.add_counts(
                [new - old for new, old in zip(counts, exported.counts, strict=True)], total - exported.total
            )
            exported.counts, exported.total = counts, total


exporter = Exporter(counters)
if _SHARED:
    # Export what was counted in the last second.
    atexit.register(exporter.export)


# --- Scrapes, of one process or of all ---


def exposition() -> bytes:
    """All metrics in Prometheus' text format 0.0.4; of all processes, if they share a folder."""
    if not _SHARED:
        return generate_latest(_WithoutCreatedSamples(registry))
    every = CollectorRegistry()
    MultiProcessCollector(every, _SHARED)
    with _locked(Path(_SHARED), fcntl.LOCK_SH):
        return generate_latest(every)


class _WithoutCreatedSamples(Collector):
    """The registry without ``_created`` samples, which the multiprocess mode does not have either."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def forget(pid: int, folder: Path) -> None:
    """Remove the gauges of an ended process, and keep its counters in the sums. Its parent process calls this.

    The files of ended processes are merged. Otherwise each restart would make a scrape more expensive. ``folder``
    is the process's PROMETHEUS_MULTIPROC_DIR; the caller need not have it set.
    """
    with _locked(folder, fcntl.LOCK_EX):
        for path in folder.glob(f"gauge_*_{pid}.db"):
            path.unlink()
        for kind in ("counter", "histogram"):
            if (path := folder / f"{kind}_{pid}.db").exists():
                _add_to_sums(path, folder / f"{kind}_{ENDED}.db")
                path.unlink()


def _add_to_sums(path: Path, to: Path) -> None:
    sums = MmapedDict(str(to))
    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
        sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
    sums.close()


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Lock the folder. A scrape that reads while files are merged would count their numbers twice."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
