"""Rooms after an account is deleted, deactivated or renamed: they name it, and close if need be."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from helpers import CommunicatorPersona as Persona
from helpers import Enter
from members import member, olga

from chat import actions, models
from chat.actions.members import make_link
from chat.auth import account
from chat.database import run_write
from chat.protocol import Ack, Error, ErrorCode, RoomChanged, Welcome

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice(rooms: None) -> User:
    return User.objects.create_user("Alice")


@pytest.fixture
def bob(rooms: None) -> User:
    return User.objects.create_user("Bob")


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def delete(user: User) -> None:
    user.delete()


def delete_with_others(user: User) -> None:
    User.objects.filter(pk=user.pk).delete()


def deactivate(user: User) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


def rename(user: User) -> None:
    user.username = "Robert"
    user.save()


def put_out(user: User) -> None:
    models.Membership.objects.filter(user=user).delete()


ENDS = [
    (delete, "Bob (deleted account)", "deleted"),
    (delete_with_others, "Bob (deleted account)", "deleted"),
    (deactivate, "Bob (deactivated account)", "deactivated"),
    (put_out, "Bob", "left"),
]


# --- Direct rooms ---


@pytest.mark.every_case
@pytest.mark.parametrize(("ends", "title", "closed"), ENDS)
def test_the_pages_name_who_is_gone(alice: User, bob: User, ends: Any, title: str, closed: str) -> None:
    """The first page, the room's page and its tab name the account, and never show the room's secret slug."""
    slug = actions.open_direct(account(alice), "Bob")
    ends(bob)
    client = browser(alice)
    assert [room["title"] for room in client.get("/").context["own"]] == [title]
    page = client.get(f"/room/{slug}/")
    assert f"<title>{title} ·" in page.content.decode()
    about = page.context["config"]["about"]
    assert (page.context["title"], about["title"], about["closed"], about["archived"]) == (
        title,
        title,
        closed,
        True,
    )


def test_a_name_that_is_new_is_the_title(alice: User, bob: User) -> None:
    """A renamed account closes nothing."""
    slug = actions.open_direct(account(alice), "Bob")
    rename(bob)
    page = browser(alice).get(f"/room/{slug}/")
    assert (page.context["title"], page.context["config"]["about"].get("closed")) == ("Robert", None)


def test_who_went_before_names_were_kept_is_a_deleted_account(alice: User, bob: User) -> None:
    """Other people don't learn more when both accounts are gone."""
    slug = actions.open_direct(account(alice), "Bob")
    bob.delete()
    models.Room.objects.update(former="")
    assert browser(alice).get(f"/room/{slug}/").context["title"] == "Deleted account"
    alice.delete()
    (pair,) = models.pairs_of(models.Room.objects.all()).values()
    assert pair.title == "Alice (deleted account)"


def test_a_new_account_of_the_same_name_is_somebody_else(alice: User, bob: User) -> None:
    """The new account gets another room. The old one stays closed, with its title."""
    old = actions.open_direct(account(alice), "Bob")
    bob.delete()
    User.objects.create_user("Bob")
    assert actions.open_direct(account(alice), "Bob") != old
    titles = {room["title"] for room in browser(alice).get("/").context["own"]}
    assert titles == {"Bob", "Bob (deleted account)"}


@pytest.mark.parametrize(("ends", "title", "closed"), ENDS)
async def test_who_is_in_the_room_is_told_and_nothing_can_be_said_any_more(
    person: Enter, ends: Any, title: str, closed: str
) -> None:
    """The open socket gets it at once. Messages are then refused with a sentence, as on a new visit."""
    alice: Persona = await member(person, "Alice")
    bob = await User.objects.acreate(username="Bob")
    await alice.send("direct", username="Bob", ref="d")
    slug = (await alice.expect(Ack, ref="d")).room
    welcome = await alice.join(slug)
    assert (welcome.title, welcome.closed or None) == ("Bob", None)
    await alice.say("hi", slug)
    await run_write(lambda: ends(bob))
    changed = await alice.expect(RoomChanged, room=slug)
    assert (changed.title, changed.closed, changed.archived) == (title, closed, True)
    for command in ({"content": "are you there?"}, {"id": 1, "content": "edited"}):
        verb = "edit" if "id" in command else "message"
        await alice.send(verb, room=slug, ref=verb, **command)
        error = await alice.expect(Error, ref=verb)
        assert (error.code, "only be read" in error.message) == (ErrorCode.READ_ONLY, True)
    again = await member(person, "Alice")
    await again.send("join", room=slug)
    assert (await again.expect(Welcome, room=slug)).closed == closed


async def test_an_account_that_is_active_again_can_be_talked_to(person: Enter) -> None:
    """A room that was closed for an inactive account opens again with it."""
    alice: Persona = await member(person, "Alice")
    bob = await User.objects.acreate(username="Bob", is_active=False)
    room = await models.Room.objects.acreate(
        slug=models.new_hidden_slug(), kind="direct", pair=models.pair_key(bob.pk, bob.pk - 1)
    )
    alice_pk = (await User.objects.aget(username="Alice")).pk
    await models.Room.objects.filter(pk=room.pk).aupdate(pair=models.pair_key(bob.pk, alice_pk))
    for pk in (alice_pk, bob.pk):
        await models.Membership.objects.acreate(room=room, user_id=pk)
    assert (await alice.join(room.slug)).closed == "deactivated"

    def activate() -> None:
        bob.is_active = True
        bob.save()

    await run_write(activate)
    assert (await alice.expect(RoomChanged, room=room.slug)).title == "Bob"
    await alice.say("hi", room.slug)


async def test_a_new_name_is_told_in_the_room(person: Enter) -> None:
    """Clients in the room receive it at once."""
    alice: Persona = await member(person, "Alice")
    bob = await User.objects.acreate(username="Bob")
    await alice.send("direct", username="Bob", ref="d")
    slug = (await alice.expect(Ack, ref="d")).room
    await alice.join(slug)
    await run_write(lambda: rename(bob))
    assert (await alice.expect(RoomChanged, room=slug)).title == "Robert"


# --- Other rooms ---


def roles(slug: str) -> dict[str, str]:
    rows = models.Membership.objects.filter(room__slug=slug).select_related("user")
    return {row.user.username: row.role for row in rows}


def join(slug: str, user: User, role: str = "member") -> None:
    models.Membership.objects.create(room=models.Room.objects.get(slug=slug), user=user, role=role)


@pytest.mark.every_case
@pytest.mark.parametrize("deletes", [delete, delete_with_others])
def test_a_room_whose_owner_is_deleted_has_another(alice: User, bob: User, deletes: Any) -> None:
    """The moderator who joined first becomes the owner, and the audit log has the reason."""
    slug = actions.create(account(alice), title="Den", kind="private")
    join(slug, bob)
    join(slug, User.objects.create_user("Mia"), "moderator")
    join(slug, User.objects.create_user("Moe"), "moderator")
    deletes(alice)
    assert roles(slug) == {"Bob": "member", "Mia": "owner", "Moe": "moderator"}
    entry = models.AuditEntry.objects.get(action="role")
    assert (entry.actor_name, entry.target_name) == ("Alice", "Mia")


def test_a_private_room_without_moderators_goes_to_a_member(alice: User, bob: User) -> None:
    """Without an owner nobody could change it or invite people. The staff takes care of public rooms."""
    private = actions.create(account(alice), title="Den", kind="private")
    public = actions.create(account(alice), title="Tea", kind="public", slug="tea")
    join(private, bob)
    alice.delete()
    assert (roles(private), roles(public)) == ({"Bob": "owner"}, {})
    bob.delete()
    assert roles(private) == {}


def test_a_room_with_another_owner_stays_as_it_is(alice: User, bob: User) -> None:
    """Nobody is promoted while the room has an owner."""
    slug = actions.create(account(alice), title="Den", kind="private")
    join(slug, bob, "owner")
    join(slug, User.objects.create_user("Mia"), "moderator")
    alice.delete()
    assert roles(slug) == {"Bob": "owner", "Mia": "moderator"}


def test_accounts_that_are_deleted_together_leave_a_room_to_who_stays(alice: User, bob: User) -> None:
    """No account that is deleted in the same transaction becomes the owner."""
    slug = actions.create(account(alice), title="Den", kind="private")
    join(slug, bob, "moderator")
    join(slug, User.objects.create_user("Mia"))
    User.objects.filter(pk__in=[alice.pk, bob.pk]).delete()
    assert roles(slug) == {"Mia": "owner"}


@pytest.mark.parametrize("ends", [delete, deactivate])
def test_invitations_do_not_outlive_the_account_that_made_them(alice: User, bob: User, ends: Any) -> None:
    """The link answers as one to a room that does not exist."""
    slug = actions.create(account(alice), title="Den", kind="private")
    code, _ = make_link(account(alice), slug)
    assert browser(bob).get(f"/invite/{code}/").status_code == 200
    ends(alice)
    assert browser(bob).get(f"/invite/{code}/").status_code == 404
    assert browser(bob).post(f"/invite/{code}/").status_code == 404


def test_the_staff_sees_whose_room_it_was(client: Client, alice: User, bob: User) -> None:
    """The admin names the former person in the list of rooms and on the room's page."""
    actions.open_direct(account(alice), "Bob")
    bob.delete()
    olga(client, "view_room")
    room = models.Room.objects.get()
    for address in ("", f"{room.pk}/change/"):
        html = client.get(f"/admin/chat/room/{address}").content.decode()
        assert "Alice, Bob (deleted account)" in html
