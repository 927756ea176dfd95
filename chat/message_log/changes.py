"""A message's row as the wire has it, and its numbered change."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from chat import models, protocol
from chat.database import milliseconds
from chat.log.changes import Change
from chat.protocol import Deleted, Edited, Message, Reaction


def message_changes(messages: Iterable[Message], since: int) -> list[Change]:
    """The changes for messages that changed after the number ``since``, ordered by their last change."""
    changes = []
    for message in messages:
        if message.seq - since > 1:
            message.follows = since
        changes.append(_message_change(message))
        since = message.seq
    return changes


def _message_change(message: Message) -> Change:
    frame = protocol.encode(message)
    return Change(message.seq, message.id, frame, frame, gone=message.deleted)


def event_of(message: Message) -> Edited | Deleted:
    """The event for clients that know an earlier state of the message."""
    if message.deleted:
        return Deleted(room=message.room, id=message.id, seq=message.seq)
    return Edited(
        room=message.room,
        id=message.id,
        seq=message.seq,
        content=message.content,
        edited=message.edited,
        reactions=message.reactions,
    )


def message_of(row: models.Message, room: str, reactions: list[Reaction]) -> Message:
    """A row as the wire has it, in the room with this slug."""
    message = Message(
        room=room,
        id=row.number,
        seq=row.seq,
        username=row.username,
        content=row.content,
        timestamp=milliseconds(row.created),
        by=models.author_key(row.author) or UNSET,
        reply_to=UNSET if row.reply_to is None else row.reply_to,
        edited=UNSET if row.edited is None else milliseconds(row.edited),
        reactions=reactions,
    )
    if row.hidden or row.deleted is not None:
        return _without_text(message)
    if row.extra:
        add_extra(message, row.extra)
    return message


def add_extra(message: Message, extra: str) -> None:
    """Set the fields that only Python can give (models.Message.extra)."""
    found = _extras.decode(extra)
    message.bot, message.avatar, message.data = found.bot, found.avatar, found.data


class _Extra(Struct):
    bot: bool = False
    avatar: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


_extras = msgspec.json.Decoder(_Extra)


def _without_text(message: Message) -> Message:
    return replace(message, content="", deleted=True, edited=UNSET, reactions=[])


def messages_of(rows: Sequence[models.Message], room: str) -> list[Message]:
    """The rows as the wire has them, with their reactions: at most one query for all of them."""
    # A message that never changed has no reactions.
    touched = [row.pk for row in rows if row.changes]
    by_message = reactions_on(touched) if touched else {}
    return [message_of(row, room, by_message.get(row.pk, [])) for row in rows]


def reactions_on(messages: Sequence[int]) -> dict[int, list[Reaction]]:
    """The reactions to each message, by the message's key, oldest emoji first."""
    found: dict[int, dict[str, list[tuple[str, str]]]] = defaultdict(dict)
    rows = models.Reaction.objects.filter(message_id__in=messages).order_by("pk")
    for message, emoji, username, author in rows.values_list("message_id", "emoji", "username", "author"):
        found[message].setdefault(emoji, []).append((username, author))
    return {
        message: [_reaction(emoji, people) for emoji, people in emojis.items()]
        for message, emojis in found.items()
    }


def _reaction(emoji: str, people: list[tuple[str, str]]) -> Reaction:
    shown = people[: protocol.REACTORS_LIMIT]
    return Reaction(
        emoji,
        [username for username, _ in shown],
        len(people),
        [models.author_key(author) for _, author in shown],
    )
