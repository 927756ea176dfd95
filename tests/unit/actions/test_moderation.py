"""Roles and their effects, over sockets: removed, muted and slowed users; and the audit log."""

import time
from typing import Any

import pytest
from channels.db import database_sync_to_async as in_a_thread
from django.contrib.auth.models import User
from django.db.models import F
from doubles import Clock
from helpers import CommunicatorPersona, Enter
from members import guest, member
from pytest_django import Settings

from chat import models
from chat.access import policy
from chat.actions import AccessEnforcer, accept, guards
from chat.database import run_write
from chat.hub.stall_detector import LONGEST
from chat.loops import current
from chat.message_log import MessageLog
from chat.protocol import (
    Ack,
    Deleted,
    ErrorCode,
    Invited,
    Joined,
    Left,
    Members,
    Message,
    Removed,
    RoomChanged,
    TypingNow,
)

Persona = CommunicatorPersona

ROOM = "garden"


async def does(who: Persona, verb: str, **fields: Any) -> Ack:
    await who.send(verb, ref=verb, **{"room": ROOM, **fields})
    return await who.expect(Ack, ref=verb)


async def refusal(who: Persona, verb: str, **fields: Any) -> ErrorCode:
    await who.send(verb, ref=f"no {verb}", **{"room": ROOM, **fields})
    while True:
        answer = await who.next()
        if getattr(answer, "ref", None) == f"no {verb}":
            return answer.code  # type: ignore[union-attr]  # an Ack fails the test too


async def audit() -> list[tuple[str, str, str]]:
    rows = models.AuditEntry.objects.order_by("pk").values_list("actor_name", "action", "target_name")
    return [row async for row in rows]


@pytest.fixture
async def alice(person: Enter) -> Persona:
    """The owner of the room: her join created it."""
    alice = await member(person, "Alice")
    assert (await alice.join(ROOM)).role == "owner"
    return alice


@pytest.fixture
async def bob(person: Enter, alice: Persona) -> Persona:
    bob = await member(person, "Bob")
    assert (await bob.join(ROOM)).role == "member"
    return bob


@pytest.fixture
async def gina(person: Enter, alice: Persona) -> Persona:
    """A guest."""
    gina = await guest(person, "Gina")
    assert (await gina.join(ROOM)).role == "guest"
    return gina


# --- Bans and kicks ---


async def test_a_ban_reaches_all_sockets_at_once(person: Enter, alice: Persona, bob: Persona) -> None:
    """Both of Bob's browsers are removed; he leaves once; he can't come back, nor receive anything."""
    other = await member(person, "Bob")
    await other.join(ROOM)
    await does(alice, "ban", username="Bob", reason="spam")
    for his in (bob, other):
        removed = await his.expect(Removed, room=ROOM)
        assert (removed.code, removed.retry_after) == (ErrorCode.BANNED, removed.retry_after)
        assert await refusal(his, "join") == ErrorCode.BANNED
        assert await refusal(his, "message", content="hi") == ErrorCode.NOT_JOINED
    while not alice.count(Left, username="Bob"):
        # It comes before the answer, or through the layer after it.
        await alice.next()
    await alice.say("only us", ROOM)
    assert alice.count(Left, username="Bob") == 1
    assert not [heard for heard in await bob.silence() if isinstance(heard, Message)]
    assert ("Alice", "ban", "Bob") in await audit()


async def test_a_ban_ends(alice: Persona, bob: Persona, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lifted ban lets in again, and so does an expired one; until then the reply says how long."""
    await does(alice, "ban", username="Bob", seconds=3_600)
    removed = await bob.expect(Removed)
    assert 3_000_000 < (removed.retry_after or 0) <= 3_600_000
    await does(alice, "ban", username="Bob", on=False)
    await bob.join(ROOM)
    await does(alice, "ban", username="Bob", seconds=60)
    await bob.expect(Removed)
    clock = time.time
    monkeypatch.setattr("chat.access.permissions.time.time", lambda: clock() + 61)
    await bob.join(ROOM)


async def test_a_guest_is_banned_with_their_address(person: Enter, alice: Persona) -> None:
    """A ban with the address holds under another name and in another browser."""
    first = await person("Gina", client=("203.0.113.9", 1))
    await first.join(ROOM)
    await does(alice, "ban", username="Gina", address=True)
    await first.expect(Removed)
    again = await person("Ginevra", client=("203.0.113.9", 2))
    assert await refusal(again, "join", username="Ginevra") == ErrorCode.BANNED
    elsewhere = await person("Gero", client=("203.0.113.10", 2))
    await elsewhere.join(ROOM)


async def test_an_ipv6_guest_is_banned_with_their_network(person: Enter, alice: Persona) -> None:
    """A network has 2^64 addresses, and a guest may take another one for each connection."""
    first = await person("Gina", client=("2001:db8::1", 1))
    await first.join(ROOM)
    await does(alice, "ban", username="Gina", address=True)
    await first.expect(Removed)
    again = await person("Ginevra", client=("2001:db8::2", 2))
    assert await refusal(again, "join", username="Ginevra") == ErrorCode.BANNED


async def test_a_kicked_person_may_come_back_after_a_while(
    alice: Persona, bob: Persona, settings: Settings
) -> None:
    """A kick lasts CHAT["KICK"] seconds."""
    settings.CHAT = {**settings.CHAT, "KICK": 30}
    await does(alice, "kick", username="Bob")
    removed = await bob.expect(Removed)
    assert 10_000 < (removed.retry_after or 0) <= 30_000
    settings.CHAT = {**settings.CHAT, "KICK": 0}
    await does(alice, "ban", username="Bob", on=False)
    await bob.join(ROOM)


# --- Mutes ---


async def test_a_muted_person_receives_and_does_not_post(alice: Persona, bob: Persona) -> None:
    """A muted person receives events, but can't post, react or type until the mute is lifted."""
    await bob.say("mine", ROOM)
    await does(alice, "mute", username="Bob", seconds=60)
    changed = await bob.expect(RoomChanged, room=ROOM)
    assert changed.muted
    assert await refusal(bob, "message", content="hi") == ErrorCode.MUTED
    assert await refusal(bob, "edit", id=1, content="hi") == ErrorCode.MUTED
    assert await refusal(bob, "react", id=1, emoji="👍") == ErrorCode.MUTED
    await bob.send("typing", room=ROOM)
    await bob.silence()
    await alice.say("hello", ROOM)
    await bob.expect(Message, content="hello")
    assert not alice.count(TypingNow)
    await does(bob, "delete", id=1)
    await does(alice, "mute", username="Bob", on=False)
    assert (await bob.expect(RoomChanged)).muted is not changed.muted
    await bob.say("thanks", ROOM)


async def test_read_only_and_archived(alice: Persona, bob: Persona) -> None:
    """In a read-only room only moderators may post, in an archived one nobody."""
    await does(alice, "room", readOnly=True)
    assert (await bob.expect(RoomChanged)).read_only
    assert await refusal(bob, "message", content="hi") == ErrorCode.READ_ONLY
    await alice.say("news", ROOM)
    await does(alice, "room", archived=True, title="The old garden")
    changed = await bob.expect(RoomChanged, title="The old garden")
    assert changed.archived
    assert await refusal(alice, "message", content="hi") == ErrorCode.READ_ONLY
    await does(alice, "room", archived=False, readOnly=False)
    await bob.expect(RoomChanged, archived=False)
    await bob.say("hi", ROOM)


async def test_slow_mode(alice: Persona, bob: Persona, gina: Persona) -> None:
    """Each person may post once, then waits for the room's pause. Moderators have no pause."""
    await does(alice, "room", slow=60)
    await bob.expect(RoomChanged, slow=60)
    await bob.say("one", ROOM)
    await bob.send("message", room=ROOM, content="two")
    refused = await bob.refused(ErrorCode.SLOW_MODE)
    assert 30_000 < (refused.retry_after or 0) <= 60_000
    await gina.say("me too", ROOM)
    await alice.say("one", ROOM)
    await alice.say("two", ROOM)
    await does(alice, "room", slow=0)
    await bob.expect(RoomChanged, slow=0)
    await bob.say("two", ROOM)


async def test_a_moderator_hides_the_messages_of_others(alice: Persona, bob: Persona, gina: Persona) -> None:
    """Everybody sees it go, and the staff keeps its text. A guest can't hide messages."""
    await gina.say("something foul", ROOM)
    assert await refusal(bob, "delete", id=1) == ErrorCode.FORBIDDEN
    await does(alice, "delete", id=1)
    await bob.expect(Deleted, id=1)
    row = await models.Message.objects.aget(number=1)
    assert (row.hidden, row.content) == (True, "something foul")
    assert ("Alice", "hide", "Gina") in await audit()


async def test_a_report(alice: Persona, bob: Persona, person: Enter) -> None:
    """A report is saved once for each person with a lasting identity, for a message that exists."""
    await alice.say("hm", ROOM)
    for _ in range(2):
        await does(bob, "report", id=1, reason="rude")
    assert await refusal(bob, "report", id=2) == ErrorCode.NOT_FOUND
    stranger = await person("Sue")
    await stranger.join(ROOM)
    assert await refusal(stranger, "report", id=1) == ErrorCode.FORBIDDEN
    report = await models.Report.objects.aget()
    assert (report.number, report.username, report.reason) == (1, "Bob", "rude")


# --- Roles ---

MODERATION: dict[str, dict[str, Any]] = {
    "kick": {"username": "Gina"},
    "mute": {"username": "Gina"},
    "ban": {"username": "Gina"},
    "room": {"slow": 5},
    "role": {"username": "Bob", "role": "moderator"},
}


@pytest.mark.parametrize("verb", MODERATION)
async def test_only_moderators_and_owners_may(verb: str, bob: Persona, gina: Persona) -> None:
    """Members and guests are refused each operation of moderators and owners."""
    assert await refusal(bob, verb, **MODERATION[verb]) == ErrorCode.FORBIDDEN
    assert await refusal(gina, verb, **{**MODERATION[verb], "username": "Bob"}) == ErrorCode.FORBIDDEN


async def test_a_moderator_is_made_and_unmade_on_the_live_socket(
    alice: Persona, bob: Persona, gina: Persona
) -> None:
    """Bob may at once moderate guests and members, but not the owner; then no longer."""
    await does(alice, "role", username="Bob", role="moderator")
    assert (await bob.expect(RoomChanged)).role == "moderator"
    await does(bob, "mute", username="Gina", seconds=5)
    assert await refusal(bob, "kick", username="Alice") == ErrorCode.FORBIDDEN
    assert await refusal(bob, "role", username="Bob", role="owner") == ErrorCode.FORBIDDEN
    assert await refusal(bob, "room", title="Bob's") == ErrorCode.FORBIDDEN
    await does(alice, "role", username="Bob", role="member")
    assert (await bob.expect(RoomChanged)).role == "member"
    assert await refusal(bob, "mute", username="Gina") == ErrorCode.FORBIDDEN


async def test_a_room_keeps_an_owner(alice: Persona, bob: Persona) -> None:
    """The last owner can't leave while others have roles. Nobody can moderate themselves."""
    await does(alice, "role", username="Bob", role="moderator")
    assert await refusal(alice, "role", username="Alice", role="member") == ErrorCode.FORBIDDEN
    assert await refusal(alice, "ban", username="Alice") == ErrorCode.FORBIDDEN
    await does(alice, "role", username="Bob", role="owner")
    await does(alice, "role", username="Alice", role="none")
    assert alice.count(RoomChanged, role="member") == 1


async def test_the_staff_moderate_public_rooms(person: Enter, alice: Persona, bob: Persona) -> None:
    """Staff with the permission are owners of all rooms but private ones; without it they are members."""
    await in_a_thread(User.objects.create_superuser)("Sam")
    sam = await member(person, "Sam")
    assert (await sam.join(ROOM)).role == "owner"
    await does(sam, "ban", username="Bob")
    await bob.expect(Removed)


async def test_an_absent_person_can_be_banned(person: Enter, alice: Persona) -> None:
    """An absent account is found by its name, a guest by a message. Nobody else is."""
    await User.objects.acreate(username="Dora")
    gina = await guest(person, "Gina")
    await gina.join(ROOM)
    await gina.say("bye", ROOM)
    await gina.send("leave", room=ROOM)
    await alice.expect(Left, username="Gina")
    for name in ("Dora", "Gina"):
        await does(alice, "ban", username=name)
    assert await refusal(alice, "ban", username="Nobody") == ErrorCode.NO_PERSON
    dora = await member(person, "Dora")
    assert await refusal(dora, "join") == ErrorCode.BANNED
    assert await refusal(gina, "join", username="Gina") == ErrorCode.BANNED


# --- Rooms that are not public ---


async def private(owner: Persona, title: str = "Plans") -> str:
    await owner.send("create", title=title, kind="private", ref="made")
    return (await owner.expect(Ack, ref="made")).room


async def test_a_private_room(person: Enter, alice: Persona, bob: Persona) -> None:
    """Only invited people see it. They may enter, and a removed member is out at once."""
    slug = await private(alice)
    assert (await alice.join(slug)).role == "owner"
    assert await refusal(bob, "join", room=slug) == ErrorCode.NO_ROOM
    await does(alice, "invite", room=slug, username="Bob")
    welcome = await bob.join(slug)
    assert (welcome.role, welcome.title, welcome.kind) == ("member", "Plans", "private")
    await alice.expect(Joined, username="Bob", room=slug)
    await does(alice, "role", room=slug, username="Bob", role="none")
    assert (await bob.expect(Removed, room=slug)).code == ErrorCode.NO_ROOM
    await alice.say("secret", slug)
    assert not [heard for heard in await bob.silence() if isinstance(heard, Message)]
    assert await refusal(bob, "join", room=slug) == ErrorCode.NO_ROOM


async def test_an_invitation_s_link(person: Enter, alice: Persona, bob: Persona) -> None:
    """The code lets accounts in until it expires. Only its digest is saved."""
    slug = await private(alice)
    await alice.join(slug)
    await alice.send("invite", room=slug, ref="link")
    invited = await alice.expect(Invited, ref="link")
    code = invited.path.rstrip("/").rpartition("/")[2]
    assert not await models.Invitation.objects.filter(digest=code).aexists()
    who = identity_of("Bob")
    assert await in_a_thread(accept)(who, code) == slug
    await bob.join(slug)
    await models.Invitation.objects.aupdate(expires="2020-01-01T00:00:00Z")
    with pytest.raises(Exception, match="no room"):
        await in_a_thread(accept)(identity_of("Alice"), code)


async def test_a_direct_room(person: Enter, alice: Persona, bob: Persona) -> None:
    """Two users share one room in any order of calls. Its title is the other's name, and it has no roles."""
    await alice.send("direct", username="Bob", ref="d")
    slug = (await alice.expect(Ack, ref="d")).room
    await bob.send("direct", username="Alice", ref="d")
    assert (await bob.expect(Ack, ref="d")).room == slug
    assert ((await alice.join(slug)).title, (await bob.join(slug)).title) == ("Bob", "Alice")
    charlie = await member(person, "Charlie")
    assert await refusal(charlie, "join", room=slug) == ErrorCode.NO_ROOM
    for verb, fields in MODERATION.items():
        assert await refusal(alice, verb, room=slug, **{**fields, "username": "Bob"}) == ErrorCode.FORBIDDEN


async def test_a_room_for_members_is_none_for_guests(person: Enter, alice: Persona, gina: Persona) -> None:
    """Every account may enter. A guest is answered as if the room did not exist."""
    await alice.send("create", title="Us", kind="members", ref="made")
    slug = (await alice.expect(Ack, ref="made")).room
    assert await refusal(gina, "join", room=slug) == ErrorCode.NO_ROOM
    dora = await member(person, "Dora")
    assert (await dora.join(slug)).role == "member"


async def test_members_are_listed_and_only_moderators_see_who_is_banned(alice: Persona, bob: Persona) -> None:
    """Roles are no secret; restrictions are."""
    await does(alice, "mute", username="Bob", reason="loud")
    await alice.send("members", room=ROOM)
    listed = await alice.expect(Members)
    assert [(one.username, one.role) for one in listed.members] == [("Alice", "owner")]
    assert [(one.username, one.kind, one.reason) for one in listed.restricted] == [("Bob", "mute", "loud")]
    await bob.send("members", room=ROOM)
    assert (await bob.expect(Members)).restricted == []


async def test_what_holds_everywhere_pushes_no_restriction_of_the_room_off_the_list(
    alice: Persona, bob: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room's own restrictions come first, the latest of them first."""
    monkeypatch.setattr("chat.actions.queries.RESTRICTIONS_SHOWN", 3)
    await does(alice, "mute", username="Bob", reason="loud")
    await run_write(
        lambda: models.Restriction.objects.bulk_create(
            models.Restriction(kind="ban", person=f"account:{number}", reason="spam") for number in range(900, 905)
        )
    )
    await alice.send("members", room=ROOM)
    assert [one.reason for one in (await alice.expect(Members)).restricted] == ["loud", "spam", "spam"]


# --- Around the operations ---


async def test_what_the_admin_saves_reaches_the_sockets(alice: Persona, bob: Persona) -> None:
    """A row that is saved or deleted anywhere in the project is enough."""
    room = await models.Room.objects.aget(slug=ROOM)
    user = await User.objects.aget(username="Bob")
    ban = await models.Restriction.objects.acreate(kind="ban", person=f"account:{user.pk}", room=None)
    assert (await bob.expect(Removed)).code == ErrorCode.BANNED
    await ban.adelete()
    await bob.join(ROOM)
    await models.Membership.objects.acreate(room=room, user=user, role="moderator")
    assert (await bob.expect(RoomChanged)).role == "moderator"


async def ban_past_signals(name: str) -> None:
    """The row changes as by another process, without a signal here."""
    user, room = await User.objects.aget(username=name), await models.Room.objects.aget(slug=ROOM)
    ban = models.Restriction(kind="ban", person=f"account:{user.pk}", room=room)
    await models.Restriction.objects.abulk_create([ban])
    await models.Room.objects.filter(slug=ROOM).aupdate(rules=77)


async def test_a_change_without_a_signal_is_found(alice: Persona, bob: Persona) -> None:
    """SQL that goes past Django and counts the room's rules up is seen within a second."""
    await ban_past_signals("Bob")
    assert (await bob.expect(Removed)).code == ErrorCode.BANNED


async def test_a_person_banned_during_a_stall_does_nothing_more(
    alice: Persona, bob: Persona, clock: Clock
) -> None:
    """Their commands from meanwhile are read when it is known that they may not."""
    await ban_past_signals("Bob")
    clock.work(LONGEST + 0.1)
    assert await refusal(bob, "message", content="hi") == ErrorCode.NOT_JOINED
    assert bob.count(Removed) == 1
    assert not [heard for heard in await alice.silence() if isinstance(heard, Message)]


async def test_a_person_banned_during_their_join_is_not_let_in(
    alice: Persona, person: Enter, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The join was allowed when it began."""
    bob = await member(person, "Bob")

    async def stand_still(*_: Any) -> int:
        await ban_past_signals("Bob")
        clock.work(LONGEST + 0.1)
        return 0

    monkeypatch.setattr(current(MessageLog), "read_position", stand_still)
    assert await refusal(bob, "join") == ErrorCode.BANNED


async def test_a_change_loads_the_policy_once(
    alice: Persona, bob: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy in memory serves the transaction. The event that comes back to its own process loads nothing."""
    await does(alice, "ban", username="Bob")
    loads: list[int] = []
    build = policy.build_policy

    def counted(row: models.Room, *identities: Any) -> policy.Policy:
        loads.append(row.rules)
        return build(row, *identities)

    for module in (policy, guards):
        monkeypatch.setattr(module, "build_policy", counted)
    await does(alice, "ban", username="Bob", on=False)
    # A message takes the same way through the layer, behind the event.
    await alice.say("hello", ROOM)
    await alice.expect(Message, content="hello")
    room = await models.Room.objects.aget(slug=ROOM)
    assert loads == [room.rules]


async def test_a_change_is_checked_by_the_rows_if_they_are_newer(
    person: Enter, alice: Persona, bob: Persona, clock: Clock
) -> None:
    """A moderator whose role ended in another process is refused, before this process has compared."""
    await does(alice, "role", username="Bob", role="moderator")
    await bob.expect(RoomChanged, role="moderator")
    gina = await guest(person, "Gina")
    await gina.join(ROOM)
    clock.stop()
    await models.Membership.objects.filter(user__username="Bob").aupdate(role="member")
    await models.Room.objects.filter(slug=ROOM).aupdate(rules=F("rules") + 1)
    assert await refusal(bob, "ban", username="Gina") == ErrorCode.FORBIDDEN
    assert not bob.count(RoomChanged, role="member")


def identity_of(name: str) -> Any:
    """The identity of the socket with this name."""
    hub = current(AccessEnforcer)._hub
    return next(socket.identity for socket in hub.sockets.values() if socket.username == name)
