"""``bench/run``: measures, and writes the report."""

import argparse
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rig import report
from rig.machine import describe, two_cores
from rig.measuring import CannotError, measure
from rig.peers import OURS, PEERS_BY_NAME, PEERS_TABLE, Peer
from rig.places import BIN, PROJECT, RESULTS, SCRATCH_RESULTS
from rig.workloads import WORKLOADS, Workload

REPEATS = 5


def main() -> None:
    options = _options()
    whole = not (options.quick or options.only or options.peers or options.seconds)
    target = options.output or (RESULTS if whole else SCRATCH_RESULTS)
    cores = options.cores or two_cores()
    # The rig itself must not get in the server's way.
    os.sched_setaffinity(0, {cores[1]})
    results: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "repeats": options.repeats,
        "machine": describe(cores),
        "runs": [],
    }
    try:
        _measure_all(results, options, cores)
    except KeyboardInterrupt:
        print("\nStopped; what was measured so far is reported.", file=sys.stderr)
    target.mkdir(parents=True, exist_ok=True)
    (target / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    report.write(target)
    print(f"\nThe report is in {os.path.relpath(target)}/README.md")


def _measure_all(results: dict[str, Any], options: argparse.Namespace, cores: tuple[int, int]) -> None:
    """Each repeat does all workloads. The peers take turns within each one, so that a slow phase of the machine
    affects all of them.
    """
    peers = _chosen_peers(options.peers)
    workloads = [workload.within(options.seconds) for workload in _chosen_workloads(options.only)]
    unable: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory(prefix="chat-bench-") as scratch_name:
        scratch = Path(scratch_name)
        empty = _migrated(scratch)
        for repeat in range(options.repeats):
            for workload in (workload for workload in workloads if repeat < workload.at_most):
                for peer in (peer for peer in peers if workload.has_floor or not peer.floor):
                    key = workload.name, peer.name
                    database = _copy(empty)
                    run = {"repeat": repeat, "workload": workload.name, "peer": peer.name}
                    try:
                        # A peer that failed once is not tried again.
                        if key in unable:
                            raise CannotError(unable[key])  # noqa: TRY301
                        run |= measure(peer, workload, cores=cores, scratch=scratch, database=database)
                    except CannotError as reason:
                        run["cannot"] = unable[key] = str(reason)
                    results["runs"].append(run)
                    print(report.line(run), flush=True)


def _migrated(scratch: Path) -> Path:
    """Make an empty, migrated database; each of our servers gets a copy."""
    database = scratch / "empty.sqlite3"
    environment = {**os.environ, **OURS, "DATABASE_URL": f"sqlite:///{database}"}
    command = [str(BIN / "python"), "manage.py", "migrate", "--skip-checks", "--verbosity", "0"]
    subprocess.run(command, cwd=PROJECT, env=environment, check=True)
    return database


def _copy(empty: Path) -> Path:
    """A writable copy, which replaces the last one."""
    for old in empty.parent.glob("used.sqlite3*"):
        old.unlink()
    return Path(shutil.copy(empty, empty.with_name("used.sqlite3")))


def _chosen_workloads(names: Iterable[str]) -> list[Workload]:
    wanted = set(names)
    if unknown := wanted - {w.name for w in WORKLOADS} - {w.group for w in WORKLOADS}:
        sys.exit(f"no workload {', '.join(unknown)}; there are {', '.join(w.name for w in WORKLOADS)}")
    return [w for w in WORKLOADS if not wanted or {w.name, w.group} & wanted]


def _chosen_peers(names: Iterable[str]) -> list[Peer]:
    if unknown := set(names) - set(PEERS_BY_NAME):
        sys.exit(f"no peer {', '.join(unknown)}; there are {', '.join(PEERS_BY_NAME)}")
    return [PEERS_BY_NAME[name] for name in names] or list(PEERS_TABLE)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run", description="Measure this chat and its peers.")
    parser.add_argument("--quick", action="store_true", help="each measurement once, not five times")
    parser.add_argument("--repeats", type=int, help="how often each is measured (default: 5)")
    parser.add_argument("--only", type=_listed, default=[], help="workloads, by name or letter: a1000,b")
    parser.add_argument("--peers", type=_listed, default=[], help="ours,article,...")
    parser.add_argument("--seconds", type=float, help="no window longer than this, to try things out")
    parser.add_argument("--cores", type=_cores, help="the server's and the load generator's: 0,1")
    parser.add_argument("--output", type=Path, help="where the report goes")
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else REPEATS)
    return options


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _cores(text: str) -> tuple[int, int]:
    server, load = text.split(",")
    return int(server), int(load)


main()
