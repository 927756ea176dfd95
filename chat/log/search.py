"""Words in a room's messages: full-text search by the database's own index, newest first.

SQLite: an FTS5 table over the messages, kept by triggers. It has the room as a word too, so that a search in one
room never walks through another's messages. PostgreSQL: a GIN index of the messages' words. Both are made after
each `migrate`, where they are missing: Django takes a table's triggers away when it makes the table anew.
"""

import re
from typing import Any

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from chat import models
from chat.log.changes import with_reactions
from chat.protocol import Message

TABLE = (
    "CREATE VIRTUAL TABLE chat_message_words USING fts5(content, room_id, content='chat_message', "
    "content_rowid='id', columnsize=0, tokenize='unicode61 remove_diacritics 2')"
)
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
POSTGRESQL = (
    "CREATE INDEX IF NOT EXISTS chat_message_words ON chat_message USING gin (to_tsvector('simple', content))"
)


def prepare(connection: BaseDatabaseWrapper) -> None:
    """Make the index where it is missing."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL)
        elif connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE name LIKE 'chat_message_words%%'", [])
            there = {name for (name,) in cursor.fetchall()}
            if "chat_message_words" not in there:
                cursor.execute(TABLE)
                cursor.execute(REBUILD)
            for name, body in TRIGGERS.items():
                if name not in there:
                    cursor.execute(f"CREATE TRIGGER {name} {body.format(add=ADD, remove=REMOVE)}")


def search(room: int, slug: str, query: str, *, before: int | None, limit: int) -> tuple[list[Message], bool]:
    """The newest messages that have all words of ``query``, the last as a beginning; and are there older ones?"""
    words = re.findall(r"\w+", query)
    if not words:
        return [], False
    found = _with_words(room, words).filter(deleted=None, hidden=False)
    if before is not None:
        found = found.filter(number__lt=before)
    rows = list(found[: limit + 1])
    return with_reactions(rows[:limit], slug), len(rows) > limit


def _with_words(room: int, words: list[str]) -> QuerySet[models.Message]:
    messages = models.Message.objects.filter(room_id=room)
    vendor = connections[router.db_for_read(models.Message)].vendor
    if vendor == "sqlite":
        match = f'room_id : "{room}" AND content : ({_fts5(words)})'
        # A row's key grows with its number; and by its key FTS5 yields rows as they are asked for.
        keys = RawSQL("SELECT rowid FROM chat_message_words WHERE chat_message_words MATCH %s", (match,))
        return messages.filter(pk__in=keys).order_by("-pk")
    if vendor == "postgresql":
        matches: Any = RawSQL(
            "to_tsvector('simple', chat_message.content) @@ to_tsquery('simple', %s)", (_tsquery(words),)
        )
        return messages.alias(matches=matches).filter(matches=True).order_by("-number")
    # Another database has no index for it: all words, wherever they stand.
    for word in words:
        messages = messages.filter(content__icontains=word)
    return messages.order_by("-number")


def _fts5(words: list[str]) -> str:
    return " AND ".join(f'"{word}"' for word in words) + "*"


def _tsquery(words: list[str]) -> str:
    return " & ".join(f"'{word}'" for word in words) + ":*"
