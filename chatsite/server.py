"""Daphne, fit for the job: used by ``runserver`` and ``serve``.

What stock Daphne 4.2.3 lacks and this adds, by subclassing its public names:

- sockets don't end after 24 hours, and a jump of the clock doesn't end them all;
- frames of at most 64 KiB (stock: 1 MiB);
- a close carries its reason, and may be 1011 or 1012, which are a server's to send (RFC 6455, section 7.4.1);
- a backlog that takes a herd: with the stock 50, 1,000 connects at once take 16 s in SYN retries, here 1 s;
- SIGTERM says goodbye: it stops listening, closes every socket with 1012 and waits for the farewells, so that
  clients know to come back and the applications clean up.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import defer

from chat.protocol import FRAME_LIMIT, CloseCode

logger = logging.getLogger("chatsite.server")

BACKLOG = 4_096
DRAIN = 5.0
"""Seconds that clients have to answer the close on a restart."""
PING_INTERVAL = 15
"""Seconds of silence after which a socket is pinged."""
PING_TIMEOUT = 20
"""Seconds that a pong may take before the connection counts as dead: with the interval and Daphne's 2 s round,
a half-open socket is found in 37 s at most."""


class ChatProtocol(WebSocketProtocol):  # type: ignore[misc]  # daphne ships no types
    """One WebSocket connection."""

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close" and self.state == self.STATE_OPEN:
            self.farewell(message.get("code") or 1000, message.get("reason") or "")
        else:
            super().handle_reply(message)

    def farewell(self, code: int, reason: str) -> None:
        """Start the closing handshake. The reason is cut to the 123 bytes that a close frame has room for."""
        self.sendCloseFrame(code=code, reasonUtf8=_cut(reason, 123), isReply=False)


class ChatServer(Server):  # type: ignore[misc]  # daphne ships no types
    """Daphne's server with the above; ``listening`` is called with each address once it listens."""

    def __init__(
        self, application: Any, *, listening: Callable[[str, int], None] | None = None, **options: Any
    ) -> None:
        super().__init__(
            application,
            **{
                **options,
                "websocket_timeout": -1,
                "websocket_max_message_size": FRAME_LIMIT,
                "websocket_max_frame_size": FRAME_LIMIT,
                "ping_interval": PING_INTERVAL,
                "ping_timeout": PING_TIMEOUT,
                "server_name": "",
            },
        )
        self._listening = listening
        self._ports: list[Any] = []

    @property
    def ws_factory(self) -> WebSocketFactory:
        return self._ws_factory

    @ws_factory.setter
    def ws_factory(self, factory: WebSocketFactory) -> None:
        # ``run`` makes the factory and has no hook for another protocol; this is where it hands it to us.
        factory.protocol = ChatProtocol
        # A frame that breaks the protocol is answered with its close code (1002, 1007, 1009), not cut off.
        factory.setProtocolOptions(failByDrop=False)
        self._ws_factory = factory

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self._ports.append(port)
        if self._listening:
            self._listening(*self.listening_addresses[-1])

    def kill_all_applications(self) -> defer.Deferred[Any]:
        """Called by the reactor before it stops: the drain, then Daphne's own end."""
        drained = defer.Deferred.fromFuture(asyncio.ensure_future(self._drain()))
        drained.addErrback(lambda failure: logger.error("the drain failed: %s", failure))
        return drained.addCallback(lambda _: self._kill_the_rest())

    async def _drain(self) -> None:
        for port in self._ports:
            port.stopListening()
        sockets = [protocol for protocol in self.connections if isinstance(protocol, ChatProtocol)]
        for protocol in sockets:
            if protocol.state == protocol.STATE_OPEN:
                protocol.farewell(CloseCode.RESTART, CloseCode.RESTART.meaning)
        applications = [
            details["application_instance"]
            for protocol in sockets
            if "application_instance" in (details := self.connections[protocol])
        ]
        if applications:
            await asyncio.wait(applications, timeout=DRAIN)

    def _kill_the_rest(self) -> Any:
        # Daphne 4.2.3 fails with a KeyError on connections whose application has ended.
        for protocol in [
            known for known, details in self.connections.items() if "application_instance" not in details
        ]:
            del self.connections[protocol]
        return super().kill_all_applications()


def endpoint(host: str, port: int) -> str:
    """A Twisted endpoint description for a TCP address."""
    escaped = host.strip("[]").replace(":", r"\:")
    return f"tcp:port={port}:interface={escaped}:backlog={BACKLOG}"


def _cut(text: str, size: int) -> bytes:
    return text.encode()[:size].decode(errors="ignore").encode()
