"""One open socket, as others see it."""

import secrets
import time
from dataclasses import dataclass, field

from chat.lanes import Lane


@dataclass(eq=False, slots=True)
class Socket:
    """One open socket, as others see it."""

    lane: Lane
    # The peer's address, as the server tells it; "" where it doesn't (a Unix socket, a test).
    address: str
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    since: float = field(default_factory=time.time)
    # The name it speaks under, from its first join on; None before.
    username: str | None = None
    # Whose refs its messages have, beside the name.
    author: str = ""
    # The rooms it is in.
    rooms: set[str] = field(default_factory=set)
    # How many times it fell behind.
    falls: int = 0
