"""The verbs: what a person may do in a room, and what follows from it.

Each door (the socket, later a view or a command) calls these, so that a rule stands in one place.
"""

from collections.abc import Callable
from typing import TypeVar

from msgspec import UNSET, UnsetType

from chat import models, protocol
from chat.auth import Identity
from chat.conf import chat_settings
from chat.hub import Hub, OpenRoom, Socket
from chat.log import EditText, Emoji, Erase, HasRead, NewMessage, Outcome
from chat.loops import of_this_loop
from chat.presence import Presence
from chat.protocol import (
    Delete,
    Edit,
    ErrorCode,
    Found,
    GetHistory,
    History,
    Invalid,
    Join,
    Post,
    React,
    Read,
    ReadUpTo,
    Search,
    TypingNow,
)

T = TypeVar("T")
Done = Callable[[Outcome], None]
"""Called when a change is committed, before anybody hears of it; or with why it is not."""


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
    try:
        read = await _read_position(hub, room, identity, command)
        since = _given(command.since)
        resumed = await room.can_resume(since, _given(command.epoch), chat_settings().CATCH_UP)
        # No await from here on: nothing is delivered in between, and nobody is counted who does not get in.
        first = presence.enter(slug, identity, name, socket.id)
    except BaseException:
        hub.release(room)
        raise
    socket.username, socket.author = name, _author(identity, name)
    room.welcome(socket, resumed=resumed, read=read, ref=_given(command.ref))
    socket.lane.say(protocol.encode(presence.user_list(slug)))
    hub.enter(room, socket, since if resumed else None)
    if first:
        presence.announce(slug, name)


async def _read_position(hub: Hub, room: OpenRoom, identity: Identity, command: Join) -> int | None:
    """How far the person has read. Who comes back knows it: a crowd that does needs no query each."""
    if not identity.lasting or command.since is not UNSET:
        return None
    return await hub.log.read_position(room.log, identity.key)


def leave(hub: Hub, socket: Socket, slug: str, *, at_once: bool) -> None:
    """Take a socket out of a room; ``at_once`` spares the person the grace of a lost connection."""
    _, name = _present(hub, socket, slug)
    hub.exit(slug, socket)
    of_this_loop(Presence).exit(slug, name, socket.id, at_once=at_once)


# --- What is said ---


def post(hub: Hub, socket: Socket, command: Post, done: Done) -> None:
    """Say something. A ``ref`` that the same author used before gets the first answer, and is not said again."""
    room, name = _present(hub, socket, command.room)
    hub.log.append(
        NewMessage(
            room=room.log,
            author=socket.author,
            username=name,
            content=command.content,
            ref=command.ref or None,
            reply_to=_given(command.reply_to),
            done=done,
        )
    )


def edit(hub: Hub, socket: Socket, identity: Identity, command: Edit, done: Done) -> None:
    """Change the text of a message of one's own."""
    room, name = _known(hub, socket, identity, command.room)
    own = _own(identity, "edit")
    hub.log.append(
        EditText(
            room=room.log,
            author=identity.key,
            username=name,
            id=command.id,
            content=command.content,
            allowed=own,
            done=done,
        )
    )


def delete(hub: Hub, socket: Socket, identity: Identity, command: Delete, done: Done) -> None:
    """Delete a message of one's own."""
    room, name = _known(hub, socket, identity, command.room)
    own = _own(identity, "delete")
    hub.log.append(Erase(room=room.log, author=identity.key, username=name, id=command.id, allowed=own, done=done))


def react(hub: Hub, socket: Socket, identity: Identity, command: React, done: Done) -> None:
    """Put an emoji on anybody's message, or take one's own off."""
    room, name = _known(hub, socket, identity, command.room)
    hub.log.append(
        Emoji(
            room=room.log,
            author=identity.key,
            username=name,
            id=command.id,
            emoji=command.emoji,
            on=command.on,
            allowed=_anybody,
            done=done,
        )
    )


def read(hub: Hub, socket: Socket, identity: Identity, command: Read) -> None:
    """Keep how far somebody has read, and tell their other sockets. Only of who can be known again."""
    room, name = _present(hub, socket, command.room)
    if not identity.lasting:
        return
    seq = min(command.seq, room.position)
    hub.log.append(HasRead(room=room.log, author=identity.key, username=name, seq=seq, done=_nobody_waits))
    event = protocol.encode(ReadUpTo(room=command.room, username=name, seq=seq))
    for other in of_this_loop(Presence).sockets(command.room, name) - {socket.id}:
        hub.sockets[other].lane.say(event)


def typing(hub: Hub, socket: Socket, slug: str) -> None:
    _, name = _present(hub, socket, slug)
    event = TypingNow(room=slug, username=name, timestamp=protocol.now())
    hub.publish_soon(slug, protocol.encode(event))


# --- What is asked ---


async def history(hub: Hub, socket: Socket, command: GetHistory) -> History:
    """A page of the room's messages before ``command.before``, after ``command.after``, or its latest."""
    room, _ = _present(hub, socket, command.room)
    before, after = _given(command.before), _given(command.after)
    messages, more = await room.history(before=before, after=after, limit=command.limit)
    return History(room=command.room, messages=messages, more=more, timestamp=protocol.now(), ref=command.ref)


async def search(hub: Hub, socket: Socket, command: Search) -> Found:
    """The room's messages with these words, the newest first."""
    room, _ = _present(hub, socket, command.room)
    before = _given(command.before)
    messages, more = await hub.log.search(room.log, command.query, before=before, limit=command.limit)
    return Found(room=command.room, messages=messages, more=more, timestamp=protocol.now(), ref=command.ref)


# --- Rules ---


def _present(hub: Hub, socket: Socket, slug: str) -> tuple[OpenRoom, str]:
    """The room and the name under which the socket is in it. Raises ``Invalid`` (not_joined) where it isn't."""
    room = hub.room(slug)
    if slug not in socket.rooms or socket.username is None or room is None:
        raise Invalid(ErrorCode.NOT_JOINED, f"room: join {slug!r} first", field="room")
    return room, socket.username


def _known(hub: Hub, socket: Socket, identity: Identity, slug: str) -> tuple[OpenRoom, str]:
    """As ``_present``, for what only somebody may do who can be known again: a name alone anybody can say."""
    found = _present(hub, socket, slug)
    if not identity.lasting:
        message = "Only who is signed in, or came in by the page, can change messages or react to them."
        raise Invalid(ErrorCode.FORBIDDEN, message)
    return found


def _own(identity: Identity, verb: str) -> Callable[[models.Message], None]:
    def check(message: models.Message) -> None:
        if message.author != identity.key:
            raise Invalid(ErrorCode.FORBIDDEN, f"id: only who wrote a message can {verb} it", field="id")

    return check


def _anybody(message: models.Message) -> None:
    pass


def _nobody_waits(outcome: Outcome) -> None:
    pass


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
