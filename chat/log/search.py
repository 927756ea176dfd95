"""Words in a room's messages: full-text search by the database's own index, newest first.

SQLite: an FTS5 table over the messages, kept by triggers. It has the room as a word too, so that a search in one
room never walks through another's messages. PostgreSQL: a GIN index of the messages' words. Both are made after
each `migrate`, where they are missing: Django takes a table's triggers away when it makes the table anew.
"""

import re
from sqlite3 import sqlite_version_info
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from chat import models
from chat.log.changes import with_reactions
from chat.protocol import Message

BEGINNING = 3
"""Letters that a word must have to be taken for the beginning of others; the index has those of this length."""
TABLE = (
    "CREATE VIRTUAL TABLE chat_message_words USING fts5(content, room_id, content='chat_message', "
    f"content_rowid='id', prefix='{BEGINNING}', columnsize=0, tokenize='unicode61 remove_diacritics 2')"
)
# In the order of the index, so that it stops at the limit: under 50 ms in a room of a million, whatever the words.
NEWEST = (
    "SELECT words.rowid FROM chat_message_words AS words JOIN chat_message ON chat_message.id = words.rowid "
    "WHERE chat_message_words MATCH %s AND chat_message.deleted IS NULL AND NOT chat_message.hidden "
    "AND words.rowid < coalesce((SELECT id FROM chat_message WHERE room_id = %s AND number >= %s "
    "ORDER BY number LIMIT 1), 9223372036854775807) ORDER BY words.rowid DESC LIMIT %s"
)
# Deleted words leave the index's pages at once, where SQLite can do that (3.42), and else when they are merged.
SECURE_DELETE = "INSERT INTO chat_message_words(chat_message_words, rank) VALUES ('secure-delete', 1)"
SECURE_DELETE_FROM = (3, 42)
REBUILD = "INSERT INTO chat_message_words(chat_message_words) VALUES ('rebuild')"
TRIGGERS = {
    "chat_message_words_insert": "AFTER INSERT ON chat_message BEGIN {add} END",
    "chat_message_words_delete": "AFTER DELETE ON chat_message BEGIN {remove} END",
    "chat_message_words_update": "AFTER UPDATE OF content ON chat_message BEGIN {remove} {add} END",
}
ADD = "INSERT INTO chat_message_words(rowid, content, room_id) VALUES (new.id, new.content, new.room_id);"
REMOVE = (
    "INSERT INTO chat_message_words(chat_message_words, rowid, content, room_id) "
    "VALUES ('delete', old.id, old.content, old.room_id);"
)
# Of the same words as the query: PostgreSQL's own parser takes numbers and addresses apart in another way.
POSTGRESQL_WORDS = r"to_tsvector('simple', regexp_replace(chat_message.content, '\W+', ' ', 'g'))"
POSTGRESQL = f"ON chat_message USING gin ({POSTGRESQL_WORDS})"
POSTGRESQL_STANDS = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('chat_message_words')"
"""Is the index whole? No row: there is none."""


def prepare(connection: BaseDatabaseWrapper) -> None:
    """Make the index where it is missing, beside a chat that goes on."""
    if connection.vendor == "postgresql":
        _prepare_postgresql(connection)
    elif connection.vendor == "sqlite":
        _prepare_sqlite(connection)


def _prepare_postgresql(connection: BaseDatabaseWrapper) -> None:
    # Nobody who writes waits for it, but it can't be part of a transaction: a project's own tests may have one.
    concurrently = "" if connection.in_atomic_block else "CONCURRENTLY"
    with connection.cursor() as cursor:
        cursor.execute(POSTGRESQL_STANDS)
        stands = [valid for (valid,) in cursor.fetchall()]
        if stands == [True]:
            # Asked to make it, PostgreSQL would lock the messages before it saw that.
            return
        # It waits for all transactions that began before, however long they take.
        cursor.execute("SET lock_timeout = 0")
        if stands:
            # Somebody broke off while it was made.
            cursor.execute(f"DROP INDEX {concurrently} chat_message_words")
        cursor.execute(f"CREATE INDEX {concurrently} chat_message_words {POSTGRESQL}")
        cursor.execute("RESET lock_timeout")


def _prepare_sqlite(connection: BaseDatabaseWrapper) -> None:
    # One transaction: what somebody writes comes before it, or is followed by the triggers.
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE name LIKE 'chat_message_words%%'", [])
        there = {name for (name,) in cursor.fetchall()}
        if "chat_message_words" not in there:
            cursor.execute(TABLE)
            if sqlite_version_info >= SECURE_DELETE_FROM:
                cursor.execute(SECURE_DELETE)
        missing = {name: body for name, body in TRIGGERS.items() if name not in there}
        for name, body in missing.items():
            cursor.execute(f"CREATE TRIGGER {name} {body.format(add=ADD, remove=REMOVE)}")
        if missing or "chat_message_words" not in there:
            # What was written without triggers it does not have.
            cursor.execute(REBUILD)


def search(room: int, slug: str, query: str, *, before: int | None, limit: int) -> tuple[list[Message], bool]:
    """The newest messages that have all words of ``query``, the last as a beginning; and are there older ones?"""
    words = words_of(query)
    if not words:
        return [], False
    found = models.Message.objects.filter(room_id=room, deleted=None, hidden=False)
    if before is not None:
        found = found.filter(number__lt=before)
    if _vendor() == "sqlite":
        found = found.filter(pk__in=_newest(room, words, before, limit + 1))
    else:
        found = with_words(found, words)
    rows = list(found.order_by("-number")[: limit + 1])
    return with_reactions(rows[:limit], slug), len(rows) > limit


def _newest(room: int, words: list[str], before: int | None, limit: int) -> list[int]:
    """The keys of the newest messages of a room with these words. A row's key grows with its number."""
    with connections[router.db_for_read(models.Message)].cursor() as cursor:
        cursor.execute(NEWEST, (f'room_id : "{room}" AND content : ({_fts5(words)})', room, before, limit))
        return [key for (key,) in cursor.fetchall()]


def words_of(query: str) -> list[str]:
    return re.findall(r"\w+", query)


def with_words(messages: QuerySet[models.Message], words: list[str]) -> QuerySet[models.Message]:
    """Those of the messages that have all words, the last as a beginning."""
    if _vendor() == "sqlite":
        match = f"content : ({_fts5(words)})"
        keys = RawSQL("SELECT rowid FROM chat_message_words WHERE chat_message_words MATCH %s", (match,))
        return messages.filter(pk__in=keys)
    if _vendor() == "postgresql":
        matches: Any = RawSQL(f"{POSTGRESQL_WORDS} @@ to_tsquery('simple', %s)", (_tsquery(words),))  # noqa: S611 names of ours
        return messages.alias(matches=matches).filter(matches=True)
    # Another database has no index for it: all words, wherever they stand.
    for word in words:
        messages = messages.filter(content__icontains=word)
    return messages


def _vendor() -> str:
    return connections[router.db_for_read(models.Message)].vendor


def _fts5(words: list[str]) -> str:
    return " AND ".join(f'"{word}"' for word in words) + "*" * _is_beginning(words[-1])


def _tsquery(words: list[str]) -> str:
    return " & ".join(f"'{word}'" for word in words) + ":*" * _is_beginning(words[-1])


def _is_beginning(word: str) -> bool:
    """May it be unfinished? One or two letters begin too many words; in other scripts they are whole ones."""
    return len(word) >= BEGINNING or not word.isascii()
