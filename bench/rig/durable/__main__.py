"""``bench/durable``: measures, prints, and writes results/durable.json."""

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from rig.durable.crowd import Client, at_once
from rig.machine import describe, two_cores
from rig.peers import OURS, PYTHON
from rig.places import PROJECT, RESULTS
from rig.processes import Server, free_port

WHAT = ["acks", "herd", "million"]
MILLION = 1_000_000
ROOM = "million"
WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"),
    *("while", "seven", "wizards", "quietly", "brew", "hot", "black", "coffee"),
)


class Bench:
    """Our server over one database, with its statements counted."""

    def __init__(self, folder: Path, url: str, cores: tuple[int, int]) -> None:
        self.folder = folder
        self.cores = cores
        paths = f"{PROJECT}:{PROJECT / 'bench'}"
        self.environment = {**os.environ, **OURS, "DATABASE_URL": url, "PYTHONPATH": paths}
        self._counts = folder / "counts.json"
        self.manage("migrate", "--skip-checks", "--verbosity", "0")

    def manage(self, *command: str) -> None:
        subprocess.run([PYTHON, "manage.py", *command], cwd=PROJECT, env=self.environment, check=True)

    @contextmanager
    def server(self) -> Iterator[Server]:
        port = free_port()
        command = [PYTHON, "-m", "rig.durable.counted", str(self._counts), "serve", "--port", str(port)]
        server = Server(
            command, port=port, core=self.cores[0], cwd=PROJECT, environment=self.environment,
            log=self.folder / "server.log",
        )  # fmt: skip
        try:
            server.wait_until_it_answers()
            yield server
        finally:
            server.stop()

    def statements(self, server: Server) -> dict[str, int]:
        """The number of statements sent so far."""
        self._counts.unlink(missing_ok=True)
        os.kill(server.pid, signal.SIGUSR1)
        while not self._counts.exists() or not self._counts.read_text():
            time.sleep(0.01)
        counts: dict[str, int] = json.loads(self._counts.read_text())
        return counts


# --- One message at a time ---


async def _acks(port: int) -> list[float]:
    client, seconds = Client(), []
    await client.connect(port)
    await client.join("acks", "Ann")
    for number in range(1_000):
        answer = asyncio.ensure_future(client.next("ack"))
        await asyncio.sleep(0)
        start = time.perf_counter()
        client.send(type="message", room="acks", content=f"message {number}", ref=f"{number:08}")
        await answer
        seconds.append(time.perf_counter() - start)
    return seconds


def acks(bench: Bench) -> dict[str, float]:
    """One client, one message at a time: milliseconds to its ack, which comes after the commit."""
    with bench.server() as server:
        seconds = asyncio.run(_acks(server.port))
    return {"p50_ms": statistics.median(seconds) * 1e3, "p99_ms": statistics.quantiles(seconds, n=100)[98] * 1e3}


# --- A crowd that was disconnected and reconnects ---


async def _leave_and_miss(server: Server, crowd: list[Client], missed: int) -> int:
    """All join, all are disconnected, and messages are sent meanwhile. Return the last one's number."""
    await at_once((client.connect(server.port) for client in crowd), 64)
    await at_once((client.join("herd", f"P{n}") for n, client in enumerate(crowd)), 64)
    speaker = Client()
    await speaker.connect(server.port)
    await speaker.join("herd", "Speaker")
    for client in crowd:
        client.cut()
    for number in range(missed):
        ref = f"{os.urandom(8).hex()}-{number:08}"
        speaker.send(type="message", room="herd", content=f"missed {number}", ref=ref)
    await speaker.reach(speaker.position + missed)
    # The server has noticed that they left, and sent it to the others.
    await asyncio.sleep(8)
    return speaker.position


async def _come_back(bench: Bench, server: Server, crowd: list[Client], last: int, missed: int) -> dict[str, Any]:
    before, counted = server.usage().cpu, bench.statements(server)["reads"]
    start = time.perf_counter()
    await at_once((_return(client, server.port, n, last) for n, client in enumerate(crowd)), len(crowd))
    seconds = time.perf_counter() - start
    lacking = [client for client in crowd if (client.position, client.messages) != (last, missed)]
    if lacking:
        raise SystemExit(f"{len(lacking)} clients did not get all {missed} messages once")
    return {
        "clients": len(crowd),
        "missed": missed,
        "seconds": seconds,
        "cpu": server.usage().cpu - before,
        "reads": bench.statements(server)["reads"] - counted,
    }


async def _return(client: Client, port: int, number: int, last: int) -> None:
    client.messages = 0
    await client.connect(port)
    since = client.position
    goal = asyncio.ensure_future(client.reach(last))
    await client.join("herd", f"P{number}", since=since, epoch=client.epoch)
    await goal


async def _herd(bench: Bench, size: int, missed: int, *, restarted: bool) -> dict[str, Any]:
    crowd = [Client() for _ in range(size)]
    with bench.server() as server:
        last = await _leave_and_miss(server, crowd, missed)
        if not restarted:
            return await _come_back(bench, server, crowd, last, missed)
    with bench.server() as server:
        return {"restarted": True, **await _come_back(bench, server, crowd, last, missed)}


def herd(bench: Bench, size: int, missed: int = 100, *, restarted: bool = False) -> dict[str, Any]:
    """All are disconnected at once, miss messages and reconnect at once: the time until each has all of them."""
    return asyncio.run(_herd(bench, size, missed, restarted=restarted))


# --- A room of a million messages ---


def fill(database: Path, count: int) -> None:
    """Rows as the chat writes them, by SQLite alone."""
    connection = sqlite3.connect(database)
    connection.execute(
        "INSERT INTO chat_room (slug, title, kind, epoch, seq, pruned, created) "
        "VALUES (?, '', 'public', 'e', ?, 0, '2026-01-01 00:00:00')", (ROOM, count),
    )  # fmt: skip
    (room,) = connection.execute("SELECT id FROM chat_room WHERE slug = ?", (ROOM,)).fetchone()
    rows = (
        (room, n, n, 0, f"guest:{n % 997:016x}:P{n % 997}", f"P{n % 997}", f"{n:032x}", _sentence(n),
         f"2026-{1 + n * 10 // count:02}-{1 + n % 28:02} 12:00:00.000000", False)
        for n in range(1, count + 1)
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO chat_message "
        "(room_id, number, seq, changes, author, username, ref, content, created, hidden) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows,
    )  # fmt: skip
    connection.commit()
    connection.close()


def _sentence(number: int) -> str:
    words = [WORDS[(number * 7 + i * (1 + number % 5)) % len(WORDS)] for i in range(10)]
    return " ".join([*words, f"no{number}"])


async def _timed(client: Client, answer: str, **command: Any) -> float:
    best = []
    for _ in range(9):
        reply = asyncio.ensure_future(client.next(answer))
        await asyncio.sleep(0)
        start = time.perf_counter()
        client.send(room=ROOM, **command)
        await reply
        best.append(time.perf_counter() - start)
    return statistics.median(best) * 1e3


async def _million(port: int, count: int) -> dict[str, float]:
    client = Client()
    await client.connect(port)
    await client.join(ROOM, "Ann")
    half = count // 2
    found = {
        "latest page of 50": await _timed(client, "history", type="history"),
        "page of 50 in the middle": await _timed(client, "history", type="history", before=half),
        "page of 50 after one in the middle": await _timed(client, "history", type="history", after=half),
        "search, a rare word": await _timed(client, "found", type="search", query=f"no{half}"),
        "search, a word of two in three": await _timed(client, "found", type="search", query="the quick"),
        "search, a common beginning": await _timed(client, "found", type="search", query="wiz"),
        "search, 1,100 words begin so": await _timed(client, "found", type="search", query=f"no{half // 1000}"),
        "search, 111,000 words begin so": await _timed(client, "found", type="search", query="no5"),
        "search, not there": await _timed(client, "found", type="search", query="zebra"),
    }
    client.cut()
    found["catch-up of 500"] = statistics.median([await _catch_up(port, count) for _ in range(9)]) * 1e3
    return found


async def _catch_up(port: int, count: int) -> float:
    """Seconds from the join to the last of 500, in an empty room without recent changes in memory."""
    await asyncio.sleep(1.5)
    client = Client()
    await client.connect(port)
    client.position = count - 500
    goal = asyncio.ensure_future(client.reach(count))
    start = time.perf_counter()
    await client.join(ROOM, "Ann", since=client.position, epoch="e")
    await goal
    client.cut()
    return time.perf_counter() - start


def _page(port: int) -> float:
    """The room's page for a guest: milliseconds until its end arrives."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    start = f"http://127.0.0.1:{port}/"
    form = browser.open(start).read().decode()
    token = form.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    browser.open(start, f"csrfmiddlewaretoken={token}&username=Bob&room={ROOM}".encode()).read()
    times = []
    for _ in range(9):
        began = time.perf_counter()
        browser.open(f"{start}room/{ROOM}/").read()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def million(bench: Bench, database: Path, count: int) -> dict[str, float]:
    """Milliseconds, medians of nine, over a socket and over HTTP."""
    fill(database, count)
    bench.manage("collectstatic", "--noinput", "--verbosity", "0")
    with bench.server() as server:
        return {**asyncio.run(_million(server.port, count)), "the room's page": _page(server.port)}


def _measure(what: str, bench: Bench, file: Path, options: argparse.Namespace) -> Any:
    if what == "acks":
        return acks(bench)
    if what == "million":
        return million(bench, file, options.messages)
    sizes = [(size, restarted) for size in options.clients for restarted in (False, True)]
    return [herd(bench, size, restarted=restarted) for size, restarted in sizes]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/durable", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*WHAT, []], metavar="acks|herd|million")
    parser.add_argument("--clients", type=int, nargs="+", default=[1_000, 5_000], help="sizes of the herd")
    parser.add_argument("--messages", type=int, default=MILLION, help="in the big room")
    parser.add_argument("--database", help="another one for acks and herd: postgres://...")
    parser.add_argument("--output", type=Path, default=RESULTS / "durable.json", help="where the figures go")
    options = parser.parse_args()
    cores = two_cores()
    os.sched_setaffinity(0, {cores[1]})
    database = (options.database or "sqlite").partition(":")[0]
    results: dict[str, Any] = {"machine": describe(cores), "database": database}
    with tempfile.TemporaryDirectory(prefix="chat-durable-") as name:
        folder = Path(name)
        for what in options.what or WHAT:
            file = folder / f"{what}.sqlite3"
            bench = Bench(folder, options.database or f"sqlite:///{file}", cores)
            results[what] = _measure(what, bench, file, options)
            print(what, json.dumps(results[what], indent=1), flush=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")


main()
