"""The end of a server's connections."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from chat.hub import TICK, Hub
from chat.loops import current
from chat.protocol import CloseCode, Reconnect, encode, frame, now
from chatsite.server.http import ChatHTTPFactory
from chatsite.server.websocket import CLOSE_TIMEOUT, ChatProtocol

RECONNECT_RATE = 500
"""Clients a second that reconnect. Their delays spread them, or the moments at which they are closed."""
RECONNECT_SPREAD = 0.2
"""Seconds over which clients reconnect to other servers, so that those of one moment don't all come at once."""
FIRST_BYTE_TIMEOUT = 1.0
"""Seconds that a new connection may take to send something. Browsers open some that they never use."""


class Server(Protocol):
    """The parts of the server that a drain uses."""

    # Daphne's entry for each connection, with the task of its application.
    connections: dict[Any, dict[str, Any]]

    @property
    def http_factory(self) -> ChatHTTPFactory: ...


class Drain:
    """Tells each socket when to reconnect and closes it with 1012; then waits for requests and applications.

    ``seconds`` is None where no other server takes the clients. Then all sockets are closed at once, each with a
    delay of its own before it reconnects. Otherwise they are closed one after another, within ``seconds``, and
    reconnect at once while the others go on. So each client is away for one reconnect, however many there are.
    """

    def __init__(self, server: Server, seconds: float | None) -> None:
        self._server = server
        self._seconds = seconds
        # Seconds over which the clients that are closed now reconnect.
        self._spread = RECONNECT_SPREAD
        # Set when a request or a handshake ends, or the connection of one.
        self._changed = asyncio.Event()

    async def run(self) -> None:
        current(Hub).draining = True
        first_byte_due = asyncio.get_running_loop().time() + FIRST_BYTE_TIMEOUT
        # Acknowledged changes leave before the close: two ticks of the hub.
        await asyncio.sleep(2 * TICK)
        sockets = self._sockets()
        if self._seconds is None:
            self._spread = len(sockets) / RECONNECT_RATE
            for socket in sockets:
                self._close(socket)
        else:
            await self._close_one_by_one(sockets, self._seconds)
        await self._until(self._is_quiet, first_byte_due)
        await self._until(self._is_done, asyncio.get_running_loop().time() + CLOSE_TIMEOUT)
        applications = self._applications()
        if applications:
            await asyncio.wait(applications, timeout=CLOSE_TIMEOUT)

    def changed(self) -> None:
        """A request or a handshake has ended: check again whether all have."""
        self._changed.set()

    def opened(self, socket: ChatProtocol) -> None:
        """Close a socket whose handshake was under way when the drain began."""
        self._close(socket)
        self.changed()

    async def _close_one_by_one(self, sockets: Sequence[ChatProtocol], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        start, pause = loop.time(), min(1 / RECONNECT_RATE, seconds / max(1, len(sockets)))
        for number, socket in enumerate(sockets):
            await asyncio.sleep(start + number * pause - loop.time())
            self._close(socket)

    def _close(self, socket: ChatProtocol) -> None:
        if socket.state == socket.STATE_OPEN:
            after = round(random.uniform(0, 1_000 * self._spread))  # noqa: S311 a delay, not a secret
            event = Reconnect(after=after, reason=CloseCode.RESTART.meaning, timestamp=now())
            socket.wire.write(frame(encode(event)))
            socket.start_close(CloseCode.RESTART, CloseCode.RESTART.meaning)

    async def _until(self, condition: Callable[[], bool], due: float) -> None:
        """Wait for the condition, until the loop time ``due`` at the latest."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()

    def _is_quiet(self) -> bool:
        """True if nothing is under way and no connection may be about to send its first request."""
        return self._is_done() and not any(channel.is_new for channel in self._server.http_factory.channels)

    def _is_done(self) -> bool:
        """True if no request and no handshake is under way."""
        return not any(channel.is_busy for channel in self._server.http_factory.channels) and not any(
            socket.state == socket.STATE_CONNECTING for socket in self._sockets()
        )

    def _sockets(self) -> list[ChatProtocol]:
        return [protocol for protocol in self._server.connections if isinstance(protocol, ChatProtocol)]

    def _applications(self) -> list["asyncio.Future[None]"]:
        """The applications of sockets that have not ended."""
        found = (self._server.connections[socket].get("application_instance") for socket in self._sockets())
        return [application for application in found if application]
