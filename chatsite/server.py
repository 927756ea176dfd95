"""Daphne, fit for the job: used by ``runserver`` and ``serve``.

What stock Daphne 4.2.3 lacks and this adds, by subclassing its public names:

- a wire for each socket (``Wire``), for ready bytes: the fast lane of chat.lanes;
- bounds on what waits, both ways: stock Daphne grew by 250 MB for one client that did not read them, and by 346 MB
  for one that sent faster than its handler took;
- sockets don't end after 24 hours, and a jump of the clock doesn't end them all;
- frames of at most 64 KiB (stock: 1 MiB), and an error of the peer is answered with its close code, not cut off;
- a close carries its reason, and may be 1011 or 1012, which are a server's to send (RFC 6455, section 7.4.1);
- the garbage collector walks through all sockets now and then, not several times a second;
- a backlog that takes a herd: with the stock 50, 1,000 connects at once take 16 s in SYN retries, here 1 s;
- SIGTERM says goodbye: it stops listening, tells each client when to come back, closes every socket with 1012 and
  waits for the farewells.

Names that are private in Daphne, Autobahn or Twisted are touched in this module only; tests/e2e/test_wire.py fails
when one of them changes its meaning.
"""

import asyncio
import fcntl
import gc
import logging
import random
import sys
import termios
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import defer, interfaces
from twisted.internet.tcp import Connection
from zope.interface import implementer

from chat.hub import TICK
from chat.lanes import WIRE
from chat.protocol import FRAME_LIMIT, CloseCode, Reconnect, encode, frame, now

logger = logging.getLogger("chatsite.server")

BACKLOG = 4_096
FAREWELL = 5.0
"""Seconds that a client has to answer a close: it may have to read what waits for it first."""
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
INBOX = 32
"""Frames that may wait for a socket's consumer before its connection is no longer read; at a quarter it is."""
INBOX_OF = "chatsite.inbox"
"""The extension under which a socket's inbox travels from the server to its application."""

# The head of a client's text frame (RFC 6455, section 5.2): FIN and opcode 1; the bit that says masked; the length
# that says that two more bytes have it; and the bytes of the shortest one, which has no payload.
TEXT = 0x81
MASKED = 0x80
EXTENDED = 126
SHORTEST = 6

Receive = Callable[[], Awaitable[dict[str, Any]]]


@implementer(interfaces.IPushProducer)
class Wire:
    """One socket's connection, for bytes that are whole frames already; it is in ``scope["extensions"][WIRE]``.

    Where nothing waits, the bytes go to the operating system at once, and only what it does not take goes to
    Twisted: its own buffered write costs two changes of the poll set for each frame, four times as much. Where
    something waits, they wait behind it. So no frame is ever cut into, whoever wrote it: Autobahn's own frames
    (pongs, closes) take Twisted's way too.
    """

    __slots__ = ("_protocol", "_socket", "_tcp", "_transport", "drained", "high")

    def __init__(self, protocol: "ChatProtocol") -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        # Over TLS the bytes must pass the TLS layer; what waits, waits below it.
        plain = isinstance(self._transport, Connection)
        self._tcp = self._transport if plain else self._transport.transport
        self._socket = self._transport.socket if plain else None
        # Called when all that waited is written, where it was more than ``high``; set by the lane.
        self.drained: Callable[[], None] = _nothing
        # Twisted's bound, in bytes.
        self.high = int(self._tcp.bufferSize)

    def open(self) -> None:
        """Hear of what waits: pauseProducing past ``high`` bytes, resumeProducing when there is none any more."""
        self._transport.unregisterProducer()
        self._transport.registerProducer(self, streaming=True)

    @property
    def waiting(self) -> int:
        """Bytes that the operating system has not taken yet."""
        tcp = self._tcp
        return int(len(tcp.dataBuffer) - tcp.offset + tcp._tempDataLen)

    @property
    def unread(self) -> int:
        """``waiting``, and what the operating system has taken but the peer has not acknowledged."""
        try:
            queued = fcntl.ioctl(self._tcp.socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        except (OSError, ValueError):
            return self.waiting
        return self.waiting + int.from_bytes(queued, sys.byteorder)

    def write(self, data: bytes) -> bool:
        """Send whole frames. True where they are out; False where something waits now."""
        tcp, sent = self._tcp, 0
        if self._protocol.state != WebSocketProtocol.STATE_OPEN:
            return True
        if self._socket is not None and not tcp.dataBuffer and not tcp._tempDataBuffer:
            try:
                sent = self._socket.send(data)
            except OSError:
                # It would block, or the peer is gone: both are Twisted's to handle.
                sent = 0
            if sent == len(data):
                return True
        self._transport.write(data[sent:] if sent else data)
        return False

    def close(self, code: int, reason: str) -> None:
        self._protocol.farewell(code, reason)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        self.drained()

    def stopProducing(self) -> None:
        """The connection is lost; ``ChatProtocol.onClose`` tells the lane, when nothing more can be written."""


def _nothing() -> None:
    pass


class Inbox:
    """What came in for one application: ASGI messages, in order; in place of the queue that Daphne makes.

    Past INBOX messages the connection is not read any more, so that TCP holds the peer back.
    """

    __slots__ = ("_held", "_messages", "_transport", "_waiter")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._messages: deque[dict[str, Any]] = deque()
        # The application that waits in ``receive``; None while it doesn't.
        self._waiter: asyncio.Future[None] | None = None
        # Is the connection not read?
        self._held = False

    def put_nowait(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif len(self._messages) >= INBOX and not self._held:
            self._held = True
            self._transport.pauseProducing()

    async def receive(self) -> dict[str, Any]:
        """The application's ``receive``."""
        while not self._messages:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._messages.popleft()
        if self._held and len(self._messages) <= INBOX // 4:
            self._held = False
            self._transport.resumeProducing()
        return message


class ChatProtocol(WebSocketProtocol):  # type: ignore[misc]  # daphne ships no types
    """One WebSocket connection."""

    # Made with the application, which may outlive the handshake or never see its end.
    wire: Wire
    # The parts of the message that is coming in, and whether it is binary: Autobahn's.
    message_data: list[bytes] | None
    message_is_binary: bool

    # Bytes that were unread when the last ping was sent.
    unread = 0
    # Cuts a connection that is closed but does not end; None before that.
    last_resort: asyncio.TimerHandle | None = None

    def onOpen(self) -> None:
        super().onOpen()
        self.wire.open()

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: FBT001, N803 Autobahn's signature
        super().onClose(wasClean, code, reason)
        if self.last_resort:
            self.last_resort.cancel()
        # What waited is gone with the connection: whoever waits for it to drain has to go on.
        if hasattr(self, "wire"):
            self.wire.drained()

    def dropConnection(self, abort: bool = False) -> None:  # noqa: FBT001, FBT002 Autobahn's signature
        """End the connection, and be sure of it: a peer that reads nothing would hold it open for ever."""
        super().dropConnection(abort)
        if not abort and self.last_resort is None:
            loop = asyncio.get_event_loop()
            self.last_resort = loop.call_later(FAREWELL, self.transport.abortConnection)

    def onPing(self, payload: bytes) -> None:
        # One that pings and does not read would fill the memory with pongs (RFC 6455, section 5.5.3, allows to
        # answer the latest only).
        if self.wire.waiting <= self.wire.high:
            super().onPing(payload)

    def _sendAutoPing(self) -> None:
        self.unread = self.wire.unread
        super()._sendAutoPing()

    def onAutoPingTimeout(self) -> None:
        # The ping stands behind all that waits. A slow peer has not come to it yet; a dead one has read nothing.
        unread = self.wire.unread
        if 0 < unread < self.unread:
            self.unread = unread
            self.autoPingTimeoutCall = self.factory._batched_timer.call_later(
                self.autoPingTimeout, self.onAutoPingTimeout
            )
        else:
            super().onAutoPingTimeout()

    def dataReceived(self, data: bytes) -> None:
        text = self._short_text(data)
        if text is None:
            # As Autobahn's, without the arguments of a debug message, which it formats logged or not.
            self._dataReceived(data)
        else:
            self.last_ping = time.time()
            self.application_queue.put_nowait({"type": "websocket.receive", "text": text})

    def _short_text(self, data: bytes) -> str | None:
        """Read a text of up to 64 KiB, where the data is its frame, no more and no less; else None.

        That is nearly all that a chat hears, and Autobahn's parser takes five times as much CPU. It reads all
        else: fragments, control frames, several frames at once, and whatever is wrong.
        """
        if len(data) < SHORTEST or data[0] != TEXT or not data[1] & MASKED or not self._is_between_frames():
            return None
        size, start = data[1] & ~MASKED, 2
        if size == EXTENDED:
            size, start = int.from_bytes(data[2:4], "big"), 4
            if size < EXTENDED:
                # It would have fitted the shorter form: an error of the peer.
                return None
        elif size > EXTENDED:
            return None
        if len(data) != start + 4 + size:
            return None
        mask = data[start : start + 4] * (size // 4 + 1)
        number = int.from_bytes(data[start + 4 :], "big") ^ int.from_bytes(mask[:size], "big")
        try:
            return number.to_bytes(size, "big").decode()
        except UnicodeDecodeError:
            return None

    def _is_between_frames(self) -> bool:
        return (
            self.state == self.STATE_OPEN
            and not self.data
            and self.current_frame is None
            and not self.inside_message
            # Traffic answers a ping that is under way: Autobahn's to note.
            and self.autoPingTimeoutCall is None
        )

    def onMessageEnd(self) -> None:
        # As Autobahn's, without the Deferreds for listeners that there are none of.
        if not self.failedByMe:
            self.onMessage(b"".join(self.message_data or ()), self.message_is_binary)
        self.message_data = None

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close" and self.state == self.STATE_OPEN:
            self.farewell(message.get("code") or 1000, message.get("reason") or "")
        elif message["type"] == "websocket.send" and message.get("text") is not None:
            # Daphne swallows empty frames, and Autobahn holds what is sent to the limit of what is received.
            self.wire.write(frame(message["text"]))
        else:
            super().handle_reply(message)

    def farewell(self, code: int, reason: str) -> None:
        """Start the closing handshake. The reason is cut to the 123 bytes that a close frame has room for."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=_cut(reason, 123), isReply=False)


class ChatServer(Server):  # type: ignore[misc]  # daphne ships no types
    """Daphne's server with the above; ``listening`` is called with each address once it listens."""

    def __init__(
        self, application: Any, *, listening: Callable[[str, int], None] | None = None, **options: Any
    ) -> None:
        super().__init__(
            _with_inbox(application),
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
        factory.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=FAREWELL)
        self._ws_factory = factory

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
        inbox = Inbox(protocol.transport)
        protocol.wire = Wire(protocol)
        scope.setdefault("extensions", {}).update({WIRE: protocol.wire, INBOX_OF: inbox})
        # None where the connection is gone already.
        return inbox if super().create_application(protocol, scope) is not None else None

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


def _with_inbox(application: Any) -> Any:
    """The application, which receives from its inbox where it has one."""

    async def receiving(scope: dict[str, Any], receive: Receive, send: Any) -> None:
        inbox = scope.get("extensions", {}).pop(INBOX_OF, None)
        await application(scope, inbox.receive if inbox else receive, send)

    return receiving


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


def _cut(text: str, size: int) -> bytes:
    return text.encode()[:size].decode(errors="ignore").encode()
