"""Pages of rooms that are not public: created, shared, closed. And the identity of a browser."""

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
    """An account, and a browser that is signed in to it."""
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
    """A response's status, headers and body, without the requested path and the random form token."""
    body = response.content.replace(quote(path, safe="").encode(), b"PATH")
    return (
        response.status_code,
        # But for the time of day.
        {name: value for name, value in response.headers.items() if name != "Expires"},
        re.sub(rb'(csrfmiddlewaretoken" value=)"\w+"', rb"\1", body),
    )


# --- Rooms that are not for everybody ---


def test_a_private_room_is_for_its_members(alice: tuple[User, Client], den: str) -> None:
    """Its page has its title, its kind and the member's role."""
    config = alice[1].get(f"/room/{den}/").context["config"]
    assert {key: config["about"][key] for key in ("title", "kind", "role")} == {
        "title": "The den",
        "kind": "private",
        "role": "owner",
    }
    assert config["links"]["index"] == "/"


@pytest.mark.parametrize("who", ["account", "guest", "nobody"])
def test_outsiders_get_the_same_response_for_a_private_room_as_for_none(
    charlie: tuple[User, Client], den: str, who: str
) -> None:
    """The status, headers and body are equal, so nobody can find out which names exist."""
    client = {"account": charlie[1], "guest": guest(), "nobody": Client()}[who]
    hidden, missing = f"/room/{den}/", "/room/_" + "a" * (len(den) - 1) + "/"
    theirs, nobodys = seen(client.get(hidden), hidden), seen(client.get(missing), missing)
    assert theirs[0] == 404
    assert theirs == nobodys
    assert b"The den" not in theirs[2]


def test_a_private_room_costs_an_outsider_one_query_as_no_room_does(
    charlie: tuple[User, Client], den: str, django_assert_num_queries: Any
) -> None:
    """The session, the account, and one query with the same result for both."""
    for slug in (den, "_nothing"):
        with django_assert_num_queries(3):
            charlie[1].get(f"/room/{slug}/")


def test_a_room_for_members_is_for_every_account(alice: tuple[User, Client], charlie: tuple[User, Client]) -> None:
    """A guest may not enter it."""
    slug = actions.create(account(alice[0]), title="All hands", kind="members")
    assert charlie[1].get(f"/room/{slug}/").status_code == 200
    assert guest().get(f"/room/{slug}/").status_code == 404


def test_a_direct_room_is_called_by_the_other_user_s_name(
    alice: tuple[User, Client], bob: tuple[User, Client]
) -> None:
    """Each of the two sees the other's name as the title."""
    slug = actions.open_direct(account(alice[0]), "Bob")
    assert alice[1].get(f"/room/{slug}/").context["title"] == "Bob"
    assert bob[1].get(f"/room/{slug}/").context["title"] == "Alice"


def test_a_banned_user_sees_nothing_of_the_room(alice: tuple[User, Client], bob: tuple[User, Client]) -> None:
    """The page has status 403 and the reason, and none of the room's messages."""
    slug = actions.create(account(alice[0]), title="Tea", kind="public", slug="tea")
    restrict(account(alice[0]), Ban(room=slug, username="Bob"), None)
    response = bob[1].get("/room/tea/")
    assert response.status_code == 403
    assert "You may not be in this room" in response.content.decode()
    assert "chat-config" not in response.content.decode()
    assert alice[1].get("/room/tea/").status_code == 200


def test_the_form_refuses_hidden_names(charlie: tuple[User, Client]) -> None:
    """Only the server makes names with the prefix of hidden rooms."""
    response = charlie[1].post("/", {"room": "_abc"})
    assert "not starting with _" in str(response.context["form"].errors["room"])


# --- The first page ---


def test_a_user_s_own_rooms_are_listed(
    alice: tuple[User, Client], bob: tuple[User, Client], charlie: tuple[User, Client], den: str
) -> None:
    """Rooms that are not public are listed for their members only, with their titles or the other user's name."""
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


def test_a_room_that_was_left_is_not_listed(alice: tuple[User, Client], den: str) -> None:
    """Only members see its name and its unread messages, although the former member has read it."""
    room = models.Room.objects.get(slug=den)
    models.ReadPosition.objects.create(room=room, reader=account(alice[0]).key, seq=0)
    assert [found["unread"] for found in alice[1].get("/").context["own"]] == [0]
    room.memberships.all().delete()
    assert den not in alice[1].get("/").content.decode()


def test_a_guest_can_not_take_an_account_s_name(alice: tuple[User, Client]) -> None:
    """A name that looks like an account's is refused too."""
    for name in ("Alice", "ALICE", "\N{CYRILLIC CAPITAL LETTER A}lice"):
        response = Client().post("/", {"username": name, "room": "tea"})
        assert response.status_code == 200, name
        assert response.context["form"].errors["username"]


@override_settings(CHAT={"GUESTS": False})
def test_without_guests_the_pages_ask_to_sign_in(alice: tuple[User, Client]) -> None:
    """The first page has no form, a room redirects to the sign-in, and a name in a session does not count."""
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
def test_a_room_is_created_and_entered(alice: tuple[User, Client], fields: dict[str, str], kind: str) -> None:
    """The creator is its owner, and the form redirects into it."""
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
def test_a_room_that_can_t_be_created_is_explained(
    alice: tuple[User, Client], fields: dict[str, str], wrong: str
) -> None:
    """The first page has the error at the field, and no room is created."""
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
def test_a_public_room_is_created_with_any_name(
    alice: tuple[User, Client], fields: dict[str, str], slug: str
) -> None:
    """Its slug is made from the name for the address, or else from the title."""
    response = alice[1].post("/rooms/", {"kind": "public", **fields})
    assert (response.status_code, response["Location"]) == (302, f"/room/{slug}/")
    assert models.Room.objects.get(slug=slug).title == fields["title"]


@pytest.mark.parametrize(("title", "kept"), [("Tea\u202e\x85 time\ufeff", "Tea time"), (" Tea\n\u2066", "Tea")])
def test_a_title_from_the_page_is_sanitized(alice: tuple[User, Client], title: str, kept: str) -> None:
    """The page sanitizes a title as the protocol does."""
    alice[1].post("/rooms/", {"kind": "private", "title": title})
    assert models.Room.objects.get().title == kept


def test_two_users_have_one_direct_room(alice: tuple[User, Client], bob: tuple[User, Client]) -> None:
    """The room is the same whichever of them opens it."""
    first = alice[1].post("/direct/", {"username": "Bob"})["Location"]
    assert bob[1].post("/direct/", {"username": "Alice"})["Location"] == first
    assert alice[1].get(first).status_code == bob[1].get(first).status_code == 200


@pytest.mark.parametrize("name", ["", "Nobody", "Alice"])
def test_an_invalid_partner_of_a_direct_room_is_explained(alice: tuple[User, Client], name: str) -> None:
    """An empty name, an unknown name and the user's own name get an error."""
    response = alice[1].post("/direct/", {"username": name})
    assert response.status_code == 200
    assert response.context["direct"].errors["username"]
    assert not models.Room.objects.exists()


@pytest.mark.parametrize("path", ["/rooms/", "/direct/"])
def test_guests_create_no_rooms(bob: tuple[User, Client], path: str) -> None:
    """They are redirected to the sign-in, and a GET creates no room for anybody."""
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


def test_an_invitation_names_its_author_and_room_and_is_accepted_by_a_button(
    bob: tuple[User, Client], den: str, link: str
) -> None:
    """A GET makes nobody a member; the button does."""
    page = bob[1].get(link)
    assert (page.context["by"], page.context["title"]) == ("Alice", "The den")
    assert bob[1].get(f"/room/{den}/").status_code == 404
    assert bob[1].post(link)["Location"] == f"/room/{den}/"
    assert bob[1].get(f"/room/{den}/").context["config"]["about"].get("role", "member") == "member"


def test_guests_sign_in_before_an_invitation(link: str) -> None:
    """The link redirects to the sign-in, which redirects back."""
    for client in (guest(), Client()):
        assert client.get(link)["Location"] == f"/login/?next={link}"
        assert client.post(link)["Location"] == f"/login/?next={link}"


def test_an_invalid_invitation_gets_the_same_response_as_no_room(charlie: tuple[User, Client], link: str) -> None:
    """An invented or expired link gets the same response as a hidden room's name."""
    models.Invitation.objects.update(expires=timezone.now() - timedelta(seconds=1))
    answers = [seen(charlie[1].get(path), path) for path in (link, "/invite/made-up/", "/room/_nothing/")]
    assert answers[0][0] == 404
    assert answers[0][2] == answers[1][2] == answers[2][2]
    assert charlie[1].post(link).status_code == 404


def test_a_banned_user_can_t_use_an_invitation(
    alice: tuple[User, Client], bob: tuple[User, Client], den: str, link: str
) -> None:
    """A banned user gets the response for an invalid link."""
    restrict(account(alice[0]), Ban(room=den, username="Bob"), None)
    assert bob[1].post(link).status_code == 404
    assert bob[1].get(f"/room/{den}/").status_code == 404


@override_settings(CHAT={"MEMBERS": 2})
def test_a_full_room_is_explained(bob: tuple[User, Client], charlie: tuple[User, Client], link: str) -> None:
    """The invitation's page has the error, with the maximum number of members."""
    bob[1].post(link)
    response = charlie[1].post(link)
    assert response.status_code == 409
    assert "at most 2 members" in response.content.decode()


# --- Who one is ---


def test_whoami_has_the_browser_s_identity(alice: tuple[User, Client]) -> None:
    """It is right for an account, a guest and nobody, never cached, and closed to other sites."""
    you = author_key(f"account:{alice[0].pk}")
    assert alice[1].get("/whoami").json() == {"username": "Alice", "account": True, "you": you}
    ann = guest("Ann")
    you = author_key(f"guest:{session_digest(str(ann.session.session_key))}:Ann")
    assert ann.get("/whoami").json() == {"username": "Ann", "account": False, "you": you}
    response = Client().get("/whoami", headers={"origin": "https://elsewhere.example"})
    assert response.json() == {"username": None, "account": False, "you": ""}
    assert "no-store" in response["Cache-Control"]
    assert "Access-Control-Allow-Origin" not in response


def test_whoami_has_no_identity_after_signing_out(alice: tuple[User, Client]) -> None:
    """The page requests it after its socket was closed."""
    alice[1].post("/logout/")
    assert alice[1].get("/whoami").json() == {"username": None, "account": False, "you": ""}
