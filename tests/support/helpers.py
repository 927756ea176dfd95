"""Personas that speak the protocol, over a communicator or over a real socket. Tests read like a conversation:

await alice.join()
await alice.say("hi")
await bob.expect(Message, content="hi")
await charlie.silence()
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from channels.testing import WebsocketCommunicator
from msgspec import UNSET
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from chat import protocol
from chat.protocol import Ack, AnyOutgoing, Error, Pong, Welcome

PATIENCE = 30.0
"""Seconds to wait for what must come. Never slept through: a passing test does not notice it."""

Kind = TypeVar("Kind", bound=AnyOutgoing)


class Closed(Exception):  # noqa: N818 it names what happened
    """The server closed the socket."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code} {reason}")
        self.code = code
        self.reason = reason


class Persona:
    """Somebody at the other end of a socket; a subclass knows how the text travels."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Everything that came, in order, also what an `expect` skipped.
        self.heard: list[AnyOutgoing] = []
        # The reason that came with the server's close.
        self.farewell = ""
        # Bytes of text that came.
        self.bytes = 0

    async def write(self, text: str) -> None:
        raise NotImplementedError

    async def read(self) -> str:
        """The next frame's text. Raises Closed."""
        raise NotImplementedError

    async def send(self, type: str, **fields: object) -> None:  # noqa: A002 the wire's word
        await self.write(json.dumps({"type": type, **fields}))

    async def next(self) -> AnyOutgoing:
        """The next thing the server says."""
        text = await asyncio.wait_for(self.read(), PATIENCE)
        self.bytes += len(text.encode())
        outgoing = protocol.decode_outgoing(text)
        self.heard.append(outgoing)
        return outgoing

    async def expect(self, kind: type[Kind], **fields: object) -> Kind:
        """The next ``kind`` with these fields; earlier frames are skipped (and kept)."""
        skipped = []
        try:
            while True:
                outgoing = await self.next()
                if isinstance(outgoing, kind) and all(getattr(outgoing, f) == v for f, v in fields.items()):
                    return outgoing
                skipped.append(outgoing)
        except TimeoutError:
            raise AssertionError(f"{self.name}: no {kind.__name__} {fields} came, but {skipped}") from None

    async def join(self, room: str = protocol.LOBBY, **fields: object) -> Welcome:
        """Join under the persona's name."""
        await self.send("join", **{"room": room, "username": self.name, **fields})
        return await self.expect(Welcome, room=room)

    async def say(self, content: str, room: str = protocol.LOBBY, **fields: object) -> Ack:
        """Say something, and wait for the server to have it."""
        await self.send("message", room=room, content=content, **fields)
        return await self.expect(Ack, room=room)

    async def refused(self, code: protocol.ErrorCode) -> Error:
        return await self.expect(Error, code=code)

    async def silence(self) -> list[AnyOutgoing]:
        """The frames up to now: a ping is answered after all earlier output.

        Events of other sockets' commands pass the channel layer, so those sockets must have received them first.
        """
        before = len(self.heard)
        await self.send("ping", ref="silence")
        await self.expect(Pong, ref="silence")
        return self.heard[before:-1]

    async def closed(self) -> int:
        """Wait for the server's close; its code."""
        try:
            while True:
                await self.next()
        except Closed as closed:
            self.farewell = closed.reason
            return closed.code

    def count(self, kind: type[Kind], **fields: object) -> int:
        """How many of ``kind`` with these fields came so far."""
        return sum(
            isinstance(o, kind) and all(getattr(o, f, UNSET) == v for f, v in fields.items()) for o in self.heard
        )

    def kinds(self) -> Counter[str]:
        return Counter(type(o).__name__ for o in self.heard)


class CommunicatorPersona(Persona):
    """Speaks to the application in this process, through Channels' communicator."""

    def __init__(self, name: str, communicator: WebsocketCommunicator) -> None:
        super().__init__(name)
        self.communicator = communicator

    async def write(self, text: str) -> None:
        await self.communicator.send_input({"type": "websocket.receive", "text": text})

    async def read(self) -> str:
        message = await self.communicator.receive_output(PATIENCE)
        if message["type"] == "websocket.close":
            raise Closed(message["code"])
        return str(message["text"])

    async def vanish(self, code: int = 1006) -> None:
        """Be gone, as the server sees it, and wait until it has seen it."""
        await self.communicator.send_input({"type": "websocket.disconnect", "code": code})
        await self.communicator.wait(PATIENCE)


class SocketPersona(Persona):
    """Speaks over a real socket, through an independent WebSocket implementation."""

    def __init__(self, name: str, connection: ClientConnection) -> None:
        super().__init__(name)
        self.connection = connection

    async def write(self, text: str) -> None:
        await self.connection.send(text)

    async def read(self) -> str:
        try:
            return str(await self.connection.recv())
        except ConnectionClosed as closed:
            frame = closed.rcvd
            raise (Closed(frame.code, frame.reason) if frame else Closed(1006)) from None

    async def vanish(self) -> None:
        """Cut the connection without a word."""
        self.connection.transport.abort()
        await self.connection.wait_closed()


@asynccontextmanager
async def over_socket(url: str, name: str, **options: Any) -> AsyncIterator[SocketPersona]:
    """A persona on a real socket, closed at the end."""
    async with connect(url, **{"compression": None, "max_queue": None, **options}) as connection:
        yield SocketPersona(name, connection)


Application = Callable[..., Any]
Enter = Callable[..., Any]
"""The `person` fixture: ``await person("Alice")`` opens a socket."""


@asynccontextmanager
async def over_communicator(
    application: Application,
    name: str,
    headers: Mapping[str, str] | None = None,
    path: str = "/ws",
    client: tuple[str, int] | None = None,
) -> AsyncIterator[CommunicatorPersona]:
    """A persona on a communicator, gone at the end."""
    lines = [
        (key.lower().encode(), value.encode()) for key, value in {"host": "localhost", **(headers or {})}.items()
    ]
    communicator = WebsocketCommunicator(application, path, lines)
    if client:
        communicator.scope["client"] = client
    connected, code = await communicator.connect(timeout=PATIENCE)
    if not connected:
        raise Closed(code)
    try:
        yield CommunicatorPersona(name, communicator)
    finally:
        await communicator.disconnect(timeout=PATIENCE)
