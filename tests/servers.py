"""Real servers on free ports, each with a database and a log of its own. A traceback in a log fails its test."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ADDRESS = re.compile(r"http://(127\.0\.0\.1:\d+)")
PATIENCE = 30.0

COMMANDS = {
    "daphne": [sys.executable, "manage.py", "serve", "--port", "{port}"],
    "runserver": [sys.executable, "manage.py", "runserver", "--noreload", "127.0.0.1:{port}"],
    "uvicorn": [sys.executable, "-m", "uvicorn", "chatsite.asgi:application", "--port", "{port}"],
    "probed": [sys.executable, "tests/e2e/probed.py"],
    "wired": [sys.executable, "tests/e2e/wired.py"],
}


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    # Host and port.
    address: str
    log: Path
    # What its environment has besides ours.
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
def running(kind: str, folder: Path, database: Path, **variables: str) -> Iterator[Server]:
    """A server of a kind from COMMANDS.

    ``variables`` go into its environment, but for PORT, where it listens, and ARGUMENTS, which follow its command.
    """
    log = folder / f"{kind}-{time.monotonic_ns()}.log"
    variables = {
        "DATABASE_URL": f"sqlite:///{database}",
        "DJANGO_SETTINGS_MODULE": "chatsite.settings",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "CHAT_GRACE": "0.2",
        **variables,
    }
    port = variables.pop("PORT", "0")
    arguments = variables.pop("ARGUMENTS", "").split()
    command = [*(part.format(port=port) for part in COMMANDS[kind]), *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}, stdout=out, stderr=out)
    server = Server(process, _address(process, log), log, variables)
    try:
        yield server
    finally:
        process.kill()
        process.wait()
    if server.clean:
        assert "Traceback" not in server.said(), server.said()[-4000:]


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the server printed once it listened."""
    # Reading a growing file can't block: poll is what tells a start that failed from one that takes long.
    while process.poll() is None:
        found = ADDRESS.search(log.read_text(errors="replace"))
        # runserver says where it will listen before it does.
        if found and listens(found[1]):
            return found[1]
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the server ended with {process.returncode}: {log.read_text(errors='replace')[-4000:]}")


def get(server: Server, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.address, timeout=PATIENCE)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response
