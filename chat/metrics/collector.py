"""Exports counters and gauges to Prometheus once a second, and measures how busy the event loop is."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from chat.hub import Hub
from chat.limits import Limits
from chat.log import Log
from chat.loops import end_tasks
from chat.metrics import prometheus
from chat.metrics.counters import RefusalReason, counters
from chat.protocol import COMMANDS, CloseCode, ErrorCode, is_topic

INTERVAL = 1.0
"""Seconds between two exports."""
STATM = Path("/proc/self/statm")
"""This process's memory on Linux, in pages."""


class Collector:
    """One per event loop."""

    def __init__(self, hub: Hub, limits: Limits, logs: Sequence[Log]) -> None:
        self._hub = hub
        self._limits = limits
        self._logs = logs
        self._loop = asyncio.get_running_loop()
        # Collects once a second, or None before ``start``.
        self._rounds: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Collect once a second from now on."""
        if self._rounds is None:
            _set_zeros()
            self._rounds = self._loop.create_task(self._collect_each_second())

    async def _collect_each_second(self) -> None:
        while True:
            due = self._loop.time() + INTERVAL
            await asyncio.sleep(INTERVAL)
            counters.loop_lag_seconds.add(max(0.0, self._loop.time() - due))
            self.collect()

    def collect(self) -> None:
        """Set the gauges, and export the counters."""
        rooms = self._hub.rooms().values()
        prometheus.SOCKETS.set(len(self._hub.sockets))
        prometheus.LAGGING.set(len({socket for room in rooms for socket in room.behind}))
        topics = sum(is_topic(room.slug) for room in rooms)
        prometheus.ROOMS.set(len(rooms) - topics)
        prometheus.TOPICS.set(topics)
        prometheus.PEOPLE.set(self._limits.people.connected_count)
        prometheus.LOG_WAITING.set(sum(log.waiting for log in self._logs))
        prometheus.LAYER_AWAY.set(self._hub.is_alone)
        prometheus.DRAINING.set(self._hub.draining)
        prometheus.RESIDENT.set(_resident())
        counters.cpu_seconds = time.process_time()
        prometheus.exporter.export()

    async def close(self) -> None:
        if self._rounds:
            await end_tasks(self._rounds)
            self.collect()


def _set_zeros() -> None:
    """Start every labelled counter at 0. Without it a rate would miss the first event."""
    counters.commands.update(dict.fromkeys(COMMANDS.values(), 0))
    counters.refused.update(dict.fromkeys(ErrorCode, 0))
    counters.connects_refused.update(dict.fromkeys(RefusalReason, 0))
    counters.closed.update({("server", str(int(code))): 0 for code in CloseCode if code != CloseCode.NORMAL})


def _resident() -> int:
    """Resident memory in bytes; 0 on systems without /proc."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0
