"""``bench/cluster``: one room, saturated: one process, and two workers of as many sockets each.

All servers run on one core, Redis and the load generator on the other: the result is CPU for each delivery,
with Redis's own CPU and its number of commands beside it. The database is a file, or a PostgreSQL (--database)
that is emptied for each measurement.
"""

import argparse
import json
import os
import re
import secrets
import statistics
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rig.machine import describe, two_cores
from rig.measuring import CannotError, Measurement, measure
from rig.peers import OURS, PEERS_BY_NAME, PYTHON, Peer
from rig.places import PROJECT, RESULTS
from rig.processes import free_port, pinned
from rig.workloads import WORKLOADS_BY_NAME, Workload

KINDS = {"one": (1, False), "one-redis": (1, True), "two-redis": (2, True)}
"""The number of workers, and whether they share a Redis."""
MEMBERS = 1_000
"""Sockets of each process."""
TOKEN = secrets.token_hex(16)


@contextmanager
def _redis(folder: Path, core: int) -> Iterator[tuple[int, Callable[[], dict[str, float]]]]:
    """Yield its port, and functions that return its CPU time and its number of commands."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with pinned(core):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout  # noqa: S101 for the type checker
    for line in process.stdout:
        if "Ready to accept connections" in line:
            break

    def used() -> dict[str, float]:
        asked = ["redis-cli", "-p", str(port), "info", "all"]
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        return {
            "cpu": float(_field(said, r"used_cpu_user:(\S+)")) + float(_field(said, r"used_cpu_sys:(\S+)")),
            "publish": float(_field(said, r"cmdstat_publish:calls=(\d+)")),
            "evalsha": float(_field(said, r"cmdstat_evalsha:calls=(\d+)")),
        }

    try:
        yield port, used
    finally:
        process.terminate()
        process.wait()


def _field(said: str, pattern: str) -> str:
    found = re.search(pattern, said)
    return found[1] if found else "0"


def _written(port: int) -> Measurement:
    """The server's metrics of the whole run: frames per write to a socket, changes per commit."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 as above
        said = answer.read().decode()

    def of(name: str) -> float:
        return float(_field(said, rf"(?m)^chat_{name} (\S+)"))

    return {
        "frames_per_write": of("deliveries_total") / of("writes_total"),
        "changes_per_commit": of("commit_size_sum") / of("commit_size_count"),
    }


def _peer(name: str, workers: int, redis: int | None, url: str) -> Peer:
    plain = PEERS_BY_NAME["ours"]
    more = ["--workers", str(workers)] if workers > 1 else []
    told = {**OURS, "CHAT_METRICS_TOKEN": TOKEN, "DATABASE_URL": url}
    environment = {**told, **({"REDIS_URL": f"redis://127.0.0.1:{redis}/0"} if redis else {})}
    return replace(
        plain,
        name=name,
        command=lambda start: [PYTHON, "manage.py", "serve", "--port", str(start.port), *more],
        environment=environment,
    )


def _work(workers: int, options: argparse.Namespace) -> Workload:
    """Each worker gets the load of a single process: its sockets, and its messages in flight.

    With a rate, each process delivers that many messages a second. A process that waits for another on its core
    then has no more messages for each write than a single one.
    """
    work = WORKLOADS_BY_NAME["a1000"]
    return replace(
        work,
        members=MEMBERS * workers,
        in_flight=0 if options.rate else work.in_flight * workers,
        rate=options.rate,
        seconds=options.seconds,
        differently={},
        has_floor=False,
    )


def _once(name: str, *, folder: Path, cores: tuple[int, int], options: argparse.Namespace) -> Measurement:
    workers, shared = KINDS[name]
    database = folder / f"{name}.sqlite3"
    url = options.database or f"sqlite:///{database}"
    environment = {**os.environ, **OURS, "DATABASE_URL": url}
    # Emptied, because the load generator sends the same refs each time, and a ref is accepted once.
    for command in (["migrate", "--skip-checks"], ["flush", "--no-input"]):
        subprocess.run(
            [PYTHON, "manage.py", *command, "--verbosity", "0"], cwd=PROJECT, env=environment, check=True
        )
    with _redis(folder, cores[1]) as (port, used):
        peer = _peer(name, workers, port if shared else None, url)
        found = measure(
            peer, _work(workers, options), cores=cores, scratch=folder, database=database, ask=_written
        )
        asked = used()
    return {
        "cpu_us_per_delivery": found["cpu_us_per_delivery"],
        "p50_ms": found.get("p50_ms"),
        "p99_ms": found.get("p99_ms"),
        "messages_per_s": found.get("messages_per_s"),
        "deliveries_per_s": found["deliveries_per_s"],
        "frames_per_write": found["frames_per_write"],
        "changes_per_commit": found["changes_per_commit"],
        # From the whole run, with joins and warm-up.
        "redis_cpu_s": asked["cpu"],
        "publish_calls": asked["publish"],
        "script_calls": asked["evalsha"],
    }


def _all(options: argparse.Namespace, cores: tuple[int, int]) -> dict[str, Any]:
    found: dict[str, list[Measurement]] = {name: [] for name in KINDS}
    for number in range(options.rounds):
        # Forwards, then backwards: the machine becomes slower and faster during the run.
        for name in list(KINDS)[:: -1 if number % 2 else 1]:
            with tempfile.TemporaryDirectory(prefix="chat-cluster-") as folder:
                try:
                    once = _once(name, folder=Path(folder), cores=cores, options=options)
                except CannotError as error:
                    raise SystemExit(f"{name}: {error}") from None
            found[name].append(once)
            print(name, json.dumps({key: round(value or 0, 3) for key, value in once.items()}), flush=True)
    medians = {
        name: {key: statistics.median(each[key] or 0 for each in runs) for key in runs[0]}
        for name, runs in found.items()
    }
    beside = {
        f"{name} beside {other}": _ratios(found[name], found[other])
        for name, other in (("one-redis", "one"), ("two-redis", "one-redis"), ("two-redis", "one"))
    }
    return {"medians": medians, "cpu_per_delivery": beside, "runs": found}


def _ratios(ours: list[Measurement], others: list[Measurement]) -> Measurement:
    """Ratios of CPU per delivery, within each round: the runs of one round have the same machine."""
    each = [
        one["cpu_us_per_delivery"] / other["cpu_us_per_delivery"] for one, other in zip(ours, others, strict=True)
    ]
    return {"median": statistics.median(each), "least": min(each), "most": max(each)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/cluster", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="of each window (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0, help="messages a second in all (default: as many as go)")
    parser.add_argument(
        "--database", default="", help="the URL of a PostgreSQL, which is emptied (default: SQLite)"
    )
    parser.add_argument("--record", action="store_true", help="write results/cluster.json")
    options = parser.parse_args()
    cores = two_cores()
    found = _all(options, cores)
    print(json.dumps({name: found[name] for name in ("medians", "cpu_per_delivery")}, indent=1))
    if options.record:
        text = json.dumps({"machine": describe(cores), **found}, indent=1)
        (RESULTS / "cluster.json").write_text(text + "\n")


main()
