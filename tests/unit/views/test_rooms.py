"""The pages of rooms that not everybody may see: made, shared, closed; and who a browser is."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.utils import timezone

from chat import actions, models, protocol
from chat.actions.members import make_link
from chat.actions.moderation import restrict
from chat.auth import account, session_digest
from chat.models import author_key
from chat.protocol import Ban

pytestmark = pytest.mark.django_db(transaction=True)


def person(name: str) -> tuple[User, Client]:
    """An account, and a browser in which it is signed in."""
    user, client = User.objects.create_user(name), Client()
    client.force_login(user)
    return user, client


@pytest.fixture
def alice() -> tuple[User, Client]:
    return person("Alice")


@pytest.fixture
def bob() -> tuple[User, Client]:
    return person("Bob")


@pytest.fixture
def charlie() -> tuple[User, Client]:
    return person("Charlie")


@pytest.fixture
def den(alice: tuple[User, Client]) -> str:
    """Alice's private room."""
    return actions.create(account(alice[0]), title="The den", kind="private")


def guest(name: str = "Ann") -> Client:
    client = Client()
    client.post("/", {"username": name, "room": "tea"})
    return client


def seen(response: Any, path: str) -> tuple[int, dict[str, str], bytes]:
    """All that an answer tells, but for the path that was asked for and the form's token, always another."""
    body = response.content.replace(quote(path, safe="").encode(), b"PATH")
    return (
        response.status_code,
        # But for the time of day.
        {name: value for name, value in response.headers.items() if name != "Expires"},
        re.sub(rb'(csrfmiddlewaretoken" value=)"\w+"', rb"\1", body),
    )


# --- Rooms that are not for everybody ---


def test_a_private_room_is_for_its_members(alice: tuple[User, Client], den: str) -> None:
    """Its page has its title, its kind and one's role."""
    config = alice[1].get(f"/room/{den}/").context["config"]
    assert {key: config["about"][key] for key in ("title", "kind", "role")} == {
        "title": "The den",
        "kind": "private",
        "role": "owner",
    }
    assert config["links"]["index"] == "/"


@pytest.mark.parametrize("who", ["account", "guest", "nobody"])
def test_to_outsiders_a_private_room_is_as_one_that_does_not_exist(
    charlie: tuple[User, Client], den: str, who: str
) -> None:
    """The same status, headers and body, so that nobody finds out which names there are."""
    client = {"account": charlie[1], "guest": guest(), "nobody": Client()}[who]
    hidden, missing = f"/room/{den}/", "/room/_" + "a" * (len(den) - 1) + "/"
    theirs, nobodys = seen(client.get(hidden), hidden), seen(client.get(missing), missing)
    assert theirs[0] == 404
    assert theirs == nobodys
    assert b"The den" not in theirs[2]


def test_looking_for_a_private_room_takes_one_query_more_than_for_none(
    charlie: tuple[User, Client], den: str, django_assert_num_queries: Any
) -> None:
    """The session, the account, and one question that has the same answer for both."""
    for slug in (den, "_nothing"):
        with django_assert_num_queries(3):
            charlie[1].get(f"/room/{slug}/")


def test_a_room_for_members_is_for_every_account(alice: tuple[User, Client], charlie: tuple[User, Client]) -> None:
    """A guest may not see it."""
    slug = actions.create(account(alice[0]), title="All hands", kind="members")
    assert charlie[1].get(f"/room/{slug}/").status_code == 200
    assert guest().get(f"/room/{slug}/").status_code == 404


def test_the_page_of_two_has_the_other_s_name(alice: tuple[User, Client], bob: tuple[User, Client]) -> None:
    """To each the other one."""
    slug = actions.open_direct(account(alice[0]), "Bob")
    assert alice[1].get(f"/room/{slug}/").context["title"] == "Bob"
    assert bob[1].get(f"/room/{slug}/").context["title"] == "Alice"


def test_who_is_banned_sees_nothing_of_the_room(alice: tuple[User, Client], bob: tuple[User, Client]) -> None:
    """403, why, and none of its messages."""
    slug = actions.create(account(alice[0]), title="Tea", kind="public", slug="tea")
    restrict(account(alice[0]), Ban(room=slug, username="Bob"), None)
    response = bob[1].get("/room/tea/")
    assert response.status_code == 403
    assert "You may not be in this room" in response.content.decode()
    assert "chat-config" not in response.content.decode()
    assert alice[1].get("/room/tea/").status_code == 200


def test_hidden_names_are_not_for_the_form(charlie: tuple[User, Client]) -> None:
    """Nobody makes a room whose name begins as the server's do."""
    response = charlie[1].post("/", {"room": "_abc"})
    assert "not starting with _" in str(response.context["form"].errors["room"])


# --- The first page ---


def test_one_s_own_rooms_are_listed(
    alice: tuple[User, Client], bob: tuple[User, Client], charlie: tuple[User, Client], den: str
) -> None:
    """Those that are not public, with their titles and, of two, the other's name; to nobody else."""
    actions.open_direct(account(alice[0]), "Bob")
    assert {(room["title"], room["kind"]) for room in alice[1].get("/").context["own"]} == {
        ("The den", "private"),
        ("Bob", "direct"),
    }
    assert [room["title"] for room in bob[1].get("/").context["own"]] == ["Alice"]
    for client in (charlie[1], guest(), Client()):
        response = client.get("/")
        assert response.context["own"] == []
        assert "The den" not in response.content.decode()


def test_a_room_that_one_read_and_left_is_not_told_of(alice: tuple[User, Client], den: str) -> None:
    """Its name and its unread messages stay with its members."""
    room = models.Room.objects.get(slug=den)
    models.ReadPosition.objects.create(room=room, reader=account(alice[0]).key, seq=0)
    assert [found["unread"] for found in alice[1].get("/").context["own"]] == [0]
    room.memberships.all().delete()
    assert den not in alice[1].get("/").content.decode()


def test_a_guest_does_not_take_an_account_s_name(alice: tuple[User, Client]) -> None:
    """Nor one that looks like it."""
    for name in ("Alice", "ALICE", "\N{CYRILLIC CAPITAL LETTER A}lice"):
        response = Client().post("/", {"username": name, "room": "tea"})
        assert response.status_code == 200, name
        assert response.context["form"].errors["username"]


@override_settings(CHAT={"GUESTS": False})
def test_without_guests_the_pages_ask_to_sign_in(alice: tuple[User, Client]) -> None:
    """The first page has no form; a room leads to the sign-in and back; a name in a session is no name."""
    client = guest()
    assert "Your name" not in client.get("/").content.decode()
    assert "/login/?next=%2F" in client.get("/").content.decode()
    assert client.get("/room/tea/")["Location"] == "/login/?next=/room/tea/"
    assert client.post("/", {"username": "Ann", "room": "tea"})["Location"] == "/login/?next=/"
    assert client.get("/whoami").json() == {"username": None, "account": False, "you": ""}
    assert alice[1].get("/room/tea/").status_code == 200


# --- Making rooms ---


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"title": "Den", "kind": "private"}, "private"),
        ({"title": "All", "kind": "members", "room": ""}, "members"),
        ({"title": "Tea time", "kind": "public", "room": "tea"}, "public"),
    ],
)
def test_a_room_is_made_and_entered(alice: tuple[User, Client], fields: dict[str, str], kind: str) -> None:
    """Who makes it owns it; the form leads into it."""
    response = alice[1].post("/rooms/", fields)
    room = models.Room.objects.get()
    assert response["Location"] == f"/room/{room.slug}/"
    assert (room.title, room.kind) == (fields["title"], kind)
    assert [(row.user, row.role) for row in room.memberships.all()] == [(alice[0], "owner")]
    assert room.slug.startswith("_") == (kind != "public")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"kind": "private"}, "title"),
        ({"title": "x" * 81, "kind": "private"}, "title"),
        ({"title": "Den", "kind": "direct"}, "kind"),
        ({"title": "...", "kind": "public"}, "room"),
        ({"title": "There", "kind": "public"}, "room"),
        ({"title": "Tea", "kind": "public", "room": "There!"}, "room"),
        ({"title": "Tea", "kind": "public", "room": "_tea"}, "room"),
        ({"title": "Tea", "kind": "public", "room": "there"}, "room"),
    ],
)
def test_a_room_that_can_t_be_made_is_explained(
    alice: tuple[User, Client], fields: dict[str, str], wrong: str
) -> None:
    """At the field, on the first page, and none is made."""
    models.Room.objects.create(slug="there")
    response = alice[1].post("/rooms/", fields)
    assert response.status_code == 200
    assert wrong in response.context["new_room"].errors
    assert models.Room.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "slug"),
    [
        ({"title": "Tea Time"}, "tea-time"),
        ({"title": "Чай", "room": "Tea Time"}, "tea-time"),
        ({"title": "Чай"}, protocol.slug_of("Чай")),
    ],
)
def test_a_public_room_is_made_under_any_name(
    alice: tuple[User, Client], fields: dict[str, str], slug: str
) -> None:
    """Its slug is made of what is given for the address, else of the title."""
    response = alice[1].post("/rooms/", {"kind": "public", **fields})
    assert (response.status_code, response["Location"]) == (302, f"/room/{slug}/")
    assert models.Room.objects.get(slug=slug).title == fields["title"]


@pytest.mark.parametrize(("title", "kept"), [("Tea\u202e\x85 time\ufeff", "Tea time"), (" Tea\n\u2066", "Tea")])
def test_a_title_from_the_page_is_mended(alice: tuple[User, Client], title: str, kept: str) -> None:
    """The page mends a title as the wire does."""
    alice[1].post("/rooms/", {"kind": "private", "title": title})
    assert models.Room.objects.get().title == kept


def test_two_talk_in_one_room(alice: tuple[User, Client], bob: tuple[User, Client]) -> None:
    """Whoever of them begins."""
    first = alice[1].post("/direct/", {"username": "Bob"})["Location"]
    assert bob[1].post("/direct/", {"username": "Alice"})["Location"] == first
    assert alice[1].get(first).status_code == bob[1].get(first).status_code == 200


@pytest.mark.parametrize("name", ["", "Nobody", "Alice"])
def test_one_who_can_t_be_talked_with_is_explained(alice: tuple[User, Client], name: str) -> None:
    """Nobody, somebody who isn't there, oneself."""
    response = alice[1].post("/direct/", {"username": name})
    assert response.status_code == 200
    assert response.context["direct"].errors["username"]
    assert not models.Room.objects.exists()


@pytest.mark.parametrize("path", ["/rooms/", "/direct/"])
def test_guests_make_no_rooms(bob: tuple[User, Client], path: str) -> None:
    """They are asked to sign in; and a link makes none, whoever follows it."""
    response = guest().post(path, {"title": "Den", "kind": "private", "username": "Bob"})
    assert response["Location"].startswith("/login/")
    assert bob[1].get(path).status_code == 405
    assert not models.Room.objects.exists()


@pytest.mark.parametrize("path", ["/", "/rooms/", "/direct/", "/invite/{code}/"])
def test_no_other_site_can_post(alice: tuple[User, Client], den: str, path: str) -> None:
    """Each form needs the token of its page."""
    code, _ = make_link(account(alice[0]), den)
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("Dora"))
    response = client.post(
        path.format(code=code), {"title": "x", "kind": "private", "username": "Alice", "room": "x"}
    )
    assert response.status_code == 403
    assert models.Room.objects.count() == models.Membership.objects.count() == 1


# --- Invitations ---


@pytest.fixture
def link(alice: tuple[User, Client], den: str) -> str:
    return f"/invite/{make_link(account(alice[0]), den)[0]}/"


def test_an_invitation_says_who_and_where_and_is_taken_by_a_button(
    bob: tuple[User, Client], den: str, link: str
) -> None:
    """Looking makes nobody a member; the button does."""
    page = bob[1].get(link)
    assert (page.context["by"], page.context["title"]) == ("Alice", "The den")
    assert bob[1].get(f"/room/{den}/").status_code == 404
    assert bob[1].post(link)["Location"] == f"/room/{den}/"
    assert bob[1].get(f"/room/{den}/").context["config"]["about"].get("role", "member") == "member"


def test_guests_are_asked_to_sign_in_and_come_back(link: str) -> None:
    """The link leads to the sign-in, and from there to itself."""
    for client in (guest(), Client()):
        assert client.get(link)["Location"] == f"/login/?next={link}"
        assert client.post(link)["Location"] == f"/login/?next={link}"


def test_a_link_that_does_not_hold_is_as_a_room_that_is_not_there(charlie: tuple[User, Client], link: str) -> None:
    """Made up, or expired: the same answer as for a hidden room's name."""
    models.Invitation.objects.update(expires=timezone.now() - timedelta(seconds=1))
    answers = [seen(charlie[1].get(path), path) for path in (link, "/invite/made-up/", "/room/_nothing/")]
    assert answers[0][0] == 404
    assert answers[0][2] == answers[1][2] == answers[2][2]
    assert charlie[1].post(link).status_code == 404


def test_who_is_banned_can_t_come_in_by_a_link(
    alice: tuple[User, Client], bob: tuple[User, Client], den: str, link: str
) -> None:
    """To them it is as one that does not hold."""
    restrict(account(alice[0]), Ban(room=den, username="Bob"), None)
    assert bob[1].post(link).status_code == 404
    assert bob[1].get(f"/room/{den}/").status_code == 404


@override_settings(CHAT={"MEMBERS": 2})
def test_a_full_room_is_explained(bob: tuple[User, Client], charlie: tuple[User, Client], link: str) -> None:
    """The page stays, and says how many a room may have."""
    bob[1].post(link)
    response = charlie[1].post(link)
    assert response.status_code == 409
    assert "at most 2 members" in response.content.decode()


# --- Who one is ---


def test_a_browser_can_ask_who_it_is(alice: tuple[User, Client]) -> None:
    """An account, a guest, nobody; never cached, and not for other sites."""
    you = author_key(f"account:{alice[0].pk}")
    assert alice[1].get("/whoami").json() == {"username": "Alice", "account": True, "you": you}
    ann = guest("Ann")
    you = author_key(f"guest:{session_digest(str(ann.session.session_key))}:Ann")
    assert ann.get("/whoami").json() == {"username": "Ann", "account": False, "you": you}
    response = Client().get("/whoami", headers={"origin": "https://elsewhere.example"})
    assert response.json() == {"username": None, "account": False, "you": ""}
    assert "no-store" in response["Cache-Control"]
    assert "Access-Control-Allow-Origin" not in response


def test_who_signed_out_is_nobody(alice: tuple[User, Client]) -> None:
    """What the page asks after its socket was closed."""
    alice[1].post("/logout/")
    assert alice[1].get("/whoami").json() == {"username": None, "account": False, "you": ""}
