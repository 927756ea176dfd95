"""What is said in a room, and what becomes of it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from msgspec import UNSET

from chat import models, protocol
from chat.access.permissions import RoomPermission, check_posting, may, role_of, slow_mode_pause
from chat.actions.audit import keep
from chat.actions.guards import given, known, present
from chat.auth import Identity
from chat.conf import chat_settings
from chat.filters import Draft, filtered
from chat.hub import Hub, OpenRoom, Socket
from chat.log import DeleteMessage, EditText, MarkRead, NewMessage, Outcome, SetReaction
from chat.protocol import Delete, Edit, ErrorCode, Invalid, Post, React, Read, ReadUpTo, TypingNow

OnCommit = Callable[[Outcome], None]
"""Called when a change is committed, before anybody hears of it; or with why it is not."""


def post(hub: Hub, socket: Socket, command: Post, done: OnCommit) -> None:
    """Publish a message. The same message with a ``ref`` that was used before gets the first answer."""
    room, name = present(hub, socket, command.room)
    check_posting(room.policy, socket.identity, socket.address)
    content = _looked_at(room, socket, name, command.content)
    spoke = _in_turn(room, socket)
    hub.log.append(
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
    if spoke:
        room.spoke[spoke] = asyncio.get_running_loop().time()
        hub.publish_speaker(room.slug, spoke)


def edit(hub: Hub, socket: Socket, command: Edit, done: OnCommit) -> None:
    """Change the text of a message of one's own."""
    room, name = known(hub, socket, command.room)
    check_posting(room.policy, socket.identity, socket.address)
    content = _looked_at(room, socket, name, command.content)
    hub.log.append(
        EditText(
            room=room.log,
            author=socket.identity.key,
            username=name,
            id=command.id,
            ref=command.ref or None,
            content=content,
            sent=None if content == command.content else command.content,
            allowed=partial(_own, socket.identity),
            done=done,
        )
    )


def delete(hub: Hub, socket: Socket, command: Delete, done: OnCommit) -> None:
    """Delete a message of one's own; or, as a moderator, take one of another out of sight."""
    room, name = known(hub, socket, command.room)
    who = socket.identity
    allowed = partial(_for_moderators, who) if may(room.policy, who, RoomPermission.HIDE) else partial(_own, who)
    hub.log.append(
        DeleteMessage(
            room=room.log,
            author=who.key,
            username=name,
            id=command.id,
            ref=command.ref or None,
            allowed=allowed,
            done=done,
        )
    )


def react(hub: Hub, socket: Socket, command: React, done: OnCommit) -> None:
    """Put an emoji on anybody's message, or take one's own off."""
    room, name = known(hub, socket, command.room)
    check_posting(room.policy, socket.identity, socket.address)
    hub.log.append(
        SetReaction(
            room=room.log,
            author=socket.identity.key,
            username=name,
            id=command.id,
            ref=command.ref or None,
            emoji=command.emoji,
            on=command.on,
            allowed=_anybody,
            done=done,
        )
    )


def read(hub: Hub, socket: Socket, command: Read) -> None:
    """Keep how far somebody has read, and tell their other sockets. Only of who can be known again."""
    room, name = present(hub, socket, command.room)
    who = socket.identity
    if not who.lasting:
        return
    # The log knows the room's last number. Here it may still be on its way, after the ack of the message.
    position = MarkRead(room=room.log, author=who.key, username=name, seq=command.seq)
    hub.log.append(replace(position, done=partial(_once_more, hub, position)))
    event = protocol.encode(ReadUpTo(room=command.room, username=name, seq=min(command.seq, room.position)))
    hub.publish_to(command.room, who.key, event, but=socket.id)


def _once_more(hub: Hub, position: MarkRead, outcome: Outcome) -> None:
    """Write the position again where the first try failed: a client sends it once, and waits for no answer."""
    if isinstance(outcome, Invalid) and outcome.code is ErrorCode.BUSY:
        with suppress(Invalid):
            hub.log.append(position)


def typing(hub: Hub, socket: Socket, slug: str) -> None:
    """Tell the room that somebody is typing; who may not speak types for themselves."""
    room, name = present(hub, socket, slug)
    try:
        check_posting(room.policy, socket.identity, socket.address)
    except Invalid:
        return
    event = TypingNow(room=slug, username=name, timestamp=protocol.now(), by=socket.identity.public or UNSET)
    hub.publish_soon(slug, protocol.encode(event))


def _looked_at(room: OpenRoom, socket: Socket, name: str, content: str) -> str:
    if not chat_settings().FILTERS:
        return content
    role = role_of(room.policy, socket.identity) or "guest"
    return filtered(Draft(room=room.slug, username=name, role=role, text=content))


def _in_turn(room: OpenRoom, socket: Socket) -> str | None:
    """In slow mode: whose message it is, if it is their turn again. Raises Invalid (slow_mode)."""
    who = socket.identity
    pause = slow_mode_pause(room.policy, who)
    if not pause:
        return None
    # Somebody who only says a name could come back under another.
    person = who.person if who.lasting else socket.address or who.person
    left = room.spoke.get(person, -pause) + pause - asyncio.get_running_loop().time()
    if left > 0:
        message = f"In this room {pause} s must pass between two messages of one person."
        raise Invalid(ErrorCode.SLOW_MODE, message, retry_after=max(1, round(1_000 * left)))
    return person


def _own(who: Identity, message: models.Message) -> None:
    if message.author != who.key:
        raise Invalid(ErrorCode.FORBIDDEN, "id: only who wrote a message can change or delete it", field="id")


def _for_moderators(who: Identity, message: models.Message) -> None:
    if message.author != who.key and message.deleted is None and not message.hidden:
        keep(message.room, who, "hide", target=message.author, target_name=message.username, number=message.number)


def _anybody(message: models.Message) -> None:
    pass
