"""One worker's process, as the master sees it."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from doubles import Clock

from chatsite.workers.process import ABORT_TIMEOUT, START_TIMEOUT, TIMER_SLACK, Worker, worker_sockets


async def settled() -> None:
    """Let everybody do what they can do now."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def clock(clock: Clock) -> Clock:
    clock.stop()
    return clock


class Process:
    """The parts of ``Popen`` that a worker uses."""

    pid = 4_711
    returncode: int | None = None

    def __init__(self) -> None:
        self.signals: list[int] = []

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


HUNG = 10.0


class Bench:
    """A worker with a process that is none, and the far end of its line."""

    def __init__(self) -> None:
        self.process = Process()
        line, self.far = socket.socketpair()
        self.ended: list[Worker] = []
        process: Any = self.process
        self.worker = Worker(1, process, line, hung=HUNG, on_end=self.ended.append)

    async def say(self, words: bytes) -> None:
        self.far.send(words)
        await settled()

    def end(self, code: int) -> None:
        self.process.returncode = code
        self.worker.reap()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.end(0)
    bench.far.close()


async def test_a_worker_is_ready_when_it_says_so(bench: Bench) -> None:
    """In however many pieces."""
    waiting = asyncio.create_task(bench.worker.is_ready())
    for piece in (b"alive\nre", b"ady"):
        await bench.say(piece)
        assert not waiting.done()
    await bench.say(b"\nali")
    assert await waiting


async def test_a_worker_that_ends_is_heard_of_once(bench: Bench) -> None:
    """A caller that waits for the worker to be ready learns that it won't be."""
    waiting = asyncio.create_task(bench.worker.is_ready())
    await settled()
    bench.worker.reap()
    assert bench.ended == []
    bench.end(-9)
    bench.worker.reap()
    assert not await waiting
    await bench.worker.ended()
    assert bench.ended == [bench.worker]
    assert bench.worker.outcome == "was ended by signal 9 (Killed)"


async def test_a_worker_that_says_nothing_hangs(bench: Bench, clock: Clock) -> None:
    """It is asked for its stack, and killed when it does not end of that."""
    await bench.say(b"ready\n")
    for _ in range(30):
        await clock.skip(1)
        await bench.say(b"alive\n")
    assert bench.process.signals == []
    for _ in range(int(HUNG) - 1):
        await clock.skip(1)
    assert bench.process.signals == []
    await clock.skip(1)
    assert bench.process.signals == [signal.SIGABRT]
    await clock.skip(ABORT_TIMEOUT)
    assert bench.process.signals == [signal.SIGABRT, signal.SIGKILL]


async def test_a_worker_may_hang_at_once(bench: Bench, clock: Clock) -> None:
    """From when it is ready on it has no longer than later."""
    await clock.skip(TIMER_SLACK)
    await bench.say(b"ready\n")
    for _ in range(int(HUNG)):
        assert bench.process.signals == []
        await clock.skip(1)
    assert bench.process.signals == [signal.SIGABRT]


async def test_a_worker_may_take_longer_to_start(bench: Bench, clock: Clock) -> None:
    """But not for ever."""
    await clock.skip(HUNG + TIMER_SLACK / 2)
    assert bench.process.signals == []
    for _ in range(int(START_TIMEOUT)):
        await clock.skip(1)
    assert bench.process.signals[0] == signal.SIGABRT


async def test_a_master_that_stood_still_kills_nobody(bench: Bench, clock: Clock) -> None:
    """Heartbeats of the meantime may arrive only now, and the worker may have been stopped too."""
    await bench.say(b"ready\n")
    await clock.skip(100)
    assert bench.process.signals == []
    await clock.skip(HUNG - TIMER_SLACK)
    assert bench.process.signals == []
    for _ in range(5):
        await clock.skip(TIMER_SLACK)
    assert bench.process.signals[0] == signal.SIGABRT


async def test_a_worker_that_does_not_end_in_time_is_killed(bench: Bench, clock: Clock) -> None:
    """Whether it was let go or stopped."""
    await bench.say(b"ready\n")
    bench.worker.roll(5)
    assert bench.far.recv(100) == b"roll\n"
    await clock.skip(4)
    assert bench.process.signals == []
    await clock.skip(1)
    assert bench.process.signals == [signal.SIGKILL]
    bench.worker.terminate(3)
    await clock.skip(3)
    assert bench.process.signals == [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]


async def test_a_worker_that_reads_nothing_holds_nobody_up(bench: Bench) -> None:
    """It may hang, or be gone."""
    for pid in range(100_000):
        bench.worker.report_death(pid)
    assert bench.far.recv(12) == b"died 0\ndied "
    bench.far.close()
    bench.worker.report_death(1)


def test_a_process_without_a_master_is_no_worker() -> None:
    """An ordinary `serve`."""
    assert worker_sockets() is None


def test_a_worker_gets_its_sockets_and_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that it starts inherit neither the sockets nor the role."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far, line = socket.socketpair()
        for each in (listener, line):
            each.set_inheritable(True)
        monkeypatch.setenv("SERVE_WORKER", f"{listener.fileno()}:{line.fileno()}")
        found = worker_sockets()
        assert found
        ours, theirs = found
        assert ours.getsockname() == listener.getsockname()
        theirs.send(b"hello")
        assert far.recv(5) == b"hello"
        assert not ours.get_inheritable()
        assert not theirs.get_inheritable()
        assert "SERVE_WORKER" not in os.environ
        for each in (ours, theirs):
            each.detach()
        far.close()
        line.close()
