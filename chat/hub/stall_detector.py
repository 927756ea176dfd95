"""A process that stood still does not know what was said and decided meanwhile: it learns that, then goes on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from chat.protocol import Invalid

logger = logging.getLogger("chat.hub")

LONGEST = 2.0
"""Seconds without a turn of the event loop, after which what is known here may be too old to act by: the process
or its machine was stopped, or something blocked the loop. In one that runs, the comparison with the log each
second keeps it younger."""
LOOK = 1.0
"""Seconds between two looks at the time, where nobody does anything."""
PATIENCE = 3.0
"""Seconds that all wait for the log then, at most: where the database is away too, they go on without it."""


class StallDetector:
    """One per hub. ``learn`` finds out what was missed; it may raise Invalid (busy)."""

    def __init__(self, learn: Callable[[], Awaitable[None]]) -> None:
        self._learn = learn
        self._loop = asyncio.get_running_loop()
        # When this process was last seen to run, in the loop's time; None while nobody watches: it may rest, then.
        self._ran: float | None = None
        # Is what is known here too old? And what changes that; None while nothing needs to.
        self._old = False
        self._waking: asyncio.Task[None] | None = None

    def waking(self) -> asyncio.Task[None] | None:
        """What has to end before one may act by what is known here, if anything. Asked before every command."""
        if self._ran is None:
            return None
        now = self._loop.time()
        if now - self._ran > LONGEST:
            logger.warning("this process stood still for %.1f s: it compares itself with the log", now - self._ran)
            self._old = True
            self._waking = self._waking or self._loop.create_task(self._wake())
        self._ran = now
        return self._waking

    async def end(self) -> None:
        """Return when what was missed is known, or can't be."""
        while waking := self.waking():
            # Not the task itself: who waits for it may give up.
            await asyncio.wait([waking])

    async def watch(self) -> None:
        """Look at the time now and then, until cancelled."""
        self._ran = self._loop.time()
        try:
            while True:
                self.waking()
                await asyncio.sleep(LOOK)
        finally:
            self._ran = None
            if self._waking:
                self._waking.cancel()

    async def _wake(self) -> None:
        try:
            with suppress(TimeoutError, Invalid):
                async with asyncio.timeout(PATIENCE):
                    # Once more where it stood still again meanwhile: the answer is old then, too.
                    while self._old:
                        self._old = False
                        await self._learn()
        finally:
            self._old, self._waking = False, None
