"""A process that has imported our programs' modules, and forks instead of a new start of Python.

A run of the tests starts some hundreds of servers and commands. Each takes 0.65 s of CPU, 0.45 s of it for imports
of third-party packages. They are imported here, once: they read neither settings nor environment, start no thread
and open nothing. A child loads our own modules by itself, under its own environment.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol

MODULES = [
    "argon2",
    "asyncio",
    "autobahn.twisted.websocket",
    "channels.db",
    "channels.generic.websocket",
    "channels.layers",
    "channels.routing",
    "daphne.http_protocol",
    "daphne.ws_protocol",
    "django.contrib.auth.hashers",
    "django.contrib.messages.middleware",
    "django.contrib.sessions.middleware",
    "django.contrib.staticfiles.finders",
    "django.contrib.staticfiles.storage",
    "django.core.asgi",
    "django.core.management",
    "django.core.management.commands.check",
    "django.core.management.commands.runserver",
    "django.core.management.commands.shell",
    "django.core.serializers.json",
    "django.core.signing",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.autodetector",
    "django.db.migrations.executor",
    "django.db.models",
    "django.forms",
    "django.middleware.clickjacking",
    "django.middleware.common",
    "django.middleware.csrf",
    "django.middleware.security",
    "django.template.backends.django",
    "django.template.loader_tags",
    "django.urls",
    "django.views.csrf",
    "django.views.debug",
    "django.views.generic",
    "environ",
    "jwt",
    "jwt.algorithms",
    "msgspec",
    "sqlparse",
    "twisted.internet.asyncioreactor",
    "twisted.internet.endpoints",
    "twisted.internet.ssl",
    "twisted.web.http",
    "whitenoise.middleware",
]
EXTRAS = ["channels_redis.core", "django.db.backends.postgresql.base", "psycopg_pool", "redis.asyncio.sentinel"]


LARGEST = 1 << 20
"""Bytes of a request, at most."""
NUMBER = 16
"""Bytes in which a pid and an exit code are told, each."""
PLAIN = {"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONWARNINGS"}
"""Variables that a fork takes as a start does. Others of Python's, and the linker's, work only at a start."""


class Process(Protocol):
    """A program that was started: what tests use of ``Popen``."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


# --- Calls for tests ---


def start(
    words: list[str], environment: dict[str, str], folder: Path, out: IO[bytes], errors: IO[bytes] | None = None
) -> Process:
    """Start ``python`` with these words; it writes into these files."""
    errors = errors or out
    if can_fork(environment):
        return _zygote().start(words, environment, folder, out, errors)
    return subprocess.Popen([sys.executable, *words], cwd=folder, env=environment, stdout=out, stderr=errors)


def run(words: list[str], environment: dict[str, str], folder: Path) -> str:
    """Run ``python`` with these words to its end; what it printed. Raises CalledProcessError."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        code = start(words, environment, folder, out, errors).wait()
        out.seek(0)
        errors.seek(0)
        said, wrong = out.read().decode(), errors.read().decode()
    if code:
        print(said, wrong)
        raise subprocess.CalledProcessError(code, words, said, wrong)
    return said


def can_fork(environment: dict[str, str]) -> bool:
    """Is a fork in this environment as good as a start?"""
    changed = {name for name in {*environment, *os.environ} if environment.get(name) != os.environ.get(name)}
    return hasattr(os, "pidfd_open") and not any(
        name.startswith(("PYTHON", "LD_")) and name not in PLAIN for name in changed
    )


class Zygote:
    """The process that forks, seen from the tests. It ends with them."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        atexit.register(self.close)

    def close(self) -> None:
        """Close the zygote. Its children go on."""
        self._control.close()
        self._process.wait()

    def start(
        self, words: list[str], environment: dict[str, str], folder: Path, out: IO[bytes], errors: IO[bytes]
    ) -> "Forked":
        ours, theirs = socket.socketpair()
        deaf = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        what = {"words": words, "environment": environment, "folder": str(folder), "deaf": deaf}
        request = json.dumps(what).encode()
        with theirs:
            socket.send_fds(self._control, [request], [out.fileno(), errors.fileno(), theirs.fileno()])
        return Forked(ours)


@cache
def _zygote() -> Zygote:
    return Zygote()


class Forked:
    """A program that was forked. It is the zygote's child, which tells its pid, and in the end its exit code."""

    returncode: int | None = None

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self.pid = _number(told)

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._told, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired("a fork", timeout or 0)
            self.returncode = _number(self._told)
            self._told.close()
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _number(told: socket.socket) -> int:
    """The next number, and no more: where a program ends at once, both wait to be read."""
    return int(told.recv(NUMBER))


# --- The process itself ---


def serve(control: socket.socket) -> dict[str, Any]:
    """Fork for each request, until nobody is there any more. In a child it returns, with the request."""
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not control:
                selector.unregister(key.fileobj)
                _tell_the_end(*key.data)
                continue
            message, fds, _, _ = socket.recv_fds(control, LARGEST, 3)
            if not message:
                sys.exit()
            if (pid := os.fork()) == 0:
                selector.close()
                _take(*fds)
                request: dict[str, Any] = json.loads(message)
                return request
            *files, told = fds
            for file in files:
                os.close(file)
            os.write(told, padded(pid))
            selector.register(watch := os.pidfd_open(pid), selectors.EVENT_READ, (pid, watch, told))


def _tell_the_end(pid: int, watch: int, told: int) -> None:
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        os.write(told, padded(os.waitstatus_to_exitcode(status)))
    os.close(told)
    os.close(watch)


def padded(number: int) -> bytes:
    return str(number).encode().ljust(NUMBER)


def _take(out: int, errors: int, _told: int) -> None:
    """In a child: write where it shall, and have nothing else open."""
    os.dup2(out, 1)
    os.dup2(errors, 2)
    os.closerange(3, 1_024)


def become(words: list[str], environment: dict[str, str], folder: str, *, deaf: bool) -> NoReturn:
    """In a child: be ``python`` with these words; ``deaf``: SIGHUP is ignored, as where the tests ignore it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN if deaf else signal.SIG_DFL)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 for as long as it lives
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115 as above
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    module = words[0] == "-m"
    sys.argv = words[1:] if module else words
    # From it a master starts its workers.
    sys.orig_argv = [sys.executable, *words]
    # In place of this file's own folder.
    sys.path[:1] = [folder if module else str(Path(words[0]).resolve().parent), *paths]
    if module:
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(words[0], run_name="__main__")
    sys.exit()


def warm_up() -> None:
    """Import all that takes long. Its results must be true for every child."""
    for module in MODULES:
        importlib.import_module(module)
    for module in EXTRAS:
        with suppress(ImportError):
            importlib.import_module(module)
    # Neither can be forked.
    assert "twisted.internet.reactor" not in sys.modules
    assert threading.active_count() == 1
    assert not sys.modules["django.conf"].settings.configured
    # Present objects are shared with the children as long as nobody writes to them.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    # Ctrl-C is for the tests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        warm_up()
        request = serve(control)
        control.detach()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    become(**request)
