"""The admin's pages of messages: search, and hiding through the log."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.models import QuerySet
from django.test import AsyncClient, Client
from doubles import Clock
from helpers import CommunicatorPersona as Persona
from logs import assert_counted, edit, erase, hide, post, posts, react, written
from members import olga, staff

from chat import models
from chat.admin.filters import DateHierarchyQuerySet
from chat.log import RoomLog
from chat.log.write_queue import BATCH
from chat.message_log import Writer, queries
from chat.protocol import History, Message

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/chat/message/"


@pytest.fixture
def tea() -> RoomLog:
    return queries.open_room("tea")


def page(client: Client, address: str = PAGE) -> str:
    response = client.get(address)
    assert response.status_code == 200, response
    return response.content.decode()


def texts(html: str) -> list[str]:
    """The texts in the list, from the top."""
    return re.findall(r'<td class="field-text"><bdi>(.*?)</bdi></td>', html)


def act(client: Client, action: str, *numbers: int, query: str = "", **fields: object) -> str:
    """Run an action on the messages with these numbers. Returns the next page."""
    keys = models.Message.objects.filter(number__in=numbers).values_list("pk", flat=True)
    data = {"action": action, "_selected_action": list(keys), "index": 0, **fields}
    return client.post(PAGE + query, data, follow=True).content.decode()


# --- The list ---


def test_the_list_shows_messages(client: Client, tea: RoomLog) -> None:
    """The newest comes first, with its number, room, author and state."""
    Writer().write(
        [post(tea, "one"), post(tea, "two"), post(tea, "three"), edit(tea, 1, "ONE"), erase(tea, 2), hide(tea, 3)]
    )
    olga(client, "view_message")
    html = page(client)
    assert sorted(texts(html)) == ["", "ONE", "three"]
    for number, state in ((1, "edited"), (2, "deleted"), (3, "hidden")):
        row = next(row for row in html.split("<tr>") if f">{number}</a></th>" in row)
        assert ">tea</td>" in row
        assert "<bdi>Alice</bdi>" in row
        assert ">alice</td>" in row
        assert f'<td class="field-state">{state}</td>' in row


def test_messages_are_shown_as_text(client: Client, tea: RoomLog) -> None:
    """Neither a name nor a text becomes markup."""
    Writer().write([post(tea, "<img src=x>", author="<b>mallory")])
    olga(client, "view_message")
    html = page(client)
    assert texts(html) == ["&lt;img src=x&gt;"]
    assert "<b>Mallory" not in html
    assert "&lt;img src=x&gt;" in page(client, f"{PAGE}{models.Message.objects.get().pk}/change/")


@pytest.mark.every_case
@pytest.mark.parametrize("query", ["", "?room=tea", "?state=edited", "?q=message", "?room=tea&q=mess"])
def test_more_messages_cost_no_more_queries(
    client: Client, tea: RoomLog, statements: list[str], query: str
) -> None:
    """The list costs the same for any number of messages and rooms."""
    olga(client, "view_message", "hide_message")
    spent = []
    for number in (3, 60):
        rooms = [tea, queries.open_room(f"room-{number}")]
        for room in rooms:
            Writer().write([*posts(room, number)])
            Writer().write([edit(room, 1, f"message {number}"), react(room, 1, author=f"{number}")])
        before = len(statements)
        page(client, PAGE + query)
        spent.append(len(statements) - before)
    assert spent[0] == spent[1]
    assert spent[0] < 14


def test_messages_are_counted_once(client: Client, tea: RoomLog, statements: list[str]) -> None:
    """A count of a million messages is slow, so the list has only the one for its pages."""
    Writer().write(posts(tea, 3))
    olga(client, "view_message")
    page(client, PAGE + "?state=hidden")
    assert len([sql for sql in statements if "COUNT(" in sql]) == 1


# --- To find ---


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?room=tea", ["4", "3", "2", "1"]),
        ("?room=coffee", ["COFFEE"]),
        ("?room=nowhere", []),
        ("?state=edited", ["1"]),
        ("?state=hidden", ["2"]),
        ("?state=deleted", [""]),
        ("?room=coffee&state=edited", []),
    ],
)
def test_the_list_has_filters(client: Client, tea: RoomLog, query: str, found: list[str]) -> None:
    """It filters by room, by edited, hidden or deleted, and by both."""
    writes = [post(tea, str(number)) for number in range(1, 5)]
    Writer().write([*writes, edit(tea, 1, "1"), hide(tea, 2), erase(tea, 3)])
    Writer().write([post(queries.open_room("coffee"), "COFFEE")])
    olga(client, "view_message")
    expected = ["" if text == "3" else text for text in found]
    if query == "?state=edited":
        Writer().write([edit(tea, 1, "x"), edit(tea, 1, "1")])
    assert texts(page(client, PAGE + query)) == expected


def test_the_list_can_be_filtered_by_day(client: Client, tea: RoomLog) -> None:
    """The links are years, then a year's months, then a month's days, each with messages."""
    Writer().write([post(tea, text) for text in ("old", "older", "new")])
    for number, day in ((1, "2025-03-04"), (2, "2025-03-01"), (3, "2026-11-22")):
        models.Message.objects.filter(number=number).update(
            created=datetime.fromisoformat(f"{day}T12:00:00+00:00")
        )
    olga(client, "view_message")
    html = page(client)
    assert re.findall(r"\?created__year=(\d+)", html) == ["2025", "2026"]
    assert texts(page(client, PAGE + "?created__year=2025")) == ["old", "older"]
    html = page(client, PAGE + "?created__year=2025&created__month=3")
    assert re.findall(r"created__day=(\d+)", html) == ["1", "4"]
    assert texts(page(client, PAGE + "?created__year=2025&created__month=3&created__day=1")) == ["older"]


def test_a_search_has_no_date_hierarchy(client: Client, tea: RoomLog) -> None:
    """A chosen day still applies, but other days are not searched, which would be slow."""
    Writer().write(posts(tea, 2))
    models.Message.objects.filter(number=1).update(created=datetime(2025, 3, 4, 12, tzinfo=UTC))
    olga(client, "view_message")
    html = page(client, PAGE + "?q=message&created__year=2025")
    assert texts(html) == ["message 0"]
    assert "created__month" not in html


@pytest.mark.every_case
@pytest.mark.parametrize("kind", ["year", "month", "day"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"])
def test_the_date_hierarchy_equals_django_s(tea: RoomLog, kind: Any, zone: str) -> None:
    """The years, months and days are equal, also at changes of the clock and in a zone that skipped a day."""
    Writer().write(posts(tea, 60))
    start = datetime(2011, 12, 27, 23, 30, tzinfo=UTC)
    steps = [timedelta(hours=number * 5 + number**3 / 10) for number in range(60)]
    for row, step in zip(models.Message.objects.order_by("number"), steps, strict=True):
        row.created = start + step
        row.save_numbered(using="default")
    where = ZoneInfo(zone)
    plain = list(QuerySet(models.Message).datetimes("created", kind, tzinfo=where))
    assert list(DateHierarchyQuerySet(models.Message).datetimes("created", kind, tzinfo=where)) == plain
    assert list(DateHierarchyQuerySet(models.Message).none().datetimes("created", kind, tzinfo=where)) == []


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tea", ["tea and cake", "some tea"]),
        ("TEA cak", ["tea and cake"]),
        ("cake tea", ["tea and cake"]),
        ("ea", []),
        ("...", ["wait..."]),
        ("hidden", ["hidden words"]),
        ("gone", []),
        ('"', []),
        ("room_id", []),
    ],
)
def test_a_search_finds_words(client: Client, tea: RoomLog, query: str, found: list[str]) -> None:
    """The index finds all words, the last as a prefix; a scan finds punctuation. Hidden messages are found too."""
    Writer().write([post(tea, text) for text in ("some tea", "wait...", "hidden words", "gone words")])
    Writer().write([hide(tea, 3), erase(tea, 4), post(queries.open_room("coffee"), "tea and cake")])
    olga(client, "view_message")
    assert texts(page(client, f"{PAGE}?q={query}")) == found


def test_a_search_uses_the_index(client: Client, tea: RoomLog, statements: list[str]) -> None:
    """A search for words scans no texts."""
    olga(client, "view_message")
    page(client, f"{PAGE}?q=words&room=tea")
    searches = [sql for sql in statements if 'FROM "chat_message"' in sql]
    assert searches
    assert all(("MATCH" if connection.vendor == "sqlite" else "::tsquery") in sql for sql in searches)


def test_a_message_s_page_is_read_only(client: Client, tea: RoomLog) -> None:
    """It has all fields, the reactions with their users, and no form."""
    Writer().write([post(tea, "hi"), react(tea, 1, "\N{CAT FACE}"), react(tea, 1, "\N{CAT FACE}", author="eve")])
    olga(client, "view_message", "change_message")
    html = page(client, f"{PAGE}{models.Message.objects.get().pk}/change/")
    assert "\N{CAT FACE} 2: Bob, Eve" in html
    assert "<textarea" not in html
    assert 'name="_save"' not in html


@pytest.mark.parametrize("address", ["add/", "{pk}/change/", "{pk}/delete/"])
def test_messages_can_not_be_changed_directly(client: Client, tea: RoomLog, address: str) -> None:
    """No permission allows to add, change or delete a message in the admin."""
    Writer().write(posts(tea, 1))
    olga(client, "view_message", "add_message", "change_message", "delete_message")
    key = models.Message.objects.get().pk
    fields = {"post": "yes", "content": "x", "room": tea.pk, "number": 1, "seq": 1, "author": "x", "username": "x"}
    assert client.post(PAGE + address.format(pk=key), fields).status_code == 403
    act(client, "delete_selected", 1, post="yes")
    assert models.Message.objects.get().content == "message 0"


# --- To hide ---


def test_a_hidden_message_takes_a_number_and_keeps_its_text(client: Client, tea: RoomLog) -> None:
    """Clients lose it, and get it back unchanged. The history has the staff member, not the text."""
    Writer().write([post(tea, "so bad"), react(tea, 1)])
    user = olga(client, "view_message", "hide_message")
    assert "1 message is hidden." in act(client, "hide", 1)
    row = models.Message.objects.get()
    assert (row.hidden, row.content, row.seq, row.changes, row.author) == (True, "so bad", 3, 2, "alice")
    (message,), _ = queries.history(tea.pk, "tea", limit=1)
    assert (message.deleted, message.content, message.reactions) == (True, "", [])
    assert "1 message is shown again." in act(client, "restore", 1)
    (message,), _ = queries.history(tea.pk, "tea", limit=1)
    assert (message.deleted, message.content, message.seq, len(message.reactions)) == (False, "so bad", 4, 1)
    assert_counted(tea)
    entries = LogEntry.objects.order_by("pk").values_list("user", "object_id", "object_repr", "change_message")
    assert list(entries) == [(user.pk, str(row.pk), "tea 1", what) for what in ("hidden", "shown again")]


def test_hiding_a_hidden_message_changes_nothing(client: Client, tea: RoomLog) -> None:
    """Messages that are hidden or deleted are not hidden again, and are not counted."""
    Writer().write([*posts(tea, 3), hide(tea, 1), erase(tea, 2)])
    olga(client, "view_message", "hide_message")
    assert "1 message is hidden." in act(client, "hide", 1, 2, 3)
    assert "0 messages are hidden." in act(client, "hide", 1, 2, 3)
    assert queries.open_room("tea").seq == 6
    assert "2 messages are shown again." in act(client, "restore", 1, 2, 3)
    assert LogEntry.objects.count() == 3
    assert_counted(tea)


def test_hiding_needs_its_permission(client: Client, tea: RoomLog) -> None:
    """A viewer gets no such action, and can't run it either."""
    Writer().write([*posts(tea, 2), hide(tea, 2)])
    olga(client, "view_message", "change_message", "delete_message")
    html = page(client)
    assert 'value="hide"' not in html
    assert 'value="restore"' not in html
    for action in ("hide", "restore"):
        act(client, action, 1, 2)
    assert list(models.Message.objects.order_by("number").values_list("hidden", flat=True)) == [False, True]
    assert not LogEntry.objects.exists()


def test_all_found_messages_can_be_hidden(client: Client, tea: RoomLog, transactions: list[str]) -> None:
    """It hides more than a page, in several rooms and small transactions, and no other message."""
    coffee = queries.open_room("coffee")
    Writer().write([post(tea, f"spam {number}") for number in range(BATCH + 20)])
    Writer().write([*(post(coffee, f"spam {number}") for number in range(20)), post(coffee, "ham")])
    olga(client, "view_message", "hide_message")
    before = len(transactions)
    html = act(client, "hide", 1, query="?q=spam", select_across=1)
    assert f"{BATCH + 40} messages are hidden." in html
    assert len(transactions) - before >= 3
    assert [row.content for row in models.Message.objects.filter(hidden=False)] == ["ham"]
    assert LogEntry.objects.count() == BATCH + 40
    for room in (tea, coffee):
        assert_counted(room)


async def test_clients_in_the_room_are_updated(
    async_client: AsyncClient, alice: Persona, bob: Persona, clock: Clock
) -> None:
    """Clients lose the message within two seconds, and get it back when it is restored."""
    await staff(async_client, "view_message", "hide_message")
    await alice.join()
    await bob.join()
    await alice.say("so bad")
    await alice.say("fine")
    for persona in (alice, bob):
        await persona.expect(Message, content="fine")
    await sync_to_async(act)(async_client_as_client(async_client), "hide", 1)
    for _ in range(2):
        await clock.skip(1)
    for persona in (alice, bob):
        gone = await persona.expect(Message, id=1)
        assert (gone.seq, gone.deleted, gone.content) == (3, True, "")
    await sync_to_async(act)(async_client_as_client(async_client), "restore", 1)
    for _ in range(2):
        await clock.skip(1)
    for persona in (alice, bob):
        back = await persona.expect(Message, id=1)
        assert (back.seq, back.deleted, back.content) == (4, False, "so bad")
    assert (await alice.say("thanks")).id == 5
    await bob.send("history")
    assert [message.seq for message in (await bob.expect(History)).messages] == [4, 2, 5]


def async_client_as_client(async_client: AsyncClient) -> Client:
    """The same browser, for use on a thread."""
    client = Client()
    client.cookies = async_client.cookies
    return client


def test_deleted_text_is_erased(client: Client, tea: RoomLog) -> None:
    """No table, index or history of the admin has it, whatever happened before."""
    Writer().write([post(tea, "zanzibar"), react(tea, 1)])
    olga(client, "view_message", "hide_message")
    act(client, "hide", 1)
    act(client, "restore", 1)
    written(Writer().write([erase(tea, 1)]))
    assert texts(page(client, PAGE + "?q=zanzibar")) == []
    assert "zanzibar" not in page(client, f"{PAGE}{models.Message.objects.get().pk}/change/")
    assert "zanzibar" not in page(client, f"{PAGE}{models.Message.objects.get().pk}/history/")
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            # In the files of its own the index of SQLite overwrites a word some time after it stops to know it.
            if table != "chat_message_search_data":
                cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 the database's own names
                assert "zanzibar" not in str(cursor.fetchall()), table
