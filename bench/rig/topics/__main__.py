"""Topics at size: many publications at once, many open topics, and a row that somebody holds. See bench/topics."""

import argparse
import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rig.dashboard.__main__ import PYTHON, Viewer, frame_of, request_of
from rig.peers import OURS
from rig.places import PEERS, PROJECT
from rig.processes import Server, free_port

PUBLISH = """
import os, resource, sys
import django
django.setup()
from boards.topics import EachStored, Reading
from chat.topics import publish_many
before = resource.getrusage(resource.RUSAGE_SELF)
number, online = int(sys.argv[1]), int(sys.argv[2])
publish_many([(EachStored(n % online), Reading(n, 0)) for n in range(number)])
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
"""


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Server, int, dict[str, str]]]:
    """Our server with the boards' topics, on core 0."""
    environment = {
        **os.environ,
        **OURS,
        "CHAT_TOPICS_PER_SOCKET": "1000",
        "DJANGO_SETTINGS_MODULE": "boards.settings",
        "PYTHONPATH": f"{PROJECT}:{PEERS}",
        "DATABASE_URL": f"sqlite:///{folder / 'topics.sqlite3'}",
    }
    subprocess.run([PYTHON, "manage.py", "migrate", "-v0"], cwd=PROJECT, env=environment, check=True)
    port = free_port()
    command = [PYTHON, "manage.py", "serve", "--port", str(port)]
    server = Server(command, port=port, core=0, cwd=PROJECT, environment=environment, log=folder / "log")
    try:
        server.wait_until_it_answers()
        yield server, port, environment
    finally:
        server.stop()


async def subscribe(port: int, topics: list[list[str]]) -> list[Viewer]:
    """A socket for each list of topics."""
    loop, viewers = asyncio.get_running_loop(), []
    for names in topics:
        # One write: each part of a hello waits for an answer.
        subscribes = b"".join(frame_of(json.dumps({"type": "subscribe", "topic": name})) for name in names)
        hello = [(b"", subscribes)]
        make = partial(Viewer, request_of(port, "/ws"), hello)
        _, viewer = await loop.create_connection(make, "127.0.0.1", port)
        viewers.append(viewer)
        if len(viewers) % 25 == 0:
            await asyncio.sleep(0.05)
    return viewers


async def quiet(viewers: list[Viewer]) -> None:
    """Return when nothing comes any more."""
    before = -1
    while before != (now := sum(viewer.received for viewer in viewers)):
        before = now
        await asyncio.sleep(1.5)


async def many(number: int, online: int) -> None:
    with TemporaryDirectory() as folder, serving(Path(folder)) as (server, port, environment):
        viewers = await subscribe(port, [[f"stored:{n}"] for n in range(online)])
        await quiet(viewers)
        idle = server.usage().cpu
        await asyncio.sleep(3)
        idle = (server.usage().cpu - idle) / 3
        before, began = server.usage().cpu, time.monotonic()
        run = [PYTHON, "-c", PUBLISH, str(number), str(online)]
        out = await asyncio.to_thread(
            subprocess.run, run, cwd=PROJECT, env=environment, check=True, capture_output=True, text=True
        )
        await quiet(viewers)
        took = time.monotonic() - began
        numbering = (server.usage().cpu - before - idle * took) / number * 1e6
        print(
            f"{number:,} publications of another process, {online:,} online: publisher "
            f"{float(out.stdout) / number * 1e6:.1f} µs, server {numbering:.1f} µs CPU each"
        )


async def opened(number: int) -> None:
    with TemporaryDirectory() as folder, serving(Path(folder)) as (server, port, _):
        each = 500
        names = [f"stored:{n}" for n in range(number)]
        viewers = await subscribe(port, [names[start : start + each] for start in range(0, number, each)])
        await quiet(viewers)
        before, began = server.usage().cpu, time.monotonic()
        await asyncio.sleep(10)
        cost = (server.usage().cpu - before) / (time.monotonic() - began)
        size = server.usage().rss / number / 1e3
        print(f"{number:,} open topics: {cost * 1_000:.0f} ms CPU a second, {size:.1f} KB each")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/topics", description=__doc__)
    parser.add_argument("--publications", type=int, default=10_000)
    parser.add_argument("--online", type=int, default=1_000)
    parser.add_argument("--open", type=int, default=50_000)
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    asyncio.run(many(options.publications, options.online))
    asyncio.run(opened(options.open))


if __name__ == "__main__":
    main()
