"""A crowd of clients in one thread: minimal work for each, so that it does not measure itself."""

import asyncio
import json
import os
import re
import socket
from base64 import b64encode
from typing import Any

TEXT = 0x81
MEDIUM, LONG = 126, 127
NUMBER = re.compile(rb'"seq":(\d+)')


class Client(asyncio.Protocol):
    """One socket: it knows its position, and signals when it has reached its target."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.position = 0
        self.epoch = ""
        # Number of numbered messages received.
        self.messages = 0
        # Frames of these kinds wait for ``next``.
        self._wanted: dict[bytes, asyncio.Future[dict[str, Any]]] = {}
        self._goal: tuple[int, asyncio.Future[None]] | None = None
        self._buffer = b""
        self._open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- What it does ---

    async def connect(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._buffer = b""
        self._open = loop.create_future()
        await loop.create_connection(lambda: self, "127.0.0.1", port)
        key = b64encode(os.urandom(16)).decode()
        lines = [
            "GET /ws HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", "",
        ]  # fmt: skip
        self.transport.write("\r\n".join(lines).encode())
        await self._open

    def send(self, **command: Any) -> None:
        payload = json.dumps(command).encode()
        size = len(payload)
        short = size < MEDIUM
        head = bytes((TEXT, 0x80 | size)) if short else bytes((TEXT, 0x80 | MEDIUM)) + size.to_bytes(2, "big")
        # A mask of zeros leaves the payload as it is (RFC 6455, section 5.3).
        self.transport.write(head + b"\0\0\0\0" + payload)

    async def next(self, kind: str) -> dict[str, Any]:
        """The next frame of this kind."""
        name = f'"type":"{kind}"'.encode()
        self._wanted[name] = asyncio.get_running_loop().create_future()
        return await self._wanted[name]

    async def join(self, room: str, name: str, **more: Any) -> None:
        self.send(type="join", room=room, username=name, **more)
        welcome = await self.next("welcome")
        self.epoch = welcome["epoch"]
        if not welcome["resumed"]:
            self.position = welcome["seq"]

    async def reach(self, position: int) -> None:
        """Wait until everything up to this number was received."""
        if self.position < position:
            self._goal = (position, asyncio.get_running_loop().create_future())
            await self._goal[1]

    def cut(self) -> None:
        """Disconnect with a reset, without a close frame."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.transport.abort()

    # --- What comes ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open.done():
            head, blank, rest = self._buffer.partition(b"\r\n\r\n")
            if not blank:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise SystemExit(f"no WebSocket: {head.decode()}")
            self._buffer = rest
            self._open.set_result(None)
        at = 0
        while (end := self._frame_end(at)) is not None:
            start, stop = end
            self._take(self._buffer[start:stop])
            at = stop
        self._buffer = self._buffer[at:]

    def _frame_end(self, at: int) -> tuple[int, int] | None:
        """The beginning and the end of the payload of the frame at ``at``; None until it is complete."""
        buffer = self._buffer
        if len(buffer) < at + 2:
            return None
        size, start = buffer[at + 1], at + 2
        if size >= MEDIUM:
            width = 2 if size == MEDIUM else 8
            size, start = int.from_bytes(buffer[start : start + width], "big"), start + width
        return (start, start + size) if len(buffer) >= start + size else None

    def _take(self, payload: bytes) -> None:
        for name, waiting in list(self._wanted.items()):
            if name in payload and not waiting.done():
                del self._wanted[name]
                waiting.set_result(json.loads(payload))
        if payload.startswith(b'{"type":"message"') and (found := NUMBER.search(payload)):
            self.messages += 1
            self.position = int(found[1])
            if self._goal and self.position >= self._goal[0]:
                goal, self._goal = self._goal, None
                goal[1].set_result(None)


async def at_once(work: Any, limit: int) -> None:
    """Handle all of it, in portions."""
    gate = asyncio.Semaphore(limit)

    async def one(task: Any) -> None:
        async with gate:
            await task

    await asyncio.gather(*(one(task) for task in work))
