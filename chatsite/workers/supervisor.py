"""The master: it keeps N workers serving."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from chat.metrics.prometheus import forget
from chatsite.workers import process, systemd
from chatsite.workers.process import Worker

logger = logging.getLogger("chatsite.workers")

RESTART_BACKOFF = 0.5, 30.0
"""Seconds before a worker that died young is replaced: the first and the longest. It doubles in between."""
YOUNG = 60.0
"""Age in seconds below which a death makes the backoff longer."""
STOP_TIMEOUT = 20.0
"""Seconds that a worker may take to end, in addition to its drain. It needs 16 at most."""

Start = Callable[[int, Callable[[Worker], None]], Worker]
"""Starts the worker of a slot, given the slot's number and a callback for its end. Raises OSError."""


@dataclass(eq=False, slots=True)
class Slot:
    """The place of one of the N workers."""

    number: int
    # The worker that serves, or None.
    worker: Worker | None = None
    # Seconds of the last backoff.
    backoff: float = 0.0
    # Task that starts the next worker, or None while there is one.
    refilling: asyncio.Task[None] | None = None

    def next_backoff(self, age: float) -> float:
        """Seconds before the next worker, after one that died at this age in seconds."""
        first, longest = RESTART_BACKOFF
        self.backoff = 0.0 if age >= YOUNG else min(max(first, 2 * self.backoff), longest)
        return self.backoff

    def take(self, worker: Worker) -> None:
        self.worker = worker
        if self.refilling and self.refilling is not asyncio.current_task():
            self.refilling.cancel()
        self.refilling = None


class Supervisor:
    """Keeps each slot filled, until ``stop``."""

    def __init__(
        self,
        size: int,
        start: Start,
        *,
        drain: float | None,
        forget: Callable[[int], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._slots = [Slot(number) for number in range(1, size + 1)]
        self._start = start
        # Seconds that a worker may take to end: when it is stopped, and when it is replaced.
        self._stop_timeout = STOP_TIMEOUT + (drain or 0)
        self._roll_timeout = STOP_TIMEOUT + (process.DRAIN_SECONDS if drain is None else drain)
        # Called with the pid of each worker that has ended.
        self._forget = forget
        self._on_stop = on_stop
        # All workers that have not ended, also those that don't serve yet and those that drain.
        self._workers: set[Worker] = set()
        # Set by each SIGHUP.
        self._roll_requested = asyncio.Event()
        # Task that waits for it, or None until all workers serve.
        self._rolling: asyncio.Task[None] | None = None
        self._stopping = False
        # True after a second ``stop``.
        self._killed = False
        # Set when the supervisor stops and no worker is left.
        self._stopped = asyncio.Event()

    @property
    def is_healthy(self) -> bool:
        """True if at least one worker serves."""
        return any(slot.worker for slot in self._slots)

    async def run(self, on_ready: Callable[[], None]) -> str:
        """Serve until ``stop``, and call ``on_ready`` when all workers serve. Returns an error, or ""."""
        results = await asyncio.gather(*(self._fill(slot) for slot in self._slots))
        failed = [slot.number for slot, served in zip(self._slots, results, strict=True) if not served]
        if self._stopping:
            failed = []
        elif failed:
            self.stop()
        else:
            on_ready()
            self._rolling = asyncio.create_task(self._roll_on_request())
        await self._stopped.wait()
        if failed:
            return f"worker {failed[0]} did not start: its output above has the reason"
        return "not all workers ended in time: they were killed" if self._killed else ""

    def roll(self) -> None:
        """Replace the workers one after another. During a roll: once more after it, for the code may be newer."""
        self._roll_requested.set()

    def reap(self) -> None:
        """Check which workers have ended."""
        for worker in list(self._workers):
            worker.reap()

    # --- Start ---

    async def _fill(self, slot: Slot) -> bool:
        worker = await self._start_worker(slot)
        if worker:
            slot.take(worker)
        return worker is not None

    async def _start_worker(self, slot: Slot) -> Worker | None:
        """A new worker that serves, or None if it can't be started or ends before it serves."""
        try:
            worker = self._start(slot.number, lambda ended: self._worker_ended(slot, ended))
        except OSError as error:
            logger.error("worker %d can't be started: %s", slot.number, error)  # noqa: TRY400 the error is enough
            return None
        self._workers.add(worker)
        try:
            # It may have ended right after it was ready.
            if await worker.is_ready() and worker in self._workers:
                logger.info("%s serves", worker)
                return worker
        except asyncio.CancelledError:
            worker.terminate(self._stop_timeout)
            raise
        if not self._stopping:
            logger.error("%s %s before it served", worker, worker.outcome)
        return None

    # --- Replace ---

    def _worker_ended(self, slot: Slot, worker: Worker) -> None:
        self._workers.remove(worker)
        self._forget(worker.pid)
        for other in self._workers:
            other.report_death(worker.pid)
        if self._stopping:
            if not self._workers:
                self._stopped.set()
        elif slot.worker is worker:
            slot.worker = None
            pause = slot.next_backoff(worker.age)
            logger.error("%s %s; it is replaced in %g seconds", worker, worker.outcome, pause)
            slot.refilling = asyncio.create_task(self._refill(slot, pause))

    async def _refill(self, slot: Slot, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            if await self._fill(slot):
                return
            pause = slot.next_backoff(age=0)

    async def _roll_on_request(self) -> None:
        while True:
            await self._roll_requested.wait()
            self._roll_requested.clear()
            systemd.reloading()
            logger.info("the workers are replaced, one after another")
            if await self._roll():
                logger.info("all workers are new")
            systemd.notify("READY=1")

    async def _roll(self) -> bool:
        for slot in self._slots:
            worker = await self._start_worker(slot)
            if not worker:
                logger.error("the replacement stops at worker %d: who served goes on", slot.number)
                return False
            old = slot.worker
            slot.take(worker)
            if old:
                old.roll(self._roll_timeout)
                await old.ended()
                logger.info("%s let go of its clients and %s", old, old.outcome)
        return True

    # --- Stop ---

    def stop(self) -> None:
        """End all workers. A second call kills them."""
        if self._stopping:
            self._killed = True
            for worker in self._workers:
                worker.kill()
            return
        self._stopping = True
        self._on_stop()
        for task in (self._rolling, *(slot.refilling for slot in self._slots)):
            if task:
                task.cancel()
        for worker in self._workers:
            worker.terminate(self._stop_timeout)
        if not self._workers:
            self._stopped.set()


def supervise(
    listener: socket.socket, size: int, *, hung: float, drain: float | None, on_ready: Callable[[], None]
) -> str:
    """Serve with ``size`` workers until a signal ends it. Returns an error, or "".

    ``hung`` and ``drain`` are seconds. The workers read ``drain`` from the command line, which is theirs too.
    """
    with TemporaryDirectory(prefix="chat-metrics-") as metrics:
        start = partial(process.start, listener, {"PROMETHEUS_MULTIPROC_DIR": metrics}, hung)

        def on_stop() -> None:
            systemd.stopping()
            # New connections are refused from here on: no worker would accept them.
            listener.close()

        async def run() -> str:
            supervisor = Supervisor(
                size, start, drain=drain, forget=partial(forget, folder=Path(metrics)), on_stop=on_stop
            )
            tasks: list[asyncio.Task[None]] = []

            def all_serve() -> None:
                on_ready()
                tasks.append(asyncio.create_task(systemd.report(lambda: supervisor.is_healthy)))

            _handle_signals(supervisor)
            return await supervisor.run(all_serve)

        return asyncio.run(run())


def _handle_signals(supervisor: Supervisor) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, supervisor.reap)
    loop.add_signal_handler(signal.SIGHUP, supervisor.roll)
    loop.add_signal_handler(signal.SIGINT, supervisor.stop)
    loop.add_signal_handler(signal.SIGTERM, supervisor.stop)
