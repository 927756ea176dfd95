"""``manage.py serve``: the site on Daphne, for real. In one process, or in several that a master keeps going."""

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

# What has Twisted in it is imported where it is used: a master has no use for it.


class Command(BaseCommand):
    help = (
        "Serve pages and sockets on Daphne. Stops on SIGTERM or Ctrl-C, after telling every client. "
        "With --workers SIGHUP replaces the processes, one after another, and nobody is refused meanwhile."
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
            help="serve with so many processes, and replace one that ends or hangs; two or more need REDIS_URL "
            "(default: serve with this one, which nobody replaces)",
        )
        parser.add_argument(
            "--hung",
            default=10.0,
            metavar="SECONDS",
            type=partial(_seconds, least=2 * process.BEAT),
            help="seconds without a sign of life after which a worker counts as hung (default: %(default)s)",
        )
        parser.add_argument(
            "--drain",
            metavar="SECONDS",
            type=partial(_seconds, least=0),
            help="other servers take the clients: on SIGTERM let go of them one after another, in so many seconds "
            f"at most (default: all at once; of a worker that is replaced, in {process.LET_GO:g} seconds)",
        )

    def handle(
        self, *, host: str, port: int, workers: int | None, hung: float, drain: float | None, **_: Any
    ) -> None:
        # systemd and the master end what hangs with SIGABRT: then the log has its stack.
        faulthandler.enable()
        role = process.role()
        if role:
            self.work(*role, drain)
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
        """In this process."""
        from chatsite.asgi import application  # noqa: PLC0415 it loads the apps: only now are they configured
        from chatsite.server import ChatServer  # noqa: PLC0415 as said above

        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # There is nobody in whose place another could be put.
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        where = url(listener)

        async def go_on(_: ChatServer) -> None:
            self.greet(where)
            await systemd.keep_informed()

        ChatServer(
            application, listener=listener, beside=go_on, stopping=systemd.stopping, drain_within=drain
        ).run()

    def supervise(self, listener: socket.socket, workers: int, *, hung: float, drain: float | None) -> None:
        """As the master of those who do."""
        at_work = partial(self.greet, url(listener))
        wrong = supervise(listener, workers, hung=hung, drain=drain, at_work=at_work)
        if wrong:
            raise CommandError(wrong)

    def work(self, listener: socket.socket, line: socket.socket, drain: float | None) -> None:
        """For a master, who alone says what comes of SIGHUP."""
        from chatsite.asgi import application  # noqa: PLC0415 as above
        from chatsite.workers.worker import work  # noqa: PLC0415 as above

        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        work(application, listener, line, drain)

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
