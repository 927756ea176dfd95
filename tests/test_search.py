"""Words in a room's messages: found by the database's own index, whatever is asked and whatever became of them."""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from databases import Somebody, only_postgresql
from django.db import connection, connections
from helpers import PATIENCE
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from logs import edit, erase, everything, examples, hide, post, react
from msgspec import UNSET

from chat import models
from chat.log import RoomLog, Writer, queries
from chat.log.search import POSTGRESQL_STANDS, TRIGGERS, prepare, search, with_words
from chat.protocol import QUERY_LIMIT


@pytest.fixture
def room(db: None) -> RoomLog:
    return queries.open_room("lobby")


def say(room: RoomLog, *texts: str) -> None:
    Writer().write([post(room, text) for text in texts])


def found(room: RoomLog, query: str, *, before: int | None = None, limit: int = 100) -> list[int]:
    """The ids of the messages that are found, in their order."""
    messages, _ = search(room.pk, room.slug, query, before=before, limit=limit)
    return [message.id for message in messages]


# --- What is found ---


def test_the_newest_come_first(room: RoomLog) -> None:
    """All messages with the word, in a page, with what tells that there are older ones."""
    say(room, *(["green tea"] * 5), "coffee")
    messages, more = search(room.pk, room.slug, "tea", before=None, limit=3)
    assert ([message.id for message in messages], more) == ([5, 4, 3], True)
    messages, more = search(room.pk, room.slug, "tea", before=3, limit=3)
    assert ([message.id for message in messages], more) == ([2, 1], False)
    assert search(room.pk, room.slug, "tea", before=1, limit=3) == ([], False)
    assert search(room.pk, room.slug, "tea", before=3, limit=2) == (messages, False)


def test_all_words_count_and_the_last_may_be_unfinished(room: RoomLog) -> None:
    """In any order and in any case; a word before the last must be whole."""
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
def test_a_word_is_a_word_in_any_writing(room: RoomLog, text: str, query: str) -> None:
    """What is between words parts them, in a message and in a query alike; letters are not only English ones."""
    say(room, "something else", text)
    assert found(room, query) == [2]


def test_what_is_found_is_told_as_it_is_now(room: RoomLog) -> None:
    """With its edits, its emoji, and what it answers."""
    say(room, "tee", "water")
    Writer().write([edit(room, 1, "tea!"), react(room, 1), post(room, "tea too", reply_to=1)])
    messages, _ = search(room.pk, room.slug, "tea", before=None, limit=10)
    assert messages == [everything(room)[number] for number in (5, 1)]
    assert messages[1].edited is not UNSET
    assert messages[1].reactions


def test_other_rooms_are_not_searched(room: RoomLog) -> None:
    """Nor is a room's key a word, in this room or in another."""
    other = queries.open_room("tea")
    say(other, "tea", f"{room.pk} {other.pk}")
    say(room, "tea")
    assert (found(room, "tea"), found(other, "tea")) == ([1], [1])
    assert found(room, f"{room.pk}") == found(room, "lobby") == []
    assert found(other, f"{other.pk}") == [2]


# --- What is not ---


def test_only_words_that_are_there_now_are_found(room: RoomLog) -> None:
    """Not what a message said before its edit, nor what was deleted; and what was hidden only when it is shown."""
    say(room, "one secret", "two secret", "three secret", "four secret")
    Writer().write([edit(room, 1, "one word"), erase(room, 2), hide(room, 3)])
    assert found(room, "secret") == [4]
    assert found(room, "word") == [1]
    Writer().write([hide(room, 3, hidden=False)])
    assert found(room, "secret") == [4, 3]
    assert found(room, "two") == []


@pytest.mark.parametrize("query", ["", " ", "?!", "-- ;", "\N{TEACUP WITHOUT HANDLE}", '"', "'", "()", "*", "\\"])
def test_a_query_without_words_finds_nothing(room: RoomLog, query: str) -> None:
    """Signs alone are no question."""
    say(room, "tea", query or "x")
    assert search(room.pk, room.slug, query, before=None, limit=10) == ([], False)


def test_rows_that_go_without_the_log_are_not_found(room: RoomLog) -> None:
    """Messages that are pruned, or go with their room, leave the index too; a new room does not inherit them."""
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
def test_a_query_is_words_and_no_language(room: RoomLog, query: str) -> None:
    """What means something to a database is a word like others, or no word at all."""
    say(room, "tea", "milk", f"all of it: {query} milk tea")
    assert set(found(room, query)) <= {1, 3}
    assert models.Message.objects.count() == 3


@given(text=st.text(max_size=200), query=st.text(min_size=1, max_size=QUERY_LIMIT))
@hypothesis_settings(
    max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_asked_is_answered(db: None, text: str, query: str) -> None:
    """No text and no query is an error; and what has no word of the query is not found."""
    # The protocol takes no control characters, and PostgreSQL not this one.
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
def test_what_is_found_is_what_has_the_words(
    db: None, texts: list[str], query: list[str], before: int | None
) -> None:
    """All of them and no other; the last is a beginning where it has three letters."""
    room = queries.open_room(f"r{models.Room.objects.count()}")
    say(room, *texts)
    matching = [number for number, text in enumerate(texts, 1) if matches(text.lower().split(), query)]
    expected = [number for number in reversed(matching) if before is None or number < before]
    assert found(room, " ".join(query), before=before) == expected


def matches(words: Iterable[str], query: list[str]) -> bool:
    *whole, last = [word.lower() for word in query]
    begun = {word for word in words if word.startswith(last)} if len(last) >= 3 else {last}.intersection(words)
    return set(whole) <= set(words) and bool(begun)


# --- The index ---


def test_words_are_looked_up_in_the_index(room: RoomLog) -> None:
    """No search reads through all messages."""
    say(room, "tea")
    if connection.vendor == "postgresql":
        # A table of one row is read through faster.
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
    plan = with_words(models.Message.objects.order_by(), ["tea"]).explain()
    index = {"sqlite": "VIRTUAL TABLE INDEX", "postgresql": "Index Scan on chat_message_words"}
    assert index[connection.vendor] in plan


def drop_index() -> None:
    if connection.vendor == "sqlite":
        drop_triggers()
    kind = {"sqlite": "TABLE", "postgresql": "INDEX"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP {kind} chat_message_words")


def drop_triggers() -> None:
    with connection.cursor() as cursor:
        for name in TRIGGERS:
            cursor.execute(f"DROP TRIGGER {name}")


def test_the_index_is_made_where_it_is_missing(rooms: None, room: RoomLog) -> None:
    """Of all messages that are there, as often as it is asked for; and it is kept from then on."""
    say(room, "tea", "coffee")
    drop_index()
    Writer().write([post(room, "green tea"), edit(room, 2, "tea too")])
    for _ in range(3):
        prepare(connection)
    say(room, "last tea")
    Writer().write([edit(room, 1, "water")])
    assert found(room, "tea") == [5, 3, 2]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite makes tables anew")
def test_triggers_that_a_migration_took_away_are_made_again(room: RoomLog) -> None:
    """A table that Django makes anew has no triggers: preparing gives them back, and nothing is indexed twice."""
    say(room, "tea")
    drop_triggers()
    prepare(connection)
    say(room, "tea too")
    Writer().write([edit(room, 1, "coffee")])
    assert (found(room, "tea"), found(room, "coffee")) == ([2], [1])


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite makes tables anew")
def test_what_was_written_without_triggers_is_found(room: RoomLog) -> None:
    """People talk on between a migration and the triggers: what they said and changed then is in the index."""
    say(room, "tea", "milk")
    drop_triggers()
    say(room, "more tea")
    Writer().write([edit(room, 1, "coffee")])
    prepare(connection)
    assert (found(room, "tea"), found(room, "coffee"), found(room, "milk")) == ([3], [1], [2])


# --- Making it beside people who talk ---


@contextmanager
def somebody_writes() -> Iterator[Somebody]:
    """And does not commit it before the end."""
    with Somebody() as somebody:
        somebody.execute("BEGIN")
        somebody.execute("UPDATE chat_message SET username = 'Alicia'")
        yield somebody


@only_postgresql
def test_an_index_that_stands_is_left_alone(rooms: None) -> None:
    """Each `migrate` asks for it: it must not wait for those who write, nor they for it."""
    with somebody_writes(), connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '10ms'")
        prepare(connection)
        cursor.execute("RESET lock_timeout")


@only_postgresql
def test_people_write_while_the_index_is_made(rooms: None, room: RoomLog) -> None:
    """It waits for who wrote before, and nobody waits for it; then it has everything."""
    say(room, "tea")
    drop_index()
    with somebody_writes() as somebody, ThreadPoolExecutor() as pool:
        making = pool.submit(prepare_and_close)
        somebody.until_others_wait(1)
        say(room, "tea too")
        assert not making.done()
        somebody.execute("ROLLBACK")
        making.result(PATIENCE)
    assert stands()
    assert found(room, "tea") == [2, 1]


@only_postgresql
def test_an_index_that_was_given_up_is_made_anew(rooms: None, room: RoomLog) -> None:
    """PostgreSQL keeps one that was broken off in the middle: it costs its time and finds nothing."""
    say(room, "tea")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'chat_message_words'::regclass")
    prepare(connection)
    assert stands()
    assert found(room, "tea") == [1]


def stands() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(POSTGRESQL_STANDS)
        return bool(cursor.fetchall() == [(True,)])


def prepare_and_close() -> None:
    try:
        prepare(connection)
    finally:
        connections.close_all()
