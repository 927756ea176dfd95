"""A process that stood still: nothing is done before it learned what it missed, or can't."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from doubles import Clock

from chat.hub.stall_detector import INTERVAL, LEARN_TIMEOUT, LONGEST, StallDetector
from chat.protocol import ErrorCode, Invalid


class Lesson:
    """The missed changes are loaded when the test lets them."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.refuses = False

    async def __call__(self) -> None:
        self.begun += 1
        await self.may_end.wait()
        if self.refuses:
            raise Invalid(ErrorCode.BUSY, "away")


def is_old(stalls: StallDetector) -> bool:
    """Must a command wait before it acts on what is known here?"""
    return asyncio.get_running_loop().time() > stalls.fresh_until


@pytest.fixture
async def lesson(clock: Clock) -> Lesson:
    clock.stop()
    return Lesson()


@pytest.fixture
async def stalls(lesson: Lesson, clock: Clock) -> AsyncIterator[StallDetector]:
    """It is watched."""
    stalls = StallDetector(lesson)
    watching = asyncio.create_task(stalls.watch())
    await clock.skip(0)
    yield stalls
    watching.cancel()


async def test_all_wait_for_one_lesson(
    stalls: StallDetector, lesson: Lesson, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Which the log says."""
    lesson.may_end.clear()
    clock.work(LONGEST + 0.1)
    assert is_old(stalls)
    waiting = [asyncio.create_task(stalls.end()) for _ in range(10)]
    await clock.skip(0)
    assert (lesson.begun, any(task.done() for task in waiting)) == (1, False)
    assert is_old(stalls)
    lesson.may_end.set()
    await asyncio.gather(*waiting)
    assert not stalls.waking()
    assert not is_old(stalls)
    assert lesson.begun == 1
    assert caplog.record_tuples == [
        ("chat.hub", logging.WARNING, "this process stood still for 2.1 s: it compares itself with the log")
    ]


async def test_who_gives_up_ends_it_for_nobody(stalls: StallDetector, lesson: Lesson, clock: Clock) -> None:
    """A socket that is gone does not wait any more; the others do."""
    lesson.may_end.clear()
    clock.work(LONGEST + 0.1)
    one, other = asyncio.create_task(stalls.end()), asyncio.create_task(stalls.end())
    await clock.skip(0)
    one.cancel()
    await clock.skip(0)
    assert not other.done()
    lesson.may_end.set()
    await other
    assert lesson.begun == 1


async def test_a_standstill_while_one_ends_is_another(stalls: StallDetector, lesson: Lesson, clock: Clock) -> None:
    """The state being loaded may be from before it."""
    lesson.may_end.clear()
    clock.work(LONGEST + 0.1)
    ended = asyncio.create_task(stalls.end())
    await clock.skip(0)
    clock.work(LONGEST + 0.1)
    assert stalls.waking()
    lesson.may_end.set()
    await ended
    assert lesson.begun == 2


async def test_who_works_does_not_stand_still(stalls: StallDetector, lesson: Lesson, clock: Clock) -> None:
    """Nor one of whom nobody wants anything."""
    for _ in range(3):
        await clock.skip(LONGEST - 0.1)
        assert not is_old(stalls)
    for _ in range(50):
        await clock.skip(INTERVAL)
    assert not stalls.waking()
    assert not is_old(stalls)
    assert lesson.begun == 0


async def test_one_that_nobody_asks_is_noticed(stalls: StallDetector, lesson: Lesson, clock: Clock) -> None:
    """Its watch sees it."""
    await clock.skip(LONGEST + 0.1)
    await clock.skip(0)
    assert lesson.begun == 1


async def test_who_is_not_watched_rests(lesson: Lesson, clock: Clock) -> None:
    """A process with no room has nothing that could be old; nor has one that ends."""
    stalls = StallDetector(lesson)
    clock.work(LONGEST + 0.1)
    assert not stalls.waking()
    assert not is_old(stalls)
    watching = asyncio.create_task(stalls.watch())
    await clock.skip(0)
    watching.cancel()
    await clock.skip(LONGEST + 0.1)
    assert not stalls.waking()
    assert not is_old(stalls)
    assert lesson.begun == 0


async def test_without_the_database_all_goes_on(stalls: StallDetector, lesson: Lesson, clock: Clock) -> None:
    """At once where it fails, after a while where it hangs."""
    lesson.refuses = True
    clock.work(LONGEST + 0.1)
    await stalls.end()
    lesson.may_end.clear()
    await clock.skip(LONGEST + 0.1)
    ended = asyncio.create_task(stalls.end())
    for _ in range(int(LEARN_TIMEOUT / INTERVAL)):
        assert not ended.done()
        await clock.skip(INTERVAL)
    await ended
    assert lesson.begun == 2


async def test_its_end_ends_with_the_watch(lesson: Lesson, clock: Clock) -> None:
    """Nobody waits for it then."""
    stalls = StallDetector(lesson)
    lesson.may_end.clear()
    watching = asyncio.create_task(stalls.watch())
    await clock.skip(0)
    await clock.skip(LONGEST + 0.1)
    ended = asyncio.create_task(stalls.end())
    await clock.skip(0)
    assert not ended.done()
    watching.cancel()
    await ended
    assert not stalls.waking()
    assert not is_old(stalls)
