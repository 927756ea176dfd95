"""One measurement: a fresh server, the load generator, and the resources that both used."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rig.peers import Peer, Start, environment_of
from rig.places import BIN
from rig.processes import Server, ServerFailedError, Usage, free_port, pinned
from rig.workloads import Workload

PATIENCE = 150.0
"""Seconds for one measurement, connecting and all. The load generator has bounds of its own for each step."""

Measurement = dict[str, Any]


class Used(NamedTuple):
    """The server's use of resources when it listened, and at both ends of the window."""

    before: Usage
    start: Usage
    end: Usage


class CannotError(Exception):
    """The peer can't do this work here. The message says why, for the report."""


def measure(
    peer: Peer,
    workload: Workload,
    *,
    cores: tuple[int, int],
    scratch: Path,
    database: Path,
    ask: Callable[[int], Measurement] = lambda _: {},
) -> Measurement:
    """Let the peer do the work once. Raises CannotError.

    ``ask`` is called with its port in the end, while it still serves; its result is part of the measurement.
    """
    if reason := peer.missing() or workload.not_for(peer):
        raise CannotError(reason)
    work = workload.of(peer)
    start = Start(
        port=free_port(),
        clients=work.clients,
        separate_rooms=work.separate_rooms,
        in_flight=work.in_flight,
    )
    server = Server(
        peer.command(start),
        port=start.port,
        core=cores[0],
        cwd=peer.cwd,
        environment=environment_of(peer, database),
        log=scratch / f"{peer.name}.log",
    )
    try:
        server.wait_until_it_answers()
        return {**_under_load(server, peer, work, cores[1]), **ask(start.port)}
    except ServerFailedError as failure:
        raise CannotError(str(failure)) from failure
    finally:
        server.stop()


def _under_load(server: Server, peer: Peer, work: Workload, core: int) -> Measurement:
    before = server.usage()
    at: dict[str, Usage] = {}
    for event in _events([str(BIN / "load"), f"--port={server.port}", *work.options(peer)], core):
        match event["event"]:
            case "start" | "end" as moment:
                server.check()
                at[moment] = server.usage()
            case "failed":
                raise CannotError(f"{event['why']} {server.last_words()}".strip())
            case "result":
                used = Used(before, at["start"], at["end"])
                return _figures(peer, work, event, used)
    server.check()
    raise CannotError(f"the load generator was stopped after {PATIENCE:.0f} s")


def _events(command: list[str], core: int) -> Iterator[dict[str, Any]]:
    with pinned(core), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            for line in process.stdout or ():
                yield json.loads(line)
        finally:
            watchdog.cancel()
            process.kill()


def _figures(peer: Peer, work: Workload, result: Measurement, used: Used) -> Measurement:
    """The load generator's counts, and the figures derived from them and from the server's use."""
    start, end = used.start, used.end
    cpu, seconds = end.cpu - start.cpu, result["seconds"]
    figures = {
        **{name: result[name] for name in result.keys() - {"event", "latency_ms"}},
        **{f"{name}_ms": value for name, value in result["latency_ms"].items() if name != "samples"},
        "latency_samples": result["latency_ms"]["samples"],
        "cpu_share": cpu / seconds,
        "user_share": (end.user - start.user) / seconds,
        "system_share": (end.system - start.system) / seconds,
        "rss": end.rss,
        "rss_growth": end.rss - start.rss,
        "memory_per_client": (end.rss - used.before.rss) / result["clients"],
    }
    if work.work == "arrivals":
        figures |= {
            "cpu_ms_per_join": cpu * 1e3 / result["clients"],
            "bytes_per_join": result["bytes"] / result["clients"],
        }
    elif result["deliveries"]:
        figures |= {
            "deliveries_per_s": result["deliveries"] / seconds,
            "cpu_us_per_delivery": cpu * 1e6 / result["deliveries"],
            "bytes_per_delivery": result["bytes"] / result["deliveries"],
        }
    if result["completed"]:
        figures |= {
            "messages_per_s": result["completed"] / seconds,
            "cpu_us_per_message": cpu * 1e6 / result["completed"],
        }
    if peer.floor or not result["completed"]:
        # The floor's buffers are always full. And if no message came back to its sender in the window, the
        # received ones are no fair sample.
        for name in ("p50_ms", "p90_ms", "p99_ms", "max_ms"):
            del figures[name]
    if work.work == "messages" and not work.publishers:
        figures["cpu_ms_per_minute"] = cpu * 1e3 * 60 / seconds
    return figures
