"""The pages: choosing a name and a room, the room, health."""

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from helpers import Enter

from chat.auth import GUEST_NAME

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_first_page_asks_for_a_name_and_a_room(client: Client) -> None:
    """The form starts with the lobby, or with the room that a link names."""
    assert client.get("/").context["form"]["room"].value() == "lobby"
    assert client.get("/?room=tea").context["form"]["room"].value() == "tea"


def test_a_name_is_kept_in_the_session(client: Client) -> None:
    """The chosen name is normalised, kept in the session, and leads into the room."""
    response = client.post("/", {"username": "  Ann   Lee ", "room": "tea"})
    assert (response.status_code, response["Location"]) == (302, "/room/tea/")
    assert client.session[GUEST_NAME] == "Ann Lee"
    assert client.get("/room/tea/").context["config"] == {"room": "tea", "username": "Ann Lee", "path": "/ws"}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("username", "", "required"),
        ("username", "x" * 33, "1 to 32 characters, not 33"),
        ("username", "A\u200bnn", "U+200B"),
        ("username", "\u202eAnn", "U+202E"),
        ("room", "", "required"),
        ("room", "Tea", "a-z, 0-9"),
        ("room", "tea time", "a-z, 0-9"),
        ("room", "x" * 51, "1-50 characters"),
        ("room", "../admin", "a-z, 0-9"),
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


@pytest.mark.parametrize("room", ["Tea", "x" * 51, "-tea", "t%0Aea", "tea/time"])
def test_a_room_that_cannot_be_is_not_found(client: Client, room: str) -> None:
    """A path that is no room's name is a 404."""
    assert client.get(f"/room/{room}/").status_code == 404


def test_an_account_brings_its_own_name(client: Client) -> None:
    """Who is signed in is not asked for a name, and can't choose one."""
    client.force_login(User.objects.create_user("Olga"))
    assert "username" not in client.get("/").context["form"].fields
    client.post("/", {"username": "Somebody", "room": "tea"})
    assert GUEST_NAME not in client.session
    assert client.get("/room/tea/").context["config"]["username"] == "Olga"


def test_a_hostile_name_cannot_leave_its_place(client: Client) -> None:
    """A name with markup in it reaches the page only as data."""
    client.post("/", {"username": "</script><b>x", "room": "tea"})
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
    assert response.context["rooms"] == [{"name": "tea", "count": 2}, {"name": "coffee", "count": 1}]


async def test_the_name_of_the_page_is_the_name_on_the_socket(async_client: AsyncClient, person: Enter) -> None:
    """The socket speaks under the session's name, whatever the client says; two tabs are one person."""
    await async_client.post("/", {"username": "Ann", "room": "tea"})
    cookie = {"cookie": f"sessionid={async_client.cookies['sessionid'].value}", "origin": "http://localhost"}
    for _tab in range(2):
        ann = await person("Mallory", headers=cookie)
        welcome = await ann.join("tea")
        assert welcome.username == "Ann"


def test_healthz_answers_without_the_database(client: Client, django_assert_num_queries: type) -> None:
    """A load balancer's question costs no query, and its answer is not cached."""
    with django_assert_num_queries(0):
        response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert "no-store" in response["Cache-Control"]
