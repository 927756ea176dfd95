"""Exports of messages: exact, harmless in a spreadsheet, and streamed."""

import csv
import io
import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client
from logs import edit, erase, hide, post, posts, react
from members import olga, staff

from chat import models
from chat.admin.exports import COLUMNS
from chat.log import RoomLog
from chat.log.write_queue import BATCH
from chat.message_log import Writer, queries

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGES, ROOMS = "/admin/chat/message/", "/admin/chat/room/"


@pytest.fixture
def tea() -> RoomLog:
    return queries.open_room("tea")


def export(client: Client, kind: str, *numbers: int, page: str = MESSAGES, query: str = "") -> Any:
    """The response to an export of the messages with these numbers, or of these rooms."""
    rows: Any = models.Message.objects if page == MESSAGES else models.Room.objects
    keys = rows.filter(**({"number__in": numbers} if page == MESSAGES else {"pk__in": numbers}))
    data = {"action": f"export_{kind}", "_selected_action": list(keys.values_list("pk", flat=True)), "index": 0}
    return client.post(page + query, data)


def text_of(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def test_json_lines_are_exact(client: Client, tea: RoomLog) -> None:
    """Each line is an object with all fields. Deleted messages have no text, hidden ones have theirs."""
    texts = ['=1+1\n"\u2028', "two", "three", "four"]
    Writer().write([post(tea, text) for text in texts[:1]])
    Writer().write([post(tea, text, reply_to=1) for text in texts[1:]])
    Writer().write([edit(tea, 2, "TWO"), react(tea, 2, "\N{CAT FACE}"), hide(tea, 3), erase(tea, 4)])
    olga(client, "view_message")
    response = export(client, "json_lines", 1, 2, 3, 4)
    assert response["Content-Type"] == "application/jsonl; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="messages-tea.jsonl"'
    text = text_of(response)
    assert text.count("\n") == 4
    one, two, three, four = (json.loads(line) for line in text.split("\n")[:-1])
    assert set(one) == set(COLUMNS)
    assert (one["content"], one["room"], one["id"], one["author"], one["edited"]) == (
        texts[0],
        "tea",
        1,
        "alice",
        None,
    )
    assert (two["content"], two["seq"], two["replyTo"]) == ("TWO", 6, 1)
    assert two["reactions"] == [{"emoji": "\N{CAT FACE}", "usernames": ["Bob"], "count": 1, "by": [""]}]
    assert (three["content"], three["hidden"]) == ("three", True)
    assert (four["content"], four["deleted"] is None) == ("", False)


def test_csv_has_the_same_fields_in_columns(client: Client, tea: RoomLog) -> None:
    """The file has a header, and an encoding that spreadsheets detect."""
    Writer().write([post(tea, 'a "quoted", long\nsentence'), react(tea, 1, "\N{CAT FACE}"), react(tea, 1)])
    olga(client, "view_message")
    response = export(client, "csv", 1)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = text_of(response)
    assert text.startswith('\ufeff"room","id"')
    (record,) = records(text)
    assert tuple(record) == COLUMNS
    assert (record["room"], record["id"], record["seq"], record["username"]) == ("tea", "1", "3", "Alice")
    assert (record["content"], record["hidden"], record["edited"]) == ('a "quoted", long\nsentence', "false", "")
    assert record["reactions"] == "\N{CAT FACE} 1, \N{THUMBS UP SIGN} 1"


@pytest.mark.parametrize(
    ("content", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "\t'=1"),
        (" =1", "' =1"),
        ('"=1', "'\"=1"),
        ("'=1", "''=1"),
        ("\uff1d1", "'\uff1d1"),
        ("hi;=1", "hi;'=1"),
        ("hi\t@x", "hi\t'@x"),
        ("hi\n=1", "hi\n'=1"),
        ("hi\r\n-1", "hi\r\n'-1"),
        ("a = b", "a = b"),
        ("1-2 @ 3", "1-2 @ 3"),
        ("tea; coffee", "tea; coffee"),
    ],
)
def test_no_cell_is_a_formula(client: Client, tea: RoomLog, content: str, cell: str) -> None:
    """A formula gets an apostrophe, which makes it text, wherever a cell may begin."""
    Writer().write([post(tea, content, author=content[:20])])
    olga(client, "view_message")
    (record,) = records(text_of(export(client, "csv", 1)))
    assert record["content"] == cell
    for value in record.values():
        assert not value.lstrip().startswith(("=", "+", "-", "@"))


def test_a_room_is_exported_as_a_whole(client: Client, tea: RoomLog) -> None:
    """The file has all its messages in order, and no other room's; several rooms follow one another."""
    coffee = queries.open_room("coffee")
    Writer().write([*posts(coffee, 2), *posts(tea, BATCH + 1), *posts(coffee, 1)])
    olga(client, "view_message", "view_room")
    response = export(client, "json_lines", tea.pk, page=ROOMS)
    assert response["Content-Disposition"] == 'attachment; filename="messages-tea.jsonl"'
    ids = [json.loads(line)["id"] for line in text_of(response).splitlines()]
    assert ids == list(range(1, BATCH + 2))
    response = export(client, "csv", tea.pk, coffee.pk, page=ROOMS)
    assert response["Content-Disposition"] == 'attachment; filename="messages.csv"'
    rooms = [record["room"] for record in records(text_of(response))]
    assert (rooms.count("tea"), rooms.count("coffee"), len(rooms)) == (BATCH + 1, 3, BATCH + 4)


def test_all_filtered_messages_can_be_exported(client: Client, tea: RoomLog) -> None:
    """The export is not limited to the shown page."""
    Writer().write([*posts(tea, 150), post(tea, "other words")])
    olga(client, "view_message")
    data = {"action": "export_csv", "_selected_action": [models.Message.objects.earliest("number").pk], "index": 0}
    response = client.post(f"{MESSAGES}?room=tea&q=message", {**data, "select_across": 1})
    assert len(records(text_of(response))) == 150


def test_an_export_is_in_the_history(client: Client, tea: RoomLog) -> None:
    """Each room's history has the staff member and the number of messages."""
    Writer().write([*posts(queries.open_room("coffee"), 2), *posts(tea, 3)])
    user = olga(client, "view_message")
    text_of(export(client, "csv", 1, 2))
    entries = LogEntry.objects.order_by("object_repr").values_list("user", "object_repr", "change_message")
    assert list(entries) == [(user.pk, room, "exported 2 messages as csv") for room in ("coffee", "tea")]


def test_an_export_of_nothing_is_an_empty_file(client: Client, tea: RoomLog) -> None:
    """A room without messages has a header and no rows."""
    olga(client, "view_message", "view_room")
    assert records(text_of(export(client, "csv", tea.pk, page=ROOMS))) == []
    assert text_of(export(client, "json_lines", tea.pk, page=ROOMS)) == ""


def test_an_export_needs_the_permission_to_view_messages(client: Client, tea: RoomLog) -> None:
    """The permission to view rooms is not enough."""
    Writer().write(posts(tea, 1))
    olga(client, "view_room", "change_room", "delete_room")
    assert not export(client, "csv", tea.pk, page=ROOMS).streaming
    assert export(client, "csv", 1).status_code == 403
    assert not LogEntry.objects.exists()


def test_an_export_is_read_in_pieces(client: Client, tea: RoomLog, statements: list[str]) -> None:
    """Rows are read only when they are sent, so a room of any size fits in memory."""
    Writer().write(posts(tea, 3 * BATCH))
    olga(client, "view_message", "view_room")
    response = export(client, "csv", tea.pk, page=ROOMS)
    assert isinstance(response, StreamingHttpResponse)
    reads = [sum('"chat_message"."content"' in sql for sql in statements) for _piece in iter(response)]
    assert reads == [0, 1, 2, 3], "the head, and three pieces"


async def test_an_asgi_server_streams_it_too(async_client: AsyncClient, tea_of_many: None) -> None:
    """The reading threads read it in pieces: the event loop does not wait, and nothing is collected first."""
    await staff(async_client, "view_message", "view_room")
    room = await models.Room.objects.aget()
    data = {"action": "export_csv", "_selected_action": [room.pk], "index": 0}
    response: Any = await async_client.post(ROOMS, data)
    assert response.is_async
    pieces = [piece async for piece in response]
    assert len(pieces) == 4
    assert len(records(b"".join(pieces).decode())) == 3 * BATCH


@pytest.fixture
def tea_of_many(rooms: None, tea: RoomLog) -> None:
    Writer().write(posts(tea, 3 * BATCH))
