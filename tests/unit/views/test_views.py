"""The first page, the room's page, and health."""

from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.test import AsyncClient, Client
from doubles import Outage
from helpers import Enter
from logs import edit, erase, hide, post, posts, react, read, written
from members import browser
from pytest_django import Settings

from chat import models, protocol
from chat.auth import GUEST_NAME, account, guest, session_digest
from chat.log import RoomLog
from chat.message_log import Writer, queries
from chat.models import Room, author_key
from chat.protocol import Ack, Message, Reaction

pytestmark = pytest.mark.django_db(transaction=True)


def config_of(client: Client, room: str) -> dict[str, Any]:
    """The configuration in the room's page, for its script."""
    config: dict[str, Any] = client.get(f"/room/{room}/").context["config"]
    return config


@pytest.fixture
def tea() -> RoomLog:
    return queries.open_room("tea")


@pytest.fixture
def olga(client: Client) -> User:
    """A signed-in account."""
    user = User.objects.create_user("Olga")
    client.force_login(user)
    return user


def test_the_first_page_asks_for_a_name_and_a_room(client: Client) -> None:
    """The form starts with the lobby, or with the room that a link names."""
    assert client.get("/").context["form"]["room"].value() == "lobby"
    assert client.get("/?room=tea").context["form"]["room"].value() == "tea"


def test_a_name_is_stored_in_the_session(client: Client) -> None:
    """The name is normalised and stored, and the response redirects into the room."""
    response = client.post("/", {"username": "  Ann   Lee ", "room": "tea"})
    assert (response.status_code, response["Location"]) == (302, "/room/tea/")
    assert client.session[GUEST_NAME] == "Ann Lee"
    assert config_of(client, "tea") == {
        "room": "tea",
        "username": "Ann Lee",
        "you": author_key(f"guest:{session_digest(str(client.session.session_key))}:Ann Lee"),
        "account": False,
        "path": "/ws",
        "lasting": True,
        "about": {},
        "links": {
            "index": "/?room=tea",
            "room": "/room/room-name/",
            "signIn": "/login/?next=%2Froom%2Ftea%2F",
            "whoami": "/whoami",
        },
        "page": {"messages": [], "more": False, "seq": 0, "epoch": None, "read": None},
    }


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("username", "", "required"),
        ("username", "x" * 33, "1 to 32 characters, not 33"),
        ("username", "A\u200bnn", "U+200B"),
        ("username", "\u202eAnn", "U+202E"),
        ("room", "", "required"),
        ("room", "_tea", "not starting with _"),
        ("room", "...", "a letter or a digit"),
        ("room", "\u200b", "a letter or a digit"),
        ("room", "x" * 81, "at most 80 characters"),
    ],
)
def test_a_bad_choice_is_explained(client: Client, field: str, value: str, error: str) -> None:
    """The page has the form with the error at its field, and no name is stored."""
    response = client.post("/", {"username": "Ann", "room": "lobby", field: value})
    assert response.status_code == 200
    assert error in str(response.context["form"].errors[field])
    assert GUEST_NAME not in client.session


def test_a_room_needs_a_name(client: Client) -> None:
    """A visitor without a name is redirected to the form, which has the room's name."""
    response = client.get("/room/tea/")
    assert (response.status_code, response["Location"]) == (302, "/?room=tea")


@pytest.mark.parametrize(
    ("typed", "slug"),
    [
        ("Lobby", "lobby"),
        ("My Room", "my-room"),
        ("Café!", "cafe"),
        ("-tea", "tea"),
        ("t\nea", "t-ea"),
        ("#general", "general"),
        ("кухня", protocol.slug_of("Кухня")),
        ("東京", protocol.slug_of("東京")),
    ],
)
def test_a_room_s_name_in_any_spelling_redirects_to_its_slug(client: Client, typed: str, slug: str) -> None:
    """The name may be as users type it, or as another program made it from a title."""
    response = client.get(f"/room/{quote(typed, safe='')}/")
    assert (response.status_code, response["Location"]) == (302, f"/room/{slug}/")
    assert client.get(response["Location"])["Location"] == f"/?room={slug}"


@pytest.mark.parametrize(("typed", "title"), [("Tea Time", "Tea Time"), ("Кухня", "Кухня"), ("Tea", "Tea")])
def test_a_room_is_entered_by_any_name(client: Client, typed: str, title: str) -> None:
    """The first spelling becomes the title; later spellings change nothing."""
    slug = protocol.slug_of(typed)
    for name in (typed, typed.upper(), typed.lower()):
        response = client.post("/", {"username": "Ann", "room": name})
        assert (response.status_code, response["Location"]) == (302, f"/room/{slug}/")
    assert list(Room.objects.values_list("slug", "title")) == [(slug, title)]


def test_a_title_creates_no_room_without_permission(client: Client, settings: Settings) -> None:
    """A user who may not create rooms is redirected all the same, and gets the error there."""
    settings.CHAT = {"CREATE_ROOMS": "accounts"}
    assert client.post("/", {"username": "Ann", "room": "Tea Time"})["Location"] == "/room/tea-time/"
    client.post("/", {"username": "Ann", "room": "Lobby"})
    assert not Room.objects.exists()


@pytest.mark.parametrize("room", ["x" * 81, "_Tea", "tea/time", "%2E%2E%2E", "%E2%80%8B"])
def test_an_invalid_room_name_is_not_found(client: Client, room: str) -> None:
    """A path that is not a room's name is a 404."""
    assert client.get(f"/room/{room}/").status_code == 404


def test_an_account_brings_its_own_name(client: Client, olga: User) -> None:
    """A signed-in user has no name field, and can't choose another name."""
    assert "username" not in client.get("/").context["form"].fields
    client.post("/", {"username": "Somebody", "room": "tea"})
    assert GUEST_NAME not in client.session
    assert config_of(client, "tea")["username"] == "Olga"


# --- Messages in the room's page ---


def test_the_page_has_the_latest_messages(client: Client, olga: User, tea: RoomLog) -> None:
    """It has at most 50, oldest first, and the position and epoch from which the socket continues."""
    Writer().write(posts(tea, 60))
    page = config_of(client, "tea")["page"]
    assert [message["id"] for message in page["messages"]] == list(range(11, 61))
    assert (page["more"], page["seq"], page["epoch"], page["read"]) == (True, 60, tea.epoch, 0)


def test_the_page_s_messages_are_as_on_the_wire(client: Client, olga: User, tea: RoomLog) -> None:
    """Each is in its current state: replies, edits, reactions. Deleted and hidden ones have no text."""
    writes = [post(tea, "one"), post(tea, "two", reply_to=1), post(tea, "three"), post(tea, "four")]
    written(
        Writer().write([*writes, edit(tea, 1, "ONE"), react(tea, 1, "\N{CAT FACE}"), erase(tea, 3), hide(tea, 4)])
    )
    page = config_of(client, "tea")["page"]
    one, two, three, four = (msgspec.convert(message, Message) for message in page["messages"])
    assert (one.content, one.seq, one.reactions) == ("ONE", 6, [Reaction("\N{CAT FACE}", ["Bob"], 1, [""])])
    assert one.edited
    assert (two.reply_to, two.seq) == (1, 2)
    assert [(message.content, message.deleted) for message in (three, four)] == [("", True)] * 2
    assert page["seq"] == 8
    assert "three" not in str(page)
    assert "four" not in str(page)


def test_a_page_of_a_room_costs_the_same_however_full_it_is(
    client: Client, olga: User, tea: RoomLog, django_assert_max_num_queries: Any
) -> None:
    """The queries: session, account, room, policy, messages, reactions, read position."""
    Writer().write([*posts(tea, 60), *(react(tea, number) for number in range(1, 60))])
    with django_assert_max_num_queries(9):
        config_of(client, "tea")


def test_a_room_s_page_does_not_create_it(client: Client, olga: User) -> None:
    """Its page has no epoch; the first join creates the room."""
    assert config_of(client, "tea")["page"]["epoch"] is None
    assert not models.Room.objects.exists()


def test_the_page_has_the_user_s_read_position(client: Client, olga: User, tea: RoomLog) -> None:
    """It has the user's own position, not another user's."""
    author = account(olga).key
    Writer().write([*posts(tea, 5), read(tea, 3, author=author), read(tea, 5, author="account:0")])
    assert config_of(client, "tea")["page"]["read"] == 3


def test_a_guest_has_a_read_position_too(client: Client, tea: RoomLog) -> None:
    """A guest is identified by session and name; another name is another user."""
    client.post("/", {"username": "Ann", "room": "tea"})
    author = guest(client.session.session_key or "", "Ann").key
    Writer().write([*posts(tea, 5), read(tea, 4, author=author)])
    assert config_of(client, "tea")["page"]["read"] == 4
    client.post("/", {"username": "Eve", "room": "tea"})
    assert config_of(client, "tea")["page"]["read"] == 0


# --- Markup, Content-Security-Policy, lists of rooms ---


def test_markup_in_a_name_is_escaped(client: Client) -> None:
    """Markup in a name or a message reaches the page only as data."""
    client.post("/", {"username": "</script><b>x", "room": "tea"})
    Writer().write([post(queries.open_room("tea"), "</script><b>said", author="</script><b>y")])
    html = client.get("/room/tea/").content.decode()
    assert "</script><b>" not in html


@pytest.mark.parametrize("path", ["/", "/room/tea/", "/login/", "/nowhere/"])
def test_every_page_forbids_inline_script(client: Client, path: str) -> None:
    """Each page has a CSP without unsafe-inline, and nothing inline that would need it."""
    client.post("/", {"username": "Ann", "room": "tea"})
    response = client.get(path)
    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    html = response.content.decode()
    for inline in (" onclick=", " onload=", " style=", "<style", "javascript:"):
        assert inline not in html


async def test_the_first_page_lists_rooms_with_users(async_client: AsyncClient, person: Enter) -> None:
    """Rooms with users are listed, those with the most users first."""
    for name, rooms in (("Alice", ["tea", "coffee"]), ("Bob", ["tea"])):
        persona = await person(name)
        for room in rooms:
            await persona.join(room)
    response = await async_client.get("/")
    assert [(room["name"], room["count"]) for room in response.context["rooms"]] == [("tea", 2), ("coffee", 1)]


def test_the_first_page_lists_the_rooms_that_the_user_has_read(client: Client, olga: User, tea: RoomLog) -> None:
    """Each has its title and unread messages, without deleted and hidden ones. Other users' rooms have none."""
    author, coffee, quiet = account(olga).key, queries.open_room("coffee"), queries.open_room("quiet")
    models.Room.objects.filter(slug="tea").update(title="Tea time")
    Writer().write([*posts(tea, 7), read(tea, 3, author=author), erase(tea, 4), hide(tea, 5), edit(tea, 1, "x")])
    Writer().write([*posts(coffee, 2), read(coffee, 1, author="account:0")])
    Writer().write([*posts(quiet, 1), read(quiet, 1, author=author)])
    listed = [(room["title"], room["count"], room["unread"]) for room in client.get("/").context["rooms"]]
    # The others have too few messages for a time of activity: the newest room comes first.
    assert listed == [("Tea time", 0, 2), ("quiet", 0, 0), ("coffee", 0, None)]


def test_unread_messages_are_counted_up_to_100(client: Client, olga: User, tea: RoomLog) -> None:
    """The page shows 100 as "99+"; counting a million would take too long."""
    Writer().write([read(tea, 0, author=account(olga).key), *posts(tea, 120)])
    assert client.get("/").context["rooms"][0]["unread"] == 100


async def test_a_room_with_users_and_unread_messages_is_listed_once(
    async_client: AsyncClient, person: Enter, rooms: None
) -> None:
    """Rooms with users come first, with their unread messages; then the others."""
    user = await User.objects.acreate_user("Olga")
    await async_client.aforce_login(user)
    alice = await person("Alice")
    olga = await person("Olga", headers=browser(async_client.cookies["sessionid"].value))
    for room in ("tea", "coffee"):
        await alice.join(room)
        await olga.join(room)
        await olga.send("read", room=room, seq=0)
        await alice.say("hi", room)
    for persona in (olga, alice):
        await persona.send("leave", room="coffee")
        await persona.expect(Ack, room="coffee")
    response = await async_client.get("/")
    assert [(room["name"], room["count"], room["unread"]) for room in response.context["rooms"]] == [
        ("tea", 2, 1),
        ("coffee", 0, 1),
    ]


def test_a_visitor_without_a_name_has_no_unread_messages(client: Client, tea: RoomLog) -> None:
    """A visitor without a name has no read positions."""
    Writer().write([*posts(tea, 2), read(tea, 1)])
    assert [(room["name"], room["unread"]) for room in client.get("/").context["rooms"]] == [("tea", None)]


async def test_the_name_of_the_page_is_the_name_on_the_socket(async_client: AsyncClient, person: Enter) -> None:
    """The socket has the session's name, whatever the client sends; two tabs are one user."""
    await async_client.post("/", {"username": "Ann", "room": "tea"})
    for _tab in range(2):
        ann = await person("Mallory", headers=browser(async_client.cookies["sessionid"].value))
        welcome = await ann.join("tea")
        assert welcome.username == "Ann"


def test_healthz_answers_without_the_database(client: Client, django_assert_num_queries: type) -> None:
    """A load balancer's probe costs no query, and the response is not cached."""
    with django_assert_num_queries(0):
        response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert "no-store" in response["Cache-Control"]


def test_without_the_database_a_page_has_retry_after(
    client: Client, olga: User, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a 503 with one line in the log; afterwards the page works again."""
    for method, path in ((client.get, "/"), (client.get, "/room/tea/"), (client.post, "/rooms/")):
        caplog.clear()
        with outage.begin():
            response = method(path)
        assert (response.status_code, response["Retry-After"]) == (503, "5")
        assert "Back in a moment" in response.content.decode()
        (record,) = caplog.records
        assert (record.name, record.exc_info) == ("chatsite", None)
        assert record.getMessage() == f"the database does not answer for {path}: the database is away"
    assert client.get("/room/tea/").status_code == 200


def test_another_database_error_is_not_reported_as_an_outage(
    client: Client, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the chat itself is raised as it is."""

    def fail(*_: object, **__: object) -> None:
        raise IntegrityError("a fault of ours")

    monkeypatch.setattr("chat.views.first_page.actions.joinable_rooms", fail)
    with pytest.raises(IntegrityError):
        client.get("/")
