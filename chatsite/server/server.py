"""The server: Daphne's, with the protocols, limits and drain of this package."""

import asyncio
import gc
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory
from twisted.internet import defer, reactor
from twisted.internet.error import ReactorNotRunning

from chat import runtime
from chat.loops import close_current
from chat.protocol import FRAME_LIMIT
from chat.transport import WIRE
from chatsite.logs import shortened
from chatsite.server import internals
from chatsite.server.admission import AdmissionFactory
from chatsite.server.drain import Drain
from chatsite.server.http import ChatHTTPFactory, Deadlines
from chatsite.server.inbox import INBOX_OF, Inbox, with_inbox
from chatsite.server.websocket import CLOSE_TIMEOUT, ChatProtocol
from chatsite.server.wire import Wire

logger = logging.getLogger("chatsite.server")

internals.check()


PING_INTERVAL = 20
"""Seconds of silence after which a socket is pinged."""
PING_TIMEOUT = 15
"""Seconds that a pong may take. With the interval and Daphne's check every 2 s, a half-open socket is found in
37 s at most. It is less than the interval because Autobahn keeps one timeout at a time."""
PATH_LIMIT = 200
"""Characters of a path in the log."""
GC_THRESHOLDS = (50_000, 20, 50)
"""New objects for each garbage collection, and collections for each one of the next generation.

With Python's own (700, 10, 10), 10,000 joins into one room took 9.2 s instead of 6.6. The p99 of 16 messages in
flight was half as high again.
"""


class ChatServer(Server):  # type: ignore[misc]  # daphne ships no types
    """Daphne's server, extended.

    It adopts ``listener``, or listens on Daphne's ``endpoints``.

    - ``on_listen(host, port)`` is called for each address once the server listens.
    - ``on_stop()`` is called when the server begins to end.
    - ``companion(server)`` is a coroutine that runs in the server's loop until the server ends.
    - ``drain_seconds``: time to close the sockets one after another, if other servers take the clients; None if no
      other server does (see ``Drain``).
    """

    def __init__(
        self,
        application: Any,
        *,
        endpoints: Sequence[str] = (),
        listener: socket.socket | None = None,
        on_listen: Callable[[str, int], None] | None = None,
        on_stop: Callable[[], None] | None = None,
        companion: Callable[["ChatServer"], Coroutine[Any, Any, None]] | None = None,
        drain_seconds: float | None = None,
        deadlines: Deadlines = Deadlines(),  # noqa: B008 it is frozen
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
                "ready_callable": self._start,
                # Daphne requires one here. The next line replaces it.
                "endpoints": ["a socket"],
            },
        )
        self.endpoints = endpoints
        self._listener = listener
        self._on_listen = on_listen
        self._on_stop = on_stop
        self._companion = companion
        # Task of the companion, or None before the loop runs.
        self._companion_task: asyncio.Task[None] | None = None
        self._drain_seconds = drain_seconds
        self._deadlines = deadlines
        self._ports: list[Any] = []
        # None until the server begins to end.
        self.drain: Drain | None = None

    @property
    def ws_factory(self) -> WebSocketFactory:
        return self._ws_factory

    @ws_factory.setter
    def ws_factory(self, factory: WebSocketFactory) -> None:
        # Daphne's ``run`` makes the factory and has no hook for another protocol, but it assigns the factory here.
        factory.protocol = ChatProtocol
        factory.setProtocolOptions(closeHandshakeTimeout=CLOSE_TIMEOUT)
        self._ws_factory = factory

    @property
    def http_factory(self) -> ChatHTTPFactory:
        return self._http_factory

    @http_factory.setter
    def http_factory(self, _: Any) -> None:
        # As above: ours takes the place of the one that ``run`` makes.
        self._http_factory = ChatHTTPFactory(self, self._deadlines)

    def run(self) -> None:
        # The collector need not examine loaded code, which stays. A busy server makes many objects: by Python's
        # thresholds the collector would walk through all sockets several times a second.
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
        # Daphne returns None if the connection is gone already.
        return inbox if super().create_application(protocol, scope) is not None else None

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        port.factory = AdmissionFactory(port.factory)
        self._ports.append(port)
        if self._on_listen:
            self._on_listen(*self.listening_addresses[-1])

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        super().log_action(protocol, action, {**details, "path": loggable(str(details["path"]))})

    def _start(self) -> None:
        """Called before the loop runs, unless an endpoint failed."""
        if self._listener:
            self._adopt(self._listener)
        loop = asyncio.get_event_loop()
        # Join the cluster now, not at the first connection.
        loop.call_soon(_follow_others)
        if self._companion:
            self._companion_task = loop.create_task(self._companion(self))

    def _adopt(self, listener: socket.socket) -> None:
        # Daphne's endpoint for a descriptor knows IPv4 only.
        with listener:
            listener.settimeout(0)
            port = reactor.adoptStreamPort(listener.fileno(), listener.family, self.http_factory)
        # Twisted has duplicated the descriptor, and ours is closed: open, it would keep the port in use.
        self.listen_success(port)

    def roll(self, seconds: float) -> None:
        """End while other servers take the clients, within ``drain_seconds`` or, without these, ``seconds``."""
        if self._drain_seconds is None:
            self._drain_seconds = seconds
        self.stop()

    def stop(self) -> None:
        # Both the master and a signal may stop a server.
        with suppress(ReactorNotRunning):
            super().stop()

    def kill_all_applications(self) -> defer.Deferred[Any]:
        """Called by the reactor before it stops: the drain, then Daphne's own end."""
        drained = defer.Deferred.fromFuture(asyncio.ensure_future(self._run_drain()))
        drained.addErrback(lambda failure: logger.error("the drain failed: %s", failure))
        drained.addCallback(lambda _: self._kill_applications())
        return drained.addCallback(lambda _: defer.Deferred.fromFuture(asyncio.ensure_future(_close_loop())))

    async def _run_drain(self) -> None:
        if self._on_stop:
            self._on_stop()
        # Connections that wait to be accepted go to the other processes that share the port.
        for port in self._ports:
            port.stopListening()
        self.drain = Drain(self, self._drain_seconds)
        await self.drain.run()

    def _kill_applications(self) -> Any:
        # Daphne 4.2.3 fails with a KeyError on connections whose application has ended.
        ended = [known for known, details in self.connections.items() if "application_instance" not in details]
        for protocol in ended:
            del self.connections[protocol]
        if self._companion_task:
            self._companion_task.cancel()
        return super().kill_all_applications()


def _follow_others() -> None:
    runtime.join_cluster()


async def _close_loop() -> None:
    """Close the chat's objects of this loop: pending writes are kept, and other processes learn that we end."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await close_current()
    except Exception:
        # The process ends all the same.
        logger.exception("what belongs to the event loop did not end")


def loggable(path: str) -> str:
    """A path for the log: without its query, which may hold secrets, and without control characters."""
    shown = shortened(path.partition("?")[0], PATH_LIMIT)
    return shown if shown.isprintable() else repr(shown)
