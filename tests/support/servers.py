"""Real servers on free ports, each with a database and a log of its own. A traceback in a log fails its test."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import pytest
import zygote
from zygote import Process

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
ADDRESS = re.compile(r"http://(127\.0\.0\.1:\d+)")
PATIENCE = 30.0

COMMANDS = {
    "daphne": ["manage.py", "serve", "--port", "{port}"],
    "runserver": ["manage.py", "runserver", "--noreload", "127.0.0.1:{port}"],
    "uvicorn": ["-m", "uvicorn", "chatsite.asgi:application", "--port", "{port}"],
    "probed": ["tests/support/probed.py"],
    "wired": ["tests/support/wired.py"],
}
"""Command lines of the kinds of servers, as words after `python`."""


@dataclass
class Server:
    """A running server."""

    process: Process
    # Host and port.
    address: str
    log: Path
    # Variables of its environment in addition to ours.
    variables: dict[str, str]
    # Does the end of the test look for tracebacks in the log? A test that provokes one says no.
    clean: bool = True

    @property
    def ws(self) -> str:
        return f"ws://{self.address}/ws"

    @property
    def http(self) -> str:
        return f"http://{self.address}"

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


Start = Callable[..., Server]

SHOP = {"DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/e2e'}"}
"""Variables of a server of tests/e2e/shop, a project that declares topics."""


def needs(there: object, what: str) -> None:
    """Skip, saying what to install; in CI, where all must be there, fail."""
    if not there:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {what}")


def listens(address: str) -> bool:
    host, port = address.split(":")
    with closing(socket.socket()) as probe:
        return probe.connect_ex((host, int(port))) == 0


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(kind: str, folder: Path, database: str, **variables: str) -> Iterator[Server]:
    """A server of a kind from COMMANDS, with the database of this URL.

    ``variables`` go into its environment, but for PORT, where it listens, and ARGUMENTS, which follow its command.
    """
    log = folder / f"{kind}-{time.monotonic_ns()}.log"
    variables = {
        "DATABASE_URL": database,
        "DJANGO_SETTINGS_MODULE": "chatsite.settings",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        # A run starts a hundred servers: what one has compiled the next ones take.
        "PYTHONDONTWRITEBYTECODE": "",
        "CHAT_GRACE": "0.2",
        # A test that opens a crowd of sockets first, on a busy machine, is not idle.
        "CHAT_JOIN_TIMEOUT": "300",
        # All clients of a test have one address.
        "CHAT_LIMITS": "off",
        **variables,
    }
    # If a run has a Redis, servers of one database receive from each other, and from no others.
    variables.setdefault("REDIS_PREFIX", f"chat-{sha256(variables['DATABASE_URL'].encode()).hexdigest()[:12]}")
    port = variables.pop("PORT", "0")
    arguments = variables.pop("ARGUMENTS", "").split()
    command = [*(part.format(port=port) for part in COMMANDS[kind]), *arguments]
    with log.open("wb") as out:
        process = zygote.start(command, {**os.environ, **variables}, ROOT, out)
    server = Server(process, _address(process, log), log, variables)
    try:
        yield server
    finally:
        process.kill()
        process.wait()
    if server.clean:
        assert "Traceback" not in server.said(), server.said()[-4000:]


def _address(process: Process, log: Path) -> str:
    """The address that the server printed once it listened."""

    def told(said: str) -> str | None:
        found = ADDRESS.search(said)
        # runserver says where it will listen before it does.
        return found[1] if found and listens(found[1]) else None

    return _await(process, log, told)


def _await(process: Process, log: Path, told: Callable[[str], T | None]) -> T:
    """Read what a program writes into its log until that tells what is waited for."""
    # Reading a growing file can't block: poll is what tells a start that failed from one that takes long.
    while process.poll() is None:
        if (found := told(log.read_text(errors="replace"))) is not None:
            return found
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError(f"the server ended with {process.returncode}: {log.read_text(errors='replace')[-4000:]}")


def get(server: Server, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.address, timeout=PATIENCE)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


# --- Redis ---


@contextmanager
def redis(folder: Path, port: int, *options: str) -> Iterator[None]:
    """A Redis without persistence, until the end."""
    usual = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with _redis(*usual, *options, until="Ready to accept connections"):
        yield


@contextmanager
def sentinel(config: Path) -> Iterator[None]:
    """A Sentinel, which keeps its notes in its configuration."""
    with _redis(str(config), "--sentinel", until="+monitor"):
        yield


@contextmanager
def _redis(*arguments: str, until: str) -> Iterator[None]:
    needs(shutil.which("redis-server"), "redis-server: apt-get install redis-server")
    process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if until in line:
            break
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def create_superuser(server: Server) -> None:
    environment = {**os.environ, **server.variables, "DJANGO_SUPERUSER_PASSWORD": "root's password"}
    zygote.run(
        ["manage.py", "createsuperuser", "--noinput", "--username", "root", "--email", ""], environment, ROOT
    )
