"""The server's database, from outside: its log read, its sessions made, its tables locked.

SQLite's file or PostgreSQL, through their drivers: a second connection is what this is about, so the ORM, which
has the tests' own database, stays out of it.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from django.contrib.sessions.backends.db import SessionStore

from chat.auth import GUEST_NAME
from chat.protocol import REACTORS_LIMIT, Reaction
from torture.records import Log, Row, State, shown

SQLITE = "sqlite:///"
PATIENCE = 30
"""Seconds that our own reads and writes wait for a lock."""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
TABLES_OF_A_FILE = (
    "SELECT name FROM sqlite_master t WHERE type = 'table' AND NOT EXISTS (SELECT 1 FROM sqlite_master v "
    "WHERE v.sql LIKE 'CREATE VIRTUAL%' AND t.name LIKE v.name || '_%')"
)
NEVER = datetime(2100, 1, 1, tzinfo=UTC)


class Database:
    """One database, by its URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_file = url.startswith(SQLITE)

    def connect(self) -> Any:
        """A connection without transactions but those that are begun."""
        if self.is_file:
            path = self.url.removeprefix(SQLITE)
            return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        import psycopg  # noqa: PLC0415 an extra that only this needs

        return psycopg.connect(self.url, autocommit=True)

    def query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection:
            return self._rows(connection, sql, values)

    def _rows(self, connection: Any, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        cursor = connection.execute(sql if self.is_file else sql.replace("?", "%s"), values)
        found: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
        return found

    # --- What is done to it ---

    def session(self, name: str) -> str:
        """The key of a new browser session of a guest with this name."""
        key, data = token_hex(16), SessionStore().encode({GUEST_NAME: name})
        expires = NEVER.strftime("%Y-%m-%d %H:%M:%S") if self.is_file else NEVER
        self.query(
            "INSERT INTO django_session (session_key, session_data, expire_date) VALUES (?, ?, ?)",
            (key, data, expires),
        )
        return key

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else can write."""
        lock = ["BEGIN IMMEDIATE"] if self.is_file else ["BEGIN", "LOCK TABLE chat_room IN EXCLUSIVE MODE"]
        with closing(self.connect()) as connection:
            for statement in lock:
                connection.execute(statement)
            yield
            connection.execute("ROLLBACK")

    def hang_up(self) -> int:
        """End all other connections to a PostgreSQL. How many there were."""
        return len(
            self.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    # --- What is in it ---

    def position(self, room: str) -> tuple[int, str]:
        """The room's last number and its epoch."""
        rows = self.query("SELECT seq, epoch FROM chat_room WHERE slug = ?", (room,))
        seq, epoch = rows[0] if rows else (0, "")
        return seq, epoch

    def log(self, room: str) -> Log:
        """All that the room has, and every text that stands anywhere in the database."""
        ((key, epoch, seq, pruned),) = self.query(
            "SELECT id, epoch, seq, pruned FROM chat_room WHERE slug = ?", (room,)
        )
        reactors = self._reactors(key)
        columns = "id, ref, changes, number, seq, username, content, edited, deleted, reply_to"
        rows = self.query(f"SELECT {columns} FROM chat_message WHERE room_id = ? ORDER BY number", (key,))  # noqa: S608 columns of ours
        return Log(
            epoch=epoch,
            seq=seq,
            pruned=pruned,
            rows=[_row(row, reactors[row[0]]) for row in rows],
            read=self.read_positions(room),
            texts=self._texts(),
        )

    def read_positions(self, room: str) -> dict[str, int]:
        """How far the guests have read, by the name at the end of who they are."""
        rows = self.query(
            "SELECT p.reader, p.seq FROM chat_readposition p JOIN chat_room r ON r.id = p.room_id "
            "WHERE r.slug = ?",
            (room,),
        )
        return {reader.rsplit(":", 1)[-1]: seq for reader, seq in rows}

    def _reactors(self, room: int) -> dict[int, list[tuple[str, str]]]:
        found: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for message, emoji, username in self.query(
            "SELECT r.message_id, r.emoji, r.username FROM chat_reaction r JOIN chat_message m "
            "ON m.id = r.message_id WHERE m.room_id = ? ORDER BY r.id",
            (room,),
        ):
            found[message].append((emoji, username))
        return found

    def _texts(self) -> list[str]:
        """The content of all tables.

        Not in an index: those mark what is deleted, and take it out when they are next tidied. A search tells.
        """
        with closing(self.connect()) as connection:
            tables = TABLES_OF_A_FILE if self.is_file else TABLES
            names = [name for (name,) in self._rows(connection, tables, ())]
            rows = [row for name in names for row in self._rows(connection, f'SELECT * FROM "{name}"', ())]  # noqa: S608 the database's own names
        return [_text(value) for row in rows for value in row if isinstance(value, (str, bytes))]


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _row(row: tuple[Any, ...], reactors: list[tuple[str, str]]) -> Row:
    _, ref, changes, number, seq, username, content, edited, deleted, reply_to = row
    state = State(
        id=number,
        seq=seq,
        username=username,
        content=content,
        edited=_milliseconds(edited),
        deleted=deleted is not None,
        reply_to=reply_to,
        reactions=_reactions(reactors),
    )
    return Row(state, ref, changes, reactors)


def _reactions(reactors: list[tuple[str, str]]) -> str:
    """As the wire has them: by emoji, the first first, the names bounded."""
    names: dict[str, list[str]] = {}
    for emoji, username in reactors:
        names.setdefault(emoji, []).append(username)
    return shown(Reaction(emoji, who[:REACTORS_LIMIT], len(who)) for emoji, who in names.items())


def _milliseconds(moment: str | datetime | None) -> int | None:
    """SQLite keeps a time as text, in UTC."""
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000)
