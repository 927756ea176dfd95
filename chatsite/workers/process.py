"""One worker's process, as the master sees it."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from chatsite.workers import systemd

logger = logging.getLogger("chatsite.workers")

READY, ALIVE, ROLL, DIED = b"ready", b"alive", b"roll", b"died"
"""What is said on the line, each in a line of its own. DIED has a pid behind it."""
BEAT = 1.0
"""Seconds between two signs of life."""
START = 60.0
"""Seconds that a worker may take to be ready."""
LET_GO = 30.0
"""Seconds in which a worker that is replaced lets go of its clients, where nothing else is said."""
STACK = 2.0
"""Seconds between SIGABRT, on which a worker tells where it hangs, and SIGKILL."""
LATE = 1.0
"""Seconds by which a timer may be late. Where it is more, it was the master that stood still."""
ROLE = "SERVE_WORKER"
"""The environment's variable that makes `serve` a worker: the descriptors of its socket and of its line."""


class Worker:
    """A process that serves, from its start to its end."""

    def __init__(
        self,
        number: int,
        process: "subprocess.Popen[bytes]",
        line: socket.socket,
        *,
        hung: float,
        on_end: Callable[["Worker"], None],
    ) -> None:
        self.number = number
        self._process = process
        self._line = line
        # The beginning of a word of which the rest has not come.
        self._begun = b""
        # Seconds of silence after which it hangs.
        self._hung = hung
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._born = self._heard = self._loop.time()
        # False where it ended before it served.
        self._ready: asyncio.Future[bool] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._line.settimeout(0)
        self._loop.add_reader(self._line, self._hear)
        self._watch = self._judge_at(self._born + START)
        # Kills it; None while it need not end.
        self._last_resort: asyncio.TimerHandle | None = None

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.pid})"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds."""
        return self._loop.time() - self._born

    @property
    def fate(self) -> str:
        """How it ended."""
        code = self._process.returncode
        return f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with {code}"

    async def is_ready(self) -> bool:
        """Wait until it serves. False where it ended before."""
        return await asyncio.shield(self._ready)

    async def ended(self) -> None:
        await self._ended.wait()

    # --- What it is told ---

    def roll(self, patience: float) -> None:
        """Let go of the clients and end, in so many seconds."""
        self._tell(ROLL)
        self._kill_in(patience)

    def terminate(self, patience: float) -> None:
        self._process.terminate()
        self._kill_in(patience)

    def kill(self) -> None:
        self._process.kill()

    def tell_of_death(self, pid: int) -> None:
        """Another worker is gone."""
        self._tell(DIED + b" %d" % pid)

    def _tell(self, words: bytes) -> None:
        # Where it is gone, or hangs, it need not know.
        with suppress(OSError):
            self._line.send(words + b"\n")

    def _kill_in(self, seconds: float) -> None:
        if self._last_resort:
            self._last_resort.cancel()
        self._last_resort = self._loop.call_later(seconds, self.kill)

    # --- What it says ---

    def _hear(self) -> None:
        try:
            said = self._line.recv(4_096)
        except OSError:
            said = b""
        if not said:
            # It ends: SIGCHLD tells of it, or the silence.
            self._loop.remove_reader(self._line)
            return
        self._heard = self._loop.time()
        *words, self._begun = (self._begun + said).split(b"\n")
        if READY in words and not self._ready.done():
            self._ready.set_result(True)
            self._watch.cancel()
            self._watch = self._judge_at(self._heard + self._hung)

    def _judge_at(self, due: float) -> asyncio.TimerHandle:
        return self._loop.call_at(due, self._judge, due)

    def _judge(self, due: float) -> None:
        """End it, if nothing came for too long."""
        now = self._loop.time()
        if now > due + LATE:
            # We may have been stopped together, and it the longer.
            self._heard = now
        patience = self._hung if self._ready.done() else START
        if now < self._heard + patience:
            self._watch = self._judge_at(self._heard + patience)
            return
        logger.error("%s said nothing for %g seconds: it hangs, and is ended", self, patience)
        self._process.send_signal(signal.SIGABRT)
        self._kill_in(STACK)

    # --- Its end ---

    def reap(self) -> None:
        """See whether it has ended."""
        if self._ended.is_set() or self._process.poll() is None:
            return
        self._watch.cancel()
        if self._last_resort:
            self._last_resort.cancel()
        self._loop.remove_reader(self._line)
        self._line.close()
        if not self._ready.done():
            self._ready.set_result(False)
        self._ended.set()
        self._on_end(self)


def start(
    listener: socket.socket,
    variables: Mapping[str, str],
    hung: float,
    number: int,
    on_end: Callable[[Worker], None],
) -> Worker:
    """The command that runs, once more, as a worker. Raises OSError."""
    line, theirs = socket.socketpair()
    inherited = {name: value for name, value in os.environ.items() if name not in systemd.VARIABLES}
    try:
        process = subprocess.Popen(  # noqa: S603 our own command
            # What the checks say the master has said.
            [sys.executable, *sys.orig_argv[1:], "--skip-checks"],
            env={**inherited, **variables, ROLE: f"{listener.fileno()}:{theirs.fileno()}"},
            pass_fds=(listener.fileno(), theirs.fileno()),
            stdin=subprocess.DEVNULL,
            # Ctrl-C is for the master: it tells the worker.
            start_new_session=True,
        )
    except OSError:
        line.close()
        raise
    finally:
        theirs.close()
    return Worker(number, process, line, hung=hung, on_end=on_end)


def role() -> tuple[socket.socket, socket.socket] | None:
    """A worker's socket and line; None in a process that is none."""
    given = os.environ.pop(ROLE, "")
    if not given:
        return None
    listener, line = (socket.socket(fileno=int(number)) for number in given.split(":"))
    for each in (listener, line):
        each.set_inheritable(False)
    return listener, line
