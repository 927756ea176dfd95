"""The long form, for minutes. Its parameters are in the environment.

TORTURE_ROUNDS (20), TORTURE_CLIENTS (50), TORTURE_SERVERS (1; all share the database), TORTURE_FAULTS (all; or
the names of some, see torture.faults and torture.outages), TORTURE_SEED (by chance, and printed),
TORTURE_DATABASE_URL (SQLite in a temporary file; or a PostgreSQL database of its own), TORTURE_ENGINES (0; 1: the
servers share a PostgreSQL and a Redis of the run's own, which suffer too).
"""

import asyncio
import os
import random
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from torture import outages
from torture.again import many_times
from torture.engines import engines
from torture.faults import ALL, Does, hang_up
from torture.life import Habits
from torture.records import History, Log
from torture.report import Report, dump
from torture.run import Plan, torture
from torture.site import a_file, migrated

DUMP = Path(".local")
CROWD = 100
CROWDED = {"CHAT_GRACE": "5", "CHAT_USER_LIST_INTERVAL": "2"}
"""Where so many come back at once they would else have nothing but each other's coming and going to read."""


def main() -> int:
    """The exit code: is anything wrong?"""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chat-torture-")))
        started = stack.enter_context(engines()) if _number("ENGINES", 0) else None
        url = started.postgresql.url if started else os.environ.get("TORTURE_DATABASE_URL")
        plan = _plan((*ALL, *([hang_up] if url else []), *(outages.ALL if started else ())))
        print(f"TORTURE_SEED={plan.seed}: {plan.rounds} rounds, {plan.clients} clients", flush=True)
        database = migrated(url or a_file(folder))
        again = asyncio.run(many_times(folder, database, plan.seed))
        report, history, log = asyncio.run(torture(plan, folder, database, started))
        kept = "" if report.good else _keep(report, history, log, folder)
    print(f"One message, many times: {again.text()}\n\nMany messages: {report.text()}")
    print(kept)
    return not (report.good and again.good)


def _keep(report: Report, history: History, log: Log, folder: Path) -> str:
    """All that was recorded, and the logs of the servers in the order of their lives."""
    DUMP.mkdir(mode=0o700, exist_ok=True)
    path = DUMP / f"torture-{report.seed}.jsonl"
    dump(report, history, log, path)
    for number, each in enumerate(sorted(folder.glob("*.log"))):
        shutil.copy(each, path.with_name(f"{path.stem}-{number}.log"))
    return f"All that was recorded is in {path}, with the servers' logs beside it."


def _plan(possible: tuple[Does, ...]) -> Plan:
    clients = _number("CLIENTS", 50)
    return Plan(
        seed=_number("SEED", random.randrange(2**31)),
        rounds=_number("ROUNDS", 20),
        clients=clients,
        servers=_number("SERVERS", 1),
        faults=_faults(possible),
        habits=Habits.of(clients),
        settings=CROWDED if clients > CROWD else {},
    )


def _faults(possible: tuple[Does, ...]) -> tuple[Does, ...]:
    names = os.environ.get("TORTURE_FAULTS", "").split()
    return tuple(does for does in possible if does.__name__ in names) or possible


def _number(name: str, default: int) -> int:
    return int(os.environ.get(f"TORTURE_{name}") or default)
