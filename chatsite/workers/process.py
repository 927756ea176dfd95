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
"""Lines on the control socket. A pid follows DIED."""
HEARTBEAT = 1.0
"""Seconds between two lines ALIVE."""
START_TIMEOUT = 60.0
"""Seconds that a worker may take to be ready."""
DRAIN_SECONDS = 30.0
"""Seconds in which a worker that is replaced closes its sockets, unless ``--drain`` has another number."""
ABORT_TIMEOUT = 2.0
"""Seconds between SIGABRT, on which a hung worker logs its stack, and SIGKILL."""
TIMER_SLACK = 1.0
"""Seconds by which a timer may be late. If it is later, the master itself was stopped."""
SOCKETS_VARIABLE = "SERVE_WORKER"
"""Environment variable that makes ``serve`` a worker: the descriptors of its listening and its control socket."""


class Worker:
    """A serving process, from its start to its end."""

    def __init__(
        self,
        number: int,
        process: "subprocess.Popen[bytes]",
        control: socket.socket,
        *,
        hung: float,
        on_end: Callable[["Worker"], None],
    ) -> None:
        self.number = number
        self._process = process
        self._control = control
        # Bytes of a line that is not complete yet.
        self._partial = b""
        # Seconds without a heartbeat after which the worker counts as hung.
        self._hung = hung
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        # Start, and last input from the worker (loop time).
        self._started = self._last_input = self._loop.time()
        # True when the worker serves, False if it ends before.
        self._ready: asyncio.Future[bool] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._control.settimeout(0)
        self._loop.add_reader(self._control, self._read)
        self._watchdog = self._check_at(self._started + START_TIMEOUT)
        # Timer that kills the worker, or None while it may live.
        self._kill_timer: asyncio.TimerHandle | None = None

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.pid})"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since the start."""
        return self._loop.time() - self._started

    @property
    def outcome(self) -> str:
        """How the process ended, for the log."""
        code = self._process.returncode
        return f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with {code}"

    async def is_ready(self) -> bool:
        """Wait until the worker serves. False if it ended before."""
        return await asyncio.shield(self._ready)

    async def ended(self) -> None:
        await self._ended.wait()

    # --- Commands ---

    def roll(self, timeout: float) -> None:
        """Have the worker drain and end. Kill it after ``timeout`` seconds."""
        self._send(ROLL)
        self._kill_in(timeout)

    def terminate(self, timeout: float) -> None:
        """Send SIGTERM. Kill the worker after ``timeout`` seconds."""
        self._process.terminate()
        self._kill_in(timeout)

    def kill(self) -> None:
        self._process.kill()

    def report_death(self, pid: int) -> None:
        """Tell the worker that another one has ended."""
        self._send(DIED + b" %d" % pid)

    def _send(self, line: bytes) -> None:
        # A worker that has ended, or hangs, need not get it.
        with suppress(OSError):
            self._control.send(line + b"\n")

    def _kill_in(self, seconds: float) -> None:
        if self._kill_timer:
            self._kill_timer.cancel()
        self._kill_timer = self._loop.call_later(seconds, self.kill)

    # --- Heartbeats ---

    def _read(self) -> None:
        try:
            data = self._control.recv(4_096)
        except OSError:
            data = b""
        if not data:
            # The worker is ending. SIGCHLD will tell, or the missing heartbeats.
            self._loop.remove_reader(self._control)
            return
        self._last_input = self._loop.time()
        *lines, self._partial = (self._partial + data).split(b"\n")
        if READY in lines and not self._ready.done():
            self._ready.set_result(True)
            self._watchdog.cancel()
            self._watchdog = self._check_at(self._last_input + self._hung)

    def _check_at(self, due: float) -> asyncio.TimerHandle:
        return self._loop.call_at(due, self._check, due)

    def _check(self, due: float) -> None:
        """End the worker if it sent nothing for too long."""
        now = self._loop.time()
        if now > due + TIMER_SLACK:
            # The master was stopped, perhaps together with the worker: wait again.
            self._last_input = now
        timeout = self._hung if self._ready.done() else START_TIMEOUT
        if now < self._last_input + timeout:
            self._watchdog = self._check_at(self._last_input + timeout)
            return
        logger.error("%s said nothing for %g seconds: it hangs, and is ended", self, timeout)
        self._process.send_signal(signal.SIGABRT)
        self._kill_in(ABORT_TIMEOUT)

    # --- End ---

    def reap(self) -> None:
        """Check whether the process has ended."""
        if self._ended.is_set() or self._process.poll() is None:
            return
        self._watchdog.cancel()
        if self._kill_timer:
            self._kill_timer.cancel()
        self._loop.remove_reader(self._control)
        self._control.close()
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
    """Start the command of this process again, as a worker. Raises OSError."""
    control, workers_end = socket.socketpair()
    inherited = {name: value for name, value in os.environ.items() if name not in systemd.VARIABLES}
    try:
        process = subprocess.Popen(  # noqa: S603 our own command
            # The master has run the system checks.
            [sys.executable, *sys.orig_argv[1:], "--skip-checks"],
            env={**inherited, **variables, SOCKETS_VARIABLE: f"{listener.fileno()}:{workers_end.fileno()}"},
            pass_fds=(listener.fileno(), workers_end.fileno()),
            stdin=subprocess.DEVNULL,
            # Ctrl-C reaches only the master, which stops the workers.
            start_new_session=True,
        )
    except OSError:
        control.close()
        raise
    finally:
        workers_end.close()
    return Worker(number, process, control, hung=hung, on_end=on_end)


def worker_sockets() -> tuple[socket.socket, socket.socket] | None:
    """A worker's listening and control socket. None in any other process."""
    descriptors = os.environ.pop(SOCKETS_VARIABLE, "")
    if not descriptors:
        return None
    listener, control = (socket.socket(fileno=int(number)) for number in descriptors.split(":"))
    for each in (listener, control):
        each.set_inheritable(False)
    return listener, control
