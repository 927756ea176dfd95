"""Clients that come back by themselves, light enough for a thousand of them in one process."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any

import msgspec
from helpers import PATIENCE

from chat.protocol import Ack, Error, ErrorCode, Joined, Left, Message, Reconnect, Welcome, decode_outgoing

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
ABNORMAL = 1006
"""The connection ended without a close frame."""
PAUSE = 0.2
"""Seconds within which a client comes back that was told nothing."""


class Gone(Exception):  # noqa: N818 it names what happened
    """The connection ended, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Link:
    """One WebSocket, as much of it as this needs: texts of less than 64 KiB, pings, closes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        # Ours.
        self.port: int = writer.get_extra_info("sockname")[1]

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
        # A mask of zeros leaves the payload as it is.
        self._writer.write(bytes([0x80 | opcode]) + length + bytes(4) + payload)

    async def text(self) -> bytes:
        """The next text. Raises Gone."""
        try:
            while True:
                opcode, payload = await self._frame()
                if opcode == TEXT:
                    return payload
                self.send(payload, PONG if opcode == PING else CLOSE)
                if opcode == CLOSE:
                    raise Gone(int.from_bytes(payload[:2], "big"))
        except (OSError, asyncio.IncompleteReadError):
            raise Gone(ABNORMAL) from None

    async def _frame(self) -> tuple[int, bytes]:
        head, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        return head & 0xF, await self._reader.readexactly(size)


@asynccontextmanager
async def linked(address: str) -> AsyncIterator[Link]:
    """An open WebSocket. Raises OSError where nobody listens, Gone where the handshake had no good end."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(
            f"GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            raise Gone(ABNORMAL) from None
        if int(head.split()[1]) != HTTPStatus.SWITCHING_PROTOCOLS:
            raise Gone(int(head.split()[1]))
        yield Link(reader, writer)
    finally:
        writer.close()


class Roamer:
    """One client in one room. It comes back whenever its connection ends, to where it was, and says again what was
    not acknowledged.
    """

    def __init__(self, address: str, name: str, room: str) -> None:
        self.address, self.name, self.room = address, name, room
        # The codes with which its connections ended, and for how many seconds it was in no room then.
        self.ends: list[int] = []
        self.absences: list[float] = []
        # In how many milliseconds it was asked to come back.
        self.asked: list[int] = []
        # Connects that nobody took.
        self.refused = 0
        # The numbers of the messages that came and were new.
        self.heard: list[int] = []
        # Its unacknowledged messages, by ref; and the acknowledged numbers.
        self.waiting: dict[str, str] = {}
        self.acked: dict[str, int] = {}
        # The joins and leaves that it was told of.
        self.told: list[Joined | Left] = []
        self.joined = asyncio.Event()
        # The last link, open or not; None before the first.
        self.link: Link | None = None
        # Where it is in the room's log; None before it was there.
        self._since: int | None = None
        self._epoch = ""
        # When it was told to go, or lost its connection; None while it is in the room.
        self._left: float | None = None
        self._pause = 0.0

    def say(self, text: str) -> None:
        ref = f"{self.name}.{len(self.waiting) + len(self.acked)}"
        self.waiting[ref] = text
        if self.link and self.joined.is_set():
            self._say(self.link, ref)

    def _say(self, link: Link, ref: str) -> None:
        link.send(_json(type="message", room=self.room, content=self.waiting[ref], ref=ref))

    async def live(self) -> None:
        """Until cancelled."""
        while True:
            self._pause = random.uniform(0, PAUSE)
            try:
                async with linked(self.address) as link:
                    self.link = link
                    self._join(link)
                    while True:
                        self._hear(link, decode_outgoing(await link.text()))
            except Gone as gone:
                self.ends.append(gone.code)
            except OSError:
                self.refused += 1
            finally:
                self.joined.clear()
            self._left = self._left or time.monotonic()
            await asyncio.sleep(self._pause)

    def _join(self, link: Link) -> None:
        since = {} if self._since is None else {"since": self._since, "epoch": self._epoch}
        link.send(_json(type="join", room=self.room, username=self.name, ref="join", **since))

    def _hear(self, link: Link, said: Any) -> None:
        match said:
            case Message() if said.seq > (self._since or 0):
                # Another process may tell once more what this one told.
                self.heard.append(said.seq)
                self._since = said.seq
            case Ack(ref=str(ref), id=int(number)):
                self.waiting.pop(ref, None)
                self.acked[ref] = number
            case Reconnect():
                self.asked.append(said.after)
                self._pause, self._left = said.after / 1_000, time.monotonic()
            case Welcome():
                self._welcomed(link, said)
            case Joined() | Left():
                self.told.append(said)
            case Error(code=ErrorCode.NAME_TAKEN):
                # By us, a moment ago.
                asyncio.get_running_loop().call_later(0.05, self._join, link)
            case Error():
                raise AssertionError(said)

    def _welcomed(self, link: Link, welcome: Welcome) -> None:
        assert welcome.resumed or self._since is None
        self._epoch = welcome.epoch
        if self._since is None:
            self._since = welcome.seq
        if self._left is not None:
            self.absences.append(time.monotonic() - self._left)
            self._left = None
        self.joined.set()
        for ref in self.waiting:
            self._say(link, ref)


def _json(**fields: object) -> bytes:
    return msgspec.json.encode(fields)


@asynccontextmanager
async def roaming(address: str, size: int, room: str = "lobby") -> AsyncIterator[list[Roamer]]:
    """So many of them, all in the room."""
    roamers = [Roamer(address, f"R{number}", room) for number in range(size)]
    lives = [asyncio.create_task(roamer.live()) for roamer in roamers]
    try:
        await all_joined(roamers)
        yield roamers
    finally:
        for life in lives:
            life.cancel()
        for outcome in await asyncio.gather(*lives, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


async def all_joined(roamers: list[Roamer]) -> None:
    async with asyncio.timeout(PATIENCE + len(roamers) / 20):
        for roamer in roamers:
            await roamer.joined.wait()


async def all_heard(roamers: list[Roamer]) -> None:
    """Wait until nothing waits for an ack and everybody has what was said last."""
    async with asyncio.timeout(PATIENCE + len(roamers) / 20):
        while any(roamer.waiting for roamer in roamers):  # noqa: ASYNC110 a thousand events, or one look
            await asyncio.sleep(0.05)
        last = max(max(roamer.acked.values(), default=0) for roamer in roamers)
        while any(roamer.heard[-1:] != [last] for roamer in roamers):  # noqa: ASYNC110 as above
            await asyncio.sleep(0.05)


async def all_speak(roamers: list[Roamer]) -> None:
    """Each sends a message and all receive it. Then every join that was published earlier was delivered, too."""
    for roamer in roamers:
        roamer.say("here")
    await all_heard(roamers)


@contextmanager
def talking(roamers: list[Roamer], rate: float) -> Iterator[None]:
    """So many messages a second, each by one of them."""

    async def talk() -> None:
        while True:
            random.choice(roamers).say("how are you?")
            await asyncio.sleep(1 / rate)

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        task.cancel()


class Probe:
    """Asks for a page again and again, each time on a connection of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answered = 0
        # Connections that nobody took, and those that were cut without an answer.
        self.refused = self.cut = 0

    async def live(self) -> None:
        while True:
            try:
                await self._ask()
            except OSError:
                self.refused += 1
            await asyncio.sleep(0.005)

    async def _ask(self) -> None:
        host, port = self.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(f"GET /healthz HTTP/1.1\r\nHost: {self.address}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200 ") or not answer
        except OSError:
            answer = b""
        finally:
            writer.close()
        self.answered += bool(answer)
        self.cut += not answer


@asynccontextmanager
async def probing(address: str) -> AsyncIterator[Probe]:
    probe = Probe(address)
    task = asyncio.create_task(probe.live())
    try:
        yield probe
    finally:
        task.cancel()
        for outcome in await asyncio.gather(task, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
