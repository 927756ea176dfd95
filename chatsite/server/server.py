"""Daphne's server, with our connections."""

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

from chat.hub import Hub
from chat.lanes import WIRE
from chat.loops import close_this_loop, of_this_loop
from chat.presence import Presence
from chat.protocol import FRAME_LIMIT
from chatsite.logs import shortened
from chatsite.server import internals
from chatsite.server.admission import AdmissionFactory
from chatsite.server.drain import Drain
from chatsite.server.http import Deadlines, Factory
from chatsite.server.inbox import INBOX_OF, Inbox, with_inbox
from chatsite.server.websocket import FAREWELL, ChatProtocol
from chatsite.server.wire import Wire

logger = logging.getLogger("chatsite.server")

internals.check()


PING_INTERVAL = 20
"""Seconds of silence after which a socket is pinged."""
PING_TIMEOUT = 15
"""Seconds that a pong may take before the connection counts as dead: with the interval and Daphne's 2 s round,
a half-open socket is found in 37 s at most. Less than the interval: Autobahn keeps one timeout at a time."""
PATH = 200
"""Characters of a path that the log may have."""
GC_THRESHOLDS = (50_000, 20, 50)
"""How many new objects make a garbage collection, and how many of these one of the next generation. With Python's
own (700, 10, 10), 10,000 joins into one room took 9.2 s instead of 6.6, and the p99 of 16 messages in flight was
half as high again."""


class ChatServer(Server):  # type: ignore[misc]  # daphne ships no types
    """Daphne's server with the above.

    It listens on ``listener``, which it takes over, or on Daphne's ``endpoints``. ``listening`` is called with
    each address once it listens, ``stopping`` when it begins to end. ``beside`` is given the server and runs in
    its loop as long as that does. ``drain_within``: others take the clients of a server that ends, and it lets go
    of them in so many seconds; None: nobody does (see Drain).
    """

    def __init__(
        self,
        application: Any,
        *,
        endpoints: Sequence[str] = (),
        listener: socket.socket | None = None,
        listening: Callable[[str, int], None] | None = None,
        stopping: Callable[[], None] | None = None,
        beside: Callable[["ChatServer"], Coroutine[Any, Any, None]] | None = None,
        drain_within: float | None = None,
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
                "ready_callable": self._begin,
                # Daphne wants some when it is made, and only then.
                "endpoints": ["a socket"],
            },
        )
        self.endpoints = endpoints
        self._listener = listener
        self._listening = listening
        self._stopping = stopping
        self._beside = beside
        # The task that runs it; None before it does.
        self._companion: asyncio.Task[None] | None = None
        self._drain_within = drain_within
        self._deadlines = deadlines
        self._ports: list[Any] = []
        # None as long as nobody asked us to end.
        self.drain: Drain | None = None

    @property
    def ws_factory(self) -> WebSocketFactory:
        return self._ws_factory

    @ws_factory.setter
    def ws_factory(self, factory: WebSocketFactory) -> None:
        # ``run`` makes the factory and has no hook for another protocol; this is where it hands it to us.
        factory.protocol = ChatProtocol
        factory.setProtocolOptions(closeHandshakeTimeout=FAREWELL)
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
        port.factory = AdmissionFactory(port.factory)
        self._ports.append(port)
        if self._listening:
            self._listening(*self.listening_addresses[-1])

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        super().log_action(protocol, action, {**details, "path": loggable(str(details["path"]))})

    def _begin(self) -> None:
        """Called before the loop runs, unless an endpoint failed."""
        if self._listener:
            self._take_over(self._listener)
        loop = asyncio.get_event_loop()
        # The others need not wait for our first visitor to know of us, nor we to know of them.
        loop.call_soon(_follow)
        if self._beside:
            self._companion = loop.create_task(self._beside(self))

    def _take_over(self, listener: socket.socket) -> None:
        # Daphne's endpoint for this knows IPv4 only.
        with listener:
            listener.settimeout(0)
            port = reactor.adoptStreamPort(listener.fileno(), listener.family, self.http_factory)
        # Twisted has a descriptor of its own now. With ours open too the port would be ours until we are gone.
        self.listen_success(port)

    def roll(self, within: float) -> None:
        """End, for others take our clients; let go of them in so many seconds, where we know no other number."""
        if self._drain_within is None:
            self._drain_within = within
        self.stop()

    def stop(self) -> None:
        # It may be asked for more than once.
        with suppress(ReactorNotRunning):
            super().stop()

    def kill_all_applications(self) -> defer.Deferred[Any]:
        """Called by the reactor before it stops: the drain, then Daphne's own end."""
        drained = defer.Deferred.fromFuture(asyncio.ensure_future(self._say_farewell()))
        drained.addErrback(lambda failure: logger.error("the drain failed: %s", failure))
        drained.addCallback(lambda _: self._kill_the_rest())
        return drained.addCallback(lambda _: defer.Deferred.fromFuture(asyncio.ensure_future(_close_up())))

    async def _say_farewell(self) -> None:
        if self._stopping:
            self._stopping()
        # What waits to be taken goes to the other processes that share the port.
        for port in self._ports:
            port.stopListening()
        self.drain = Drain(self, self._drain_within)
        await self.drain.run()

    def _kill_the_rest(self) -> Any:
        # Daphne 4.2.3 fails with a KeyError on connections whose application has ended.
        ended = [known for known, details in self.connections.items() if "application_instance" not in details]
        for protocol in ended:
            del self.connections[protocol]
        if self._companion:
            self._companion.cancel()
        return super().kill_all_applications()


def _follow() -> None:
    of_this_loop(Hub).follow()
    of_this_loop(Presence).follow()


async def _close_up() -> None:
    """End what belongs to the loop: what waits for the database is kept, other processes hear that we are gone."""
    try:
        async with asyncio.timeout(FAREWELL):
            await close_this_loop()
    except Exception:
        # Nothing comes after it that could mend it, and it must not keep us from ending.
        logger.exception("what belongs to the event loop did not end")


def loggable(path: str) -> str:
    """A path as the log may have it: no query, which may hold secrets, and nothing that steers a terminal."""
    shown = shortened(path.partition("?")[0], PATH)
    return shown if shown.isprintable() else repr(shown)
