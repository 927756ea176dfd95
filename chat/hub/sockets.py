"""One open socket, as the rest of the server knows it."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chat.auth import Identity
from chat.limits import Allowance
from chat.transport import Transport


def _nothing() -> None:
    pass


@dataclass(eq=False, slots=True)
class Socket:
    """One open socket. Its consumer makes it; the hub holds it until it is closed."""

    transport: Transport
    # The client's address. "": the server does not know it (a Unix socket, a test).
    address: str
    identity: Identity = field(default_factory=lambda: Identity(key=f"socket:{secrets.token_hex(8)}"))
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    since: float = field(default_factory=time.time)
    # The name that it posts under, from its first join on, or None.
    username: str | None = None
    # The namespace of its messages' refs.
    author: str = ""
    # The rooms that it is in. The value is what the kind of room last sent the client about it, or None.
    rooms: dict[str, object] = field(default_factory=dict)
    # Its rate limits, or None (a test).
    allowance: Allowance | None = None
    # Called when it was removed from a room.
    on_removed: Callable[[], None] = _nothing
    # How often it fell behind.
    falls: int = 0

    def claim(self, identity: Identity) -> bool:
        """Bind the socket to an identity. False, and no change, if they have as many sockets as they may."""
        if self.allowance and not self.allowance.assign_to(identity.person):
            return False
        self.identity = identity
        return True
