"""The search of a room's messages by the database's own index."""

import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unicodedata import normalize

import pytest
from databases import Somebody, only_postgresql
from django.db import connection, connections
from django.db.models import F
from helpers import PATIENCE
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from logs import edit, erase, everything, examples, hide, post, react
from msgspec import UNSET
from servers import ROOT

from chat import models
from chat.log import RoomLog
from chat.message_log import Writer, queries, search_words
from chat.message_log.search import (
    INDEX,
    POSTGRESQL_STANDS,
    TRIGGERS,
    is_unindexed,
    prepare,
    search,
    search_results,
    with_words,
)
from chat.message_log.search_indexing import index_anew, index_some
from chat.message_log.search_words import fold
from chat.protocol import QUERY_LIMIT

CASES: dict[str, Any] = json.loads((ROOT / "tests/support/words.json").read_text())


@pytest.fixture
def room(db: None) -> RoomLog:
    return queries.open_room("lobby")


def say(room: RoomLog, *texts: str) -> None:
    Writer().write([post(room, text) for text in texts])


def found(room: RoomLog, query: str, *, before: int | None = None, limit: int = 100) -> list[int]:
    """The ids of the results, in their order."""
    messages, _ = search(room.pk, room.slug, query, before=before, limit=limit)
    return [message.id for message in messages]


# --- Results ---


def test_the_newest_come_first(room: RoomLog) -> None:
    """A page has the messages with the word, and tells whether there are older ones."""
    say(room, *(["green tea"] * 5), "coffee")
    messages, more = search(room.pk, room.slug, "tea", before=None, limit=3)
    assert ([message.id for message in messages], more) == ([5, 4, 3], True)
    messages, more = search(room.pk, room.slug, "tea", before=3, limit=3)
    assert ([message.id for message in messages], more) == ([2, 1], False)
    assert search(room.pk, room.slug, "tea", before=1, limit=3) == ([], False)
    assert search(room.pk, room.slug, "tea", before=3, limit=2) == (messages, False)


def test_all_words_count_and_the_last_may_be_unfinished(room: RoomLog) -> None:
    """The words match in any order and case. A word before the last must be whole."""
    say(room, "Strong black Tea", "black coffee", "a teapot, black")
    assert found(room, "black tea") == [3, 1]
    assert found(room, "TEAPOT black") == [3]
    assert found(room, "bla coffee") == []
    assert found(room, "coffee bla") == [2]
    assert found(room, "black") == [3, 2, 1]
    assert found(room, "black milk") == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Was für ein schöner Tag", "schöner"),
        ("ÜBER ALLES", "über"),
        ("добрый день", "ДЕНЬ"),
        ("日本語 テスト", "日本"),
        ("order P32-41-92e5a3f5 is here", "92e5a3f5"),
        ("see https://example.com/a/page?x=1", "example page"),
        ("see https://example.com/a/page?x=1", "https://example.com/a/page?x=1"),
        ("mail me: alice@example.com", "alice@example.com"),
        ("version 3.14.1 is out", "3.14.1"),
        ("it costs -5 or 1e5", "1e5"),
        ("and/or", "or"),
        ("don't", "don't"),
        ("snake_case_name", "snake_case_name"),
        ("a\nnew line\there", "line here"),
        ("tea\N{TEACUP WITHOUT HANDLE}time", "time"),
    ],
)
def test_words_are_found_in_any_script(room: RoomLog, text: str, query: str) -> None:
    """Separators are the same in a message and in a query, and letters are those of all scripts."""
    say(room, "something else", text)
    assert found(room, query) == [2]


@pytest.mark.parametrize(("text", "query", "marked"), CASES["found"])
def test_spellings_of_a_word_are_equal(room: RoomLog, text: str, query: str, marked: str) -> None:
    """Case, accents, forms of characters and invisible marks tell no words apart; scripts without spaces are
    searched by characters, pictures one by one. Every database finds the same.
    """
    say(room, "something else", text)
    assert found(room, query) == [2]


@pytest.mark.parametrize(("text", "query"), CASES["not_found"])
def test_other_words_are_not_found(room: RoomLog, text: str, query: str) -> None:
    """Vowel signs are letters, and characters that are neighbours in the query are neighbours in the text."""
    say(room, text)
    assert found(room, query) == []


@given(st.text(max_size=20))
@hypothesis_settings(max_examples=examples(300), deadline=None)
def test_the_form_of_a_text_makes_no_difference(text: str) -> None:
    """Composed or decomposed, a text has the same words, and folding a folded text does not change it."""
    forms = {fold(normalize(form, text)) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert forms == {fold(text)}
    assert fold(fold(text)) == fold(text)


def test_the_cache_of_characters_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts with all of Unicode do not grow the process, and uncached characters are folded too."""
    places = search_words._FoldingTable()
    monkeypatch.setattr(search_words, "_FOLDING", places)
    monkeypatch.setattr(search_words, "CACHED", 100)
    for start in range(0x4E00, 0x9E00, 0x100):
        text = "".join(map(chr, range(start, start + 0x100)))
        assert fold(text) == text
    assert len(places) == 100


def test_a_search_reads_on_if_characters_stand_apart(room: RoomLog) -> None:
    """Messages that have all the pairs of a word, but not the word, do not hide older ones that have it."""
    say(room, *(["京都大学"] * 3), *(["京都から都大路"] * 30))
    assert found(room, "京都大", limit=2) == [3, 2]
    assert found(room, "京都大", before=3, limit=2) == [2, 1]


@pytest.mark.parametrize(
    "text", ["x" * 4000, "ж" * 4000, "\ufdfa" * 4000, "京" * 4000, "🎉" * 4000, "e\u0301" * 2000]
)
def test_a_word_of_any_length_is_found(room: RoomLog, text: str) -> None:
    """No database refuses a message for a word that is too long for its index."""
    say(room, text)
    assert found(room, text[:QUERY_LIMIT]) == [1]


def test_results_are_as_they_are_now(room: RoomLog) -> None:
    """A result has its edits, its emoji, and the message that it answers."""
    say(room, "tee", "water")
    Writer().write([edit(room, 1, "tea!"), react(room, 1), post(room, "tea too", reply_to=1)])
    messages, _ = search(room.pk, room.slug, "tea", before=None, limit=10)
    assert messages == [everything(room)[number] for number in (5, 1)]
    assert messages[1].edited is not UNSET
    assert messages[1].reactions


def test_other_rooms_are_not_searched(room: RoomLog) -> None:
    """A room's key is no word, in this room or in another."""
    other = queries.open_room("tea")
    say(other, "tea", f"{room.pk} {other.pk}")
    say(room, "tea")
    assert (found(room, "tea"), found(other, "tea")) == ([1], [1])
    assert found(room, f"{room.pk}") == found(room, "lobby") == []
    assert found(other, f"{other.pk}") == [2]


# --- No results ---


def test_only_present_words_are_found(room: RoomLog) -> None:
    """Edited-away and deleted words are not found; hidden ones only after the message is shown again."""
    say(room, "one secret", "two secret", "three secret", "four secret")
    Writer().write([edit(room, 1, "one word"), erase(room, 2), hide(room, 3)])
    assert found(room, "secret") == [4]
    assert found(room, "word") == [1]
    Writer().write([hide(room, 3, hidden=False)])
    assert found(room, "secret") == [4, 3]
    assert found(room, "two") == []


@pytest.mark.parametrize("query", ["", " ", "'", "()", *CASES["not_asked"]])
def test_a_query_without_words_finds_nothing(room: RoomLog, query: str) -> None:
    """Punctuation or a mark alone is no word."""
    say(room, "tea", query or "x")
    assert search(room.pk, room.slug, query, before=None, limit=10) == ([], False)


def test_rows_deleted_past_the_log_are_not_found(room: RoomLog) -> None:
    """Messages that are pruned, or deleted with their room, leave the index. A new room does not inherit them."""
    say(room, "tea", "tea", "tea")
    models.Message.objects.filter(number=2).delete()
    assert found(room, "tea") == [3, 1]
    models.Room.objects.all().delete()
    again = queries.open_room("lobby")
    say(again, "coffee")
    assert (found(again, "tea"), found(again, "coffee")) == ([], [1])


@pytest.mark.parametrize(
    "query",
    [
        "tea AND milk",
        "tea OR milk",
        "NOT milk",
        "tea NOT milk",
        "NEAR(tea milk)",
        "content : tea",
        "room_id : 1",
        "tea*",
        "^tea",
        '"tea"',
        "tea' OR '1'='1",
        "tea'; DROP TABLE chat_message; --",
        "tea & !milk",
        "tea <-> milk",
        "tea:*",
        "(tea",
        "{tea}",
        "tea %s %%",
        "\\",
    ],
)
def test_a_query_has_words_and_no_syntax(room: RoomLog, query: str) -> None:
    """The database's own syntax counts as words, or is ignored."""
    say(room, "tea", "milk", f"all of it: {query} milk tea")
    assert set(found(room, query)) <= {1, 3}
    assert models.Message.objects.count() == 3


@given(text=st.text(max_size=200), query=st.text(min_size=1, max_size=QUERY_LIMIT))
@hypothesis_settings(
    max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_query_is_answered(db: None, text: str, query: str) -> None:
    """No text and no query is an error, and messages without the words are not found."""
    # The protocol refuses control characters, and PostgreSQL refuses this one.
    storable = text.replace("\0", "")
    room = queries.open_room(f"r{models.Room.objects.count()}")
    say(room, storable)
    ids = found(room, query)
    assert ids in ([], [1])
    if ids and query.isascii() and storable.isascii():
        *whole, _ = re.findall(r"[a-z0-9]+", query.lower())
        assert set(whole) <= set(re.findall(r"[a-z0-9]+", storable.lower()))


WORDS = st.sampled_from(["tea", "teapot", "green", "black", "milk", "t", "te", "greenish", "GREEN", "x1", "1"])
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=5).map(" ".join), min_size=1, max_size=8)


@given(texts=TEXTS, query=st.lists(WORDS, min_size=1, max_size=3), before=st.none() | st.integers(1, 9))
@hypothesis_settings(
    max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_results_are_the_messages_with_the_words(
    db: None, texts: list[str], query: list[str], before: int | None
) -> None:
    """All of them are found and no others. The last word is a beginning if it has three letters."""
    room = queries.open_room(f"r{models.Room.objects.count()}")
    say(room, *texts)
    matching = [number for number, text in enumerate(texts, 1) if matches(text.lower().split(), query)]
    expected = [number for number in reversed(matching) if before is None or number < before]
    assert found(room, " ".join(query), before=before) == expected


def matches(search_words: Iterable[str], query: list[str]) -> bool:
    *whole, last = [word.lower() for word in query]
    begun = (
        {word for word in search_words if word.startswith(last)}
        if len(last) >= 3
        else {last}.intersection(search_words)
    )
    return set(whole) <= set(search_words) and bool(begun)


# --- The index ---


def test_a_search_uses_the_index(room: RoomLog) -> None:
    """No search reads through all messages."""
    say(room, "tea")
    if connection.vendor == "postgresql":
        # A table of one row is faster to scan.
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
    plan = with_words(models.Message.objects.order_by(), "tea").explain()
    index = {"sqlite": "VIRTUAL TABLE INDEX", "postgresql": f"Index Scan on {INDEX}"}
    assert index[connection.vendor] in plan


def drop_index() -> None:
    if connection.vendor == "sqlite":
        drop_triggers()
    kind = {"sqlite": "TABLE", "postgresql": "INDEX"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP {kind} {INDEX}")


def drop_triggers() -> None:
    with connection.cursor() as cursor:
        for name in TRIGGERS:
            cursor.execute(f"DROP TRIGGER {name}")


def test_a_missing_index_is_created(rooms: None, room: RoomLog) -> None:
    """It gets all existing messages, however often it is requested, and is updated from then on."""
    say(room, "tea", "coffee")
    drop_index()
    Writer().write([post(room, "green tea"), edit(room, 2, "tea too")])
    for _ in range(3):
        prepare(connection)
    say(room, "last tea")
    Writer().write([edit(room, 1, "water")])
    assert found(room, "tea") == [5, 3, 2]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite rebuilds tables")
def test_triggers_that_a_migration_dropped_are_created_again(room: RoomLog) -> None:
    """A table that Django copies has no triggers. prepare() creates them, and nothing is indexed twice."""
    say(room, "tea")
    drop_triggers()
    prepare(connection)
    say(room, "tea too")
    Writer().write([edit(room, 1, "coffee")])
    assert (found(room, "tea"), found(room, "coffee")) == ([2], [1])


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite rebuilds tables")
def test_messages_written_without_triggers_are_found(room: RoomLog) -> None:
    """Users write on between a migration and its triggers, and those messages and changes are indexed."""
    say(room, "tea", "milk")
    drop_triggers()
    say(room, "more tea")
    Writer().write([edit(room, 1, "coffee")])
    prepare(connection)
    assert (found(room, "tea"), found(room, "coffee"), found(room, "milk")) == ([3], [1], [2])


# --- From the version before ---

FORMER = {
    "sqlite": """
CREATE VIRTUAL TABLE chat_message_words USING fts5(content, room_id, content='chat_message', content_rowid='id',
    prefix='3', columnsize=0, tokenize='unicode61 remove_diacritics 2');
CREATE TRIGGER chat_message_words_insert AFTER INSERT ON chat_message
    BEGIN INSERT INTO chat_message_words(rowid, content, room_id) VALUES (new.id, new.content, new.room_id); END;
""",
    "postgresql": r"""
CREATE INDEX chat_message_words ON chat_message
    USING gin (to_tsvector('simple', regexp_replace(chat_message.content, '\W+', ' ', 'g')));
""",
}
SAID = (
    "INSERT INTO chat_message (room_id, number, seq, changes, author, username, content, created, hidden) "
    "VALUES (%s, %s, %s, 0, 'name:ann', 'Ann', %s, '2026-11-30 12:00:00+00:00', %s)"
)


def posted_by_the_version_before(room: RoomLog, *texts: str) -> None:
    """Write like a process of the version before, which does not know the column."""
    with connection.cursor() as cursor:
        for text in texts:
            models.Room._base_manager.filter(pk=room.pk).update(seq=F("seq") + 1)
            number = models.Room.objects.get(pk=room.pk).seq
            cursor.execute(SAID, [room.pk, number, number, text, False])


def unindexed() -> int:
    return models.Message.objects.filter(words=None).count()


def test_earlier_messages_are_indexed_in_pieces(room: RoomLog) -> None:
    """The newest come first. Until all are indexed, a search tells that some may be missing."""
    other = queries.open_room("other")
    posted_by_the_version_before(room, *(f"上海 {number}" for number in range(5)))
    say(other, "上海")
    say(room, "上海 new")
    answer = search_results(room.pk, room.slug, "上海", before=None, limit=10)
    assert ([message.id for message in answer.messages], answer.indexing) == ([6], True)
    assert not search_results(other.pk, other.slug, "上海", before=None, limit=10).indexing
    assert (index_some(2), found(room, "上海"), is_unindexed(room.pk)) == (2, [6, 5, 4], True)
    assert [index_some(2), index_some(2), index_some(2)] == [2, 1, 0]
    assert (found(room, "上海"), is_unindexed(room.pk)) == ([6, 5, 4, 3, 2, 1], False)


@pytest.mark.parametrize("text", ["secret", "", "Word!", "秘密"])
def test_a_text_changed_past_the_log_loses_its_words(room: RoomLog, text: str) -> None:
    """A process of the version before edits and erases without knowing of words: they are not found any more, and
    what is said now is found when it is indexed.
    """
    say(room, "one secret", "two")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_message SET content = %s, changes = 1 WHERE number = 1", [text])
    assert found(room, "secret") == []
    assert (found(room, "two"), unindexed()) == ([2], 1)
    index_some()
    assert (found(room, text or "secret"), unindexed()) == ([1] if text else [], 0)


def test_an_edited_message_is_found_at_once(room: RoomLog) -> None:
    """This also holds if the words stay the same. A reaction does not change the words."""
    say(room, "Tea", "milk")
    Writer().write([edit(room, 1, "tea!"), react(room, 2), hide(room, 2), hide(room, 2, hidden=False)])
    assert (found(room, "tea"), found(room, "milk"), unindexed()) == ([1], [2], 0)
    Writer().write([erase(room, 1)])
    assert unindexed() == 0


def test_words_of_another_folding_are_made_again(room: RoomLog) -> None:
    """All of them are made again, while the chat goes on."""
    say(room, "tea", "milk", "上海")
    models.Message.objects.update(words="old words")
    assert list(index_anew(2)) == [2, 3]
    assert (found(room, "tea"), found(room, "海"), found(room, "old")) == ([1], [3], [])


def test_the_index_of_the_version_before_stays_until_all_is_indexed(rooms: None, room: RoomLog) -> None:
    """Processes of that version use it while the new one is filled; then `migrate` drops it."""
    with connection.cursor() as cursor:
        for statement in FORMER[connection.vendor].strip().split(";\n"):
            cursor.execute(statement.removesuffix(";"))
        posted_by_the_version_before(room, "tea")
        prepare(connection)
        assert has_former(cursor)
        posted_by_the_version_before(room, "more tea")
        index_some()
        prepare(connection)
        assert not has_former(cursor)
    assert found(room, "tea") == [2, 1]
    posted_by_the_version_before(room, "last tea")
    say(room, "tea tea")
    assert found(room, "tea") == [4, 2, 1]


def has_former(cursor: Any) -> bool:
    cursor.execute(
        {
            "sqlite": "SELECT 1 FROM sqlite_master WHERE name LIKE 'chat_message_words%'",
            "postgresql": "SELECT 1 WHERE to_regclass('chat_message_words') IS NOT NULL",
        }[connection.vendor]
    )
    return bool(cursor.fetchall())


# --- Creating the index during writes ---


@contextmanager
def open_transaction() -> Iterator[Somebody]:
    """Another connection that wrote, and does not commit before the end."""
    with Somebody() as somebody:
        somebody.execute("BEGIN")
        somebody.execute("UPDATE chat_message SET username = 'Alicia'")
        yield somebody


@only_postgresql
def test_an_existing_index_is_left_alone(rooms: None) -> None:
    """Each `migrate` checks it, and must neither wait for writers nor make them wait."""
    with open_transaction(), connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '10ms'")
        prepare(connection)
        cursor.execute("RESET lock_timeout")


@only_postgresql
def test_messages_are_written_while_the_index_is_created(rooms: None, room: RoomLog) -> None:
    """It waits for earlier writers, and no writer waits for it. Then it has all messages."""
    say(room, "tea")
    drop_index()
    with open_transaction() as somebody, ThreadPoolExecutor() as pool:
        making = pool.submit(prepare_and_close)
        somebody.until_others_wait(1)
        say(room, "tea too")
        assert not making.done()
        somebody.execute("ROLLBACK")
        making.result(PATIENCE)
    assert stands()
    assert found(room, "tea") == [2, 1]


@only_postgresql
def test_an_interrupted_index_is_created_again(rooms: None, room: RoomLog) -> None:
    """PostgreSQL keeps an interrupted index, which costs time and finds nothing."""
    say(room, "tea")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'chat_message_search'::regclass")
    prepare(connection)
    assert stands()
    assert found(room, "tea") == [1]


def stands() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(POSTGRESQL_STANDS, [INDEX])
        return bool(cursor.fetchall() == [(True,)])


def prepare_and_close() -> None:
    try:
        prepare(connection)
    finally:
        connections.close_all()
