"""Log lines that anybody can cause: at most one a minute."""

import logging
import threading
import time
from collections.abc import Callable

MINUTE = 60.0


class RareWarning:
    """Writes a warning, unless one was written in the last minute. Any thread may call it."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        # The time of the last line; -inf before the first.
        self._last = float("-inf")

    def warn(self, message: str, *arguments: object) -> bool:
        """Write it. False where it is too soon after the last one."""
        with self._lock:
            now = self._clock()
            if now - self._last < MINUTE:
                return False
            self._last = now
        self._logger.warning(message, *arguments)
        return True

    def clear(self) -> None:
        """The next line is the first: for tests."""
        self._last = float("-inf")
