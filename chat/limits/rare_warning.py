"""Warnings that any client can cause: at most one a minute."""

import logging
import threading
import time
from collections.abc import Callable

INTERVAL = 60.0
"""Seconds between two warnings."""


class RareWarning:
    """Logs a warning, unless it logged one in the last minute. Safe to call from any thread."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        # Time of the last warning; -inf before the first.
        self._last = float("-inf")

    def warn(self, message: str, *arguments: object) -> bool:
        """Log a warning. False if the last one was less than a minute ago."""
        with self._lock:
            now = self._clock()
            if now - self._last < INTERVAL:
                return False
            self._last = now
        self._logger.warning(message, *arguments)
        return True

    def clear(self) -> None:
        """Forget the last warning. For tests."""
        self._last = float("-inf")
