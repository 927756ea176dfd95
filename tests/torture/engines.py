"""What servers share, started by the run itself on free ports: a PostgreSQL, a Redis, and the cables to it.

Each may be killed, frozen and started again, on the same port and with what it kept.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from redis import Redis as Client
from servers import PATIENCE, QUICK, _postgresql_user, free_port, needs, postgresql_program

LOOK = 0.02
"""Seconds between two looks at what a program says as it starts."""


class Program:
    """One that may be ended and started again."""

    # What it says when it is ready.
    READY = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        # Held by who ends it, until it is there again.
        self.turn = asyncio.Lock()

    def command(self) -> list[str]:
        raise NotImplementedError

    def user(self) -> str | None:
        """As whom it runs; None: as we do."""
        return None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, user=self.user(), stdout=out, stderr=out
            )
        late = time.monotonic() + PATIENCE
        while self.READY not in (said := self.log.read_bytes()[begin:].decode(errors="replace")):
            if self.process.poll() is not None or time.monotonic() > late:
                raise AssertionError(f"{self.command()[0]} did not start: {said[-2_000:]}")
            time.sleep(LOOK)

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        assert self.process
        self.process.send_signal(how)
        self.process.wait(PATIENCE)

    def freeze(self, *, frozen: bool) -> None:
        """It stands still: what is sent to it waits, and no connection is closed."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.freeze(frozen=False)
            self.end(self.STOP)

    # How it is ended for good.
    STOP = signal.SIGKILL


class Redis(Program):
    """It has in its file whatever it has answered: a kill loses nothing."""

    READY = "Ready to accept connections"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "yes"}
        return ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]

    def forget(self) -> None:
        """While it is not running: it starts with nothing."""
        shutil.rmtree(self.folder / "appendonlydir")

    def flush(self) -> None:
        with Client(port=self.port) as client:
            client.flushall()

    def fill(self, *, full: bool) -> None:
        """It has no memory left: it takes nothing new, but tells what it has, and publishes."""
        with Client(port=self.port) as client:
            client.config_set("maxmemory", "1" if full else "0")

    def follow(self, *, another: bool) -> None:
        """It is the replica of one that is not there: it refuses what would change anything."""
        with Client(port=self.port) as client:
            client.replicaof(*(("127.0.0.1", "1") if another else ("NO", "ONE")))


class Cable(Program):
    """A way to a port. Frozen, what goes over it waits; ended, it is cut."""

    READY = "plugged in"

    def __init__(self, folder: Path, target: int) -> None:
        super().__init__(folder)
        self.target = target

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "-S", str(Path(__file__).with_name("cable.py")), str(self.port), str(self.target)]


class PostgreSQL(Program):
    """Ended at once, it loses nothing that it committed; a crash of the system is not tried."""

    READY = "database system is ready to accept connections"
    # On Linux a database's processes live with the first: its end by SIGQUIT is the end of all.
    STOP = signal.SIGQUIT

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if user := self.user():
            shutil.chown(folder, user)
        initialise = [_program("initdb"), "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(
            [*initialise, "--locale=C.UTF-8"],
            cwd=folder,
            user=user,
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def user(self) -> str | None:
        return _postgresql_user()

    def command(self) -> list[str]:
        settings = {
            **QUICK,
            # Who is told of a commit finds it there after a restart.
            "synchronous_commit": "on",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        return [_program("postgres"), "-D", "data", *(f"--{name}={value}" for name, value in settings.items())]


def _program(name: str) -> str:
    path = postgresql_program(name)
    assert path
    return path


P = TypeVar("P", bound=Program)


@dataclass
class Engines:
    """Those that all nodes share."""

    postgresql: PostgreSQL
    redis: Redis


@contextmanager
def started(kind: Callable[[Path], P]) -> Iterator[P]:
    """A program in a folder of its own, running, and forgotten at the end."""
    # Not in a test's own folder: that one is closed to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        program = kind(Path(folder))
        program.start()
        try:
            yield program
        finally:
            program.close()


def redis() -> AbstractContextManager[Redis]:
    needs(shutil.which("redis-server"), "redis-server: apt-get install redis-server")
    return started(Redis)


def postgresql() -> AbstractContextManager[PostgreSQL]:
    needs(
        postgresql_program("initdb") and postgresql_program("postgres"), "postgresql: apt-get install postgresql"
    )
    return started(PostgreSQL)


def plugged(port: int) -> AbstractContextManager[Cable]:
    """A cable to a port of this machine."""
    return started(lambda folder: Cable(folder, port))


@contextmanager
def engines() -> Iterator[Engines]:
    """What a cluster needs."""
    with postgresql() as database, redis() as layer:
        yield Engines(database, layer)
