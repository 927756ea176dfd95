"""Reads the outbox: publications that views, tasks and commands committed get their numbers, and are published."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from django.db import Error

from chat import models
from chat.database import run_read, run_write
from chat.hub import RECONCILE
from chat.log import Change, RoomLog
from chat.loops import end_tasks
from chat.metrics.counters import counters
from chat.topics.writer import Changes, Publishing, number_waiting

logger = logging.getLogger("chat.topics")

MERGE = 0.1
"""Seconds for which numbered publications may wait while more are numbered: a topic's are then sent together."""
PAUSE = 0.05
"""Seconds until locked topics are tried again."""


class OutboxReader:
    """One per event loop. ``on_numbered`` publishes a topic's changes; ``on_passed`` takes what memory keeps.

    ``each_second`` is called once a second.
    """

    def __init__(
        self,
        *,
        rooms: Callable[[Sequence[models.Outbox]], Changes],
        on_numbered: Callable[[RoomLog, list[Change]], None],
        on_passed: Callable[[Publishing], None],
        each_second: Callable[[], None],
    ) -> None:
        self._rooms, self._on_numbered, self._on_passed = rooms, on_numbered, on_passed
        self._each_second = each_second
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # True: the database did not answer the last time.
        self._failed = False

    def start(self) -> None:
        """Read the outbox from now on, at once and then each second."""
        self._task = self._task or asyncio.get_running_loop().create_task(self._run())

    def soon(self) -> None:
        """Something was committed: read now."""
        self._now.set()

    async def _run(self) -> None:
        while True:
            self._now.clear()
            again = False
            try:
                again = await self._read_all()
            except Error as error:
                if not self._failed:
                    logger.error("the outbox can't be read: %s", error)  # noqa: TRY400 no traceback: it is not ours
                self._failed = True
            except Exception:
                logger.exception("waiting publications could not be numbered")
            else:
                self._failed = False
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE if again else RECONCILE):
                    await self._now.wait()
            self._each_second()

    async def _read_all(self) -> bool:
        """Number all that waits. True if some of it must be tried again soon."""
        if not await run_read(models.Outbox.objects.exists):
            return False
        locked: set[str] = set()
        numbered: dict[str, tuple[RoomLog, list[Change]]] = {}
        loop = asyncio.get_running_loop()
        publish_at = loop.time() + MERGE
        try:
            while True:
                batch = await run_write(partial(number_waiting, self._rooms, locked))
                for row, changes in batch.changes:
                    numbered.setdefault(row.slug, (row, []))[1].extend(changes)
                for write in batch.passed:
                    self._on_passed(write)
                locked |= batch.locked
                if not batch.taken and not batch.locked:
                    return bool(locked)
                if loop.time() >= publish_at:
                    self._publish(numbered)
                    publish_at = loop.time() + MERGE
        finally:
            self._publish(numbered)

    def _publish(self, numbered: dict[str, tuple[RoomLog, list[Change]]]) -> None:
        """Publish what was numbered: each topic's changes together."""
        for row, changes in numbered.values():
            counters.changes += len(changes)
            self._on_numbered(row, changes)
        numbered.clear()

    async def close(self) -> None:
        if self._task:
            await end_tasks(self._task)
