"""The transport of one socket, for bytes that are whole frames."""

import fcntl
import sys
import termios
from collections.abc import Callable
from typing import Any, Protocol

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import interfaces
from twisted.internet.tcp import Connection
from zope.interface import implementer

AFTER_CLOSE_LIMIT = 8 << 20
"""Bytes that a client may still send after our last: they were under way. Past that its connection is cut."""


class Connected(Protocol):
    """The parts of its WebSocket that a wire uses."""

    transport: Any
    state: int

    def start_close(self, code: int, reason: str) -> None: ...


@implementer(interfaces.IPushProducer)
class Wire:
    """Sends whole frames of one socket. The consumer finds it in ``scope["extensions"][WIRE]``.

    If nothing waits, the bytes go to the operating system at once, and Twisted gets only what that does not take.
    Twisted's own buffered write costs four times as much: two changes of the poll set for each frame. If something
    waits, the bytes wait behind it. Autobahn's own frames (pongs, closes) go through Twisted too, so no frame is
    ever cut into.
    """

    __slots__ = ("_protocol", "_socket", "_tcp", "_transport", "drained", "high")

    def __init__(self, protocol: Connected) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        # With TLS the bytes must pass its layer; unsent bytes wait below it.
        self._tcp = _tcp_of(self._transport)
        self._socket = self._tcp.socket if self._tcp is self._transport else None
        # Called when all unsent bytes are written, after there were more than ``high``. chat.transport sets it.
        self.drained: Callable[[], None] = _nothing
        # Twisted's high-water mark, in bytes.
        self.high = int(self._tcp.bufferSize)

    def open(self) -> None:
        """Register with Twisted, which calls ``resumeProducing`` when nothing is unsent any more."""
        self._transport.unregisterProducer()
        self._transport.registerProducer(self, streaming=True)

    @property
    def waiting(self) -> int:
        """Bytes that the operating system has not taken yet."""
        return unsent(self._tcp)

    @property
    def unread(self) -> int:
        """``waiting``, and the bytes that the client's system has not acknowledged."""
        try:
            queued = fcntl.ioctl(self._tcp.socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        except (OSError, ValueError):
            return self.waiting
        return self.waiting + int.from_bytes(queued, sys.byteorder)

    def write(self, data: bytes) -> bool:
        """Send whole frames. True if they are sent, False if some bytes wait."""
        tcp, sent = self._tcp, 0
        if self._protocol.state != WebSocketProtocol.STATE_OPEN:
            return True
        if self._socket is not None and not tcp.dataBuffer and not tcp._tempDataBuffer:
            try:
                sent = self._socket.send(data)
            except OSError:
                # The send would block, or the peer is gone. Twisted handles both.
                sent = 0
            if sent == len(data):
                return True
        self._transport.write(data[sent:] if sent else data)
        return False

    def close(self, code: int, reason: str) -> None:
        self._protocol.start_close(code, reason)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        self.drained()

    def stopProducing(self) -> None:
        """Called when the connection is lost. ``ChatProtocol.onClose`` calls ``drained``, after the last write."""


def _nothing() -> None:
    pass


def unsent(transport: Any) -> int:
    """Bytes that were written and that the operating system has not taken yet."""
    tcp = _tcp_of(transport)
    return int(len(tcp.dataBuffer) - tcp.offset + tcp._tempDataLen)


def half_close(transport: Any) -> None:
    """Send FIN after the last byte, and go on reading.

    The system resets a connection that is closed with unread input, and the client might lose our last bytes. TLS
    waits for the client's end by itself.
    """
    if isinstance(transport, Connection):
        transport.loseWriteConnection()
    else:
        transport.loseConnection()


def close_now(transport: Any) -> None:
    """Close without waiting for the client's end. It loses the bytes that it has not read."""
    if isinstance(transport, Connection) and not unsent(transport):
        transport.loseConnection()
    else:
        transport.abortConnection()


def _tcp_of(transport: Any) -> Any:
    """The TCP connection: with TLS it is below the transport."""
    return transport if isinstance(transport, Connection) else transport.transport
