"""The services that servers share, started by the run itself on free ports: a PostgreSQL, a Redis, and the proxies
to it.

Each may be killed, frozen and started again, on the same port and with what it kept.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import programs
from programs import PostgreSQL, Program, started
from redis import Redis as Client
from servers import needs


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


@dataclass
class Engines:
    """Those that all nodes share."""

    postgresql: PostgreSQL
    redis: Redis


def redis() -> AbstractContextManager[Redis]:
    needs(shutil.which("redis-server"), "redis-server: apt-get install redis-server")
    return started(Redis)


def postgresql() -> AbstractContextManager[PostgreSQL]:
    # A client that was told of a commit finds it after a restart.
    return programs.postgresql(synchronous_commit="on")


def plugged(port: int) -> AbstractContextManager[Cable]:
    """A cable to a port of this machine."""
    return started(lambda folder: Cable(folder, port))


@contextmanager
def engines() -> Iterator[Engines]:
    """The services that a cluster needs."""
    with postgresql() as database, redis() as layer:
        yield Engines(database, layer)
