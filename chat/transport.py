"""The send queue of one socket. Only this module sends over an open socket.

There are two transports with one behaviour. ``WireTransport`` writes ready WebSocket frames to the server's wire,
if the server offers one (chatsite.server does). ``AsgiTransport`` sends the same text over ASGI, on any server.

The bytes that wait for a socket are bounded. Past the bound the transport is *full*: it calls ``on_full``, and
``on_drained`` when it has drained. In between the hub sends it nothing that can be read again later.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from chat import protocol
from chat.conf import chat_settings
from chat.protocol import CloseCode

WIRE = "chat.wire"
"""The ASGI extension under which a server offers a socket's ``Wire``."""
FLUSH_TIMEOUT = 5.0
"""Seconds that ``flushed`` waits for a client that is not reading."""
TURNS = 4
"""Event-loop iterations to hold an ack so that it can share a write with its message."""
OVERFLOW = 4
"""A full transport takes acks and errors up to this many times its bound. Then the socket is closed."""

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Wire(Protocol):
    """A socket's connection, as a server offers it. It takes whole WebSocket frames."""

    # Called when everything that waited is written, if it was more than ``high`` bytes.
    drained: Callable[[], None]
    high: int

    @property
    def waiting(self) -> int:
        """Bytes that the operating system has not taken yet."""
        ...

    @property
    def unread(self) -> int:
        """Those bytes, and the bytes that the client has not acknowledged to the operating system."""
        ...

    def write(self, data: bytes) -> bool:
        """Send the frames in order with all others. True if nothing waits afterwards."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake, behind everything that was written."""
        ...


class Batch:
    """Frames for many sockets, in order. Each form that a transport needs is made once."""

    __slots__ = ("_wire", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._wire: bytes | None = None

    @property
    def wire(self) -> bytes:
        """All of them as WebSocket frames, for one write."""
        if self._wire is None:
            self._wire = b"".join([protocol.frame(text) for text in self.texts])
        return self._wire


class Transport:
    """One socket's way out.

    ``write`` and ``close`` return at once and keep their order. After ``close``, or once the peer is gone, what
    is written goes nowhere.
    """

    def __init__(self) -> None:
        # Code of our close, from the call of ``close`` on, or None.
        self.closed_with: CloseCode | None = None
        # True: more than the bound waited, and it has not drained since.
        self.full = False
        # Called when the transport becomes full, and when it has drained. The hub sets them.
        self.on_full: Callable[[], None] = _nothing
        self.on_drained: Callable[[], None] = _nothing
        self._limit = chat_settings().OUTBOX
        # The waiter in ``drained``, or None.
        self._waiter: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Bytes that wait to be sent."""
        raise NotImplementedError

    @property
    def unread(self) -> int:
        """Bytes that the client has not read yet, as far as is known. It falls only when the client reads."""
        return self.waiting

    def write(self, batch: Batch) -> None:
        """Send frames, however much waits. The hub stops when the transport is full."""
        raise NotImplementedError

    def send(self, text: str) -> None:
        """Send one frame that can't be read again later, such as a reply.

        A full transport takes OVERFLOW times its bound of them. Then it closes.
        """
        self.write(Batch((text,)))
        if self.full and self.waiting > OVERFLOW * self._limit:
            self.close(CloseCode.TOO_SLOW)

    def send_soon(self, text: str) -> None:
        """Send a frame that the hub will soon follow up: both may leave in one write."""
        self.send(text)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Close behind everything that waits. Only the first call counts."""
        if self.closed_with is None:
            self.closed_with = code
            self._close(code, reason or code.meaning)
            self._wake()

    def detach(self) -> None:
        """The client is gone: nothing more can reach it."""
        self.closed_with = self.closed_with or CloseCode.NORMAL
        self._wake()

    async def drained(self) -> None:
        """Wait while the transport is full. For one task at a time."""
        while self.full and self.closed_with is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def flushed(self) -> None:
        """Wait until everything is sent, for FLUSH_TIMEOUT seconds at most."""

    def _close(self, code: CloseCode, reason: str) -> None:
        raise NotImplementedError

    def _check(self, waiting: int) -> None:
        """Become full if more than the bound waits."""
        if waiting > self._limit and not self.full:
            self.full = True
            self.on_full()

    def _emptied(self) -> None:
        if self.full:
            self.full = False
            self.on_drained()
            self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


def _nothing() -> None:
    pass


class PendingSends:
    """One per event loop: the transports that hold an ack, to send it together with its message.

    A system call is the most expensive part of an ack. The message follows through the layer and the hub two
    iterations of the loop later, or three or four in a crowd, of which the hub receives some hundred per iteration
    (bus.TURN). A test counts the writes: an ``await`` more on that way would cost the saving.
    """

    def __init__(self) -> None:
        self._transports: list[WireTransport] = []
        self._loop = asyncio.get_running_loop()

    def add(self, transport: "WireTransport") -> None:
        if not self._transports:
            self._loop.call_soon(self._wait, TURNS)
        self._transports.append(transport)

    def _wait(self, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._wait, turns - 1)
            return
        transports, self._transports = self._transports, []
        for transport in transports:
            transport.release()

    async def close(self) -> None:
        self._transports.clear()


class WireTransport(Transport):
    """Sends over the server's wire: no task, no queue of ours, one system call per batch."""

    def __init__(self, wire: Wire, pending: PendingSends) -> None:
        super().__init__()
        self._wire = wire
        wire.drained = self._emptied
        # Frames that are held.
        self._held = b""
        self._pending = pending
        # The wire reports only a drain of more than ``high`` bytes.
        self._limit = max(self._limit, wire.high)

    @property
    def waiting(self) -> int:
        return self._wire.waiting

    @property
    def unread(self) -> int:
        return self._wire.unread

    def write(self, batch: Batch) -> None:
        data = batch.wire
        if self._held:
            data, self._held = self._held + data, b""
        if self.closed_with is None and not self._wire.write(data):
            self._check(self._wire.waiting)

    def send_soon(self, text: str) -> None:
        if not self._held:
            self._pending.add(self)
        self._held += protocol.frame(text)

    def release(self) -> None:
        """Send the held frames: nothing followed."""
        if self._held:
            self.write(Batch(()))

    def _close(self, code: CloseCode, reason: str) -> None:
        if self._held:
            self._wire.write(self._held)
        self._wire.close(code, reason)


class AsgiTransport(Transport):
    """Over ASGI ``send``: a queue, and one writer task that lives only while something waits.

    So an idle socket costs no task, and a slow one blocks nobody.
    """

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send
        # ASGI messages that wait, each with its bytes of text, and how many bytes that is in all.
        self._queue: deque[tuple[dict[str, Any], int]] = deque()
        self._waiting = 0
        # The writer, while there is something to write.
        self._writer: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return self._waiting

    def write(self, batch: Batch) -> None:
        if self.closed_with is not None:
            return
        for text in batch.texts:
            size = len(text) if text.isascii() else len(text.encode())
            self._put({"type": "websocket.send", "text": text}, size)
        self._check(self._waiting)

    def detach(self) -> None:
        super().detach()
        self._drop_queue()
        if self._writer:
            self._writer.cancel()

    async def flushed(self) -> None:
        if self._writer:
            await asyncio.wait([self._writer], timeout=FLUSH_TIMEOUT)

    def _close(self, code: CloseCode, reason: str) -> None:
        if code == CloseCode.TOO_SLOW:
            self._drop_queue()
        self._put({"type": "websocket.close", "code": int(code), "reason": reason}, 0)

    def _put(self, message: dict[str, Any], size: int) -> None:
        self._waiting += size
        self._queue.append((message, size))
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    def _drop_queue(self) -> None:
        self._queue.clear()
        self._waiting = 0

    async def _write(self) -> None:
        try:
            while self._queue:
                message, size = self._queue.popleft()
                await self._send(message)
                # The queue may have been dropped in the meantime.
                self._waiting = max(0, self._waiting - size)
        except (OSError, RuntimeError):
            # How servers say that the peer is gone; the receive loop learns of it by itself.
            self.closed_with = self.closed_with or CloseCode.NORMAL
            self._drop_queue()
        finally:
            self._writer = None
        self._emptied()


def transport_for(scope: dict[str, Any], send: Send, pending: PendingSends) -> Transport:
    """The transport of a socket: over the server's wire if it offers one, else over ASGI."""
    wire = scope.get("extensions", {}).get(WIRE)
    return WireTransport(wire, pending) if wire is not None else AsgiTransport(send)
