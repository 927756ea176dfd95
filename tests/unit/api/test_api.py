"""The chat's operations for Python, as docs/api.md describes them."""

import inspect
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from helpers import CommunicatorPersona, Enter
from members import member

from chat import api, models
from chat.api.orders import write_waiting
from chat.protocol import CloseCode, Deleted, Edited, ErrorCode, Invalid, Message, Reacted, Removed, RoomEvent
from chat.topics import Event
from chat.topics.writer import number_waiting

ROOM = "lobby"
BOT = api.Bot("Deploy", "/static/robot.png")


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


def texts() -> list[str]:
    return list(models.Message.objects.order_by("number").values_list("content", flat=True))


async def test_a_user_s_message_is_posted_edited_and_deleted(alice: CommunicatorPersona) -> None:
    """Clients receive each change in order."""
    await alice.join()
    user = await User.objects.acreate(username="Ann")
    posted = await api.apost(ROOM, "hello", user=user)
    assert posted is not None
    assert posted.id == 1
    message = await alice.expect(Message, content="hello")
    assert (message.username, message.by) == ("Ann", models.author_key(f"account:{user.pk}"))
    await api.aedit(ROOM, 1, "hello again")
    assert (await alice.expect(Edited)).content == "hello again"
    await api.areact(ROOM, 1, "\N{THUMBS UP SIGN}", user=user)
    assert (await alice.expect(Reacted)).reactions[0].usernames == ["Ann"]
    [stored] = await api.ahistory(ROOM)
    assert (stored.content, stored.reactions[0].usernames) == ("hello again", ["Ann"])
    await api.adelete(ROOM, 1)
    await alice.expect(Deleted, id=1, seq=4)
    row = await models.Message.objects.aget()
    assert (row.content, row.hidden, row.deleted is not None) == ("", False, True)


async def test_a_bot_has_a_name_an_image_and_data(alice: CommunicatorPersona) -> None:
    """Clients tell a bot from a user with its name by `bot` and by its key. An edit keeps the data."""
    await alice.join()
    await api.apost(ROOM, "done", bot=BOT, data={"build": 7})
    message = await alice.expect(Message)
    assert (message.username, message.bot, message.avatar) == ("Deploy", True, "/static/robot.png")
    assert message.by == models.author_key("bot:deploy") != ""
    assert msgspec.json.encode(message.data) == b'{"build":7}'
    await api.aedit(ROOM, 1, "done, in 7 s")
    [stored] = await api.ahistory(ROOM)
    assert stored.data is not msgspec.UNSET
    assert (stored.content, stored.bot, bytes(stored.data)) == ("done, in 7 s", True, b'{"build":7}')
    await api.adelete(ROOM, 1)
    assert (await models.Message.objects.aget()).extra is None


async def test_a_ref_is_for_one_message(person: Enter) -> None:
    """A repetition gets the first answer. Other words or other data are refused, in and out of a transaction."""
    namesake = await person("Deploy")
    await namesake.join()
    posted = await api.apost(ROOM, "hello", bot=BOT, ref="1", data={"a": 1, "b": 2})
    assert (await api.apost(ROOM, "hello", bot=BOT, ref="1", data={"b": 2, "a": 1})) == posted

    def again(**other: Any) -> object:
        return api.post(ROOM, **{"content": "hello", "bot": BOT, "ref": "1", "data": {"a": 1, "b": 2}, **other})

    def within(**other: Any) -> object:
        with transaction.atomic():
            return again(**other)

    assert await out(within) == posted
    for call in (again, within):
        for other in ({"content": "bye"}, {"data": None}):
            with pytest.raises(Invalid) as refused:
                await out(call, **other)
            assert refused.value.code == ErrorCode.REF_REUSED
    # A guest with the bot's name has refs of its own.
    await namesake.say("mine", ref="1")
    assert await sync_to_async(texts)() == ["hello", "mine"]


async def test_in_a_transaction_it_comes_with_the_commit_in_order(alice: CommunicatorPersona) -> None:
    """Nothing is published before, nothing after a rollback, and a repetition of a waiting message is one."""
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
            with pytest.raises(Invalid, match="ref"):
                api.post(ROOM, "other", user=user, ref="a")
            api.post(ROOM, "second", user=user)
            assert models.Message.objects.count() == 0

    await out(view)
    assert [(await alice.expect(Message)).content for _ in range(2)] == ["first", "second"]
    assert await sync_to_async(texts)() == ["first", "second"]
    assert await models.Outbox.objects.acount() == 0


def test_a_message_overtakes_none_that_waits(rooms: None) -> None:
    """Without a server nothing is numbered, until a message is posted outside of a transaction."""
    models.Room.objects.create(slug="tea")
    with transaction.atomic():
        api.post("tea", "first", bot=BOT)
        api.post("tea", "second", bot=BOT)
    assert api.post("tea", "third", bot=BOT) == api.Posted(3, 3, models_time(3))
    with transaction.atomic():
        api.edit("tea", 1, "first, edited")
        api.delete("tea", 2)
        api.react("tea", 3, "\N{THUMBS UP SIGN}", bot=BOT)
    api.post("tea", "fourth", bot=BOT)
    assert [(m.content, m.deleted, len(m.reactions)) for m in api.history("tea")] == [
        ("first, edited", False, 0),
        ("", True, 0),
        ("third", False, 1),
        ("fourth", False, 0),
    ]


def models_time(number: int) -> int:
    return round(models.Message.objects.get(number=number).created.timestamp() * 1000)


def test_a_refused_order_is_logged_and_the_others_go_on(rooms: None, caplog: pytest.LogCaptureFixture) -> None:
    """A message that was deleted meanwhile, a row that is not ours, and a room that is gone hold up nobody."""
    for slug in ("tea", "gone"):
        models.Room.objects.create(slug=slug)
    api.post("tea", "1", bot=BOT)
    with transaction.atomic():
        api.delete("tea", 1)
        api.edit("tea", 1, "too late")
        api.post("gone", "x", bot=BOT)
        models.Outbox.objects.create(topic="tea", event="message", data="{}")
        models.Outbox.objects.create(topic="tea", event="unknown", data="[")
        api.post("tea", "after", bot=BOT)
    models.Room.objects.get(slug="gone").delete()
    number_waiting(write_waiting)
    assert texts() == ["", "after"]
    assert caplog.text.count("is refused") == 4
    assert not models.Outbox.objects.exists()


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"content": "x"}, "give one of both"),
        ({"content": "x", "user": User()}, "user: must be a saved account"),
        ({"content": "", "bot": BOT}, "content: must have 1 to 4000 characters, not 0"),
        ({"content": " ", "bot": BOT}, "content: "),
        ({"content": "x", "bot": api.Bot("")}, "bot.name: "),
        ({"content": "x", "bot": api.Bot("B", "javascript:alert(1)")}, "bot.avatar: must be an https://"),
        ({"content": "x", "bot": api.Bot("B", "//evil.example/x.png")}, "bot.avatar: must be an https://"),
        ({"content": "x", "bot": api.Bot("B", "/\\evil.example/x.png")}, "bot.avatar: must be an https://"),
        ({"content": "x", "bot": BOT, "ref": "x" * 65}, "ref: must have 1 to 64 characters, not 65"),
        ({"content": "x", "bot": BOT, "ref": "\n"}, "ref: must not have control characters"),
        ({"content": "x", "bot": BOT, "data": {"x": "y" * 9_000}}, "data: must be a dict of at most 8192"),
        ({"content": "x", "bot": BOT, "data": ["x"]}, "data: must be a dict"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], what: str) -> None:
    """The error comes before the database is asked."""
    with pytest.raises(ValueError, match=what):
        api.post(ROOM, **fields)


@pytest.mark.parametrize("within", [False, True])
def test_a_missing_room_and_message_are_refused(rooms: None, within: bool) -> None:
    """Also within a transaction, before the commit."""
    models.Room.objects.create(slug="tea")
    calls: list[tuple[Any, ErrorCode]] = [
        (lambda: api.post("nowhere", "x", bot=BOT), ErrorCode.NO_ROOM),
        (lambda: api.post("tea", "x", bot=BOT, reply_to=7), ErrorCode.NOT_FOUND),
        (lambda: api.edit("tea", 7, "x"), ErrorCode.NOT_FOUND),
        (lambda: api.delete("tea", 7), ErrorCode.NOT_FOUND),
        (lambda: api.react("tea", 7, "\N{THUMBS UP SIGN}", bot=BOT), ErrorCode.NOT_FOUND),
        (lambda: api.history("nowhere"), ErrorCode.NO_ROOM),
        (lambda: api.members("nowhere"), ErrorCode.NO_ROOM),
        (lambda: api.send_event("nowhere", Bell(1)), ErrorCode.NO_ROOM),
    ]
    for call, code in calls:
        with transaction.atomic() if within else nullcontext(), pytest.raises(Invalid) as refused:
            call()
        assert refused.value.code == code
    assert not models.Outbox.objects.exists()


async def test_a_client_can_set_none_of_it(alice: CommunicatorPersona, bob: CommunicatorPersona) -> None:
    """The fields of a bot are ignored in a client's command."""
    await alice.join()
    await bob.join()
    await alice.say("hi", bot=True, avatar="https://x.example/", data={"x": 1})
    message = await bob.expect(Message)
    assert (message.bot, message.avatar, message.data) == (False, msgspec.UNSET, msgspec.UNSET)


async def test_a_room_belongs_to_an_object(person: Enter) -> None:
    """It is found again, and its members are those that were given last."""
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
    with pytest.raises(ValueError, match="for_: must be saved"):
        await api.aget_or_create_room(for_=Group())


async def test_events_presence_and_disconnect(person: Enter) -> None:
    """An event reaches the users in a room, or one user. A rolled back one reaches nobody."""
    persona = await member(person, "Ann")
    user = await User.objects.aget(username="Ann")
    other = await User.objects.acreate(username="Ben")
    await persona.join()

    def undone() -> None:
        with transaction.atomic():
            api.send_event(ROOM, Bell(0))
            api.disconnect(user)
            transaction.set_rollback(True)

    await out(undone)
    assert not await api.ais_online(other)
    assert await api.ais_online(user)
    assert await api.apresence(ROOM) == ["Ann"]
    assert await api.apresence("tea") == []
    await api.asend_event(other, Bell(0))
    await out(api.send_event, ROOM, Bell(3))
    event = await persona.expect(RoomEvent)
    assert (event.room, event.event, msgspec.json.encode(event.data)) == (ROOM, "bell", b'{"times":3}')
    await api.asend_event(user, Bell(4))
    event = await persona.expect(RoomEvent)
    assert (event.room, msgspec.json.encode(event.data)) == ("", b'{"times":4}')
    await api.adisconnect(user)
    assert await persona.closed() == CloseCode.FORBIDDEN


async def test_a_token_signs_a_client_in(person: Enter) -> None:
    """The token is for one account."""
    user = await User.objects.acreate(username="Ann")
    persona = await person("Ann")
    welcome = await persona.join(token=await api.atoken_for(user))
    assert welcome.you == models.author_key(f"account:{user.pk}")


def test_every_function_has_an_async_twin() -> None:
    """It has the same arguments."""
    functions = {name for name in api.__all__ if inspect.isfunction(getattr(api, name))}
    sync = {name for name in functions if not inspect.iscoroutinefunction(getattr(api, name))}
    assert functions - sync == {f"a{name}" for name in sync}
    for name in sync:
        assert inspect.signature(getattr(api, f"a{name}")) == inspect.signature(getattr(api, name))


def test_without_a_server_or_redis_presence_is_unknown(settings: Any) -> None:
    """An error says so: an empty list would be a lie."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "chat.layers.ProcessChannelLayer"}}
    with pytest.raises(RuntimeError, match="with Redis"):
        api.presence(ROOM)


def test_a_change_in_a_transaction_locks_no_room(rooms: None, statements: list[str]) -> None:
    """It is one more row in the outbox, however long the transaction takes."""
    models.Room.objects.create(slug="tea")
    api.post("tea", "hi", bot=BOT)
    statements.clear()
    with transaction.atomic():
        api.post("tea", "hello", bot=BOT, ref="1")
        api.edit("tea", 1, "hi!")
        made = list(statements)
    assert not [sql for sql in made if "UPDATE" in sql]
    assert [sql.split()[2] for sql in made if sql.startswith("INSERT")] == ['"chat_outbox"'] * 2
