"""The flood: messages, connections and big frames from one address, as a process of its own.

    python -m rig.flood.flooder PORT SECONDS

Prints what it did as JSON.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

HERE = "127.0.0.66"
SOCKETS = 10
MESSAGES = 10_000
CONNECTS = 1_000
"""Both a second, in total."""
BIG = 1_000_000
TICK = 0.02
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Flooder:
    """Everything at once, until the time is up; ``done`` counts it."""

    def __init__(self, port: int, seconds: float) -> None:
        self.port = port
        self.until = time.monotonic() + seconds
        self.done: Counter[str] = Counter()

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.until

    async def run(self) -> None:
        talkers = [self._again(self._talk, number) for number in range(SOCKETS)]
        await asyncio.gather(*talkers, self._again(self._send_big, 0), self._connect_often())

    async def _again(self, work: Callable[[int], Awaitable[None]], number: int) -> None:
        """One socket after another: a closed one reconnects at once."""
        while self.goes_on:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await work(number)
            await asyncio.sleep(TICK)

    async def _open(self) -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(HERE, 0))
        streams[1].write(UPGRADE.format(port=self.port).encode())
        try:
            await streams[0].readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            streams[1].close()
            self.done["handshakes refused"] += 1
            raise
        self.done["sockets"] += 1
        return streams

    async def _talk(self, number: int) -> None:
        """Send messages at this rate from one of the sockets, into the room of the other users."""
        reader, writer = await self._open()
        writer.write(_text({"type": "join", "room": "talk", "username": f"Flooder {number}"}))
        heard = asyncio.ensure_future(self._listen(reader))
        message = _text({"type": "message", "room": "talk", "content": "x" * 80})
        count = round(MESSAGES / SOCKETS * TICK)
        try:
            while self.goes_on and not heard.done():
                # Sent is what TCP took: a server that does not read holds it back.
                await asyncio.wait_for(_send(writer, message * count), 1)
                self.done["messages sent"] += count
                await asyncio.sleep(TICK)
        except TimeoutError:
            self.done["sockets held back"] += 1
        finally:
            heard.cancel()
            writer.transport.abort()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                self.done["messages accepted"] += data.count(b'"type":"ack"')
                self.done["messages refused"] += data.count(b'"code":"too_many"')

    async def _send_big(self, _: int) -> None:
        """One frame far above the limit on each socket."""
        reader, writer = await self._open()
        try:
            writer.write(b"\x81\xff" + BIG.to_bytes(8, "big") + bytes(4) + b"x" * BIG)
            self.done["big frames"] += 1
            await asyncio.wait_for(reader.read(), 2)
        except TimeoutError:
            pass
        finally:
            writer.transport.abort()

    async def _connect_often(self) -> None:
        """Connect, check whether the server closes at once, and disconnect."""
        tasks: set[asyncio.Task[None]] = set()
        while self.goes_on:
            due = time.monotonic() + TICK
            for _ in range(round(CONNECTS * TICK)):
                task = asyncio.ensure_future(self._connect())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*tasks)

    async def _connect(self) -> None:
        self.done["connects"] += 1
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(HERE, 0))
        except OSError:
            self.done["connects failed"] += 1
            return
        with contextlib.suppress(TimeoutError, OSError):
            ended = await asyncio.wait_for(reader.read(1), 0.2) == b""
            self.done["connects refused"] += ended
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _text(command: dict[str, str]) -> bytes:
    """A client's text frame of up to 65,535 bytes; a mask of zeros leaves the payload as it is."""
    payload = json.dumps(command).encode()
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + payload


async def main() -> None:
    flooder = Flooder(int(sys.argv[1]), float(sys.argv[2]))
    await flooder.run()
    print(json.dumps(flooder.done, indent=1))


if __name__ == "__main__":
    asyncio.run(main())
