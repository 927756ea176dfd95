"""``manage.py serve``: the site on Daphne, in production. In one process, or in several below a master."""

import faulthandler
import math
import signal
import socket
from argparse import ArgumentTypeError
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from chat.presence.registry import is_shared
from chatsite.workers import process, systemd
from chatsite.workers.listening import listen, url
from chatsite.workers.supervisor import supervise

# Modules that import Twisted are imported where they are used: a master does not use it.


class Command(BaseCommand):
    help = (
        "Serve pages and sockets on Daphne. Stops on SIGTERM or Ctrl-C, after telling every client to reconnect. "
        "With --workers, SIGHUP replaces the processes one after another, and no connection is refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument(
            "--port",
            default=8000,
            type=_port,
            help="port to listen on, 0 for a free one (default: %(default)s)",
        )
        parser.add_argument(
            "--workers",
            metavar="N",
            type=_workers,
            help="serve with N processes, and replace one that ends or hangs; two or more need REDIS_URL "
            "(default: serve with this process, without a master)",
        )
        parser.add_argument(
            "--hung",
            default=10.0,
            metavar="SECONDS",
            type=partial(_seconds, least=2 * process.HEARTBEAT),
            help="seconds without a heartbeat after which a worker counts as hung (default: %(default)s)",
        )
        parser.add_argument(
            "--drain",
            metavar="SECONDS",
            type=partial(_seconds, least=0),
            help="other servers take the clients: on SIGTERM close the sockets one after another, within SECONDS "
            f"(default: all at once; for a worker that is replaced, within {process.DRAIN_SECONDS:g} seconds)",
        )

    def handle(
        self, *, host: str, port: int, workers: int | None, hung: float, drain: float | None, **_: Any
    ) -> None:
        # systemd and the master end a hung process with SIGABRT, on which it logs its stack.
        faulthandler.enable()
        sockets = process.worker_sockets()
        if sockets:
            self.work(*sockets, drain)
            return
        if workers and workers > 1:
            _require_shared_layer()
        self.check_migrations()
        connections.close_all()
        with self.listen(host, port) as listener:
            if workers:
                self.supervise(listener, workers, hung=hung, drain=drain)
            else:
                self.serve(listener, drain)

    def listen(self, host: str, port: int) -> socket.socket:
        try:
            return listen(host, port)
        except OSError as error:
            raise CommandError(f"can't listen on {host} port {port}: {error.strerror}") from None

    def serve(self, listener: socket.socket, drain: float | None) -> None:
        """Serve in this process."""
        from chatsite.asgi import application  # noqa: PLC0415 it needs the apps to be loaded
        from chatsite.server import ChatServer  # noqa: PLC0415 as above

        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # No master can replace this process: SIGHUP ends it, as SIGTERM does.
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        where = url(listener)

        async def report(_: ChatServer) -> None:
            self.greet(where)
            await systemd.report()

        ChatServer(
            application, listener=listener, companion=report, on_stop=systemd.stopping, drain_seconds=drain
        ).run()

    def supervise(self, listener: socket.socket, workers: int, *, hung: float, drain: float | None) -> None:
        """Run the master of several workers."""
        on_ready = partial(self.greet, url(listener))
        error = supervise(listener, workers, hung=hung, drain=drain, on_ready=on_ready)
        if error:
            raise CommandError(error)

    def work(self, listener: socket.socket, control: socket.socket, drain: float | None) -> None:
        """Serve as a worker. Only the master handles SIGHUP."""
        from chatsite.asgi import application  # noqa: PLC0415 as above
        from chatsite.workers.worker import work  # noqa: PLC0415 as above

        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        work(application, listener, control, drain)

    def greet(self, where: str) -> None:
        self.stdout.write(f"The chat is on {where} (Ctrl-C stops it)")
        self.stdout.flush()


def _require_shared_layer() -> None:
    if not is_shared(settings.CHANNEL_LAYERS["default"]):
        raise CommandError(
            "Several workers need a channel layer that they share: set REDIS_URL (redis://host:port/0), "
            "or take --workers 1."
        )


def _port(text: str) -> int:
    highest = 65_535
    if text.isdecimal() and int(text) <= highest:
        return int(text)
    raise ArgumentTypeError(f"must be a number from 0 to {highest}, not {text!r}")


def _workers(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise ArgumentTypeError(f"must be a number from 1, not {text!r}")


def _seconds(text: str, least: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if least <= seconds < math.inf:
        return seconds
    raise ArgumentTypeError(f"must be a number of seconds from {least:g}, not {text!r}")
