"""A dashboard: readings of many keys, published over one socket, to many viewers. See bench/dashboard.

Measured per server: CPU of its process, bytes to one viewer, and the age of readings when a viewer gets them. A
server that can't keep up is stopped at the end of the window; its figures are then those of its limit.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import re
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from websockets.asyncio.client import ClientConnection, connect

from rig.peers import OURS
from rig.places import BIN, PEERS, PROJECT
from rig.processes import Server

PYTHON = str(BIN / "python")
ARRIVE = 60
"""Seconds for all viewers to be there."""
AT = re.compile(r"\\*\"at\\*\":(\d+)")


@dataclass(frozen=True)
class Kind:
    """How one server is started and spoken to."""

    name: str
    command: Callable[[int], list[str]]
    path: str
    # Pairs of a beginning and a text: the client sends the text after the server's frame that begins so. With an
    # empty beginning it sends the text at once.
    hello: list[tuple[str, str]]
    publish: Callable[[str, float, int], str]
    cwd: Path = PEERS
    ours: bool = False


def _topic(kind: str) -> Kind:
    name = f"{kind}:main"

    def publish(key: str, value: float, at: int) -> str:
        data = {"value": value, "at": at}
        return json.dumps({"type": "publish", "topic": name, "event": "reading", "key": key, "data": data})

    return Kind(
        f"ours, {kind}",
        lambda port: [PYTHON, "manage.py", "serve", "--port", str(port)],
        "/ws",
        [("", json.dumps({"type": "subscribe", "topic": name}))],
        publish,
        cwd=PROJECT,
        ours=True,
    )


def _text(key: str, value: float, at: int) -> str:
    return json.dumps({"key": key, "value": value, "at": at}, separators=(",", ":"))


KINDS = [
    _topic("latest"),
    _topic("memory"),
    _topic("each"),
    Kind(
        "Socket.IO",
        lambda port: ["node", "socketio.mjs", str(port)],
        "/socket.io/?EIO=4&transport=websocket",
        [('0{"sid"', "40"), ('40{"sid"', '420["join",{"room":"board","username":"x"}]')],
        lambda key, value, at: "42" + json.dumps(["message", {"room": "board", "content": _text(key, value, at)}]),
    ),
    Kind(
        "Channels",
        lambda port: [str(BIN / "daphne"), "-b", "127.0.0.1", "-p", str(port), "channels_tutorial:application"],
        "/ws/chat/board/",
        [],
        lambda key, value, at: json.dumps({"message": _text(key, value, at)}),
    ),
]


@dataclass
class Result:
    name: str
    cores: float
    bytes_a_second: float
    published: int
    ages: list[int] = field(default_factory=list)

    def row(self) -> str:
        ages = sorted(self.ages) or [0]
        at = [ages[int(len(ages) * share)] for share in (0.5, 0.99)]
        return (
            f"| {self.name} | {self.published:,.0f} | {self.cores:.2f} | {self.bytes_a_second / 1_000:,.1f} | "
            f"{at[0]:,} | {at[1]:,} |"
        )


class Viewer(asyncio.Protocol):
    """Counts bytes; it parses nothing, so that a thousand of them cost little."""

    def __init__(self, request: bytes, hello: list[tuple[bytes, bytes]]) -> None:
        self._request, self._hello = request, list(hello)
        self._heard = b""
        # It has had an answer, and has sent all of its hello.
        self.is_there = asyncio.Event()
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._hello:
            self._heard += data
            after, frame = self._hello[0]
            if after in self._heard:
                del self._hello[0]
                self._heard = b""
                self._transport.write(frame)  # type: ignore[attr-defined]
        if not self._hello:
            self.is_there.set()


def frame_of(text: str) -> bytes:
    """A masked text frame, with a mask of zeros."""
    payload = text.encode()
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + struct.pack(">H", size)
    return head + bytes(4) + payload


def request_of(port: int, path: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


@contextmanager
def _serving(kind: Kind, port: int, core: int, folder: Path) -> Iterator[Server]:
    environment = {**os.environ, **OURS}
    if kind.ours:
        environment |= {
            "DJANGO_SETTINGS_MODULE": "boards.settings",
            "PYTHONPATH": f"{PROJECT}:{PEERS}",
            "DATABASE_URL": f"sqlite:///{folder / 'board.sqlite3'}",
        }
        import subprocess  # noqa: PLC0415

        subprocess.run([PYTHON, "manage.py", "migrate", "-v0"], cwd=PROJECT, env=environment, check=True)
    server = Server(
        kind.command(port), port=port, core=core, cwd=kind.cwd, environment=environment, log=folder / "log"
    )
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.stop()


@asynccontextmanager
async def _subscribed(kind: Kind, port: int) -> AsyncIterator[ClientConnection]:
    """A connection that has sent its hello."""
    async with connect(f"ws://127.0.0.1:{port}{kind.path}", compression=None, max_size=None) as socket:
        for after, text in kind.hello:
            while after and not str(await socket.recv()).startswith(after):
                pass
            await socket.send(text)
        yield socket


async def _watch(kind: Kind, port: int, ages: list[int], ready: asyncio.Event) -> None:
    """One viewer that reads: the age of each reading that it gets."""
    async with _subscribed(kind, port) as socket:
        ready.set()
        async for frame in socket:
            text = str(frame)
            now = time.time_ns() // 1_000_000
            if text == "2":
                await socket.send("3")
            ages += [now - int(at) for at in AT.findall(text)]


async def _publish(kind: Kind, port: int, options: argparse.Namespace, count: list[int]) -> None:
    """Readings at the rate, over one socket, while another task takes what comes back."""
    async with _subscribed(kind, port) as socket:

        async def drain() -> None:
            async for _ in socket:
                pass

        draining = asyncio.create_task(drain())
        began = time.monotonic()
        try:
            while True:
                due = int((time.monotonic() - began) * options.rate)
                while count[0] < due:
                    key, value = f"gauge-{random.randrange(options.keys):03}", round(random.uniform(0, 100), 1)  # noqa: S311
                    await socket.send(kind.publish(key, value, time.time_ns() // 1_000_000))
                    count[0] += 1
                await asyncio.sleep(0.002)
        finally:
            draining.cancel()


async def _measure(kind: Kind, server: Server, port: int, options: argparse.Namespace) -> Result:
    loop, hello = asyncio.get_running_loop(), [(after.encode(), frame_of(text)) for after, text in kind.hello]
    viewers = []
    for _ in range(options.viewers):
        _, viewer = await loop.create_connection(
            lambda: Viewer(request_of(port, kind.path), hello), "127.0.0.1", port
        )
        viewers.append(viewer)
        if len(viewers) % 50 == 0:
            await asyncio.sleep(0.05)
    ages: list[int] = []
    count, ready = [0], asyncio.Event()
    tasks = [asyncio.create_task(_watch(kind, port, ages, ready))]
    await ready.wait()
    async with asyncio.timeout(ARRIVE):
        for viewer in viewers:
            await viewer.is_there.wait()
    await asyncio.sleep(1)
    tasks.append(asyncio.create_task(_publish(kind, port, options, count)))
    await asyncio.sleep(options.warmup)
    ages.clear()
    before, bytes_before, count_before = server.usage(), sum(v.received for v in viewers), count[0]
    began = time.monotonic()
    await asyncio.sleep(options.seconds)
    took = time.monotonic() - began
    cores = (server.usage().cpu - before.cpu) / took
    received = (sum(v.received for v in viewers) - bytes_before) / took / options.viewers
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Result(kind.name, cores, received, round((count[0] - count_before) / took), list(ages))


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/dashboard", description=__doc__)
    parser.add_argument("--viewers", type=int, default=1_000)
    parser.add_argument("--rate", type=int, default=2_000, help="readings a second")
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warmup", type=float, default=3.0)
    parser.add_argument("--only", default="", help="kinds whose name has this in it")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    print("| server | readings/s | cores | KB/s a viewer | age p50, ms | age p99, ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for number, kind in enumerate(kind for kind in KINDS if options.only in kind.name):
        with TemporaryDirectory() as folder, _serving(kind, 8_900 + number, 0, Path(folder)) as server:
            print(asyncio.run(_measure(kind, server, 8_900 + number, options)).row(), flush=True)


if __name__ == "__main__":
    main()
