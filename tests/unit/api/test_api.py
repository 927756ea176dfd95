"""The chat's operations for Python, as docs/api.md describes them."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from helpers import CommunicatorPersona, Enter
from members import member

from chat import api, models
from chat.protocol import CloseCode, Deleted, Edited, ErrorCode, Invalid, Message, Removed, RoomEvent
from chat.topics import Event

ROOM = "lobby"


class Bell(Event, tag="bell"):
    times: int


def out(call: Any, *arguments: Any, **fields: Any) -> Any:
    """Call on another thread, outside of any transaction."""

    def run() -> Any:
        try:
            return call(*arguments, **fields)
        finally:
            connection.close()

    return sync_to_async(run, thread_sensitive=False)()


@pytest.fixture
def heard() -> Iterator[list[tuple[str, Any]]]:
    """The signals, with their arguments."""
    found: list[tuple[str, Any]] = []

    def receiver(name: str) -> Any:
        return lambda **arguments: found.append((name, arguments.get("message") or arguments.get("id")))

    receivers = {name: receiver(name) for name in ("message_posted", "message_edited", "message_deleted")}
    for name, one in receivers.items():
        getattr(api, name).connect(one)
    yield found
    for name, one in receivers.items():
        getattr(api, name).disconnect(one)


async def test_a_user_s_message_is_posted_edited_and_deleted(
    alice: CommunicatorPersona, heard: list[tuple[str, Any]]
) -> None:
    await alice.join()
    user = await User.objects.acreate(username="Ann")
    posted = await api.apost(ROOM, "hello", user=user, ref="1")
    assert posted is not None
    assert posted.id == 1
    message = await alice.expect(Message, content="hello")
    assert (message.username, message.by) == ("Ann", models.author_key(f"account:{user.pk}"))
    assert (await api.apost(ROOM, "hello", user=user, ref="1")) == posted
    with pytest.raises(Invalid) as refused:
        await api.apost(ROOM, "other", user=user, ref="1")
    assert refused.value.code == ErrorCode.REF_REUSED
    await api.aedit(ROOM, 1, "hello again")
    await api.areact(ROOM, 1, "\N{THUMBS UP SIGN}", user=user)
    [stored] = await api.ahistory(ROOM)
    assert (stored.content, stored.reactions[0].usernames) == ("hello again", ["Ann"])
    await api.adelete(ROOM, 1)
    row = await models.Message.objects.aget()
    assert (row.content, row.hidden, row.deleted is not None) == ("", False, True)
    await alice.expect(Message, deleted=True) if not alice.count(Deleted) else None
    assert [name for name, _ in heard] == ["message_posted", "message_edited", "message_edited", "message_deleted"]


async def test_a_bot_has_a_name_an_image_and_data(alice: CommunicatorPersona) -> None:
    await alice.join()
    bot = api.Bot("Deploy", "/static/robot.png")
    await api.apost(ROOM, "done", bot=bot, data={"build": 7})
    message = await alice.expect(Message)
    assert (message.username, message.bot, message.avatar, message.by) == (
        "Deploy",
        True,
        "/static/robot.png",
        msgspec.UNSET,
    )
    assert msgspec.json.encode(message.data) == b'{"build":7}'
    [stored] = await api.ahistory(ROOM)
    assert (stored.bot, stored.avatar, bytes(stored.data)) == (True, "/static/robot.png", b'{"build":7}')  # type: ignore[arg-type]


async def test_in_a_transaction_it_comes_with_the_commit_in_order(alice: CommunicatorPersona) -> None:
    await alice.join()
    user = await User.objects.acreate(username="Ann")

    def view() -> None:
        with transaction.atomic():
            Group.objects.create(name="x")
            assert api.post(ROOM, "undone", user=user) is None
            transaction.set_rollback(True)
        with transaction.atomic():
            assert api.post(ROOM, "first", user=user, ref="a") is None
            api.post(ROOM, "first", user=user, ref="a")
            api.post(ROOM, "second", user=user)
            api.edit(ROOM, 1, "first, edited")
            assert models.Message.objects.count() == 0

    await out(view)
    await alice.expect(Message, content="second")
    edited = await alice.expect(Edited, id=1) if not alice.count(Message, content="first, edited") else None
    assert edited is None or edited.content == "first, edited"
    assert [row.content async for row in models.Message.objects.order_by("number")] == ["first, edited", "second"]
    assert await models.Outbox.objects.acount() == 0


async def test_a_refused_order_is_logged_and_the_others_go_on(
    alice: CommunicatorPersona, caplog: pytest.LogCaptureFixture
) -> None:
    await alice.join()

    def view() -> None:
        with transaction.atomic():
            api.edit(ROOM, 99, "nothing")
            api.post("no-such-room", "x", bot=api.Bot("B"))
            api.post(ROOM, "after", bot=api.Bot("B"))

    await out(view)
    await alice.expect(Message, content="after")
    assert caplog.text.count("is refused") == 2


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"content": "x"}, "give one of both"),
        ({"content": "", "bot": api.Bot("B")}, "content: must have 1 to 4000 characters, not 0"),
        ({"content": "x", "bot": api.Bot("")}, "bot.name: must have 1 to 32"),
        ({"content": "x", "bot": api.Bot("B", "javascript:alert(1)")}, "bot.avatar: must be an https://"),
        ({"content": "x", "bot": api.Bot("B", "//evil.example/x.png")}, "bot.avatar: must be an https://"),
        ({"content": "x", "bot": api.Bot("B"), "ref": "x" * 65}, "ref: must have 1 to 64 characters, not 65"),
        (
            {"content": "x", "bot": api.Bot("B"), "data": {"x": "y" * 9_000}},
            "data: must be a dict of at most 8192",
        ),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        api.post(ROOM, **fields)


async def test_a_missing_room_and_message_are_refused(rooms: None) -> None:
    with pytest.raises(Invalid) as refused:
        await api.apost("nowhere", "x", bot=api.Bot("B"))
    assert refused.value.code == ErrorCode.NO_ROOM
    await models.Room.objects.acreate(slug="tea")
    with pytest.raises(Invalid) as refused:
        await api.aedit("tea", 7, "x")
    assert refused.value.code == ErrorCode.NOT_FOUND


async def test_a_client_can_set_none_of_it(alice: CommunicatorPersona, bob: CommunicatorPersona) -> None:
    await alice.join()
    await bob.join()
    await alice.say("hi", bot=True, avatar="https://x.example/", data={"x": 1})
    message = await bob.expect(Message)
    assert (message.bot, message.avatar, message.data) == (False, msgspec.UNSET, msgspec.UNSET)


async def test_a_room_belongs_to_an_object(person: Enter) -> None:
    ann, ben = [await User.objects.acreate(username=name) for name in ("Ann", "Ben")]
    group = await Group.objects.acreate(name="Project X")
    room = await api.aget_or_create_room(for_=group, members=[ann, ben])
    again = await api.aget_or_create_room(for_=group)
    assert (room.pk, room.title, room.kind) == (again.pk, "Project X", "private")
    assert [(one.username, one.role) for one in await api.amembers(room)] == [("Ann", "owner"), ("Ben", "member")]
    persona = await member(person, "Ben")
    await persona.join(room.slug)
    await api.aget_or_create_room(for_=group, members=[ann])
    await persona.expect(Removed)
    other = await Group.objects.acreate(name="Project Y")
    assert (await api.aget_or_create_room(for_=other)).pk != room.pk


async def test_events_presence_and_disconnect(person: Enter) -> None:
    persona = await member(person, "Ann")
    user = await User.objects.aget(username="Ann")
    assert not await api.ais_online(await User.objects.acreate(username="Ben"))
    await persona.join()
    assert await api.ais_online(user)
    assert await api.apresence(ROOM) == ["Ann"]
    await out(api.send_event, ROOM, Bell(3))
    event = await persona.expect(RoomEvent)
    assert (event.event, msgspec.json.encode(event.data)) == ("bell", b'{"times":3}')
    await api.adisconnect(user)
    assert await persona.closed() == CloseCode.FORBIDDEN


async def test_a_token_signs_a_client_in(person: Enter, settings: Any) -> None:
    user = await User.objects.acreate(username="Ann")
    persona = await person("Ann")
    welcome = await persona.join(token=await api.atoken_for(user))
    assert welcome.you == models.author_key(f"account:{user.pk}")


async def test_a_failing_receiver_harms_nobody(
    alice: CommunicatorPersona, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: Any) -> None:
        raise ZeroDivisionError

    api.message_posted.connect(broken)
    try:
        await alice.join()
        await alice.say("hi")
        await alice.expect(Message)
        await out(lambda: None)
    finally:
        api.message_posted.disconnect(broken)
    assert "failed" in caplog.text
