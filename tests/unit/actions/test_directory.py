"""The first page lists all of a person's own rooms, and the active ones, however many strangers create."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone
from helpers import CommunicatorPersona as Persona
from logs import post, posts, read

from chat import actions, models
from chat.actions import directory
from chat.auth import account, guest
from chat.log import RoomLog
from chat.message_log import Writer, queries
from chat.models import ACTIVE_FROM_CHANGES

pytestmark = pytest.mark.django_db(transaction=True)

Kind = models.Room.Kind


@pytest.fixture
def alice(rooms: None) -> User:
    return User.objects.create_user("Alice")


def browser(user: User | None = None) -> Client:
    client = Client()
    if user:
        client.force_login(user)
    return client


def names(client: Client, which: str, address: str = "/") -> list[str]:
    """The titles of one list on the page."""
    return [room["title"] for room in client.get(address).context[which]]


def talk(slug: str, number: int = ACTIVE_FROM_CHANGES, author: str = "eve") -> RoomLog:
    """Post messages in the room."""
    room = queries.open_room(slug)
    Writer().write(posts(room, number, author=author))
    return room


def flood(kind: str, number: int, *, seq: int = 0) -> None:
    """Create ``number`` rooms of four strangers, with messages in each."""
    strangers = [User.objects.create_user(f"Stranger{index}") for index in range(4)]
    prefix = "" if kind == Kind.PUBLIC else "_0"
    made = models.Room.objects.bulk_create(
        models.Room(slug=f"{prefix}0{index}", kind=kind, title=f"A{index}") for index in range(number)
    )
    models.Membership.objects.bulk_create(
        models.Membership(room=room, user=strangers[index % 4], role="owner") for index, room in enumerate(made)
    )
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_room SET seq = %s WHERE title LIKE 'A%%'", [seq])


# --- Own rooms ---


def test_one_s_own_rooms_are_all_there_whatever_strangers_make(alice: User) -> None:
    """790 rooms of other accounts push none of a person's ten private rooms off the page."""
    for number in range(10):
        actions.create(account(alice), title=f"Den {number}", kind="private")
    flood(Kind.MEMBERS, 790)
    assert names(browser(alice), "own") == [f"Den {number}" for number in range(10)]


def test_one_s_own_rooms_are_of_every_kind(alice: User) -> None:
    """Own rooms are those that a person created, moderates or has read, private ones, and direct rooms."""
    bob = User.objects.create_user("Bob")
    actions.create(account(alice), title="Mine", kind="public", slug="mine")
    theirs = actions.create(account(bob), title="Moderated", kind="public", slug="theirs")
    models.Membership.objects.create(room=models.Room.objects.get(slug=theirs), user=alice, role="moderator")
    actions.create(account(alice), title="All of us", kind="members")
    visited = queries.open_room(actions.create(account(bob), title="Visited", kind="members"))
    actions.create(account(bob), title="Never visited", kind="members")
    read_once = talk("read")
    Writer().write([read(read_once, 1, author=account(alice).key)])
    actions.create(account(bob), title="Not for her", kind="private")
    actions.open_direct(account(alice), "Bob")
    Writer().write([post(visited), read(visited, 1, author=account(alice).key)])
    assert names(browser(alice), "own") == ["read", "All of us", "Bob", "Mine", "Visited", "Moderated"]
    assert "None yet" not in browser(alice).get("/").content.decode()


def test_a_guest_has_the_rooms_that_it_has_read(rooms: None) -> None:
    """With their unread counts, until a room is closed to guests."""
    talk("tea")
    room = talk("coffee")
    client = browser()
    client.post("/", {"username": "Gina", "room": "coffee"})
    assert names(client, "own") == []
    Writer().write([read(room, 3, author=guest(client.session.session_key or "", "Gina").key)])
    (row,) = client.get("/").context["own"]
    assert (row["title"], row["unread"]) == ("coffee", 2)
    models.Room.objects.filter(slug="coffee").update(kind="private", slug=models.new_hidden_slug())
    assert names(client, "own") == []


def test_one_s_own_rooms_come_in_pages_and_none_is_missing(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms with unread messages come first; each page leads to the next one and back."""
    monkeypatch.setattr("chat.views.first_page.ROOMS_SHOWN", 4)
    for number in range(10):
        slug = actions.create(account(alice), title=f"Den {number}", kind="private")
    talk(slug, 1)
    client, address, seen = browser(alice), "/", []
    while address:
        page = client.get(address).context
        seen.append([room["title"] for room in page["own"]])
        address = page["own_pages"].get("after")
    first, *others = [f"Den {number}" for number in (9, *range(9))]
    assert seen == [[first, *others[:3]], others[3:7], others[7:]]
    assert client.get("/?own=3").context["own_pages"]["before"] == "?own=2"


@pytest.mark.every_case
@pytest.mark.parametrize("role", ["member", "moderator", "owner"])
@pytest.mark.parametrize("kind", ["private", "members", "public"])
def test_rooms_that_strangers_put_one_into_come_after_one_s_own(alice: User, kind: str, role: str) -> None:
    """An account may get roles unasked. Those rooms, however busy, must not bury its own."""
    actions.create(account(alice), title="Zen", kind="private")
    bob = User.objects.create_user("Bob")
    for number in range(3):
        slug = f"ad-{number}" if kind == "public" else None
        slug = actions.create(account(bob), title=f"Ad {number}", kind=kind, slug=slug)
        models.Membership.objects.create(room=models.Room.objects.get(slug=slug), user=alice, role=role)
        talk(slug)
    actions.open_direct(account(bob), "Alice")
    assert names(browser(alice), "own") == ["Bob", "Zen", "Ad 0", "Ad 1", "Ad 2"]


def test_unread_messages_are_counted_in_every_room_that_is_shown(alice: User) -> None:
    """Unread messages are counted also for a person who has read hundreds of other rooms."""
    den = talk(actions.create(account(alice), title="Zen", kind="private"), 3)
    many = models.Room.objects.bulk_create(models.Room(slug=f"a{number}") for number in range(150))
    models.Room.objects.filter(slug__startswith="a").update(archived=timezone.now())
    models.ReadPosition.objects.bulk_create(
        models.ReadPosition(room=room, reader=account(alice).key, seq=0) for room in many
    )
    Writer().write([read(den, 1, author=account(alice).key)])
    assert [room["unread"] for room in browser(alice).get("/").context["own"]] == [2]


# --- Rooms for everybody ---


def test_a_public_room_stays_when_the_last_person_leaves(rooms: None) -> None:
    """It is listed with the time of its last activity, the most recent first."""
    for slug in ("tea", "coffee", "milk"):
        talk(slug)
    ago = timezone.now() - timedelta(hours=3)
    models.Room.objects.filter(slug="coffee").update(active=ago)
    models.Room.objects.filter(slug="milk").update(active=ago - timedelta(days=1))
    client = browser()
    assert names(client, "rooms") == ["tea", "coffee", "milk"]
    html = " ".join(client.get("/").content.decode().replace("\N{NO-BREAK SPACE}", " ").split())
    assert "3 hours ago" in html
    talk("milk", 1)
    assert names(client, "rooms") == ["milk", "tea", "coffee"]


async def test_rooms_with_people_come_first(person: Any, async_client: Any) -> None:
    """The fullest room comes first, even without any message."""
    alice: Persona = await person("Alice")
    await alice.join("tea")
    await alice.join("silent")
    for index in range(ACTIVE_FROM_CHANGES):
        await alice.say(f"{index}", "tea")
    await (await person("Bob")).join("silent")
    response = await async_client.get("/")
    assert [(room["name"], room["count"]) for room in response.context["rooms"]] == [("silent", 2), ("tea", 1)]


@pytest.mark.every_case
@pytest.mark.parametrize("state", ["empty", "archived", "private", "members"])
def test_what_is_not_for_everybody_or_was_never_used_is_not_listed(rooms: None, state: str) -> None:
    """Rooms without messages, archived rooms and rooms that need an invitation are left out."""
    room = talk("tea") if state != "empty" else queries.open_room("tea")
    hidden = {"slug": models.new_hidden_slug(), "kind": state} if state in {"private", "members"} else {}
    archived = timezone.now() if state == "archived" else None
    models.Room.objects.filter(pk=room.pk).update(archived=archived, title="Tea", **hidden)
    assert names(browser(), "rooms") == []
    bob = User.objects.create_user("Bob")
    assert names(browser(bob), "rooms") == (["Tea"] if state == "members" else [])


@pytest.mark.every_case
@pytest.mark.parametrize("seq", [0, 1, ACTIVE_FROM_CHANGES - 1])
@pytest.mark.parametrize("kind", [Kind.PUBLIC, Kind.MEMBERS])
def test_a_flood_of_rooms_does_not_bury_those_that_people_talk_in(alice: User, kind: str, seq: int) -> None:
    """Rooms with few messages come last, however many and how new they are."""
    for slug in ("tea", "coffee"):
        talk(slug)
    models.Room.objects.update(active=timezone.now() - timedelta(days=30))
    flood(kind, 300, seq=seq)
    assert sorted(names(browser(alice), "rooms")[:2]) == ["coffee", "tea"]
    assert len(names(browser(alice), "rooms")) == (50 if seq else 2)


def test_the_list_comes_in_pages_without_gaps(rooms: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages go on from active rooms to those with few messages, and list each room once."""
    monkeypatch.setattr("chat.views.first_page.ROOMS_SHOWN", 3)
    for number in range(5):
        talk(f"lively{number}")
    for number in range(6):
        talk(f"quiet{number}", 1)
    client, address, seen = browser(), "/", []
    while address:
        page = client.get(address).context
        seen += [room["name"] for room in page["rooms"]]
        address = page["room_pages"].get("after")
    assert seen[:5] == [f"lively{number}" for number in reversed(range(5))]
    assert seen[5:] == [f"quiet{number}" for number in reversed(range(6))]


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("TEA", ["Tea time", "teapot"]),
        ("time", ["Tea time"]),
        ("чай", ["Чай"]),
        ("ЧА", ["Чай"]),
        ("_", []),
        ("%", []),
        ("coffee", []),
    ],
)
def test_rooms_are_found_by_a_part_of_their_name(rooms: None, wanted: str, found: list[str]) -> None:
    """The part may be of the title or of the name in the address. The form needs no script and keeps the query."""
    for slug in ("t1", "t2", "teapot", "milk"):
        talk(slug)
    models.Room.objects.filter(slug="t2").update(title="Чай")
    models.Room.objects.filter(slug="t1").update(title="Tea time")
    response = browser().get("/", {"q": wanted})
    assert sorted(room["title"] for room in response.context["rooms"]) == found
    assert f'name="q" value="{wanted}"' in response.content.decode()


def test_one_s_own_rooms_are_found_by_name_too(alice: User) -> None:
    """By their names for that user."""
    User.objects.create_user("Bob")
    actions.open_direct(account(alice), "Bob")
    actions.create(account(alice), title="Été", kind="private")
    assert names(browser(alice), "own", "/?q=bo") == ["Bob"]
    assert names(browser(alice), "own", "/?q=ÉT") == ["Été"]


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 30, "\N{ARABIC-INDIC DIGIT TWO}", "1e3", ""])
def test_a_page_that_is_none_is_the_first(rooms: None, page: str) -> None:
    """Bad page numbers in the address mean the first page."""
    talk("tea")
    assert names(browser(), "rooms", f"/?page={page}&own={page}") == ["tea"]


def test_the_first_page_takes_few_questions(alice: User, django_assert_max_num_queries: Any) -> None:
    """A hundred rooms take as many queries as one."""
    User.objects.create_user("Bob")
    actions.open_direct(account(alice), "Bob")
    for number in range(20):
        actions.create(account(alice), title=f"Den {number}", kind="private")
        talk(f"tea{number}")
    client = browser(alice)
    with django_assert_max_num_queries(12):
        client.get("/")


def test_the_list_is_read_from_its_index(rooms: None) -> None:
    """The query stops at the end of the page, however many rooms there are."""
    models.Room.objects.bulk_create(
        models.Room(slug=f"r{number}", active=timezone.now()) for number in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE chat_room")
    plan = (
        directory.joinable_query(None, "").filter(active__isnull=False).order_by("-active", "-pk")[:50].explain()
    )
    assert "chat_room_active" in plan


# --- When a room was last active ---


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time of the log's writers, in milliseconds; a test sets the item of the list."""
    now = [1_700_000_000_000]
    monkeypatch.setattr("chat.protocol.now", lambda: now[0])
    return now


def test_a_room_s_activity_is_kept_to_the_minute(rooms: None, moments: list[int]) -> None:
    """Each way of writing saves it, from the fifth change on. A busy room saves it once a minute."""
    room, writer = queries.open_room("tea"), Writer()

    def active() -> int:
        found = models.Room.objects.get(slug="tea").active
        return round(found.timestamp() - 1_700_000_000) if found else -1

    told = []
    for second in (0, 1, 2, 3, 4, 30, 64, 65, 200):
        moments[0] = 1_700_000_000_000 + 1_000 * second
        writer.write([post(room)] if second % 2 == 0 else [post(room), read(room, 1)])
        told.append(active())
    assert told == [-1, -1, -1, -1, 4, 4, 4, 65, 200]


def test_rooms_of_before_get_the_time_of_their_latest_message(rooms: None, moments: list[int]) -> None:
    """The migration sets it for rooms with enough messages. A room that has a time keeps it."""
    for slug, number in (("tea", 9), ("quiet", ACTIVE_FROM_CHANGES - 1), ("new", 9)):
        talk(slug, number)
    private = models.Room.objects.create(slug=models.new_hidden_slug(), kind="private")
    talk(private.slug, 9)
    models.Room.objects.exclude(slug="new").update(active=None)
    newer = timezone.now()
    models.Room.objects.filter(slug="new").update(active=newer)
    migration = import_module("chat.migrations.0008_directory_and_former_people")
    with connection.schema_editor() as editor:
        migration._when_active(apps, editor)
    told = dict(models.Room.objects.values_list("slug", "active"))
    said = datetime.fromtimestamp(moments[0] / 1000, UTC)
    assert told == {"tea": said, "quiet": None, "new": newer, private.slug: None}


def test_what_staff_saves_leaves_the_activity_alone(rooms: None) -> None:
    """A form that was opened earlier does not set it back."""
    room = queries.open_room("tea")
    form = models.Room.objects.get(pk=room.pk)
    talk("tea")
    form.title = "Tea time"
    form.save()
    assert models.Room.objects.get(pk=room.pk).active is not None
