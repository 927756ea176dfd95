"""Real servers on free ports, each with a database and a log of its own. A traceback in a log fails its test."""

import http.client
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
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
        # All clients of a test have one address.
        "CHAT_LIMITS": "off",
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


# --- PostgreSQL ---


def postgresql_program(name: str) -> str | None:
    """Where a program of PostgreSQL is: Debian has them by version, and not on the PATH."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    return shutil.which(name) or (str(versions[0]) if versions else None)


def _postgresql_user() -> str | None:
    """As whom it runs: root it refuses."""
    if os.geteuid():
        return None
    users = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"


QUICK = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "synchronous_commit": "off",
}
"""What makes a PostgreSQL quick that nobody will start again after a crash."""


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL of its own on a free port, forgotten at the end; the URL of a database in it."""
    initdb, postgres = postgresql_program("initdb"), postgresql_program("postgres")
    needs(initdb and postgres, "postgresql: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        user = _postgresql_user()
        if user:
            shutil.chown(folder, user)
        data = Path(folder, "data")
        initialise = [str(initdb), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(
            [*initialise, "--locale=C.UTF-8"],
            cwd=folder,
            user=user,
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        port = free_port()
        settings = {**QUICK, "port": str(port), "unix_socket_directories": folder}
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        # On Linux a database's processes live with the first: its end by SIGQUIT is the end of all.
        process = subprocess.Popen(
            [str(postgres), "-D", str(data), *arguments], cwd=folder, user=user, stderr=subprocess.PIPE, text=True
        )
        try:
            _await_line(process, "database system is ready to accept connections")
            yield f"postgres://postgres@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGQUIT)
            process.communicate(timeout=PATIENCE)


def _await_line(process: subprocess.Popen[str], line: str) -> None:
    """Read what a program says on its standard error until it says this."""
    said = []
    assert process.stderr
    for each in process.stderr:
        said.append(each)
        if line in each:
            return
    raise AssertionError("".join(said))


# --- Redis ---


@contextmanager
def redis(folder: Path, port: int) -> Iterator[None]:
    """A Redis without persistence, until the end."""
    needs(shutil.which("redis-server"), "redis-server: apt-get install redis-server")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if "Ready to accept connections" in line:
            break
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
