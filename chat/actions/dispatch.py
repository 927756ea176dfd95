"""The socket's way to what changes a room: the command, on the thread that writes, and its answer."""

from functools import partial

from django.urls import NoReverseMatch, reverse
from msgspec import UNSET

from chat import protocol
from chat.actions import moderation, rooms
from chat.actions.guards import given, known, present
from chat.actions.moderation import Target
from chat.auth import Identity
from chat.hub import Hub, OpenRoom, Socket
from chat.log import write_or_busy
from chat.loops import current
from chat.presence import Presence
from chat.protocol import (
    Ack,
    Appoint,
    Ban,
    Configure,
    Create,
    Direct,
    Invite,
    Invited,
    Kick,
    Mute,
    Outgoing,
    Report,
)

RoomCommand = Appoint | Ban | Configure | Create | Direct | Invite | Kick | Mute | Report


async def run_command(hub: Hub, socket: Socket, command: RoomCommand) -> Outgoing:
    """Carry it out; the answer. Raises Invalid."""
    who = socket.identity
    here: Target | None = None
    if not isinstance(command, Create | Direct):
        room, _ = present(hub, socket, command.room)
        if isinstance(command, Kick | Mute | Ban):
            here = _here(room, command.username)
    if isinstance(command, Report):
        known(hub, socket, command.room)
        await write_or_busy(partial(moderation.report, who, command))
        return Ack(room=command.room, timestamp=protocol.now(), ref=command.ref)
    if isinstance(command, Invite) and command.username is UNSET:
        return await _link(who, command)
    slug = await write_or_busy(partial(_carry_out, who, command, here))
    # Signals tell everybody of it; but what is acknowledged holds here from now on.
    await hub.reload(slug)
    return Ack(room=slug, timestamp=protocol.now(), ref=command.ref)


def _carry_out(who: Identity, command: RoomCommand, here: Target | None) -> str:
    """The room that it is about."""
    match command:
        case Create():
            return rooms.create(who, title=command.title, kind=command.kind, slug=given(command.room))
        case Direct():
            return rooms.direct(who, command.username)
        case Configure():
            rooms.configure(who, command)
        case Appoint():
            rooms.appoint(who, command)
        case Invite(username=str(username)):
            rooms.add(who, command.room, username)
        case Kick():
            moderation.kick(who, command, here)
        case Mute() | Ban():
            moderation.restrict(who, command, here)
    return command.room or ""


async def _link(who: Identity, command: Invite) -> Invited:
    code, invitation = await write_or_busy(partial(rooms.make_link, who, command.room))
    try:
        path = reverse("chat:invite", kwargs={"code": code})
    except NoReverseMatch:
        # A project that has no such page makes its own link.
        path = code
    expires = round(1_000 * invitation.expires.timestamp())
    return Invited(room=command.room, path=path, expires=expires, timestamp=protocol.now(), ref=command.ref)


def _here(room: OpenRoom, username: str) -> Target | None:
    """Whoever is in the room under this name."""
    person = current(Presence).person(room.slug, username)
    if person is None:
        return None
    return Target(person.identity, person.name, person.addresses)
