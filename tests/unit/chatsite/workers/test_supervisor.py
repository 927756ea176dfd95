"""The master, when workers start, die, hang and are replaced; with workers that the test controls."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from doubles import Clock, until

from chatsite.workers.supervisor import RESTART_BACKOFF, STOP_TIMEOUT, YOUNG, Supervisor

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


def test_a_master_has_no_twisted() -> None:
    """The process that keeps the workers going has no code that serves clients."""
    code = (
        "import django, sys; django.setup(); import chatsite.management.commands.serve; "
        "sys.exit(any(name in sys.modules for name in ('twisted', 'daphne', 'autobahn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
