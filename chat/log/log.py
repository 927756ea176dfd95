"""A log: every change of a room gets the room's next number, durably, and can be read from a position.

Writes that wait are committed together, and each is answered after its commit. So an acknowledged change is in the
database. A commit that fails refuses all its writes as busy, and publishes none of them.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from django.db import Error

from chat.conf import chat_settings
from chat.database import run_write
from chat.log.changes import Change
from chat.log.room_log import RoomLog
from chat.log.source import Source
from chat.log.write_queue import WriteQueue
from chat.log.writes import HELD, Held, Outcome, Write, Written, unavailable
from chat.metrics.counters import counters

logger = logging.getLogger("chat.log")


class BatchWriter(Protocol):
    """Commits a batch of writes, on the thread that writes."""

    def attempt(self, writes: Sequence[Write], *, wait: bool = False) -> list[Outcome | Held]:
        """One outcome per write. Raises a database error if none is committed."""
        ...


class Log(Source):
    """A source whose changes this process writes. A kind of log brings its writer, and the reads of a source.

    chat.message_log has the chat's, chat.topics that of topics.
    """

    # True if a new entry counts as a message (chat.metrics).
    counts_messages = False

    def __init__(self, writer: BatchWriter) -> None:
        self._writer = writer
        # Called after each commit and its answers, with a room's changes in their order.
        self.on_committed: Callable[[RoomLog, list[Change]], None] = _no_subscriber
        self._waiting = WriteQueue()
        # Writes the queue; None while it is empty.
        self._task: asyncio.Task[None] | None = None
        # Set by a new write while all queued ones are held up; otherwise None.
        self._more: asyncio.Event | None = None

    @property
    def waiting(self) -> int:
        """The count of changes that wait to be written."""
        return len(self._waiting)

    def append(self, write: Write) -> None:
        """Queue a write; ``write.done`` is called with its outcome. Raises Invalid (busy) if the queue is full."""
        if len(self._waiting) >= chat_settings().LOG_QUEUE or self._waiting.is_full(write):
            raise unavailable("The server has more to keep than it can; try again.")
        self._waiting.append(write)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_all())
        elif self._more:
            self._more.set()

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                await self.gather()
                began = loop.time()
                batch, wait = self._waiting.take(began)
                if batch:
                    self._settle(batch, await self._commit(batch, wait=wait), began)
                else:
                    await self._rest(self._waiting.next_due())
        finally:
            self._task = None

    async def gather(self) -> None:
        """Wait for more writes, if they are in no hurry. A kind of log overrides it."""

    async def _rest(self, until: float) -> None:
        """Wait until this loop time or the next write: all queued writes are held up."""
        self._more = asyncio.Event()
        try:
            async with asyncio.timeout_at(until):
                await self._more.wait()
        except TimeoutError:
            pass
        finally:
            self._more = None

    async def _commit(self, batch: list[Write], *, wait: bool) -> Sequence[Outcome | Held]:
        began = asyncio.get_running_loop().time()
        try:
            return await run_write(partial(self._writer.attempt, batch, wait=wait))
        except Error as error:
            logger.error("the database refuses %d changes: %s", len(batch), error)  # noqa: TRY400 no traceback: it is not ours
        except Exception:
            # A bug must not leave commands without an answer, nor end the writing.
            logger.exception("%d changes could not be written", len(batch))
        finally:
            counters.commit_size.add(len(batch))
            counters.commit_seconds.add(asyncio.get_running_loop().time() - began)
        return [unavailable() for _ in batch]

    def _settle(self, batch: list[Write], outcomes: Sequence[Outcome | Held], began: float) -> None:
        changes: dict[RoomLog, list[Change]] = {}
        new = 0
        held: list[Write] = []
        for write, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Written) and (change := outcome.change):
                changes.setdefault(write.room, []).append(change)
                new += change.id == change.seq
            elif outcome is HELD:
                held.append(write)
                continue
            _answer(write, outcome)
        if held or self._waiting.has_held:
            self._hold(batch, held, began)
        if self.counts_messages:
            counters.messages += new
        counters.changes += sum(map(len, changes.values()))
        for room, of_room in changes.items():
            self.on_committed(room, of_room)

    def _hold(self, batch: list[Write], held: list[Write], began: float) -> None:
        now = asyncio.get_running_loop().time()
        given_up = self._waiting.settle(batch, held, began=began, now=now)
        if given_up:
            rooms = ", ".join(sorted({write.room.slug for write in given_up}))
            logger.error("%d changes are refused: another transaction has locked %s", len(given_up), rooms)
        for write in given_up:
            _answer(write, unavailable())

    async def close(self) -> None:
        """Write the queued changes, then no more."""
        if self._task:
            await self._task


def _answer(write: Write, outcome: Outcome) -> None:
    try:
        write.done(outcome)
    except Exception:
        logger.exception("an answer could not be given", extra={"room": write.room.slug})


def _no_subscriber(room: RoomLog, changes: list[Change]) -> None:
    pass
