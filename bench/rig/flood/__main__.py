"""``bench/flood``: 50 users chat; then they go on while one address floods the server."""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rig.durable.crowd import Client, at_once
from rig.machine import describe, two_cores
from rig.peers import OURS, PYTHON
from rig.places import PROJECT, RESULTS
from rig.processes import Server, free_port

PEOPLE = 50
PAUSE = 0.5
"""Seconds between two messages of one user."""
LIMITS = {
    # A site's limits, except for the well-behaved users: 50 of them at one address are an office.
    "CHAT_LIMITS": "on",
    "CHAT_ADDRESS_RATE": "1000",
}


class Talk:
    """50 users in one room, each of whom sends two messages a second."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._people = [Client() for _ in range(PEOPLE)]
        # Time from sending to the ack, in seconds.
        self._seconds: list[float] = []

    async def begin(self) -> None:
        await at_once((client.connect(self._port) for client in self._people), 10)
        await at_once((client.join("talk", f"P{n}") for n, client in enumerate(self._people)), 10)

    async def go_on(self, seconds: float) -> dict[str, float]:
        """The messages' times to their acks meanwhile."""
        self._seconds = []
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._speak(client, n, until) for n, client in enumerate(self._people)))
        cuts = statistics.quantiles(self._seconds, n=100)
        return {
            "messages": len(self._seconds),
            "p50_ms": cuts[49] * 1e3,
            "p99_ms": cuts[98] * 1e3,
            "max_ms": max(self._seconds) * 1e3,
        }

    async def _speak(self, client: Client, number: int, until: float) -> None:
        await asyncio.sleep(PAUSE * number / PEOPLE)
        while time.monotonic() < until:
            answer = asyncio.ensure_future(client.next("ack"))
            await asyncio.sleep(0)
            start = time.perf_counter()
            client.send(type="message", room="talk", content="x" * 80)
            await asyncio.wait_for(answer, 30)
            took = time.perf_counter() - start
            self._seconds.append(took)
            await asyncio.sleep(max(0.0, PAUSE - took))


async def _measure(server: Server, log: Path, seconds: float) -> dict[str, Any]:
    talk = Talk(server.port)
    await talk.begin()
    await talk.go_on(2)
    quiet = await _stretch(talk, server, seconds)
    lines = _lines(log)
    command = [sys.executable, "-m", "rig.flood.flooder", str(server.port), str(seconds + 2)]
    flooder = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    await asyncio.sleep(1)
    flooded = await _stretch(talk, server, seconds)
    output, _ = await flooder.communicate()
    await asyncio.sleep(1)
    return {
        "quiet": quiet,
        "flooded": flooded,
        "flooder": json.loads(output),
        "rss_after_mb": round(server.usage().rss / 1e6, 1),
        "log_lines": _lines(log) - lines,
    }


async def _stretch(talk: Talk, server: Server, seconds: float) -> dict[str, Any]:
    before = server.usage()
    found = await talk.go_on(seconds)
    after = server.usage()
    return {
        **{name: round(figure, 2) for name, figure in found.items()},
        "cpu_percent": round(100 * (after.cpu - before.cpu) / seconds, 1),
        "rss_before_mb": round(before.rss / 1e6, 1),
        "rss_mb": round(after.rss / 1e6, 1),
    }


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n")


def _flood(folder: Path, core: int, seconds: float, limits: str) -> dict[str, Any]:
    environment = {**os.environ, **OURS, **LIMITS, "CHAT_LIMITS": limits}
    # The limits of the other benchmarks are far above a site's.
    for name in list(environment):
        if name.startswith("CHAT_") and name not in {"CHAT_GRACE", *LIMITS}:
            del environment[name]
    environment["DATABASE_URL"] = f"sqlite:///{folder / 'flood.sqlite3'}"
    migrate = [PYTHON, "manage.py", "migrate", "--skip-checks", "--verbosity", "0"]
    subprocess.run(migrate, cwd=PROJECT, env=environment, check=True)
    port, log = free_port(), folder / "server.log"
    command = [PYTHON, "manage.py", "serve", "--port", str(port)]
    server = Server(command, port=port, core=core, cwd=PROJECT, environment=environment, log=log)
    try:
        server.wait_until_it_answers()
        return asyncio.run(_measure(server, log, seconds))
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/flood", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="of each stretch (default: %(default)s)")
    parser.add_argument("--limits", choices=["on", "off"], default="on", help="off: what they are good for")
    parser.add_argument("--record", action="store_true", help="write results/flood.json")
    options = parser.parse_args()
    cores = two_cores()
    os.sched_setaffinity(0, {cores[1]})
    with tempfile.TemporaryDirectory(prefix="chat-flood-") as name:
        found = _flood(Path(name), cores[0], options.seconds, options.limits)
    results = {"machine": describe(cores), "limits": options.limits, **found}
    print(json.dumps(found, indent=1))
    if options.record:
        (RESULTS / "flood.json").write_text(json.dumps(results, indent=1) + "\n")


main()
