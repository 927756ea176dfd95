"""The timers of one socket: it must join a room in time, and its token expires."""

import asyncio
import time

from chat import protocol
from chat.actions import AccessEnforcer
from chat.conf import chat_settings
from chat.hub import Socket
from chat.loops import current
from chat.protocol import CloseCode, Expiring


class Timeouts:
    """One per socket."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        # Closes the socket if it is in no room, or None.
        self._join_timer: asyncio.TimerHandle | None = None
        # Timers that warn, then close; and when the token expires (seconds since 1970), or None.
        self._expiry: list[asyncio.TimerHandle] = []
        self._expires: float | None = None

    def restart_join_timer(self) -> None:
        """The socket must be in a room JOIN_TIMEOUT seconds from now."""
        if self._join_timer:
            self._join_timer.cancel()
        self._join_timer = self._loop.call_later(chat_settings().JOIN_TIMEOUT, self._expect_join)

    def follow_token(self) -> None:
        """Set the timers of the socket's token, if it expires at another time than before."""
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
        if self._join_timer:
            self._join_timer.cancel()
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
