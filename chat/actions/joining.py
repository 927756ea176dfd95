"""Coming into a room, and leaving it."""

import math
from functools import partial

from django.db import Error
from msgspec import UNSET

from chat import protocol
from chat.access.permissions import about_room, check_entering, no_room, role_of
from chat.actions.guards import given, present
from chat.actions.tokens import use_token
from chat.actions.visibility import visible
from chat.auth import Identity
from chat.auth.usernames import NameLookup
from chat.conf import chat_settings
from chat.hub import Hub, OpenRoom, Socket
from chat.limits import RowKind, creation_limits
from chat.log import read_or_busy, unavailable
from chat.loops import current
from chat.presence import JoinRequest, Presence
from chat.protocol import ErrorCode, Invalid, Join, quoted


async def join(hub: Hub, socket: Socket, command: Join) -> None:
    """Bring a socket into a room: `welcome`, `userList`, what was missed, then live.

    Joining a room again is allowed: the socket goes back to `since`, or goes on from here, and nobody hears of it.
    """
    if command.token is not UNSET:
        await use_token(socket, command.token)
    name = await _name_for(socket, command)
    slug, who = command.room, socket.identity
    limit = chat_settings().ROOMS_PER_SOCKET
    if slug not in socket.rooms and len(socket.rooms) >= limit:
        raise Invalid(ErrorCode.TOO_MANY_ROOMS, f"room: one socket may be in at most {limit} rooms", field="room")
    presence = current(Presence)
    room = await _open(hub, socket, slug)
    try:
        await _check_entering(hub, room, socket)
        read = await _read_position(hub, room, who, command)
        since, log = given(command.since), room.log
        resumed = await room.can_resume(since, given(command.epoch), chat_settings().CATCH_UP)
        async with presence.joining(JoinRequest(slug, who, name, socket.id, socket.address)) as claim:
            await hub.stalls.end()
            # Nothing suspends from here on: nothing is delivered in between, and nobody is counted who does not
            # get in. What was allowed before may not be any more.
            who = socket.identity
            check_entering(room.policy, who, socket.address, slug)
            _check_open(socket)
            presence.enter(claim)
    except BaseException:
        hub.release(room)
        raise
    socket.username, socket.author = name, _author(who, name)
    socket.rooms[slug] = about_room(room.policy, who, socket.address)
    # Not where the database was restored meanwhile.
    resumed = resumed and room.log is log
    room.welcome(socket, resumed=resumed, read=read, ref=given(command.ref))
    if hub.degraded.told:
        socket.transport.say(hub.degraded.frame())
    socket.transport.say(protocol.encode(presence.user_list(slug)))
    hub.enter(room, socket, since if resumed else None)
    presence.announce(claim)


async def _check_entering(hub: Hub, room: OpenRoom, socket: Socket) -> None:
    """Nobody is refused by rules that were changed a moment ago."""
    try:
        check_entering(room.policy, socket.identity, socket.address, room.slug)
    except Invalid:
        await hub.reload(room.slug)
        check_entering(room.policy, socket.identity, socket.address, room.slug)


def leave(hub: Hub, socket: Socket, slug: str, *, at_once: bool) -> None:
    """Take a socket out of a room; ``at_once`` spares the person the grace of a lost connection."""
    present(hub, socket, slug)
    hub.exit(slug, socket)
    current(Presence).exit(slug, socket.id, at_once=at_once)


async def _open(hub: Hub, socket: Socket, slug: str) -> OpenRoom:
    who = socket.identity
    if not protocol.is_hidden(slug):
        return await _open_public(hub, socket, slug)
    known = hub.room(slug)
    # One query for all who are not known in it, whether there is such a room or not: neither the answer nor its
    # time tells.
    if not (known and role_of(known.policy, who)) and not await read_or_busy(partial(visible, slug, who)):
        raise no_room(slug)
    return await hub.open(slug, make=False)


async def _open_public(hub: Hub, socket: Socket, slug: str) -> OpenRoom:
    """A room that everybody may come into; made where there is none, as often as an address may."""
    who = socket.identity
    make = may_make(who, slug)
    try:
        return await hub.open(slug, make=slug == protocol.LOBBY)
    except Invalid as refusal:
        if refusal.code != ErrorCode.NO_ROOM or not make:
            raise
    wait = creation_limits.take(RowKind.ROOM, socket.address)
    if not wait:
        return await hub.open(slug, make=True, owner=who.account)
    try:
        # If a crowd comes into a new room, somebody has made it by now.
        return await hub.open(slug, make=False)
    except Invalid as refusal:
        if refusal.code != ErrorCode.NO_ROOM:
            raise
    says, after = "room: too many new rooms from your address", math.ceil(wait * 1_000)
    raise Invalid(ErrorCode.TOO_MANY, says, field="room", retry_after=after)


def _check_open(socket: Socket) -> None:
    """A socket whose sign-in ended meanwhile comes in nowhere. The answer goes nowhere, too."""
    if socket.transport.closed_with is not None:
        raise Invalid(ErrorCode.NOT_JOINED, "This socket is being closed.")


def may_make(who: Identity, slug: str) -> bool:
    """May they make a public room of this name by entering it?"""
    allowed = {"anyone": True, "accounts": who.account is not None, "staff": who.staff}
    return slug == protocol.LOBBY or allowed[chat_settings().CREATE_ROOMS]


async def _read_position(hub: Hub, room: OpenRoom, who: Identity, command: Join) -> int | None:
    """How far the person has read. Who comes back knows it: a crowd that does needs no query each."""
    if not who.lasting or command.since is not UNSET:
        return None
    return await hub.log.read_position(room.log, who.key)


async def _name_for(socket: Socket, command: Join) -> str:
    """The session's name where there is one, else what the client says: once for the life of the socket."""
    who = socket.identity
    name = who.name or command.username or socket.username
    if name is None:
        raise Invalid(ErrorCode.NAME_NEEDED, "username: is required to join", field="username")
    if socket.username and protocol.name_key(socket.username) != protocol.name_key(name):
        message = f"username: this socket speaks as {quoted(socket.username)} already"
        raise Invalid(ErrorCode.NAME_FIXED, message, field="username")
    if who.account is None and await _is_accounts(name):
        message = f"username: an account is called {quoted(name)}, or nearly so: sign in, or choose another"
        raise Invalid(ErrorCode.NAME_RESERVED, message, field="username")
    return socket.username or name


async def _is_accounts(name: str) -> bool:
    try:
        return await current(NameLookup).is_taken(name)
    except Error:
        raise unavailable() from None


def _author(who: Identity, name: str) -> str:
    """Whose refs are compared. A guest without a session comes back as another identity, but under their name."""
    return who.key if who.lasting else f"name:{protocol.name_key(name)}"
