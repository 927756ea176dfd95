"""How bytes leave for one socket. The only place that sends over an open socket.

Two lanes, one behaviour. The *fast lane* hands ready WebSocket frames to the server's wire, where the server
offers one (chatsite.server does). The *portable lane* sends the same text over ASGI, on any server.

What waits for a socket is bounded. Past the bound the lane is *full*: it says so once, and once more when it has
drained; in between the hub sends it nothing that can be had again later.
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
FAREWELL = 5.0
"""Seconds that ``flushed`` waits for a peer that does not read."""
TURNS = 4
"""Of the loop, for which what is announced waits for what it announces."""
OVERFLOW = 4
"""How many times its bound a full lane takes of what can't wait (acks, errors) before it is closed."""

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Wire(Protocol):
    """A socket's connection, as a server offers it: it takes bytes that are whole WebSocket frames."""

    # Called when all that waited is written, where it was more than ``high`` bytes.
    drained: Callable[[], None]
    high: int

    @property
    def waiting(self) -> int:
        """Bytes that the operating system has not taken yet."""
        ...

    @property
    def unread(self) -> int:
        """The same, and what the operating system has taken but the peer has not acknowledged."""
        ...

    def write(self, data: bytes) -> bool:
        """Send them in order with all other frames. True where nothing waits."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake, after what was written."""
        ...


class Batch:
    """Frames for many sockets, in order; each lane takes the form it needs, made once."""

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
        # The code of our close, from the moment it is asked for; None while the socket is open to writes.
        self.closed_with: CloseCode | None = None
        # Does more than the bound wait, or did it, and has not drained since?
        self.full = False
        # Called when the lane becomes full, and when a full one has drained; set by the hub.
        self.on_full: Callable[[], None] = _nothing
        self.on_drained: Callable[[], None] = _nothing
        self._limit = chat_settings().OUTBOX
        # Waits in ``drained``; None while nobody does.
        self._waiter: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Bytes that wait to be taken."""
        raise NotImplementedError

    @property
    def unread(self) -> int:
        """Bytes that the peer has not read yet, as far as can be told: it falls only when the peer reads."""
        return self.waiting

    def write(self, batch: Batch) -> None:
        """Send frames, whatever waits: it is for the hub to stop when the lane is full."""
        raise NotImplementedError

    def send(self, text: str) -> None:
        """Send one frame, as an answer: it can't be had again, so a full lane takes some, then is closed."""
        self.write(Batch((text,)))
        if self.full and self.waiting > OVERFLOW * self._limit:
            self.close(CloseCode.TOO_SLOW)

    def send_soon(self, text: str) -> None:
        """``send`` what the hub is about to follow up: it may leave in one write with that."""
        self.send(text)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Send what waits, then close. Only the first call counts."""
        if self.closed_with is None:
            self.closed_with = code
            self._close(code, reason or code.meaning)
            self._wake()

    def detach(self) -> None:
        """The peer is gone: nothing more can reach it."""
        self.closed_with = self.closed_with or CloseCode.NORMAL
        self._wake()

    async def drained(self) -> None:
        """Wait while the lane is full. For one task at a time."""
        while self.full and self.closed_with is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def flushed(self) -> None:
        """Wait until nothing waits, but not for ever."""

    def _close(self, code: CloseCode, reason: str) -> None:
        raise NotImplementedError

    def _check(self, waiting: int) -> None:
        """Something waits: is it too much?"""
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
    """The transports of one loop that hold an ack back, to send it with what follows.

    A system call is the dearest part of an ack, and the message itself follows: two turns of the loop later, by
    the layer and the hub, or three or four in a crowd, of which the hub hears some hundred in a turn (relay.TURN).
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
    """Over the server's wire: no task, no queue of ours, one system call for a batch."""

    def __init__(self, wire: Wire, pending: PendingSends) -> None:
        super().__init__()
        self._wire = wire
        wire.drained = self._emptied
        # What was announced and is not written yet.
        self._held = b""
        self._announced = pending
        # It must hear when a full lane has drained.
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
            self._announced.add(self)
        self._held += protocol.frame(text)

    def release(self) -> None:
        """Send what is held: nothing followed."""
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
            await asyncio.wait([self._writer], timeout=FAREWELL)

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
    """The fast lane where the server offers a wire, else the portable one."""
    wire = scope.get("extensions", {}).get(WIRE)
    return WireTransport(wire, pending) if wire is not None else AsgiTransport(send)
