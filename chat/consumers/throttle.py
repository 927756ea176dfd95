"""How fast a socket may go on: what is too much is refused, then read slowly, then closed."""

import asyncio

from chat.conf import chat_settings
from chat.limits import Allowance
from chat.protocol import ErrorCode, Invalid

SLOWEST = 1.0
"""Seconds between two frames of a socket that goes on and on."""


class Throttle:
    """One socket's."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        # Commands that were refused for too many; each that was not makes one good.
        self.refused = 0

    def pay(self, cost: float) -> None:
        """Raises Invalid (too_many), with the time after which it may be tried again."""
        wait = self._allowance.take(cost)
        if not wait:
            self.refused = max(0, self.refused - 1)
            return
        self.refused += 1
        message = "Too many commands for now: wait a little."
        raise Invalid(ErrorCode.TOO_MANY, message, retry_after=wait)

    @property
    def is_hopeless(self) -> bool:
        return self.refused >= chat_settings().REFUSALS_CLOSE

    async def keep(self) -> None:
        """Let one wait that does not listen: TCP then holds back what it sends, and costs nothing."""
        if self.refused >= chat_settings().REFUSALS:
            await asyncio.sleep(SLOWEST)
