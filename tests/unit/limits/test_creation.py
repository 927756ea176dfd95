"""How many sessions and rooms strangers may create."""

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from helpers import Enter
from pytest_django import Settings

from chat import models
from chat.limits import RowKind, creation_limits
from chat.limits.creation import CreationLimits
from chat.protocol import Error, ErrorCode, UserList, Welcome


@pytest.fixture(autouse=True)
def _limits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits in force, for as long as the test takes: its time stands still, and so nothing refills."""
    settings.CHAT = {**settings.CHAT, "LIMITS": True}
    monkeypatch.setattr(creation_limits, "_clock", lambda: 0.0)
    creation_limits.clear()


def test_each_address_gets_so_many_rows() -> None:
    """The number holds for either kind; in time there are more."""
    now = [0.0]
    rows = CreationLimits(lambda: now[0])
    for row, most, rate in ((RowKind.SESSION, 100, 1.0), (RowKind.ROOM, 30, 0.2)):
        assert [rows.take(row, "192.0.2.1") for _ in range(most)] == [0.0] * most
        assert rows.take(row, "192.0.2.1") == pytest.approx(1 / rate)
        assert not rows.take(row, "192.0.2.2")
        assert not rows.take(row, "")
    now[0] += 1
    assert not rows.take(RowKind.SESSION, "192.0.2.1")
    assert rows.take(RowKind.ROOM, "192.0.2.1")


@pytest.mark.django_db
def test_a_look_makes_no_session(client: Client) -> None:
    """Nor does a wrong form, or a room's page of who has no name."""
    for page in ("/", "/?room=tea", "/room/tea/", "/login/", "/whoami", "/admin/login/", "/invite/x/"):
        client.get(page)
    client.post("/", {"username": "", "room": "tea"})
    client.post("/rooms/", {"title": "x"})
    assert not Session.objects.exists()
    assert not models.Room.objects.exists()


@pytest.mark.django_db
def test_so_many_guests_come_from_one_address(settings: Settings) -> None:
    """The next is told when to come again, with the form as it was; a cookie that was made up is none."""
    settings.CHAT = {**settings.CHAT, "GUEST_BURST": 3, "GUEST_RATE": 0.01}
    for number in range(3):
        assert Client().post("/", {"username": f"Guest {number}", "room": "tea"}).status_code == 302
    forged = Client()
    forged.cookies["sessionid"] = "x" * 32
    for client in (Client(), forged):
        response = client.post("/", {"username": "Alice", "room": "tea"})
        assert (response.status_code, response["Retry-After"]) == (429, "100")
        assert b"Too many new visitors" in response.content
        assert b'value="Alice"' in response.content
    assert Session.objects.count() == 3
    elsewhere = Client(REMOTE_ADDR="192.0.2.2")
    assert elsewhere.post("/", {"username": "Bob", "room": "tea"}).status_code == 302


@pytest.mark.django_db
def test_who_has_a_session_takes_no_other(settings: Settings) -> None:
    """They may go from room to room, and change their name, as often as they like."""
    settings.CHAT = {**settings.CHAT, "GUEST_BURST": 1, "GUEST_RATE": 0.01}
    client = Client()
    for number in range(5):
        assert client.post("/", {"username": f"Alice {number}", "room": f"room{number}"}).status_code == 302


async def test_so_many_rooms_are_made_from_one_address(person: Enter, settings: Settings) -> None:
    """By entering them; rooms that are there are entered by everybody."""
    settings.CHAT = {**settings.CHAT, "ROOM_BURST": 2, "ROOM_RATE": 0.01}
    alice = await person("Alice", client=("192.0.2.1", 1))
    for room in ("one", "two"):
        await alice.send("join", username="Alice", room=room)
        await alice.expect(Welcome, room=room)
    await alice.send("join", username="Alice", room="three")
    refused = await alice.expect(Error)
    assert refused.code == ErrorCode.TOO_MANY
    assert refused.retry_after == 100_000
    bob = await person("Bob", client=("192.0.2.1", 1))
    for room in ("one", "lobby"):
        await bob.send("join", username="Bob", room=room)
        await bob.expect(Welcome, room=room)
    charlie = await person("Charlie", client=("192.0.2.3", 1))
    await charlie.send("join", username="Charlie", room="three")
    await charlie.expect(Welcome, room="three")
    await alice.send("join", username="Alice", room="three")
    await alice.expect(Welcome, room="three")


async def test_a_crowd_comes_into_a_new_room_as_one(person: Enter, settings: Settings) -> None:
    """Somebody makes it, and the others are not refused for it."""
    settings.CHAT = {**settings.CHAT, "ROOM_BURST": 1, "ROOM_RATE": 0.01}
    crowd = [await person(f"Guest {number}", client=("192.0.2.1", 1)) for number in range(8)]
    for each in crowd:
        await each.send("join", username=each.name, room="tea")
    for each in crowd:
        await each.expect(Welcome, room="tea")
    await crowd[0].expect(UserList, room="tea", count=8)
