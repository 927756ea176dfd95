"""The master's work: so many workers serve, whatever happens to any of them."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from chat.metrics import forget
from chatsite.workers import process, systemd
from chatsite.workers.process import Worker

logger = logging.getLogger("chatsite.workers")

PAUSES = 0.5, 30.0
"""Seconds before a worker that died young is replaced: the first, and the most; doubled in between."""
YOUNG = 60.0
"""Seconds after which a worker that dies is not one that can't live."""
PATIENCE = 20.0
"""Seconds that a worker may take to end, beside those for letting go of its clients: it needs 16 at most."""

Start = Callable[[int, Callable[[Worker], None]], Worker]
"""Starts the worker of a seat, and is given who hears of its end. Raises OSError."""


@dataclass(eq=False, slots=True)
class Seat:
    """One of the N, whoever has it."""

    number: int
    # None while it is to be filled.
    worker: Worker | None = None
    # Seconds that it waited for the worker that it has, or waits for the next.
    paused: float = 0.0
    # Fills it; None while it has a worker.
    filling: asyncio.Task[None] | None = None

    def pause(self, age: float) -> float:
        """Seconds before the next worker, after one that has lived so long."""
        first, most = PAUSES
        self.paused = 0.0 if age >= YOUNG else min(max(first, 2 * self.paused), most)
        return self.paused

    def take(self, worker: Worker) -> None:
        self.worker = worker
        if self.filling and self.filling is not asyncio.current_task():
            self.filling.cancel()
        self.filling = None


class Supervisor:
    """Keeps the seats filled, until it is told to stop."""

    def __init__(
        self,
        size: int,
        start: Start,
        *,
        drain: float | None,
        forget: Callable[[int], None],
        stopping: Callable[[], None],
    ) -> None:
        self._seats = [Seat(number) for number in range(1, size + 1)]
        self._start = start
        # Seconds that a worker may take to end when it is stopped, and when it is replaced.
        self._patience = PATIENCE + (drain or 0)
        self._patience_to_roll = PATIENCE + (process.LET_GO if drain is None else drain)
        # Told the pid of each that has ended.
        self._forget = forget
        # Called when we are told to stop.
        self._on_stop = stopping
        # All that have not ended: also those that do not serve yet, and those that are let go.
        self._workers: set[Worker] = set()
        # Set by each SIGHUP.
        self._asked = asyncio.Event()
        # Waits for that; None until all serve.
        self._rolling: asyncio.Task[None] | None = None
        self._stopping = False
        # Were we asked to stop a second time?
        self._hasty = False
        # Set when we stop and nobody is left.
        self._over = asyncio.Event()

    @property
    def is_well(self) -> bool:
        """Does anybody serve?"""
        return any(seat.worker for seat in self._seats)

    async def run(self, at_work: Callable[[], None]) -> str:
        """Serve until ``stop``; ``at_work`` is called when all do. What went wrong; "" if nothing."""
        came = await asyncio.gather(*(self._fill(seat) for seat in self._seats))
        failed = [seat.number for seat, served in zip(self._seats, came, strict=True) if not served]
        if self._stopping:
            failed = []
        elif failed:
            self.stop()
        else:
            at_work()
            self._rolling = asyncio.create_task(self._roll_when_asked())
        await self._over.wait()
        if failed:
            return f"worker {failed[0]} did not start: what it said stands above"
        return "not all workers ended in time: they were killed" if self._hasty else ""

    def roll(self) -> None:
        """Replace the workers, one after another; once more, where that is under way: code may be newer now."""
        self._asked.set()

    def reap(self) -> None:
        """Some may have ended."""
        for worker in list(self._workers):
            worker.reap()

    # --- To start ---

    async def _fill(self, seat: Seat) -> bool:
        worker = await self._fresh(seat)
        if worker:
            seat.take(worker)
        return worker is not None

    async def _fresh(self, seat: Seat) -> Worker | None:
        """A new worker that serves; None where there is none to be had."""
        try:
            worker = self._start(seat.number, lambda ended: self._gone(seat, ended))
        except OSError as error:
            logger.error("worker %d can't be started: %s", seat.number, error)  # noqa: TRY400 it says what it is
            return None
        self._workers.add(worker)
        try:
            # It may have ended right after.
            if await worker.is_ready() and worker in self._workers:
                logger.info("%s serves", worker)
                return worker
        except asyncio.CancelledError:
            worker.terminate(self._patience)
            raise
        if not self._stopping:
            logger.error("%s %s before it served", worker, worker.fate)
        return None

    # --- To go on ---

    def _gone(self, seat: Seat, worker: Worker) -> None:
        self._workers.remove(worker)
        self._forget(worker.pid)
        for other in self._workers:
            other.tell_of_death(worker.pid)
        if self._stopping:
            if not self._workers:
                self._over.set()
        elif seat.worker is worker:
            seat.worker = None
            pause = seat.pause(worker.age)
            logger.error("%s %s; it is replaced in %g seconds", worker, worker.fate, pause)
            seat.filling = asyncio.create_task(self._refill(seat, pause))

    async def _refill(self, seat: Seat, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            if await self._fill(seat):
                return
            pause = seat.pause(age=0)

    async def _roll_when_asked(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            systemd.reloading()
            logger.info("the workers are replaced, one after another")
            if await self._roll():
                logger.info("all workers are new")
            systemd.notify("READY=1")

    async def _roll(self) -> bool:
        for seat in self._seats:
            worker = await self._fresh(seat)
            if not worker:
                logger.error("the replacement stops at worker %d: who served goes on", seat.number)
                return False
            old = seat.worker
            seat.take(worker)
            if old:
                old.roll(self._patience_to_roll)
                await old.ended()
                logger.info("%s let go of its clients and %s", old, old.fate)
        return True

    # --- To stop ---

    def stop(self) -> None:
        """Have all end; asked a second time, at once."""
        if self._stopping:
            self._hasty = True
            for worker in self._workers:
                worker.kill()
            return
        self._stopping = True
        self._on_stop()
        for task in (self._rolling, *(seat.filling for seat in self._seats)):
            if task:
                task.cancel()
        for worker in self._workers:
            worker.terminate(self._patience)
        if not self._workers:
            self._over.set()


def supervise(
    listener: socket.socket, size: int, *, hung: float, drain: float | None, at_work: Callable[[], None]
) -> str:
    """Serve with so many workers, until a signal ends it. What went wrong; "" if nothing.

    ``hung`` and ``drain`` are seconds; the workers know the latter from the command, which is theirs too.
    """
    with TemporaryDirectory(prefix="chat-metrics-") as metrics:
        start = partial(process.start, listener, {"PROMETHEUS_MULTIPROC_DIR": metrics}, hung)

        def stopping() -> None:
            systemd.stopping()
            # Who comes now is refused, and does not wait for somebody who never takes them.
            listener.close()

        async def run() -> str:
            supervisor = Supervisor(
                size, start, drain=drain, forget=partial(forget, folder=Path(metrics)), stopping=stopping
            )
            tasks: list[asyncio.Task[None]] = []

            def all_serve() -> None:
                at_work()
                tasks.append(asyncio.create_task(systemd.keep_informed(lambda: supervisor.is_well)))

            _hear_signals(supervisor)
            return await supervisor.run(all_serve)

        return asyncio.run(run())


def _hear_signals(supervisor: Supervisor) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, supervisor.reap)
    loop.add_signal_handler(signal.SIGHUP, supervisor.roll)
    loop.add_signal_handler(signal.SIGINT, supervisor.stop)
    loop.add_signal_handler(signal.SIGTERM, supervisor.stop)
