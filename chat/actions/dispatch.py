"""Run the commands that change rooms and members, on the thread that writes, and answer them."""

from functools import partial

from django.urls import NoReverseMatch, reverse
from msgspec import UNSET

from chat import protocol
from chat.access.policy import Policy
from chat.actions import members, moderation, rooms
from chat.actions.chat_room import ChatRoom
from chat.actions.guards import require_joined, require_lasting_identity
from chat.actions.moderation import Target
from chat.auth import Identity
from chat.hub import Hub, Socket
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
    given,
)

RoomCommand = Appoint | Ban | Configure | Create | Direct | Invite | Kick | Mute | Report


async def run_command(hub: Hub, socket: Socket, command: RoomCommand) -> Outgoing:
    """Carry out the command. Returns its answer. Raises Invalid, as the action does."""
    identity = socket.identity
    if isinstance(command, Create | Direct):
        slug = await write_or_busy(partial(_create, identity, command))
    else:
        room, _ = require_joined(hub, socket, command.room)
        if isinstance(command, Report):
            require_lasting_identity(hub, socket, command.room)
        if isinstance(command, Invite) and command.username is UNSET:
            return await _invite_by_link(identity, command, room.policy)
        here = _target_here(room, command.username) if isinstance(command, Kick | Mute | Ban) else None
        slug = command.room
        await write_or_busy(partial(_change, identity, command, here, room.policy))
    # Signals of the saved rows have every process load the new policy. A change that is acknowledged holds here.
    await hub.policy_loaded(slug)
    return Ack(room=slug, timestamp=protocol.now(), ref=command.ref)


def _create(identity: Identity, command: Create | Direct) -> str:
    """Returns the room's slug."""
    match command:
        case Create():
            return rooms.create(identity, title=command.title, kind=command.kind, slug=given(command.room))
        case Direct():
            return rooms.open_direct(identity, command.username)


def _change(identity: Identity, command: RoomCommand, here: Target | None, known: Policy) -> None:
    match command:
        case Configure():
            rooms.configure(identity, command, known)
        case Appoint():
            members.appoint(identity, command, known)
        case Invite(username=str(username)):
            members.add(identity, command.room, username, known)
        case Kick():
            moderation.kick(identity, command, here, known)
        case Mute() | Ban():
            moderation.restrict(identity, command, here, known)
        case Report():
            moderation.report(identity, command, known)


async def _invite_by_link(identity: Identity, command: Invite, known: Policy) -> Invited:
    code, invitation = await write_or_busy(partial(members.make_link, identity, command.room, known))
    try:
        path = reverse("chat:invite", kwargs={"code": code})
    except NoReverseMatch:
        # A project without such a page makes its own link.
        path = code
    expires = round(1_000 * invitation.expires.timestamp())
    return Invited(room=command.room, path=path, expires=expires, timestamp=protocol.now(), ref=command.ref)


def _target_here(room: ChatRoom, username: str) -> Target | None:
    """The person who is in the room under this name, if any."""
    person = current(Presence).person(room.slug, username)
    if person is None:
        return None
    return Target(person.identity, person.name, person.addresses)
