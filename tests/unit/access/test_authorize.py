"""The project's own rules on rooms, which CHAT["AUTHORIZE"] names."""

from collections.abc import Iterator
from typing import Any

import house_rules
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from helpers import CommunicatorPersona, Enter
from house_rules import ASKED, FORBIDDEN
from members import member

from chat import models
from chat.access.authorize import project_function
from chat.actions import AccessEnforcer, directory
from chat.auth import account
from chat.hub import Hub
from chat.loops import current
from chat.protocol import Ack, Error, ErrorCode, Message, Removed, RoomChanged

ROOM = "tea"


@pytest.fixture(autouse=True)
def _rules(settings: Any) -> Iterator[None]:
    settings.CHAT = {**settings.CHAT, "AUTHORIZE": "house_rules.authorize"}
    yield
    FORBIDDEN.clear()
    ASKED.clear()


@pytest.fixture
async def ann(person: Enter) -> CommunicatorPersona:
    await models.Room.objects.acreate(slug=ROOM, seq=0)
    return await member(person, "Ann")


async def test_a_hidden_room_does_not_exist(ann: CommunicatorPersona) -> None:
    """Not for a join, and not in a list."""
    FORBIDDEN.add(("Ann", ROOM, "see"))
    await ann.send("join", room=ROOM)
    await ann.refused(ErrorCode.NO_ROOM)
    assert ("Ann", ROOM, "enter") not in ASKED
    user = await User.objects.aget(username="Ann")

    def listed() -> list[str]:
        models.ReadPosition.objects.get_or_create(room=models.Room.objects.get(), reader=account(user).key, seq=0)
        found = directory.own_rooms(account(user), {}, name="", page=1, size=9)
        others = directory.joinable_rooms(account(user), {ROOM: 1}, name="", page=1, size=9)
        return [entry.name for entry in (*found.entries, *others.entries)]

    assert await sync_to_async(listed)() == []
    FORBIDDEN.clear()
    assert await sync_to_async(listed)() == [ROOM, ROOM]


@pytest.mark.parametrize(("action", "status"), [("see", 404), ("enter", 403), ("post", 200)])
def test_the_room_s_page(rooms: None, action: Any, status: int) -> None:
    """It has no messages of a room that the user may not enter."""
    models.Room.objects.create(slug=ROOM)
    FORBIDDEN.add(("Ann", ROOM, action))
    client = Client()
    client.force_login(User.objects.create(username="Ann"))
    assert client.get(reverse("chat:room", kwargs={"room": ROOM})).status_code == status


async def test_a_user_may_see_and_not_enter(ann: CommunicatorPersona, bob: CommunicatorPersona) -> None:
    """Another user may. A guest is Django's AnonymousUser."""
    FORBIDDEN.add(("Ann", ROOM, "enter"))
    await ann.send("join", room=ROOM)
    await ann.refused(ErrorCode.FORBIDDEN)
    await bob.join(ROOM)
    assert ("", ROOM, "enter") in ASKED


async def test_a_user_may_read_and_not_post(ann: CommunicatorPersona) -> None:
    """The client knows it from `welcome`."""
    FORBIDDEN.add(("Ann", ROOM, "post"))
    assert (await ann.join(ROOM)).read_only
    await ann.send("message", room=ROOM, content="hi")
    await ann.refused(ErrorCode.READ_ONLY)
    FORBIDDEN.clear()
    await current(AccessEnforcer).recheck_now(list(current(Hub).sockets.values()))
    assert not (await ann.expect(RoomChanged)).read_only
    await ann.say("hi", ROOM)


async def test_messages_ask_nothing(ann: CommunicatorPersona, person: Enter) -> None:
    """The answers are kept while the user is in the room, for all their tabs; one who returns is asked about."""
    await ann.join(ROOM)
    asked = len(ASKED)
    for number in range(5):
        await ann.say(str(number), ROOM)
    other = await member(person, "Ann")
    await other.join(ROOM)
    assert len(ASKED) == asked == 3
    for tab in (ann, other):
        await tab.send("leave", room=ROOM, ref="gone")
        await tab.expect(Ack, ref="gone")
    await ann.join(ROOM)
    assert len(ASKED) == 6


async def test_a_changed_rule_removes(ann: CommunicatorPersona, bob: CommunicatorPersona) -> None:
    """It is asked again when the room's rules change. Others stay."""
    await ann.join(ROOM)
    await bob.join(ROOM)
    FORBIDDEN.add(("Ann", ROOM, "enter"))
    room = await models.Room.objects.aget()
    room.title = "Tea"
    await room.asave()
    assert (await ann.expect(Removed)).code == ErrorCode.FORBIDDEN
    await bob.say("hi", ROOM)
    await bob.expect(Message)
    assert ann.count(Message) == 0


async def test_a_recheck_removes(ann: CommunicatorPersona, bob: CommunicatorPersona) -> None:
    """It is asked again with the sign-in."""
    await ann.join(ROOM)
    await bob.join(ROOM)
    FORBIDDEN.add(("Ann", ROOM, "see"))
    await current(AccessEnforcer).recheck_now(list(current(Hub).sockets.values()))
    assert (await ann.expect(Removed)).code == ErrorCode.NO_ROOM
    await bob.say("hi", ROOM)
    assert ann.count(Message) == 0


async def test_a_refused_join_asks_about_nobody_else(ann: CommunicatorPersona, bob: CommunicatorPersona) -> None:
    """Otherwise a crowd in the room would pay for each try."""
    await bob.join(ROOM)
    FORBIDDEN.add(("Ann", ROOM, "enter"))
    ASKED.clear()
    await ann.send("join", room=ROOM)
    await ann.refused(ErrorCode.FORBIDDEN)
    assert {name for name, _, _ in ASKED} == {"Ann"}


async def test_the_owner_s_commands_are_asked_about_too(ann: CommunicatorPersona) -> None:
    """The project's rules come before a role."""
    await ann.send("create", room="own", title="Own", kind="public", ref="1")
    await ann.join("own")
    await ann.send("room", room="own", title="Mine", ref="2")
    assert (await ann.expect(RoomChanged)).title == "Mine"


async def test_a_database_that_is_away_during_the_rule_forbids_nothing(
    ann: CommunicatorPersona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule's own query fails: the join is busy, and nobody is removed."""
    await ann.join(ROOM)

    def away(*_: object) -> bool:
        raise OperationalError("the database is away")

    monkeypatch.setattr(house_rules, "authorize", away)
    socket = next(iter(current(Hub).sockets.values()))
    await current(AccessEnforcer).recheck_now([socket])
    await current(Hub).reload(ROOM)
    assert ann.count(Removed) == 0
    await models.Room.objects.acreate(slug="cake")
    await ann.send("join", room="cake", ref="c")
    assert (await ann.expect(Error, ref="c")).code == ErrorCode.BUSY
    assert await ann.silence() == []
    assert set(socket.rooms) == {ROOM}


async def test_a_rule_that_fails_allows_nothing(
    ann: CommunicatorPersona, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its traceback is in the log."""
    settings.CHAT = {**settings.CHAT, "AUTHORIZE": "house_rules.broken"}
    await ann.send("join", room=ROOM)
    await ann.refused(ErrorCode.NO_ROOM)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("name", ["house_rules.missing", "nowhere.rules", "house_rules.ASKED", "rules"])
def test_a_wrong_name_stops_the_start(settings: Any, name: str) -> None:
    """The error names the setting and the value."""
    settings.CHAT = {**settings.CHAT, "AUTHORIZE": name}
    with pytest.raises(ImproperlyConfigured, match=name):
        project_function()
    assert [error.id for error in run_checks() if name in error.msg and "AUTHORIZE" in error.msg]
    assert house_rules.ASKED == []
