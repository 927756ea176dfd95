"""Words in a room's messages: full-text search by the database's own index, newest first.

Python makes the tokens of a text (chat.message_log.search_words), and they stand in the message's row. The first
token is the room's, so that a search in one room never reads another's messages. Each database indexes these
tokens and nothing else: SQLite in an FTS5 table that triggers keep, PostgreSQL in a GIN index.

A row without tokens (``words`` is NULL) is not indexed yet. It was written before this index existed, by a process
of the version before, or not by the log. A trigger removes the tokens of a text that changes, so that the index
has no words that were edited away. chat.message_log.search_indexing gives such rows their tokens.

The index and its triggers are created after each ``migrate``, if they are missing: Django drops a table's triggers
when it copies the table.
"""

from dataclasses import dataclass
from sqlite3 import sqlite_version_info
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from chat import models
from chat.message_log.changes import messages_of
from chat.message_log.search_words import BEGINNING, Query, parse_query, room_token
from chat.protocol import Message

INDEX = "chat_message_search"
UNINDEXED = "chat_message_unindexed"
FORMER = "chat_message_words"
"""The index of the version before. Its processes may still query it, until the next ``migrate``."""
# FTS5's ``ascii`` leaves all characters alone that are not ASCII. The index does not have the positions of words.
# Without the columns too (``none``), the beginning of a common word took 25 times as long.
TABLE = (
    "CREATE VIRTUAL TABLE chat_message_search USING fts5(words, content='chat_message', content_rowid='id', "
    f"prefix='{BEGINNING}', columnsize=0, detail=column, tokenize=\"ascii tokenchars '_'\")"
)
# The query reads in the order of the index and stops at the limit: under 50 ms in a room of a million messages,
# whatever the words.
NEWEST = (
    "SELECT found.rowid FROM chat_message_search AS found JOIN chat_message ON chat_message.id = found.rowid "
    "WHERE chat_message_search MATCH %s AND chat_message.deleted IS NULL AND NOT chat_message.hidden "
    "AND found.rowid < coalesce((SELECT id FROM chat_message WHERE room_id = %s AND number >= %s "
    "ORDER BY number LIMIT 1), 9223372036854775807) ORDER BY found.rowid DESC LIMIT %s"
)
# Deleted words leave the index's pages at once from SQLite 3.42 on, and before that when pages are merged.
SECURE_DELETE = "INSERT INTO chat_message_search(chat_message_search, rank) VALUES ('secure-delete', 1)"
SECURE_DELETE_FROM = (3, 42)
REBUILD = "INSERT INTO chat_message_search(chat_message_search) VALUES ('rebuild')"
ADD = "INSERT INTO chat_message_search(rowid, words) VALUES (new.id, new.words);"
REMOVE = "INSERT INTO chat_message_search(chat_message_search, rowid, words) VALUES ('delete', old.id, old.words);"
TRIGGERS = {
    "chat_message_search_insert": f"AFTER INSERT ON chat_message BEGIN {ADD} END",
    "chat_message_search_delete": f"AFTER DELETE ON chat_message BEGIN {REMOVE} END",
    "chat_message_search_update": f"AFTER UPDATE OF words ON chat_message BEGIN {REMOVE} {ADD} END",
    "chat_message_search_void": "AFTER UPDATE OF content ON chat_message WHEN new.content IS NOT old.content "
    "BEGIN UPDATE chat_message SET words = NULL WHERE id = new.id; END",
}
POSTGRESQL_WORDS = "array_to_tsvector(array_remove(string_to_array(chat_message.words, ' '), ''))"
"""The tokens as they are. PostgreSQL's own parser would split numbers and addresses."""
ROWS_UNINDEXED = "(room_id, id) WHERE words IS NULL"
POSTGRESQL_INDEXES = {INDEX: f"USING gin ({POSTGRESQL_WORDS})", UNINDEXED: ROWS_UNINDEXED}
POSTGRESQL_STANDS = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
"""Whether the index is complete; no row if it does not exist."""
POSTGRESQL_VOID = """
CREATE OR REPLACE FUNCTION chat_message_search_void() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.words := NULL; RETURN NEW; END $$;
CREATE TRIGGER chat_message_search_void BEFORE UPDATE OF content ON chat_message FOR EACH ROW
    WHEN (OLD.content IS DISTINCT FROM NEW.content) EXECUTE FUNCTION chat_message_search_void();
"""
POSTGRESQL_TRIGGER = "SELECT FROM pg_trigger WHERE tgfoid = to_regproc('chat_message_search_void')"

READS, AT_ONCE = 5, 200
"""Reads of one search, and rows of each further read, if texts have the query's pairs of characters apart."""


# --- Creating the index ---


def prepare(connection: BaseDatabaseWrapper) -> None:
    """Create the index if it is missing, beside a running chat."""
    if connection.vendor == "postgresql":
        _prepare_postgresql(connection)
    elif connection.vendor == "sqlite":
        _prepare_sqlite(connection)


def _prepare_postgresql(connection: BaseDatabaseWrapper) -> None:
    # Writers do not wait for it. It can't be part of a transaction, which a project's own tests may have.
    concurrently = "" if connection.in_atomic_block else "CONCURRENTLY"
    with connection.cursor() as cursor:
        cursor.execute(POSTGRESQL_TRIGGER)
        if not cursor.fetchall():
            cursor.execute(POSTGRESQL_VOID)
        for name, definition in POSTGRESQL_INDEXES.items():
            _make_postgresql_index(cursor, name, definition, concurrently)
        cursor.execute(POSTGRESQL_STANDS, [FORMER])
        if cursor.fetchall() and not _anything_unindexed(cursor):
            _execute_patiently(cursor, f"DROP INDEX {concurrently} {FORMER}")


def _make_postgresql_index(cursor: Any, name: str, definition: str, concurrently: str) -> None:
    cursor.execute(POSTGRESQL_STANDS, [name])
    stands = [valid for (valid,) in cursor.fetchall()]
    if stands == [True]:
        # CREATE INDEX IF NOT EXISTS would lock the messages before it found the index.
        return
    if stands:
        # Its creation was interrupted.
        _execute_patiently(cursor, f"DROP INDEX {concurrently} {name}")
    _execute_patiently(cursor, f"CREATE INDEX {concurrently} {name} ON chat_message {definition}")


def _execute_patiently(cursor: Any, statement: str) -> None:
    """Execute a statement that waits for all earlier transactions, however long they take."""
    cursor.execute("SET lock_timeout = 0")
    cursor.execute(statement)
    cursor.execute("RESET lock_timeout")


def _prepare_sqlite(connection: BaseDatabaseWrapper) -> None:
    # One transaction: a write by another process comes before it, or meets the triggers.
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE name LIKE 'chat_message_%%'", [])
        there = {name for (name,) in cursor.fetchall()}
        if UNINDEXED not in there:
            cursor.execute(f"CREATE INDEX {UNINDEXED} ON chat_message {ROWS_UNINDEXED}")
        if INDEX not in there:
            cursor.execute(TABLE)
            if sqlite_version_info >= SECURE_DELETE_FROM:
                cursor.execute(SECURE_DELETE)
        missing = {name: body for name, body in TRIGGERS.items() if name not in there}
        for name, body in missing.items():
            cursor.execute(f"CREATE TRIGGER {name} {body}")
        if missing or INDEX not in there:
            # The index lacks the rows that were written without triggers.
            cursor.execute(REBUILD)
        if FORMER in there and not _anything_unindexed(cursor):
            _drop_former(cursor, there)


def _drop_former(cursor: Any, there: set[str]) -> None:
    for name in there & {f"{FORMER}_{event}" for event in ("insert", "delete", "update")}:
        cursor.execute(f"DROP TRIGGER {name}")
    cursor.execute(f"DROP TABLE {FORMER}")


def _anything_unindexed(cursor: Any) -> bool:
    cursor.execute("SELECT 1 FROM chat_message WHERE words IS NULL LIMIT 1")
    return bool(cursor.fetchall())


def forget(connection: BaseDatabaseWrapper) -> None:
    """Drop the index, for a migration backwards: it refers to a column that will be dropped."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP TRIGGER IF EXISTS {INDEX}_void ON chat_message")
            cursor.execute(f"DROP FUNCTION IF EXISTS {INDEX}_void()")
            cursor.execute(f"DROP INDEX IF EXISTS {INDEX}, {UNINDEXED}")
        elif connection.vendor == "sqlite":
            for name in TRIGGERS:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
            cursor.execute(f"DROP TABLE IF EXISTS {INDEX}")
            cursor.execute(f"DROP INDEX IF EXISTS {UNINDEXED}")


def is_unindexed(room: int) -> bool:
    """True if the index does not have all of the room's messages yet."""
    return models.Message.objects.filter(room_id=room, words=None).exists()


# --- Searching ---


@dataclass(frozen=True, slots=True)
class SearchResults:
    """The results of a search, newest first."""

    messages: list[Message]
    # True if there are older results.
    more: bool
    # True if some results may be missing, because the room is not fully indexed yet.
    indexing: bool = False


def search_results(room: int, slug: str, query: str, *, before: int | None, limit: int) -> SearchResults:
    """Like ``search``, and also whether the index has the whole room."""
    return SearchResults(*search(room, slug, query, before=before, limit=limit), is_unindexed(room))


def search(room: int, slug: str, query: str, *, before: int | None, limit: int) -> tuple[list[Message], bool]:
    """The newest messages with all words of ``query``, and whether there are older ones.

    The last word matches as a beginning.
    """
    wanted = parse_query(query)
    if not wanted:
        return [], False
    rows = _rows(room, wanted, before, limit + 1)
    return messages_of(rows[:limit], slug), len(rows) > limit


def _rows(room: int, query: Query, before: int | None, limit: int) -> list[models.Message]:
    """The rows with all words and each run in one piece. Nearly all rows with a run's pairs have the run."""
    rows: list[models.Message] = []
    for turn in range(READS):
        size = limit if not turn else AT_ONCE
        page = _with_tokens(room, query, before, size)
        rows += [row for row in page if query.has_runs(row.content)]
        if len(rows) >= limit or len(page) < size:
            break
        before = page[-1].number
    return rows[:limit]


def _with_tokens(room: int, query: Query, before: int | None, limit: int) -> list[models.Message]:
    rows = models.Message.objects.filter(room_id=room, deleted=None, hidden=False)
    found: QuerySet[models.Message] = rows.defer("words")
    if before is not None:
        found = found.filter(number__lt=before)
    if _vendor() == "sqlite":
        found = found.filter(pk__in=_newest(room, query, before, limit))
    else:
        found = _matching(found, query, room)
    return list(found.order_by("-number")[:limit])


def _newest(room: int, query: Query, before: int | None, limit: int) -> list[int]:
    """The keys of the newest messages of a room with these words. A row's key grows with its number."""
    with connections[router.db_for_read(models.Message)].cursor() as cursor:
        cursor.execute(NEWEST, (_fts5(query, room), room, before, limit))
        return [key for (key,) in cursor.fetchall()]


def with_words(messages: QuerySet[models.Message], text: str) -> QuerySet[models.Message]:
    """The messages with all words of a text, the last word as a beginning; none if it has no words."""
    query = parse_query(text)
    return _matching(messages, query) if query else messages.none()


def _matching(
    messages: QuerySet[models.Message], query: Query, room: int | None = None
) -> QuerySet[models.Message]:
    if _vendor() == "sqlite":
        keys = RawSQL(f"SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH %s", (_fts5(query, room),))  # noqa: S608, S611 names of ours
        return messages.filter(pk__in=keys)
    if _vendor() == "postgresql":
        matches: Any = RawSQL(f"{POSTGRESQL_WORDS} @@ %s::tsquery", (_tsquery(query, room),))  # noqa: S611 as above
        return messages.alias(matches=matches).filter(matches=True)
    # On another database there is no index. Each word matches anywhere in the text.
    for word in _tokens(query, room):
        messages = messages.filter(words__contains=word)
    return messages


def _vendor() -> str:
    return connections[router.db_for_read(models.Message)].vendor


def _tokens(query: Query, room: int | None) -> list[str]:
    return [*([] if room is None else [room_token(room)]), *query.words, *filter(None, [query.beginning])]


def _fts5(query: Query, room: int | None) -> str:
    return " AND ".join(f'"{token}"' for token in _tokens(query, room)) + "*" * (query.beginning is not None)


def _tsquery(query: Query, room: int | None) -> str:
    return " & ".join(f"'{token}'" for token in _tokens(query, room)) + ":*" * (query.beginning is not None)
