"""How a server that ends lets go of its connections."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from chat.hub import TICK, Hub
from chat.loops import of_this_loop
from chat.protocol import CloseCode, Reconnect, encode, frame, now
from chatsite.server.http import Factory
from chatsite.server.websocket import FAREWELL, ChatProtocol

RETURNS = 500
"""Clients a second that come back: after a restart each at its own moment, and otherwise as they are let go."""
AT_ONCE = 0.2
"""Seconds within which a client comes back that somebody else waits for: not all of one moment in one moment."""
FRESH = 1.0
"""Seconds that a new connection may take to say something. Browsers open some that they may never need."""


class Server(Protocol):
    """What a drain uses of the server."""

    # Daphne's: its own notes on each connection, and the task of its application among them.
    connections: dict[Any, dict[str, Any]]

    @property
    def http_factory(self) -> Factory: ...


class Drain:
    """The end of a server's connections: each socket is told when to come back, and closed with 1012.

    Where nobody else takes the clients meanwhile (``within`` is None) all are told at once, each a moment of its
    own. Otherwise they are let go one after another, in so many seconds at most, to come back at once; the others
    go on meanwhile. So each is away for the time of one reconnect, however many there are.
    """

    def __init__(self, server: Server, within: float | None) -> None:
        self._server = server
        self._within = within
        # Seconds within which those come back that are told now.
        self._spread = AT_ONCE
        # Set when a request has ended, a handshake too, or their connection.
        self._moved = asyncio.Event()

    async def run(self) -> None:
        of_this_loop(Hub).draining = True
        fresh = asyncio.get_running_loop().time() + FRESH
        # What was acknowledged goes out before the farewell: two ticks of the hub.
        await asyncio.sleep(2 * TICK)
        sockets = self._sockets()
        if self._within is None:
            self._spread = len(sockets) / RETURNS
            for socket in sockets:
                self._send_off(socket)
        else:
            await self._let_go(sockets, self._within)
        await self._until(self._is_quiet, fresh)
        await self._until(self._is_done, asyncio.get_running_loop().time() + FAREWELL)
        applications = self._applications()
        if applications:
            await asyncio.wait(applications, timeout=FAREWELL)

    def moved(self) -> None:
        """A request or a handshake that was under way is not any more."""
        self._moved.set()

    def opened(self, socket: ChatProtocol) -> None:
        """Its handshake was under way when the drain began."""
        self._send_off(socket)
        self.moved()

    async def _let_go(self, sockets: Sequence[ChatProtocol], within: float) -> None:
        loop = asyncio.get_running_loop()
        start, pause = loop.time(), min(1 / RETURNS, within / max(1, len(sockets)))
        for number, socket in enumerate(sockets):
            await asyncio.sleep(start + number * pause - loop.time())
            self._send_off(socket)

    def _send_off(self, socket: ChatProtocol) -> None:
        if socket.state == socket.STATE_OPEN:
            after = round(random.uniform(0, 1_000 * self._spread))  # noqa: S311 chance, no secret
            event = Reconnect(after=after, reason=CloseCode.RESTART.meaning, timestamp=now())
            socket.wire.write(frame(encode(event)))
            socket.farewell(CloseCode.RESTART, CloseCode.RESTART.meaning)

    async def _until(self, condition: Callable[[], bool], end: float) -> None:
        """Wait for the condition, up to a moment of the loop's time."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while not condition():
                    self._moved.clear()
                    await self._moved.wait()

    def _is_quiet(self) -> bool:
        """Does nobody want anything, and may nobody be about to?"""
        return self._is_done() and not any(channel.silent for channel in self._server.http_factory.channels)

    def _is_done(self) -> bool:
        """Is no request under way, and no handshake?"""
        return not any(channel.busy for channel in self._server.http_factory.channels) and not any(
            socket.state == socket.STATE_CONNECTING for socket in self._sockets()
        )

    def _sockets(self) -> list[ChatProtocol]:
        return [protocol for protocol in self._server.connections if isinstance(protocol, ChatProtocol)]

    def _applications(self) -> list["asyncio.Future[None]"]:
        """Those of sockets that have not ended."""
        found = (self._server.connections[socket].get("application_instance") for socket in self._sockets())
        return [application for application in found if application]
