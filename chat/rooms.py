"""The verbs: what a person may do in a room, and what follows from it.

Each door (the socket, later a view or a command) calls these, so that a rule stands in one place.
"""

from collections.abc import Callable
from typing import TypeVar

from msgspec import UNSET, UnsetType

from chat import protocol
from chat.auth import Identity
from chat.conf import chat_settings
from chat.hub import Hub, Socket
from chat.log import Entry
from chat.loops import of_this_loop
from chat.presence import Presence
from chat.protocol import ErrorCode, GetHistory, History, Invalid, Join, Post, TypingNow

T = TypeVar("T")


async def join(hub: Hub, socket: Socket, identity: Identity, command: Join) -> None:
    """Bring a socket into a room: `welcome`, `userList`, what was missed, then live.

    Joining a room again is allowed: the socket goes back to `since`, or goes on from here, and nobody hears of it.
    """
    name = _name_for(socket, identity, command)
    slug = command.room
    limit = chat_settings().ROOMS_PER_SOCKET
    if slug not in socket.rooms and len(socket.rooms) >= limit:
        raise Invalid(ErrorCode.TOO_MANY_ROOMS, f"room: one socket may be in at most {limit} rooms", field="room")
    presence = of_this_loop(Presence)
    room = await hub.open(slug)
    # No await from here on: nothing is delivered in between, and nobody is counted who does not get in.
    try:
        first = presence.enter(slug, identity, name, socket.id)
    except Invalid:
        hub.release(room)
        raise
    since, epoch = _given(command.since), _given(command.epoch)
    resumed = hub.can_resume(room, since, epoch)
    socket.username, socket.author = name, _author(identity, name)
    hub.welcome(room, socket, resumed=resumed, ref=_given(command.ref))
    socket.lane.say(protocol.encode(presence.user_list(slug)))
    hub.enter(room, socket, since if resumed else None)
    if first:
        presence.announce(slug, name)


def leave(hub: Hub, socket: Socket, slug: str, *, at_once: bool) -> None:
    """Take a socket out of a room; ``at_once`` spares the person the grace of a lost connection."""
    name = _present(socket, slug)
    hub.exit(slug, socket)
    of_this_loop(Presence).exit(slug, name, socket.id, at_once=at_once)


async def post(hub: Hub, socket: Socket, command: Post, *, acknowledge: Callable[[Entry], None]) -> None:
    """Say something. ``acknowledge`` is called once it has its number, before anybody hears of it.

    A ``ref`` that the same author used before is acknowledged with the first result, and not said again.
    """
    name = _present(socket, command.room)
    entry, fresh = hub.log.append(
        command.room,
        author=socket.author,
        username=name,
        content=command.content,
        ref=command.ref or None,
    )
    acknowledge(entry)
    if fresh:
        await hub.publish(command.room, entry.frame, entry.seq)


def typing(hub: Hub, socket: Socket, slug: str) -> None:
    name = _present(socket, slug)
    event = TypingNow(room=slug, username=name, timestamp=protocol.now())
    hub.publish_soon(slug, protocol.encode(event))


def history(hub: Hub, socket: Socket, command: GetHistory) -> History:
    """A page of the room's messages before ``command.before``, or its latest."""
    _present(socket, command.room)
    messages, more = hub.log.page(command.room, before=_given(command.before), limit=command.limit)
    return History(room=command.room, messages=messages, more=more, timestamp=protocol.now(), ref=command.ref)


def _present(socket: Socket, slug: str) -> str:
    """The name under which the socket is in the room. Raises ``Invalid`` (not_joined) where it isn't."""
    if slug not in socket.rooms or socket.username is None:
        raise Invalid(ErrorCode.NOT_JOINED, f"room: join {slug!r} first", field="room")
    return socket.username


def _author(identity: Identity, name: str) -> str:
    """Whose refs are compared. A guest without a session comes back as another identity, but under their name."""
    return identity.key if identity.lasting else f"name:{protocol.name_key(name)}"


def _name_for(socket: Socket, identity: Identity, command: Join) -> str:
    """The session's name where there is one, else what the client says: once for the life of the socket."""
    said = command.username or None
    name = identity.name or said or socket.username
    if name is None:
        raise Invalid(ErrorCode.NAME_NEEDED, "username: is required to join", field="username")
    if socket.username and protocol.name_key(socket.username) != protocol.name_key(name):
        message = f"username: this socket speaks as {socket.username!r} already"
        raise Invalid(ErrorCode.NAME_FIXED, message, field="username")
    return socket.username or name


def _given(value: T | UnsetType) -> T | None:
    return None if value is UNSET else value
