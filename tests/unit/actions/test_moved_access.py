"""Rows that move to another room, and rooms that are deleted, take access with them."""

import pytest
from channels.db import database_sync_to_async as in_a_thread
from django.contrib.auth.models import User
from doubles import Clock, until
from helpers import CommunicatorPersona, Enter
from members import member

from chat import actions, models
from chat.actions.chat_room import open_room
from chat.auth import account
from chat.hub import RECONCILE, Hub
from chat.loops import current
from chat.protocol import ErrorCode, Message, Removed, Welcome

Persona = CommunicatorPersona


def private(title: str) -> models.Room:
    """Alice's private room, with Bob."""
    alice, _ = User.objects.get_or_create(username="Alice")
    bob, _ = User.objects.get_or_create(username="Bob")
    slug = actions.create(account(alice), title=title, kind="private")
    actions.members.add(account(alice), slug, bob.get_username())
    return models.Room.objects.get(slug=slug)


@pytest.fixture
async def plans(transactional_db: None) -> models.Room:
    room: models.Room = await in_a_thread(private)("Plans")
    return room


@pytest.fixture
async def alice(person: Enter, plans: models.Room) -> Persona:
    alice = await member(person, "Alice")
    await alice.join(plans.slug)
    return alice


@pytest.fixture
async def bob(person: Enter, plans: models.Room, alice: Persona) -> Persona:
    bob = await member(person, "Bob")
    await bob.join(plans.slug)
    return bob


async def test_a_membership_that_is_moved_is_none_of_the_room_it_left(
    alice: Persona, bob: Persona, plans: models.Room
) -> None:
    """The admin can give it another room: Bob leaves the first one at once, and receives nothing more."""
    tea = await models.Room.objects.acreate(slug="tea")
    membership = await plans.memberships.aget(user__username="Bob")
    membership.room = tea
    await membership.asave()
    assert (await bob.expect(Removed, room=plans.slug)).code == ErrorCode.NO_ROOM
    await alice.say("only us", plans.slug)
    assert not [heard for heard in await bob.silence() if isinstance(heard, Message)]


async def test_a_ban_that_is_moved_holds_where_it_is(alice: Persona, bob: Persona, plans: models.Room) -> None:
    """Bob is removed from the one room at once, and may enter the other; the same holds for a restriction
    everywhere.
    """
    tea = await models.Room.objects.acreate(slug="tea")
    key = account(await User.objects.aget(username="Bob")).key
    ban = await models.Restriction.objects.acreate(kind="ban", person=key, room=tea)
    ban.room = plans
    await ban.asave()
    await bob.expect(Removed, room=plans.slug)
    await bob.join("tea")
    ban.room = None
    await ban.asave()
    await bob.expect(Removed, room="tea")
    ban.room = tea
    await ban.asave()
    room = open_room(current(Hub), plans.slug)
    await until(lambda: room and not room.policy.bans)
    await bob.join(plans.slug)


async def test_a_private_room_that_is_deleted_is_gone(
    alice: Persona, bob: Persona, plans: models.Room, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """All users are removed with the next comparison, and the room does not come back."""
    await plans.adelete()
    await clock.skip(RECONCILE)
    for one in (alice, bob):
        assert (await one.expect(Removed, room=plans.slug)).code == ErrorCode.NO_ROOM
        await one.send("join", room=plans.slug)
        await one.refused(ErrorCode.NO_ROOM)
    assert not await models.Room.objects.filter(slug=plans.slug).aexists()
    await until(lambda: plans.slug not in current(Hub).rooms())
    assert not caplog.records


async def test_a_room_that_is_made_anew_has_its_own_rules(person: Enter, clock: Clock) -> None:
    """Roles and bans of the room before don't hold in this one."""
    alice, bob = await member(person, "Alice"), await member(person, "Bob")
    assert (await alice.join("tea")).role == "owner"
    await bob.join("tea")
    await alice.say("something", "tea")
    key = account(await User.objects.aget(username="Bob")).key
    row = await models.Room.objects.aget(slug="tea")
    rules = row.rules + 1
    await row.restrictions.acreate(kind="ban", person=key)
    await bob.expect(Removed)
    await row.adelete()
    await models.Room.objects.acreate(slug="tea", rules=rules)
    await clock.skip(RECONCILE)
    assert (await alice.expect(Welcome, room="tea", resumed=False)).seq == 0
    room = open_room(current(Hub), "tea")
    await until(lambda: room and not room.policy.bans)
    assert (await bob.join("tea")).role == "member"
    await alice.send("ban", room="tea", username="Bob")
    await alice.refused(ErrorCode.FORBIDDEN)
