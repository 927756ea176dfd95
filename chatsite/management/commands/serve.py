"""``manage.py serve``: the site on Daphne, for real."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chatsite.server import ChatServer, endpoint


class Command(BaseCommand):
    help = "Serve pages and sockets on Daphne. Stops on SIGTERM or Ctrl-C, after telling every client."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument(
            "--port",
            default=8000,
            type=_port,
            help="port to listen on, 0 for a free one (default: %(default)s)",
        )

    def handle(self, *, host: str, port: int, **_: Any) -> None:
        self.check_migrations()
        from chatsite.asgi import application  # noqa: PLC0415 it loads the apps: only now are they configured

        listened: list[int] = []

        def listening(address: str, number: int) -> None:
            listened.append(number)
            shown = f"[{address}]" if ":" in address else address
            self.stdout.write(f"The chat is on http://{shown}:{number}/ (Ctrl-C stops it)")
            self.stdout.flush()

        ChatServer(application, endpoints=[endpoint(host, port)], listening=listening).run()
        if not listened:
            raise CommandError(f"can't listen on {host} port {port}; is another server there?")


def _port(text: str) -> int:
    highest = 65_535
    if text.isdecimal() and int(text) <= highest:
        return int(text)
    raise ArgumentTypeError(f"must be a number from 0 to {highest}, not {text!r}")
