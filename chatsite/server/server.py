"""Daphne's server, with our connections."""

import asyncio
import gc
import logging
import random
from collections.abc import Callable
from typing import Any

from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory
from twisted.internet import defer

from chat.hub import TICK
from chat.lanes import WIRE
from chat.protocol import FRAME_LIMIT, CloseCode, Reconnect, encode, frame, now
from chatsite.server.guard import Door
from chatsite.server.http import Deadlines, Factory
from chatsite.server.inbox import INBOX_OF, Inbox, with_inbox
from chatsite.server.protocol import FAREWELL, ChatProtocol
from chatsite.server.wire import Wire

logger = logging.getLogger("chatsite.server")

BACKLOG = 4_096
RETURNS = 500
"""Clients a second that may come back after a restart: each is told its own moment."""
PING_INTERVAL = 20
"""Seconds of silence after which a socket is pinged."""
PING_TIMEOUT = 15
"""Seconds that a pong may take before the connection counts as dead: with the interval and Daphne's 2 s round,
a half-open socket is found in 37 s at most. Less than the interval: Autobahn keeps one timeout at a time."""
GC_THRESHOLDS = (50_000, 20, 50)
"""How many new objects make a garbage collection, and how many of these one of the next generation. With Python's
own (700, 10, 10), 10,000 joins into one room took 9.2 s instead of 6.6, and the p99 of 16 messages in flight was
half as high again."""


class ChatServer(Server):  # type: ignore[misc]  # daphne ships no types
    """Daphne's server with the above; ``listening`` is called with each address once it listens."""

    def __init__(
        self,
        application: Any,
        *,
        listening: Callable[[str, int], None] | None = None,
        deadlines: Deadlines = Deadlines(),  # noqa: B008 it can't be changed
        **options: Any,
    ) -> None:
        super().__init__(
            with_inbox(application),
            **{
                "ping_interval": PING_INTERVAL,
                "ping_timeout": PING_TIMEOUT,
                **options,
                "websocket_timeout": -1,
                "websocket_max_message_size": FRAME_LIMIT,
                "websocket_max_frame_size": FRAME_LIMIT,
                "server_name": "",
            },
        )
        self._listening = listening
        self._deadlines = deadlines
        self._ports: list[Any] = []

    @property
    def ws_factory(self) -> WebSocketFactory:
        return self._ws_factory

    @ws_factory.setter
    def ws_factory(self, factory: WebSocketFactory) -> None:
        # ``run`` makes the factory and has no hook for another protocol; this is where it hands it to us.
        factory.protocol = ChatProtocol
        # A frame that breaks the protocol is answered with its close code (1002, 1007, 1009), not cut off.
        factory.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=FAREWELL)
        self._ws_factory = factory

    @property
    def http_factory(self) -> Factory:
        return self._http_factory

    @http_factory.setter
    def http_factory(self, _: Any) -> None:
        # As above: ``run`` makes one, and ours takes its place.
        self._http_factory = Factory(self, self._deadlines)

    def run(self) -> None:
        # What is loaded by now stays: the collector need not look at it again and again. And of the rest a busy
        # server makes so much that the default thresholds have it walk through all sockets several times a second.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        super().run()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if not isinstance(protocol, ChatProtocol):
            return super().create_application(protocol, scope)
        inbox = Inbox(protocol)
        protocol.wire = Wire(protocol)
        scope.setdefault("extensions", {}).update({WIRE: protocol.wire, INBOX_OF: inbox})
        # None where the connection is gone already.
        return inbox if super().create_application(protocol, scope) is not None else None

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        port.factory = Door(port.factory)
        self._ports.append(port)
        if self._listening:
            self._listening(*self.listening_addresses[-1])

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        super().log_action(protocol, action, {**details, "path": loggable(str(details["path"]))})

    def kill_all_applications(self) -> defer.Deferred[Any]:
        """Called by the reactor before it stops: the drain, then Daphne's own end."""
        drained = defer.Deferred.fromFuture(asyncio.ensure_future(self._drain()))
        drained.addErrback(lambda failure: logger.error("the drain failed: %s", failure))
        return drained.addCallback(lambda _: self._kill_the_rest())

    async def _drain(self) -> None:
        for port in self._ports:
            port.stopListening()
        # What was acknowledged goes out before the farewell: two ticks of the hub.
        await asyncio.sleep(2 * TICK)
        sockets = [protocol for protocol in self.connections if isinstance(protocol, ChatProtocol)]
        for protocol in sockets:
            _send_off(protocol, spread=len(sockets) / RETURNS)
        applications = [
            details["application_instance"]
            for protocol in sockets
            if "application_instance" in (details := self.connections[protocol])
        ]
        if applications:
            await asyncio.wait(applications, timeout=FAREWELL)

    def _kill_the_rest(self) -> Any:
        # Daphne 4.2.3 fails with a KeyError on connections whose application has ended.
        ended = [known for known, details in self.connections.items() if "application_instance" not in details]
        for protocol in ended:
            del self.connections[protocol]
        return super().kill_all_applications()


def _send_off(protocol: ChatProtocol, *, spread: float) -> None:
    """Tell one client to come back, at a moment of its own within ``spread`` seconds, and close it."""
    if protocol.state == protocol.STATE_OPEN:
        after = round(random.uniform(0, 1_000 * spread))  # noqa: S311 chance, no secret
        event = Reconnect(after=after, reason=CloseCode.RESTART.meaning, timestamp=now())
        protocol.wire.write(frame(encode(event)))
        protocol.farewell(CloseCode.RESTART, CloseCode.RESTART.meaning)


def endpoint(host: str, port: int) -> str:
    """A Twisted endpoint description for a TCP address."""
    escaped = host.strip("[]").replace(":", r"\:")
    return f"tcp:port={port}:interface={escaped}:backlog={BACKLOG}"


def loggable(path: str) -> str:
    """A path as the log may have it: no query, which may hold secrets, and nothing that steers a terminal."""
    shown = path.partition("?")[0]
    return shown if shown.isprintable() else repr(shown)
