"""What happens to a socket when time passes: it joined no room, or its token expires."""

import asyncio
import time

from chat import protocol
from chat.actions import AccessEnforcer
from chat.conf import chat_settings
from chat.hub import Socket
from chat.loops import current
from chat.protocol import CloseCode, Expiring


class Timeouts:
    """One socket's."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        # Closes a socket that is in no room.
        self._patience: asyncio.TimerHandle | None = None
        # Warns, then closes; and when the token that they are for expires.
        self._expiry: list[asyncio.TimerHandle] = []
        self._expires: float | None = None

    def be_patient(self) -> None:
        """A socket that is in no room may look for one for so long, from now."""
        if self._patience:
            self._patience.cancel()
        self._patience = self._loop.call_later(chat_settings().JOIN_TIMEOUT, self._expect_join)

    def follow_token(self) -> None:
        """Look at when the socket's token expires, which may be another time than before."""
        expires = self._socket.identity.proof.expires
        if expires == self._expires:
            return
        self._cancel_expiry()
        self._expires = expires
        if expires is not None:
            left = max(0.0, expires - time.time())
            warning = max(0.0, left - chat_settings().JWT_WARNING)
            self._expiry = [
                self._loop.call_later(warning, self._warn),
                self._loop.call_later(left, current(AccessEnforcer).end_session, self._socket),
            ]

    def cancel(self) -> None:
        if self._patience:
            self._patience.cancel()
        self._cancel_expiry()

    def _cancel_expiry(self) -> None:
        for timer in self._expiry:
            timer.cancel()
        self._expiry = []

    def _expect_join(self) -> None:
        if not self._socket.rooms:
            self._socket.transport.close(CloseCode.IDLE)

    def _warn(self) -> None:
        left = max(0, round(1_000 * ((self._expires or 0) - time.time())))
        self._socket.transport.send(protocol.encode(Expiring(after=left, timestamp=protocol.now())))
