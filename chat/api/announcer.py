"""Sends the signals of a server: one after another, off the event loop's thread."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import Error, close_old_connections, connections
from django.dispatch import Signal

from chat.api import signals
from chat.api.signals import Announcement, Follower
from chat.log import Change, RoomLog
from chat.loops import end_tasks
from chat.message_log import MessageLog
from chat.presence import Presence
from chat.protocol import is_topic

logger = logging.getLogger("chat.api")

WAITING = 10_000
"""Most changes whose signals wait. Receivers that are slower than the chat miss the rest."""

Source: TypeAlias = Callable[[], Iterable[Announcement]]


class Announcer(Follower):
    """One per event loop."""

    def __init__(self, log: MessageLog, presence: Presence) -> None:
        self._log, self._presence = log, presence
        self._publish = log.on_committed
        self._waiting: deque[Source] = deque()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # True: some were dropped since the queue was last empty.
        self._dropped = False

    def listen(self) -> None:
        if signals.about_messages():
            self._log.on_committed = self._committed
        if signals.anybody_listens(signals.user_joined, signals.user_left):
            self._presence.on_joined = partial(self._moved, signals.user_joined)
            self._presence.on_left = partial(self._moved, signals.user_left)

    def _committed(self, room: RoomLog, changes: list[Change]) -> None:
        """Publish committed changes, and then announce those of rooms. Topics have no signals."""
        self._publish(room, changes)
        if not is_topic(room.slug):
            self._put(lambda: list(signals.announcements(room, changes)))

    def _moved(self, signal: Signal, slug: str, username: str, user: str) -> None:
        self._put(lambda: [(signal, {"room": slug, "username": username, "user": user})])

    def _put(self, source: Source) -> None:
        if len(self._waiting) >= WAITING:
            if not self._dropped:
                logger.error("the receivers of signals are too slow: some changes are not announced")
            self._dropped = True
            return
        self._waiting.append(source)
        self._more.set()
        self._task = self._task or asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        # A thread of its own: receivers that wait hold up no view, and no query of the chat.
        async with ThreadSensitiveContext():
            try:
                while True:
                    await self._more.wait()
                    self._more.clear()
                    await self._send_waiting()
                    await sync_to_async(close_old_connections)()
            finally:
                await sync_to_async(connections.close_all)()

    async def _send_waiting(self) -> None:
        while self._waiting:
            source = self._waiting.popleft()
            try:
                found = await sync_to_async(source)()
            except Error as error:
                logger.error("changes are not announced: %s", error)  # noqa: TRY400 no traceback: it is not ours
                continue
            for signal, arguments in found:
                await signal.asend_robust(sender=None, **arguments)
        self._dropped = False

    async def close(self) -> None:
        if self._task:
            await end_tasks(self._task)
