"""Notices that this process was stopped: what it knows is too old then, and it catches up before it goes on.

if loop.time() > hub.stalls.fresh_until:    # before every command
    await hub.stalls.end()
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

from chat.protocol import Invalid

logger = logging.getLogger("chat.hub")

LONGEST = 2.0
"""Seconds without a turn of the event loop after which this process must not act on what it knows: the process or
its machine was stopped, or something blocked the loop. In a running process the comparison each second
(chat.hub.reconcile) keeps it younger than that."""
INTERVAL = 0.25
"""Seconds between two checks that the loop runs. A stall may be taken for longer than it was by so much."""
LEARN_TIMEOUT = 3.0
"""Most seconds that commands wait for the log after a stall. Then they go on with what is known."""


class StallDetector:
    """One per hub. ``learn`` reads what was missed; it may raise Invalid (busy)."""

    def __init__(self, learn: Callable[[], Awaitable[None]]) -> None:
        self._learn = learn
        self._loop = asyncio.get_running_loop()
        # When this process was last seen running (loop time). None: nobody watches, and it may rest.
        self._ran: float | None = None
        # Loop time until which a command may act on what is known here.
        self.fresh_until = math.inf
        # True: what is known here is too old. The task that reads what was missed, or None.
        self._old = False
        self._waking: asyncio.Task[None] | None = None

    def waking(self) -> asyncio.Task[None] | None:
        """Note that the loop runs. Returns the task that must end before a command may go on, or None."""
        if self._ran is None:
            return None
        now = self._loop.time()
        if now - self._ran > LONGEST:
            logger.warning("this process stood still for %.1f s: it compares itself with the log", now - self._ran)
            self._old = True
            self._waking = self._waking or self._loop.create_task(self._wake())
        self._ran = now
        self.fresh_until = -math.inf if self._waking else now + LONGEST
        return self._waking

    async def end(self) -> None:
        """Return when what was missed is known, or can't be."""
        while waking := self.waking():
            # Not the task itself: a caller may be cancelled.
            await asyncio.wait([waking])

    async def watch(self) -> None:
        """Check the time now and then, until cancelled."""
        self._ran = self._loop.time()
        try:
            while True:
                self.waking()
                await asyncio.sleep(INTERVAL)
        finally:
            self._ran, self.fresh_until = None, math.inf
            if self._waking:
                self._waking.cancel()

    async def _wake(self) -> None:
        try:
            with suppress(TimeoutError, Invalid):
                async with asyncio.timeout(LEARN_TIMEOUT):
                    # Again after another stall: the answer is too old by then, too.
                    while self._old:
                        self._old = False
                        await self._learn()
        finally:
            self._old, self._waking = False, None
            self.waking()
