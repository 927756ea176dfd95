"""Removes expired sessions in the background. Django leaves that to a command, `clearsessions`."""

import asyncio
import logging
import random

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import Error
from django.utils import timezone

from chat.database import run_write
from chat.loops import Objects

logger = logging.getLogger("chatsite.sessions")

INTERVAL = 3_600.0
"""Mean seconds between two rounds. Pauses are random, so that several processes don't start at one moment. A round
right after that of another process finds nothing, and costs little."""
BATCH = 500
"""Rows of one transaction. Messages wait behind it."""
ROUND_LIMIT = 100_000
"""Rows of one round."""
ENGINES = frozenset({"django.contrib.sessions.backends.db", "django.contrib.sessions.backends.cached_db"})
"""Session engines that keep sessions in the database."""


class SessionCleanup:
    """One event loop's cleanup, from the first page request until the loop closes."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Remove sessions from now on, if they are kept in the database."""
        if self._task is None and _is_in_database():
            self._task = asyncio.get_running_loop().create_task(self._run())

    @classmethod
    def build(cls) -> Objects:
        return {cls: cls()}

    async def close(self) -> None:
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            # Pause before the first round too: many processes start at one moment.
            await asyncio.sleep(INTERVAL * random.uniform(0.5, 1.5))  # noqa: S311 a delay, not a secret
            try:
                await remove_expired()
            except Error as error:
                logger.warning("expired sessions were not removed: %s", error)


async def remove_expired() -> int:
    """Remove up to ROUND_LIMIT expired sessions. Returns their number."""
    removed = 0
    while removed < ROUND_LIMIT and (found := await run_write(_remove_some)):
        removed += found
    return removed


def _remove_some() -> int:
    expired = Session.objects.filter(expire_date__lt=timezone.now())
    keys = list(expired.order_by("expire_date").values_list("pk", flat=True)[:BATCH])
    # The date is checked again: a session that was renewed meanwhile stays.
    found, _ = expired.filter(pk__in=keys).delete()
    return found


def _is_in_database() -> bool:
    return settings.SESSION_ENGINE in ENGINES
