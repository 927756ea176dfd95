"""Removes expired sessions in the background. Django leaves that to a command that somebody must run."""

import asyncio
import logging
import random

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import Error
from django.utils import timezone

from chat.database import writing

logger = logging.getLogger("chatsite.sessions")

EVERY = 3_600.0
"""Seconds between two rounds, more or less: several processes must not start at one moment. A round costs little
where another process has just made one: it finds nothing."""
AT_ONCE = 500
"""Rows of one transaction: messages wait behind it."""
ROUND = 100_000
"""Rows of one round at most."""
ENGINES = frozenset({"django.contrib.sessions.backends.db", "django.contrib.sessions.backends.cached_db"})
"""Session engines that keep rows."""


class SessionCleanup:
    """The event loop's removal of sessions, from the first page that is asked for until the loop's end."""

    def __init__(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run()) if _has_rows() else None

    async def close(self) -> None:
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            # Also before the first: many processes start at one moment.
            await asyncio.sleep(EVERY * random.uniform(0.5, 1.5))  # noqa: S311 it spreads a crowd
            try:
                await remove_expired()
            except Error as error:
                logger.warning("expired sessions were not removed: %s", error)


async def remove_expired() -> int:
    """How many were."""
    removed = 0
    while removed < ROUND and (found := await writing(_remove_some)):
        removed += found
    return removed


def _remove_some() -> int:
    expired = Session.objects.filter(expire_date__lt=timezone.now())
    keys = list(expired.order_by("expire_date").values_list("pk", flat=True)[:AT_ONCE])
    # Once more by the date: one that came to life again meanwhile stays.
    found, _ = expired.filter(pk__in=keys).delete()
    return found


def _has_rows() -> bool:
    return settings.SESSION_ENGINE in ENGINES
