"""Databases for servers, each a copy of one that is migrated: an SQLite file, or a database of a PostgreSQL."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import pytest
import zygote
from django.db import connection
from servers import PATIENCE, ROOT

SQLITE = "sqlite:///"

only_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="of PostgreSQL only: python tests/support/on_services.py"
)


def manage(url: str, *command: str, **variables: str) -> str:
    """The output of a management command that works on this database."""
    return zygote.run(["manage.py", *command], {**os.environ, "DATABASE_URL": url, **variables}, ROOT).strip()


@contextmanager
def copy_of(url: str, folder: Path) -> Iterator[str]:
    """The URL of a database like this one, which nobody has open; gone at the end."""
    name = f"copy_{token_hex(4)}"
    if url.startswith(SQLITE):
        yield SQLITE + str(shutil.copy(url.removeprefix(SQLITE), folder / f"{name}.sqlite3"))
        return
    create(url, name, template=urlsplit(url).path[1:])
    try:
        yield named(url, name)
    finally:
        _execute(url, f"DROP DATABASE {name} WITH (FORCE)")


def create(url: str, name: str, *, template: str = "template1") -> None:
    """Make a database beside this one, in the same PostgreSQL."""
    _execute(url, f"CREATE DATABASE {name} TEMPLATE {template}")


def named(url: str, name: str) -> str:
    """The URL of another database in the same PostgreSQL."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _execute(url: str, statement: str) -> None:
    # Not in the database itself: it may be a template, or be dropped.
    with psycopg_connection(named(url, "postgres")) as elsewhere:
        elsewhere.execute(statement)


WAITING = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


class Somebody:
    """Another process with a connection to a PostgreSQL, by default the tests' own."""

    def __init__(self, url: str | None = None) -> None:
        self._connection, self._watch = (psycopg_connection(url or _our_url()) for _ in range(2))
        # It waits for as long as it takes. So of those in a circle it is never the one that finds out, and loses.
        self.execute("SET deadlock_timeout = '1h'")
        self.execute("SET lock_timeout = 0")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._watch.close()

    def execute(self, sql: str, *values: object) -> None:
        self._connection.execute(sql, values)

    def lock(self, room: int) -> None:
        self.execute("SELECT FROM chat_room WHERE id = %s FOR UPDATE", room)

    def until_it_waits(self) -> None:
        self._until(1, "pid = %s", self._connection.info.backend_pid)

    def until_others_wait(self, number: int) -> None:
        self._until(number, "pid <> %s", self._connection.info.backend_pid)

    def _until(self, number: int, condition: str, *values: object) -> None:
        """So many who wait for a lock are there."""
        waiting = f"{WAITING} AND {condition}"
        deadline = time.monotonic() + PATIENCE
        while len(self._watch.execute(waiting, values).fetchall()) < number:
            assert time.monotonic() < deadline, "nobody waits"


def _our_url() -> str:
    return named(os.environ["DATABASE_URL"], connection.settings_dict["NAME"])


def psycopg_connection(url: str) -> Any:
    import psycopg  # noqa: PLC0415 an extra that only PostgreSQL needs

    return psycopg.connect(url, autocommit=True)
