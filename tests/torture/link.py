"""One WebSocket and the watch over it, as chat/static/chat/client/socket.js: silence after a ping ends it.

It can be told to stop reading, and to cut the connection: that is the torture.
"""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from chat.protocol import AnyOutgoing, decode_outgoing

SMALL = 4_096
SEGMENT = 536
"""Bytes of a client's receive buffer and of its TCP segments. With these some 100 kB wait between a server on the
same machine and a client that does not read, and not 4 MB: the server feels it soon."""
ABNORMAL = 1006


class LinkLost(Exception):  # noqa: N818 it names what happened
    """The connection ended."""

    def __init__(self, code: int) -> None:
        super().__init__(f"lost with {code}")
        self.code = code


@dataclass(frozen=True)
class Pace:
    """Seconds. The page's are longer; nothing but patience is tested by waiting for them."""

    # The first ceiling of the back-off, and the last.
    base: float = 0.1
    cap: float = 2.0
    # A link that held for so long starts the back-off over.
    stable: float = 2.0
    connect: float = 5.0
    quiet: float = 4.0
    answer: float = 6.0
    join: float = 4.0
    ack: float = 3.0
    ack_cap: float = 12.0


PACE = Pace()


class Backoff:
    """Full jitter: each delay is drawn evenly from 0 to a ceiling that doubles."""

    def __init__(self, pace: Pace, chance: random.Random) -> None:
        self.pace = pace
        self.chance = chance
        self.attempt = 0

    def next(self) -> float:
        ceiling = min(self.pace.cap, self.pace.base * 2 ** min(self.attempt, 30))
        self.attempt += 1
        return self.chance.uniform(0, ceiling)

    def reset(self) -> None:
        self.attempt = 0


class Link:
    """An open connection. It is used once."""

    def __init__(self, connection: ClientConnection, pace: Pace, reading: asyncio.Event) -> None:
        self.connection = connection
        self.pace = pace
        # Cleared: what comes is left where it is. The library then stops reading too: TCP holds the server back.
        self.reading = reading

    async def send(self, text: str) -> None:
        try:
            await self.connection.send(text)
        except ConnectionClosed as closed:
            raise _lost(closed) from None

    async def next(self) -> AnyOutgoing:
        """The next frame. Raises LinkLost."""
        await self.reading.wait()
        try:
            return _decoded(await self._text())
        except ConnectionClosed as closed:
            raise _lost(closed) from None
        except TimeoutError:
            self.cut()
            raise LinkLost(ABNORMAL) from None

    async def _text(self) -> str | bytes:
        # Not wait_for: in Python 3.11 it loses a cancellation that comes with the result.
        try:
            async with asyncio.timeout(self.pace.quiet):
                return await self.connection.recv()
        except TimeoutError:
            await self.connection.send(PING)
        async with asyncio.timeout(self.pace.answer):
            return await self.connection.recv()

    def cut(self) -> None:
        """End it without a word."""
        self.connection.transport.abort()


# Everybody is told the same texts.
_decoded = lru_cache(256)(decode_outgoing)
PING = msgspec.json.encode({"type": "ping"}).decode()


def _lost(closed: ConnectionClosed) -> LinkLost:
    return LinkLost(closed.rcvd.code if closed.rcvd else ABNORMAL)


@asynccontextmanager
async def opened(url: str, headers: Mapping[str, str], pace: Pace, reading: asyncio.Event) -> AsyncIterator[Link]:
    """A link to the server. Raises OSError or a handshake's exception if the server does not accept it."""
    address = urlsplit(url)
    origin = Origin(f"http://{address.netloc}") if "Cookie" in headers else None
    options: dict[str, Any] = {
        "compression": None,
        "proxy": None,
        "ping_interval": None,
        "max_size": None,
        "close_timeout": 0.5,
    }
    with closing(_narrow()) as raw:
        async with asyncio.timeout(pace.connect):
            await asyncio.get_running_loop().sock_connect(raw, (address.hostname, address.port))
        context = connect(
            url, sock=raw, origin=origin, additional_headers=headers, open_timeout=pace.connect, **options
        )
        async with context as connection:
            yield Link(connection, pace, reading)


def _narrow() -> socket.socket:
    """A socket that takes little at once."""
    raw = socket.socket()
    raw.settimeout(0)
    # Before the connect: both are negotiated there.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    return raw
