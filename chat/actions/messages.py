"""Post, edit, delete and react to messages; read positions and typing."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from msgspec import UNSET

from chat import models, protocol
from chat.access.permissions import RoomPermission, check_posting, may, role_of, slow_mode_pause
from chat.actions.chat_room import ChatRoom
from chat.actions.guards import require_joined, require_lasting_identity
from chat.auth import Identity
from chat.conf import chat_settings
from chat.filters import Draft, filtered
from chat.hub import Hub, Socket
from chat.log import Log, Outcome
from chat.message_log import DeleteMessage, EditText, MarkRead, NewMessage, SetReaction
from chat.protocol import Delete, Edit, ErrorCode, Invalid, Post, React, Read, ReadUpTo, TypingNow, given

OnCommit = Callable[[Outcome], None]
"""Called when a change is committed, before it is published; or with the error that prevented it."""


def post(hub: Hub, socket: Socket, command: Post, done: OnCommit) -> None:
    """Post a message. ``done`` gets its number; for a ``ref`` that was used before, the first message's number.

    Raises Invalid: not_joined, read_only, muted, slow_mode, refused, busy.
    """
    room, name = require_joined(hub, socket, command.room)
    check_posting(room.policy, socket.identity, socket.address)
    content = _filtered(room, socket, name, command.content)
    slowed = _check_slow_mode(room, socket)
    room.source.append(
        NewMessage(
            room=room.log,
            author=socket.author,
            username=name,
            content=content,
            ref=command.ref or None,
            reply_to=given(command.reply_to),
            sent=None if content == command.content else command.content,
            done=done,
        )
    )
    if slowed:
        room.note_post(hub, slowed)


def edit(hub: Hub, socket: Socket, command: Edit, done: OnCommit) -> None:
    """Change the text of the author's own message. Raises Invalid as ``post`` does, and forbidden."""
    room, name = require_lasting_identity(hub, socket, command.room)
    check_posting(room.policy, socket.identity, socket.address)
    content = _filtered(room, socket, name, command.content)
    room.source.append(
        EditText(
            room=room.log,
            author=socket.identity.key,
            username=name,
            id=command.id,
            ref=command.ref or None,
            content=content,
            sent=None if content == command.content else command.content,
            allowed=partial(_check_own, socket.identity),
            done=done,
        )
    )


def delete(hub: Hub, socket: Socket, command: Delete, done: OnCommit) -> None:
    """Delete the author's own message; a moderator hides another person's.

    Raises Invalid: not_joined, forbidden, busy.
    """
    room, name = require_lasting_identity(hub, socket, command.room)
    identity = socket.identity
    by_moderator = may(room.policy, identity, RoomPermission.HIDE)
    room.source.append(
        DeleteMessage(
            room=room.log,
            author=identity.key,
            username=name,
            id=command.id,
            ref=command.ref or None,
            allowed=partial(_record_hiding if by_moderator else _check_own, identity),
            done=done,
        )
    )


def react(hub: Hub, socket: Socket, command: React, done: OnCommit) -> None:
    """Put an emoji on a message, or remove one's own.

    Raises Invalid: not_joined, forbidden, read_only, muted, busy.
    """
    room, name = require_lasting_identity(hub, socket, command.room)
    check_posting(room.policy, socket.identity, socket.address)
    room.source.append(
        SetReaction(
            room=room.log,
            author=socket.identity.key,
            username=name,
            id=command.id,
            ref=command.ref or None,
            emoji=command.emoji,
            on=command.on,
            allowed=models.allow,
            done=done,
        )
    )


def read(hub: Hub, socket: Socket, command: Read) -> None:
    """Save how far a person has read, and send it to their other sockets. Only for lasting identities."""
    room, name = require_joined(hub, socket, command.room)
    identity = socket.identity
    if not identity.lasting:
        return
    # The log bounds it by the room's last number. That change may not have been delivered here yet.
    position = MarkRead(room=room.log, author=identity.key, username=name, seq=command.seq)
    room.source.append(replace(position, done=partial(_retry, room.source, position)))
    event = protocol.encode(ReadUpTo(room=command.room, username=name, seq=min(command.seq, room.position)))
    hub.publish_to(command.room, identity.key, event, but=socket.id)


def _retry(log: Log, position: MarkRead, outcome: Outcome) -> None:
    """Write the position once more if the database was busy: a client sends it once, and gets no answer."""
    if isinstance(outcome, Invalid) and outcome.code is ErrorCode.BUSY:
        with suppress(Invalid):
            log.append(position)


def typing(hub: Hub, socket: Socket, slug: str) -> None:
    """Publish that a person is typing.

    A person who may not post is not shown as typing. Raises Invalid: not_joined.
    """
    room, name = require_joined(hub, socket, slug)
    try:
        check_posting(room.policy, socket.identity, socket.address)
    except Invalid:
        return
    event = TypingNow(room=slug, username=name, timestamp=protocol.now(), by=socket.identity.public or UNSET)
    hub.publish_soon(slug, protocol.encode(event))


def _filtered(room: ChatRoom, socket: Socket, name: str, content: str) -> str:
    if not chat_settings().FILTERS:
        return content
    role = role_of(room.policy, socket.identity) or "guest"
    return filtered(Draft(room=room.slug, username=name, role=role, text=content))


def _check_slow_mode(room: ChatRoom, socket: Socket) -> str | None:
    """The key under which slow mode knows the author; None if it does not apply. Raises Invalid: slow_mode."""
    identity = socket.identity
    pause = slow_mode_pause(room.policy, identity)
    if not pause:
        return None
    # A guest without a session could come back under another name, so their address counts.
    person = identity.person if identity.lasting else socket.address or identity.person
    left = room.slow_mode_wait(person, pause)
    if left > 0:
        message = f"In this room {pause} s must pass between two messages of one person."
        raise Invalid(ErrorCode.SLOW_MODE, message, retry_after=max(1, round(1_000 * left)))
    return person


# --- Checks of the row, on the thread that writes ---


def _check_own(identity: Identity, message: models.Message) -> None:
    if message.author != identity.key:
        raise Invalid(ErrorCode.FORBIDDEN, "id: only the author of a message can change or delete it", field="id")


def _record_hiding(identity: Identity, message: models.Message) -> None:
    if message.author != identity.key and message.deleted is None and not message.hidden:
        models.AuditEntry.objects.record(
            message.room,
            identity,
            "hide",
            target=message.author,
            target_name=message.username,
            number=message.number,
        )
