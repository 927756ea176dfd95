"""The pages: choosing a name and a room, the room, health."""

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
from chat.log import RoomLog, Writer, queries
from chat.models import Room, author_key
from chat.protocol import Ack, Message, Reaction

pytestmark = pytest.mark.django_db(transaction=True)


def config_of(client: Client, room: str) -> dict[str, Any]:
    """What the room's page tells its script."""
    config: dict[str, Any] = client.get(f"/room/{room}/").context["config"]
    return config


@pytest.fixture
def tea() -> RoomLog:
    return queries.open_room("tea")


@pytest.fixture
def olga(client: Client) -> User:
    """She is signed in."""
    user = User.objects.create_user("Olga")
    client.force_login(user)
    return user


def test_the_first_page_asks_for_a_name_and_a_room(client: Client) -> None:
    """The form starts with the lobby, or with the room that a link names."""
    assert client.get("/").context["form"]["room"].value() == "lobby"
    assert client.get("/?room=tea").context["form"]["room"].value() == "tea"


def test_a_name_is_kept_in_the_session(client: Client) -> None:
    """The chosen name is normalised, kept in the session, and leads into the room."""
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
    ("field", "value", "said"),
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
def test_a_bad_choice_is_explained(client: Client, field: str, value: str, said: str) -> None:
    """The form comes back with the error at its field, and no name is kept."""
    response = client.post("/", {"username": "Ann", "room": "lobby", field: value})
    assert response.status_code == 200
    assert said in str(response.context["form"].errors[field])
    assert GUEST_NAME not in client.session


def test_a_room_needs_a_name(client: Client) -> None:
    """Whoever opens a link to a room without a name is asked for one first, and comes back to that room."""
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
def test_an_address_with_what_people_call_a_room_leads_to_it(client: Client, typed: str, slug: str) -> None:
    """The name may be as people type it, or as another program made it of a title."""
    response = client.get(f"/room/{quote(typed, safe='')}/")
    assert (response.status_code, response["Location"]) == (302, f"/room/{slug}/")
    assert client.get(response["Location"])["Location"] == f"/?room={slug}"


@pytest.mark.parametrize(("typed", "title"), [("Tea Time", "Tea Time"), ("Кухня", "Кухня"), ("Tea", "Tea")])
def test_a_room_is_entered_by_any_name(client: Client, typed: str, title: str) -> None:
    """The room has a slug, and for a title what was typed first; who enters after that changes nothing."""
    slug = protocol.slug_of(typed)
    for name in (typed, typed.upper(), typed.lower()):
        response = client.post("/", {"username": "Ann", "room": name})
        assert (response.status_code, response["Location"]) == (302, f"/room/{slug}/")
    assert list(Room.objects.values_list("slug", "title")) == [(slug, title)]


def test_a_title_makes_no_room_where_people_may_not(client: Client, settings: Settings) -> None:
    """A user who may make no room is led to the address all the same, and told there."""
    settings.CHAT = {"CREATE_ROOMS": "accounts"}
    assert client.post("/", {"username": "Ann", "room": "Tea Time"})["Location"] == "/room/tea-time/"
    client.post("/", {"username": "Ann", "room": "Lobby"})
    assert not Room.objects.exists()


@pytest.mark.parametrize("room", ["x" * 81, "_Tea", "tea/time", "%2E%2E%2E", "%E2%80%8B"])
def test_a_room_that_cannot_be_is_not_found(client: Client, room: str) -> None:
    """A path that is no room's name is a 404."""
    assert client.get(f"/room/{room}/").status_code == 404


def test_an_account_brings_its_own_name(client: Client, olga: User) -> None:
    """Who is signed in is not asked for a name, and can't choose one."""
    assert "username" not in client.get("/").context["form"].fields
    client.post("/", {"username": "Somebody", "room": "tea"})
    assert GUEST_NAME not in client.session
    assert config_of(client, "tea")["username"] == "Olga"


# --- What the room's page has from the start ---


def test_the_page_has_the_latest_messages(client: Client, olga: User, tea: RoomLog) -> None:
    """At most 50, the oldest first, with the position and the epoch from which the socket goes on."""
    Writer().write(posts(tea, 60))
    page = config_of(client, "tea")["page"]
    assert [message["id"] for message in page["messages"]] == list(range(11, 61))
    assert (page["more"], page["seq"], page["epoch"], page["read"]) == (True, 60, tea.epoch, 0)


def test_the_page_s_messages_are_as_on_the_wire(client: Client, olga: User, tea: RoomLog) -> None:
    """Each as it is now: answers, edits, emoji; of what is deleted or hidden nothing is told but that it was."""
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
    """The session, the account, the room and its rules, its messages, their emoji, how far one has read."""
    Writer().write([*posts(tea, 60), *(react(tea, number) for number in range(1, 60))])
    with django_assert_max_num_queries(9):
        config_of(client, "tea")


def test_looking_at_a_room_does_not_make_it(client: Client, olga: User) -> None:
    """Its page says that it has no epoch yet; the first who joins makes it."""
    assert config_of(client, "tea")["page"]["epoch"] is None
    assert not models.Room.objects.exists()


def test_the_page_tells_how_far_one_has_read(client: Client, olga: User, tea: RoomLog) -> None:
    """One's own position, nobody else's."""
    author = account(olga).key
    Writer().write([*posts(tea, 5), read(tea, 3, author=author), read(tea, 5, author="account:0")])
    assert config_of(client, "tea")["page"]["read"] == 3


def test_a_guest_has_read_as_an_account_has(client: Client, tea: RoomLog) -> None:
    """Somebody with a name in the session is known by it; with another name they are somebody else."""
    client.post("/", {"username": "Ann", "room": "tea"})
    author = guest(client.session.session_key or "", "Ann").key
    Writer().write([*posts(tea, 5), read(tea, 4, author=author)])
    assert config_of(client, "tea")["page"]["read"] == 4
    client.post("/", {"username": "Eve", "room": "tea"})
    assert config_of(client, "tea")["page"]["read"] == 0


# --- Markup, policy, other rooms ---


def test_a_hostile_name_cannot_leave_its_place(client: Client) -> None:
    """A name with markup in it reaches the page only as data, and so does what somebody said."""
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


async def test_the_first_page_lists_rooms_with_people(async_client: AsyncClient, person: Enter) -> None:
    """Rooms that people are in are offered, the fullest first."""
    for name, rooms in (("Alice", ["tea", "coffee"]), ("Bob", ["tea"])):
        persona = await person(name)
        for room in rooms:
            await persona.join(room)
    response = await async_client.get("/")
    assert [(room["name"], room["count"]) for room in response.context["rooms"]] == [("tea", 2), ("coffee", 1)]


def test_the_first_page_has_the_rooms_that_one_has_read(client: Client, olga: User, tea: RoomLog) -> None:
    """With the number of messages since: none that is deleted or hidden, nobody else's rooms, the title if any."""
    author, coffee, quiet = account(olga).key, queries.open_room("coffee"), queries.open_room("quiet")
    models.Room.objects.filter(slug="tea").update(title="Tea time")
    Writer().write([*posts(tea, 7), read(tea, 3, author=author), erase(tea, 4), hide(tea, 5), edit(tea, 1, "x")])
    Writer().write([*posts(coffee, 2), read(coffee, 1, author="account:0")])
    Writer().write([*posts(quiet, 1), read(quiet, 1, author=author)])
    told = [(room["title"], room["count"], room["unread"]) for room in client.get("/").context["rooms"]]
    # In the others too little was said for a time of their own: the newest comes first.
    assert told == [("Tea time", 0, 2), ("quiet", 0, 0), ("coffee", 0, None)]


def test_unread_messages_are_counted_up_to_100(client: Client, olga: User, tea: RoomLog) -> None:
    """So many are "99+" to people; to count a million would take time."""
    Writer().write([read(tea, 0, author=account(olga).key), *posts(tea, 120)])
    assert client.get("/").context["rooms"][0]["unread"] == 100


async def test_a_room_with_people_and_unread_messages_stands_once(
    async_client: AsyncClient, person: Enter, rooms: None
) -> None:
    """The rooms that people are in come first, with what is unread in them; then the others."""
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


def test_somebody_without_a_name_has_no_unread_messages(client: Client, tea: RoomLog) -> None:
    """Nobody is asked for what nobody has read."""
    Writer().write([*posts(tea, 2), read(tea, 1)])
    assert [(room["name"], room["unread"]) for room in client.get("/").context["rooms"]] == [("tea", None)]


async def test_the_name_of_the_page_is_the_name_on_the_socket(async_client: AsyncClient, person: Enter) -> None:
    """The socket speaks under the session's name, whatever the client says; two tabs are one person."""
    await async_client.post("/", {"username": "Ann", "room": "tea"})
    for _tab in range(2):
        ann = await person("Mallory", headers=browser(async_client.cookies["sessionid"].value))
        welcome = await ann.join("tea")
        assert welcome.username == "Ann"


def test_healthz_answers_without_the_database(client: Client, django_assert_num_queries: type) -> None:
    """A load balancer's question costs no query, and its answer is not cached."""
    with django_assert_num_queries(0):
        response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert "no-store" in response["Cache-Control"]


def test_without_the_database_a_page_says_when_to_come_again(
    client: Client, olga: User, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    """503, which proxies and browsers know, and one line in the log; afterwards the page is there."""
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


def test_another_error_of_a_page_is_no_absence_of_the_database(
    client: Client, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with us is told as that."""

    def fail(*_: object, **__: object) -> None:
        raise IntegrityError("a fault of ours")

    monkeypatch.setattr("chat.views.first_page.actions.joinable_rooms", fail)
    with pytest.raises(IntegrityError):
        client.get("/")
