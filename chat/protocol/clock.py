"""The clock whose times are on the wire."""

import time


def now() -> int:
    """The wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
