"""A log of any kind: its writer commits, its answers come first, and its changes are published in order."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from django.db import OperationalError
from doubles import until

from chat import protocol
from chat.log import HELD, Change, Held, Log, LogSlice, Outcome, RoomCounters, RoomLog, Write, Written
from chat.metrics.counters import counters
from chat.protocol import ErrorCode, Invalid


class Scribe:
    """A writer that numbers each write, and keeps nothing."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        # Called before each batch, with its writes.
        self.before: Callable[[Sequence[Write]], None] = lambda writes: None
        # Rooms that another transaction has locked.
        self.locked: set[int] = set()
        self._last = 0

    def attempt(self, writes: Sequence[Write], *, wait: bool = False) -> list[Outcome | Held]:
        self.batches.append(len(writes))
        self.before(writes)
        return [HELD if write.room.pk in self.locked else self._number(write) for write in writes]

    def _number(self, write: Write) -> Written:
        self._last += 1
        frame = f"{write.room.slug} {self._last}"
        return Written(self._last, self._last, protocol.now(), Change(self._last, self._last, frame, frame))


class PlainLog(Log):
    """A kind of log that knows no messages, and no database."""

    async def open(self, name: str, *, make: bool = True, owner: int | str | None = None) -> RoomLog:
        return RoomLog(1, name, "epoch", 0)

    async def positions(self, rooms: list[RoomLog]) -> dict[int, RoomCounters]:
        return {}

    async def heal(self, rooms: list[RoomLog]) -> None:
        pass

    async def since(self, room: RoomLog, position: int, limit: int) -> LogSlice:
        return LogSlice(room.slug, position, [], whole=True, last=position)


class Diary:
    """The answers and the publications of a log, in their order."""

    def __init__(self, log: Log) -> None:
        self.lines: list[str] = []
        self.refusals: list[ErrorCode] = []
        log.on_committed = lambda room, changes: self.lines.extend(f"published {c.frame}" for c in changes)

    def write(self, room: RoomLog) -> Write:
        return Write(room=room, author="user", username="User", done=self._note)

    def _note(self, outcome: Outcome) -> None:
        if isinstance(outcome, Invalid):
            self.refusals.append(outcome.code)
        else:
            self.lines.append(f"answered {outcome.seq}")


TEA, CLUB = RoomLog(1, "tea", "epoch", 0), RoomLog(2, "club", "epoch", 0)


@pytest.fixture
def scribe() -> Scribe:
    return Scribe()


@pytest.fixture
def log(scribe: Scribe) -> Log:
    return PlainLog(scribe)


async def test_answers_come_before_the_publication(log: Log) -> None:
    """A client has its answer when the others get the change."""
    diary = Diary(log)
    for _ in range(2):
        log.append(diary.write(TEA))
    await until(lambda: len(diary.lines) == 4)
    assert diary.lines == ["answered 1", "answered 2", "published tea 1", "published tea 2"]


async def test_what_waits_is_one_batch(log: Log, scribe: Scribe) -> None:
    """The next batch collects while one is committed."""
    diary, loop = Diary(log), asyncio.get_running_loop()

    def more(writes: Sequence[Write]) -> None:
        scribe.before = lambda writes: None
        future = asyncio.run_coroutine_threadsafe(append(3), loop)
        future.result(timeout=10)

    async def append(number: int) -> None:
        for _ in range(number):
            log.append(diary.write(TEA))

    scribe.before = more
    await append(1)
    await log.close()
    assert scribe.batches == [1, 3]
    assert log.waiting == 0


async def test_a_failed_commit_answers_busy_and_publishes_nothing(log: Log, scribe: Scribe) -> None:
    def fail(writes: Sequence[Write]) -> None:
        raise OperationalError("the disk is full")

    diary, scribe.before = Diary(log), fail
    log.append(diary.write(TEA))
    await log.close()
    assert (diary.refusals, diary.lines) == ([ErrorCode.BUSY], [])


async def test_a_locked_room_delays_no_other(log: Log, scribe: Scribe) -> None:
    diary, scribe.locked = Diary(log), {TEA.pk}
    log.append(diary.write(TEA))
    log.append(diary.write(CLUB))
    await until(lambda: diary.lines == ["answered 1", "published club 1"])
    scribe.locked.clear()
    await log.close()
    assert diary.lines[2:] == ["answered 2", "published tea 2"]


async def test_its_entries_are_changes_and_no_messages(log: Log) -> None:
    """The metric of messages is the chat's."""
    diary, messages, changes = Diary(log), counters.messages, counters.changes
    log.append(diary.write(TEA))
    await log.close()
    assert (counters.messages - messages, counters.changes - changes) == (0, 1)
