"""`serve` on an SQLite that may have as many pages as the file CRAMPED says and no more, as on a full disk."""

import os
from pathlib import Path
from typing import Any

import django
from django.db.backends.signals import connection_created

# Before the imports below: the chat's modules need the apps.
django.setup()

from chatsite import server  # noqa: E402
from chatsite.asgi import application  # noqa: E402


def bound(connection: Any, **_: Any) -> None:
    """After an error a thread opens a new connection, so a bound that was raised is found."""
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA max_page_count = {Path(os.environ['CRAMPED']).read_text()}")


def _say(host: str, port: int) -> None:
    print(f"http://{host}:{port}", flush=True)


if __name__ == "__main__":
    connection_created.connect(bound)
    server.ChatServer(application, endpoints=[server.endpoint("127.0.0.1", 0)], listening=_say).run()
