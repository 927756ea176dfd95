"""The consequences of refused commands: the socket is read slowly, and closed in the end."""

import asyncio

from chat.conf import chat_settings
from chat.protocol import ErrorCode, Invalid

SLOW_READ = 1.0
"""Seconds between two frames of a socket that keeps exceeding its limit."""


class Throttle:
    """One per socket. A socket that has paid for all its commands has nothing to count."""

    def __init__(self) -> None:
        # Refused commands, less the accepted ones since.
        self.refused = 0

    def count(self, wait: int) -> None:
        """Count a command that is refused for ``wait`` milliseconds, or accepted (0).

        Raises Invalid (too_many) if it is refused.
        """
        if not wait:
            self.refused = max(0, self.refused - 1)
            return
        self.refused += 1
        message = "Too many commands for now: wait a little."
        raise Invalid(ErrorCode.TOO_MANY, message, retry_after=wait)

    @property
    def is_hopeless(self) -> bool:
        return self.refused >= chat_settings().REFUSALS_CLOSE

    async def slow_down(self) -> None:
        """Slow down a client that ignores refusals: TCP then holds back its frames, at no cost."""
        if self.refused >= chat_settings().REFUSALS:
            await asyncio.sleep(SLOW_READ)
