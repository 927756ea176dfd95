"""One socket's connection, for frames that are ready."""

import fcntl
import sys
import termios
from collections.abc import Callable
from typing import Any, Protocol

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import interfaces
from twisted.internet.tcp import Connection
from zope.interface import implementer


class Connected(Protocol):
    """What a wire uses of its WebSocket."""

    transport: Any
    state: int

    def farewell(self, code: int, reason: str) -> None: ...


@implementer(interfaces.IPushProducer)
class Wire:
    """One socket's connection, for bytes that are whole frames already; it is in ``scope["extensions"][WIRE]``.

    Where nothing waits, the bytes go to the operating system at once, and only what it does not take goes to
    Twisted: its own buffered write costs two changes of the poll set for each frame, four times as much. Where
    something waits, they wait behind it. So no frame is ever cut into, whoever wrote it: Autobahn's own frames
    (pongs, closes) take Twisted's way too.
    """

    __slots__ = ("_protocol", "_socket", "_tcp", "_transport", "drained", "high")

    def __init__(self, protocol: Connected) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        # Over TLS the bytes must pass the TLS layer; what waits, waits below it.
        self._tcp = _tcp_of(self._transport)
        self._socket = self._tcp.socket if self._tcp is self._transport else None
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
        return unsent(self._tcp)

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


LINGER = 8 << 20
"""Bytes that a peer may still send after our last: what was under way. Past that its connection is cut."""


def unsent(transport: Any) -> int:
    """Bytes that were written and that the operating system has not taken yet."""
    tcp = _tcp_of(transport)
    return int(len(tcp.dataBuffer) - tcp.offset + tcp._tempDataLen)


def end_writing(transport: Any) -> None:
    """Say that nothing more comes, once all is written, and go on reading.

    Were the connection closed while something of the peer is unread, the system would reset it, and the peer might
    never see what we wrote last. TLS's own end waits for the peer's too.
    """
    if isinstance(transport, Connection):
        transport.loseWriteConnection()
    else:
        transport.loseConnection()


def let_go(transport: Any) -> None:
    """Wait no more for the peer's end. Bytes that it has not read are lost to it."""
    if isinstance(transport, Connection) and not unsent(transport):
        transport.loseConnection()
    else:
        transport.abortConnection()


def _tcp_of(transport: Any) -> Any:
    """The connection itself: over TLS it is below what writes to it."""
    return transport if isinstance(transport, Connection) else transport.transport
