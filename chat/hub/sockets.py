"""One open socket, as others see it."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chat.auth import Identity
from chat.limits import Allowance
from chat.protocol import AboutRoom
from chat.transport import Transport


def _nothing() -> None:
    pass


PLAIN = AboutRoom()
"""A public room with nothing special about it."""


@dataclass(eq=False, slots=True)
class Socket:
    """One open socket, as others see it."""

    transport: Transport
    # The client's address; "" where the server doesn't tell it (a Unix socket, a test).
    address: str
    identity: Identity = field(default_factory=lambda: Identity(key=f"socket:{secrets.token_hex(8)}"))
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    since: float = field(default_factory=time.time)
    # The name it speaks under, from its first join on; None before.
    username: str | None = None
    # Whose refs its messages have, beside the name.
    author: str = ""
    # The rooms it is in, each as it was told of it.
    rooms: dict[str, AboutRoom] = field(default_factory=dict)
    # What it may spend; None where nothing limits it (a test).
    allowance: Allowance | None = None
    # Called when it was put out of a room.
    on_removed: Callable[[], None] = _nothing
    # How many times it fell behind.
    falls: int = 0

    def claim(self, identity: Identity) -> bool:
        """Say whose it is. False, and nothing changes: they have as many sockets as they may."""
        if self.allowance and not self.allowance.belongs_to(identity.person):
            return False
        self.identity = identity
        return True
