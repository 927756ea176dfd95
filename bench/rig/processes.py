"""Processes on cores: start, watch and end a server. Linux only: it reads /proc."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.places import PROJECT

START_PATIENCE = 30.0
TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


class ServerFailedError(Exception):
    """The server did not start, or ended. The message has its last output."""


@dataclass(frozen=True, slots=True)
class Usage:
    """A server's use of resources so far: CPU seconds, and resident bytes."""

    cpu: float
    user: float
    system: float
    rss: int


class Server:
    """A server's process and its children, alone on one core."""

    def __init__(
        self, command: Sequence[str], *, port: int, core: int, cwd: Path, environment: Mapping[str, str], log: Path
    ) -> None:
        self.port = port
        self._log = log
        with log.open("wb") as output, pinned(core):
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_it_answers(self) -> None:
        """A server may listen before it is ready. Wait until its first request has a response, of any kind."""
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError):
                self._ask()
                return
            time.sleep(0.05)
        raise ServerFailedError(f"it does not listen after {START_PATIENCE:.0f} s: {self.last_words()}")

    def _ask(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(TimeoutError):
                # Not every peer speaks HTTP.
                connection.recv(1)

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise ServerFailedError when the process has ended."""
        if self._process.poll() is not None:
            raise ServerFailedError(f"it ended with status {self._process.returncode}: {self.last_words()}")

    def usage(self) -> Usage:
        pids = list(_tree(self._process.pid))
        times = [_times(pid) for pid in pids]
        user, system = (sum(column) for column in zip(*times, strict=True))
        # The scheduler's count is the same sum in nanoseconds, where stat has hundredths of a second.
        cpu = sum(map(_scheduled, pids)) or user + system
        return Usage(cpu, user, system, sum(map(_resident, pids)))

    def stop(self) -> None:
        """End it at once: the server's work for its last clients is not measured."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_words(self) -> str:
        """The last line that it logged, or ""."""
        log = self._log.read_text(errors="replace").replace(str(PROJECT), ".")
        lines = log.strip().splitlines()
        return lines[-1] if lines else ""


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Processes that start within this context run on this core, with all their threads: they inherit it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in PROC.glob(f"{pid}/task/*/children"):
        # A thread may end meanwhile.
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from _tree(int(child))


def _times(pid: int) -> tuple[float, float]:
    """User and system seconds of a process with all its threads: fields 14 and 15 of stat (proc_pid_stat(5))."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def _scheduled(pid: int) -> float:
    """Seconds on the CPU, of all threads; 0 where the kernel keeps no such count."""
    try:
        counts = [int(path.read_text().split()[0]) for path in PROC.glob(f"{pid}/task/*/schedstat")]
    except OSError:
        return 0.0
    return sum(counts) / 1e9


def _resident(pid: int) -> int:
    rollup = (PROC / str(pid) / "smaps_rollup").read_text()
    found = re.search(r"^Rss: +(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
