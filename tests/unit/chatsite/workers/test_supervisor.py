"""The master, when workers start, die, hang and are replaced; with workers that the test controls."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from doubles import Clock, until

from chat.loops import close_current, current
from chat.presence import Presence
from chatsite.workers.process import ABORT_TIMEOUT, START_TIMEOUT, TIMER_SLACK, Worker, worker_sockets
from chatsite.workers.supervisor import RESTART_BACKOFF, STOP_TIMEOUT, YOUNG, Supervisor
from chatsite.workers.worker import follow

DRAIN = 5.0


class Hand:
    """A worker that does what the test says."""

    def __init__(self, number: int, pid: int, on_end: Callable[[Any], None]) -> None:
        self.number, self.pid, self._on_end = number, pid, on_end
        self.age = 0.0
        # Commands that it got, in order.
        self.told: list[object] = []
        self.is_over = False
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def __str__(self) -> str:
        return f"hand {self.pid}"

    outcome = "ended with 1"

    async def is_ready(self) -> bool:
        return await asyncio.shield(self._ready)

    async def ended(self) -> None:
        await until(lambda: self.is_over)

    def roll(self, timeout: float) -> None:
        self.told.append(("roll", timeout))

    def terminate(self, timeout: float) -> None:
        self.told.append(("terminate", timeout))

    def kill(self) -> None:
        self.told.append("kill")

    def report_death(self, pid: int) -> None:
        self.told.append(("died", pid))

    def reap(self) -> None:
        pass

    # --- What the test has it do ---

    async def serve(self) -> None:
        self._ready.set_result(True)
        await settled()

    async def die(self, age: float = 0.0) -> None:
        self.age, self.is_over = age, True
        if not self._ready.done():
            self._ready.set_result(False)
        self._on_end(self)
        await settled()

    @property
    def is_let_go(self) -> bool:
        return ("roll", DRAIN + STOP_TIMEOUT) in self.told

    @property
    def is_stopped(self) -> bool:
        return ("terminate", DRAIN + STOP_TIMEOUT) in self.told


async def settled() -> None:
    """Let everybody do what they can do now."""
    for _ in range(10):
        await asyncio.sleep(0)


class Shop:
    """A supervisor, and all the workers that it started, in order."""

    def __init__(self, size: int) -> None:
        self.hands: list[Hand] = []
        self.forgotten: list[int] = []
        # How often it said that all serve, and that it stops.
        self.opened = self.closed = 0
        # Set, nothing can be started.
        self.broken = False
        start: Any = self._start
        self.supervisor = Supervisor(size, start, drain=DRAIN, forget=self.forgotten.append, on_stop=self._on_stop)
        self.running = asyncio.create_task(self.supervisor.run(self._on_ready))

    def _start(self, number: int, on_end: Callable[[Any], None]) -> Hand:
        if self.broken:
            raise OSError("no more processes")
        self.hands.append(Hand(number, 100 + len(self.hands), on_end))
        return self.hands[-1]

    def _on_ready(self) -> None:
        self.opened += 1

    def _on_stop(self) -> None:
        self.closed += 1

    async def open(self) -> None:
        await settled()
        for hand in self.hands:
            await hand.serve()

    async def close(self) -> str:
        if not self.closed:
            self.supervisor.stop()
        for hand in self.hands:
            if not hand.is_over:
                await hand.die()
        return await self.running


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """Two workers at work."""
    shop = Shop(2)
    await shop.open()
    yield shop
    if not shop.running.done():
        assert await shop.close() == ""


@pytest.fixture
async def clock(clock: Clock) -> Clock:
    clock.stop()
    return clock


# --- To start ---


async def test_the_site_is_open_when_all_serve() -> None:
    """And not before."""
    shop = Shop(3)
    await settled()
    assert [hand.number for hand in shop.hands] == [1, 2, 3]
    for hand in shop.hands:
        assert shop.opened == 0
        await hand.serve()
    assert shop.opened == 1
    assert await shop.close() == ""


async def test_one_that_can_not_start_stops_all() -> None:
    """At the first start somebody looks on; later nobody may."""
    shop = Shop(3)
    await settled()
    await shop.hands[0].serve()
    await shop.hands[1].die()
    await shop.hands[2].serve()
    assert [hand.is_stopped for hand in shop.hands] == [True, False, True]
    await shop.hands[0].die()
    await shop.hands[2].die()
    assert "worker 2 did not start" in await shop.running
    assert shop.opened == 0


async def test_a_stop_before_all_serve_is_no_failure() -> None:
    """Those that are half there are stopped too."""
    shop = Shop(2)
    await settled()
    await shop.hands[0].serve()
    assert await shop.close() == ""
    assert all(hand.is_stopped for hand in shop.hands)
    assert shop.opened == 0


# --- To go on ---


async def test_one_that_dies_is_replaced_and_the_others_are_told(shop: Shop) -> None:
    """At once, where it lived long."""
    first, second = shop.hands
    await first.die(age=YOUNG)
    assert second.told == [("died", first.pid)]
    assert shop.forgotten == [first.pid]
    await until(lambda: len(shop.hands) == 3)
    assert shop.hands[2].number == 1
    assert second.told == [("died", first.pid)]


async def test_one_that_dies_again_and_again_waits_longer_and_longer(shop: Shop, clock: Clock) -> None:
    """Up to a bound; and not at all, once one of them lived."""
    pauses, last = [], shop.hands[0]
    for number in range(9):
        await last.die()
        waited, before = 0.0, len(shop.hands)
        while len(shop.hands) == before:
            await clock.skip(0.25)
            waited += 0.25
            await settled()
        pauses.append(waited)
        last = shop.hands[-1]
        if number % 2:
            # Whether it serves first or not.
            await last.serve()
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert (min(pauses), max(pauses)) == RESTART_BACKOFF
    await last.serve()
    before = len(shop.hands)
    await last.die(age=YOUNG)
    await clock.skip(0)
    await settled()
    assert len(shop.hands) == before + 1


async def test_the_others_go_on_where_nothing_can_be_started(
    shop: Shop, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again and again, and the log says why not."""
    shop.broken = True
    await shop.hands[0].die(age=YOUNG)
    await clock.skip(0)
    await settled()
    assert "worker 1 can't be started: no more processes" in caplog.text
    shop.broken = False
    await clock.skip(RESTART_BACKOFF[0])
    await settled()
    assert len(shop.hands) == 3
    assert shop.supervisor.is_healthy


async def test_nobody_at_work_is_not_well(shop: Shop, clock: Clock) -> None:
    """A worker that is starting does not serve yet."""
    assert shop.supervisor.is_healthy
    await shop.hands[0].die(age=YOUNG)
    assert shop.supervisor.is_healthy
    await shop.hands[1].die(age=YOUNG)
    assert not shop.supervisor.is_healthy
    await clock.skip(0)
    await settled()
    assert not shop.supervisor.is_healthy
    await shop.hands[2].serve()
    assert shop.supervisor.is_healthy


# --- To roll ---


async def test_each_is_let_go_when_its_successor_serves(shop: Shop) -> None:
    """One after another, so that there are never fewer than before."""
    first, second = shop.hands
    shop.supervisor.roll()
    await settled()
    third = shop.hands[2]
    assert third.number == 1
    assert not first.is_let_go
    await third.serve()
    assert first.is_let_go
    assert len(shop.hands) == 3
    await first.die()
    fourth = shop.hands[3]
    assert fourth.number == 2
    assert not second.is_let_go
    await fourth.serve()
    assert second.is_let_go
    await second.die()
    await settled()
    assert len(shop.hands) == 4
    assert ("died", first.pid) in third.told
    assert not any(hand.is_let_go for hand in (third, fourth))


async def test_a_successor_that_can_not_start_changes_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """New code that does not run is tried once, not in each seat; the log says so."""
    shop.supervisor.roll()
    await settled()
    await shop.hands[2].die()
    await settled()
    assert len(shop.hands) == 3
    assert not any(hand.is_let_go or hand.is_stopped for hand in shop.hands)
    assert "hand 102 ended with 1 before it served" in caplog.text
    assert "the replacement stops at worker 1: who served goes on" in caplog.text
    # When it is mended, all goes well.
    shop.supervisor.roll()
    await settled()
    await shop.hands[3].serve()
    assert shop.hands[0].is_let_go


async def test_a_second_roll_comes_after_the_first(shop: Shop) -> None:
    """However often it is asked for meanwhile: the code may be newer than what the first one started."""
    shop.supervisor.roll()
    await settled()
    for _ in range(3):
        shop.supervisor.roll()
    for _ in range(4):
        await shop.hands[-1].serve()
        await next(hand for hand in shop.hands if hand.is_let_go and not hand.is_over).die()
    await settled()
    assert len(shop.hands) == 6


async def test_a_roll_fills_a_seat_that_waits(shop: Shop, clock: Clock) -> None:
    """An operator who fixed the cause of a death need not wait for the next attempt."""
    await shop.hands[0].die()
    shop.supervisor.roll()
    await settled()
    assert len(shop.hands) == 3
    await shop.hands[2].serve()
    await clock.skip(10)
    await settled()
    # The second seat's is on its way; the first seat's was not tried again.
    assert [hand.number for hand in shop.hands] == [1, 2, 1, 2]
    assert not shop.hands[2].is_stopped


async def test_one_that_dies_while_its_successor_comes_is_not_replaced_twice(shop: Shop, clock: Clock) -> None:
    """If two workers start for one slot, the later is ended."""
    shop.supervisor.roll()
    await settled()
    await shop.hands[0].die(age=YOUNG)
    await clock.skip(0)
    await settled()
    by_roll, by_death = shop.hands[2], shop.hands[3]
    assert (by_roll.number, by_death.number) == (1, 1)
    await by_roll.serve()
    await settled()
    assert by_death.is_stopped
    assert not by_roll.is_let_go


# --- To stop ---


async def test_all_are_stopped_together(shop: Shop) -> None:
    """And the site is closed first; it ends with the last of them."""
    shop.supervisor.stop()
    assert shop.closed == 1
    assert all(hand.is_stopped for hand in shop.hands)
    await shop.hands[0].die()
    assert not shop.running.done()
    await shop.hands[1].die()
    assert await shop.running == ""
    assert len(shop.hands) == 2


async def test_a_second_stop_is_for_who_can_not_wait(shop: Shop) -> None:
    """It kills, and says that it did."""
    shop.supervisor.stop()
    shop.supervisor.stop()
    assert shop.closed == 1
    assert all(hand.told[-1] == "kill" for hand in shop.hands)
    for hand in shop.hands:
        await hand.die()
    assert "killed" in await shop.running


async def test_a_stop_in_the_middle_of_a_roll_stops_all(shop: Shop) -> None:
    """Those that come, those that go, and those that neither do."""
    shop.supervisor.roll()
    await settled()
    await shop.hands[2].serve()
    await shop.hands[0].die()
    shop.supervisor.stop()
    await settled()
    assert len(shop.hands) == 4
    assert all(hand.is_stopped for hand in shop.hands if not hand.is_over)


async def test_a_stop_while_a_seat_waits_does_not_wait(shop: Shop) -> None:
    """Nobody is started for it any more."""
    for hand in shop.hands:
        await hand.die()
    shop.supervisor.stop()
    assert await shop.running == ""
    assert len(shop.hands) == 2


# --- One worker, as a process ---


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


# --- A worker's end of the line ---


class Site:
    """The server of a worker, and what it is told to do."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def roll(self, within: float) -> None:
        self.told.append(f"roll within {within:g} s")

    def stop(self) -> None:
        self.told.append("stop")


class Dead(list[int]):
    """Stands in for who keeps track of people: hears which processes died."""

    def process_died(self, pid: int) -> None:
        self.append(pid)

    async def close(self) -> None:
        pass


@pytest.fixture
async def worker() -> AsyncIterator[tuple[socket.socket, Site, "asyncio.Task[None]"]]:
    """The master's end of the line, the worker's server, and what goes on between them."""
    master, line = socket.socketpair()
    master.settimeout(STOP_TIMEOUT)
    site: Any = Site()
    following = asyncio.create_task(follow(line, site))
    yield master, site, following
    master.close()
    await following
    assert site.told[-1] == "stop"


Line = tuple[socket.socket, Site, "asyncio.Task[None]"]


async def test_a_worker_tells_that_it_serves_and_lives(worker: Line) -> None:
    """From its event loop: one that is stuck says nothing."""
    master, _, _ = worker
    said = b""
    while said.count(b"alive\n") < 2:
        said += await asyncio.to_thread(master.recv, 100)
    assert said == b"ready\nalive\nalive\n"


async def test_a_worker_does_what_it_is_told(worker: Line) -> None:
    """And passes over what it does not know: its master may be older."""
    master, site, _ = worker
    make: Any = Dead
    dead: Any = current(Presence, make)
    master.send(b"died 12\nsing\n\nroll\ndied 3456\n")
    await until(lambda: len(dead) == 2)
    assert dead == [12, 3_456]
    assert site.told == ["roll within 30 s"]
    await close_current()


@pytest.mark.parametrize("unread", [False, True], ids=["all read", "not all read"])
async def test_a_worker_without_a_master_ends(worker: Line, unread: bool) -> None:
    """However that ended."""
    master, site, following = worker
    await until(lambda: select.select([master], [], [], 0)[0])
    if not unread:
        master.recv(100)
    master.close()
    await following
    assert site.told == ["stop"]


# --- The two ends ---


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


def test_a_master_has_no_twisted() -> None:
    """The process that keeps the workers going has no code that serves clients."""
    code = (
        "import django, sys; django.setup(); import chatsite.management.commands.serve; "
        "sys.exit(any(name in sys.modules for name in ('twisted', 'daphne', 'autobahn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
