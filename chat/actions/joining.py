"""Join a room, and leave it."""

import math
from contextlib import ExitStack
from functools import partial

from django.db import Error
from msgspec import UNSET

from chat import models, protocol
from chat.access.permissions import about_room, check_entering, role_of
from chat.actions.chat_room import ChatRoom, hold_room, open_room
from chat.actions.guards import require_joined
from chat.actions.tokens import use_token
from chat.auth import Identity
from chat.auth.usernames import NameLookup
from chat.conf import chat_settings
from chat.hub import Hub, Socket
from chat.limits import RowKind, creation_limits
from chat.log import read_or_busy, unavailable
from chat.loops import current
from chat.presence import JoinRequest, Presence
from chat.protocol import ErrorCode, Invalid, Join, given, no_room, quoted


async def join(hub: Hub, socket: Socket, command: Join) -> None:
    """Bring a socket into a room: `welcome`, `userList`, the changes that it missed, then live events.

    A socket may join again: it goes back to `since`, or goes on from here, and nobody else is told. Raises
    Invalid: no_room, banned, sign_in, name_needed, name_taken, name_reserved, name_fixed, too_many_rooms,
    too_many, busy, and those of use_token.
    """
    if command.token is not UNSET:
        await use_token(socket, command.token)
    name = await _name_for(socket, command)
    slug, identity = command.room, socket.identity
    limit = chat_settings().ROOMS_PER_SOCKET
    if slug not in socket.rooms and len(socket.rooms) >= limit:
        raise Invalid(ErrorCode.TOO_MANY_ROOMS, f"room: one socket may be in at most {limit} rooms", field="room")
    presence = current(Presence)
    room = await _open(hub, socket, slug)
    considered = ExitStack()
    try:
        considered.enter_context(room.considering(identity))
        await _check_entering(hub, room, socket)
        read = await _read_position(room, identity, command)
        since, log = given(command.since), room.log
        resumed = await room.can_resume(since, given(command.epoch), chat_settings().CATCH_UP)
        async with presence.joining(JoinRequest(slug, identity, name, socket.id, socket.address)) as claim:
            await hub.stalls.end()
            # No await from here on: no change is delivered in between, and only a socket that gets in is counted.
            # The rules and the identity may have changed during the awaits above, so they are checked once more.
            identity = socket.identity
            check_entering(room.policy, identity, socket.address, slug)
            _check_open(socket)
            presence.enter(claim)
    except BaseException:
        considered.close()
        hub.release(room)
        raise
    socket.username, socket.author = name, _author(identity, name)
    socket.rooms[slug] = about_room(room.policy, identity, socket.address)
    # The database may have been restored during the awaits: then the room has another log.
    resumed = resumed and room.log is log
    room.welcome(socket, resumed=resumed, read=read, ref=given(command.ref))
    if hub.degraded.is_shown:
        socket.transport.send(hub.degraded.frame())
    socket.transport.send(protocol.encode(presence.user_list(slug)))
    hub.enter(room, socket, since if resumed else None)
    considered.close()
    presence.announce(claim)


async def _check_entering(hub: Hub, room: ChatRoom, socket: Socket) -> None:
    """Check by the policy in memory, and before a refusal once more by the database's.

    An invitation or the end of a ban, made a moment ago in another process, may not have arrived here yet.
    """
    await room.ask_project(socket.identity)
    try:
        check_entering(room.policy, socket.identity, socket.address, room.slug)
    except Invalid:
        await hub.reload(room.slug)
        check_entering(room.policy, socket.identity, socket.address, room.slug)


def leave(hub: Hub, socket: Socket, slug: str, *, at_once: bool) -> None:
    """Take a socket out of a room. ``at_once``: without the grace that a lost connection has."""
    require_joined(hub, socket, slug)
    hub.exit(slug, socket)
    current(Presence).exit(slug, socket.id, at_once=at_once)


async def _open(hub: Hub, socket: Socket, slug: str) -> ChatRoom:
    if not protocol.is_hidden(slug):
        return await _open_public(hub, socket, slug)
    room = open_room(hub, slug)
    # An identity without a role in an open room costs one query, whether or not there is such a room. So neither
    # the answer nor its time tells whether the room exists.
    if not (room and role_of(room.policy, socket.identity)) and not await read_or_busy(
        partial(_is_visible, slug, socket.identity)
    ):
        raise no_room(slug)
    return await hold_room(hub, slug, make=False)


async def _open_public(hub: Hub, socket: Socket, slug: str) -> ChatRoom:
    """Open a public room. A missing room is created, within the address's limit of new rooms."""
    identity = socket.identity
    make = may_create(identity, slug)
    try:
        return await hold_room(hub, slug, make=slug == protocol.LOBBY)
    except Invalid as refusal:
        if refusal.code != ErrorCode.NO_ROOM or not make:
            raise
    wait = creation_limits.take(RowKind.ROOM, socket.address)
    if not wait:
        return await hold_room(hub, slug, make=True, owner=identity.account)
    try:
        # When a crowd enters a new room, another socket may have created it by now.
        return await hold_room(hub, slug, make=False)
    except Invalid as refusal:
        if refusal.code != ErrorCode.NO_ROOM:
            raise
    says, after = "room: too many new rooms from your address", math.ceil(wait * 1_000)
    raise Invalid(ErrorCode.TOO_MANY, says, field="room", retry_after=after)


def _check_open(socket: Socket) -> None:
    """Refuse a socket whose sign-in ended during the join. It is closed, so it does not get the answer."""
    if socket.transport.closed_with is not None:
        raise Invalid(ErrorCode.NOT_JOINED, "This socket is being closed.")


def _is_visible(slug: str, identity: Identity) -> bool:
    return models.Room.objects.visible_to(identity).filter(slug=slug).exists()


def may_create(identity: Identity, slug: str) -> bool:
    """May this identity create a public room with this slug, by entering it? CREATE_ROOMS decides."""
    allowed = {"anyone": True, "accounts": identity.account is not None, "staff": identity.staff}
    return slug == protocol.LOBBY or allowed[chat_settings().CREATE_ROOMS]


async def _read_position(room: ChatRoom, identity: Identity, command: Join) -> int | None:
    """The seq up to which the person has read. None: unknown, or the client has it.

    A client that comes back with `since` has it, so a crowd of reconnects needs no query each.
    """
    if not identity.lasting or command.since is not UNSET:
        return None
    return await room.source.read_position(room.log, identity.key)


async def _name_for(socket: Socket, command: Join) -> str:
    """The name of the account or session; else the name in the command, which a socket can't change later."""
    identity = socket.identity
    name = identity.name or command.username or socket.username
    if name is None:
        raise Invalid(ErrorCode.NAME_NEEDED, "username: is required to join", field="username")
    if socket.username and protocol.name_key(socket.username) != protocol.name_key(name):
        message = f"username: this socket speaks as {quoted(socket.username)} already"
        raise Invalid(ErrorCode.NAME_FIXED, message, field="username")
    if identity.account is None and await _is_reserved(name):
        message = f"username: an account is called {quoted(name)}, or nearly so: sign in, or choose another"
        raise Invalid(ErrorCode.NAME_RESERVED, message, field="username")
    return socket.username or name


async def _is_reserved(name: str) -> bool:
    try:
        return await current(NameLookup).is_taken(name)
    except Error:
        raise unavailable() from None


def _author(identity: Identity, name: str) -> str:
    """The author that refs belong to.

    A guest without a session has a new identity each time, but the same name.
    """
    return identity.key if identity.lasting else f"name:{protocol.name_key(name)}"
