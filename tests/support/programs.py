"""Programs that a test starts on free ports, ends, and starts again: with what they kept, on the same port."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from servers import PATIENCE, free_port, needs

LOOK = 0.02
"""Seconds between two looks at what a program says as it starts."""


class Program:
    """A program that may be ended and started again."""

    # Its output when it is ready.
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
        """The account that it runs as; None: ours."""
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


P = TypeVar("P", bound=Program)


@contextmanager
def started(kind: Callable[[Path], P]) -> Iterator[P]:
    """A program in a folder of its own, running, and forgotten at the end."""
    # Not in a test's own folder: that one is closed to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="program-") as folder:
        program = kind(Path(folder))
        program.start()
        try:
            yield program
        finally:
            program.close()


# --- PostgreSQL ---


def postgresql_program(name: str) -> str | None:
    """Where a program of PostgreSQL is: Debian has them by version, and not on the PATH."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    return shutil.which(name) or (str(versions[0]) if versions else None)


def _postgresql_user() -> str | None:
    """The account that it runs as: it refuses root."""
    if os.geteuid():
        return None
    users = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"


QUICK = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    "synchronous_commit": "off",
}
"""Settings for a fast PostgreSQL on a machine that does not crash. A test that kills it, restarts it and checks
its last commits sets ``synchronous_commit``."""


class PostgreSQL(Program):
    """Ended at once, it loses nothing that it committed; a crash of the system is not tried."""

    READY = "database system is ready to accept connections"
    # On Linux a database's processes live with the first: its end by SIGQUIT is the end of all.
    STOP = signal.SIGQUIT

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder)
        self._user = _postgresql_user()
        if self._user:
            shutil.chown(folder, self._user)
        self._settings = {**QUICK, **settings, "port": str(self.port), "unix_socket_directories": str(folder)}
        initialise = [*self._command("initdb"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(
            [*initialise, "--locale=C.UTF-8"],
            cwd=folder,
            user=self._user,
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )

    @property
    def url(self) -> str:
        """The URL of a database in it."""
        return self.database("postgres")

    def database(self, name: str) -> str:
        """The URL of the database of this name."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def user(self) -> str | None:
        return self._user

    def command(self) -> list[str]:
        return [*self._command("postgres"), *(f"--{name}={value}" for name, value in self._settings.items())]

    def _command(self, program: str) -> list[str]:
        return [str(postgresql_program(program)), "-D", "data"]


def postgresql(**settings: str) -> AbstractContextManager[PostgreSQL]:
    """A PostgreSQL of its own, with settings besides QUICK."""
    needs(
        postgresql_program("initdb") and postgresql_program("postgres"), "postgresql: apt-get install postgresql"
    )
    return started(lambda folder: PostgreSQL(folder, **settings))
