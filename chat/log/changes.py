"""A numbered change of a room, encoded for the wire; and a message's row as the wire has it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from chat import models, protocol
from chat.protocol import Deleted, Edited, Message, Position, Reaction


@dataclass(frozen=True, slots=True)
class Change:
    """One change, encoded once for all connections."""

    seq: int
    # The changed message's id; 0 if the change is about no message.
    id: int
    # Frame for clients that have received every earlier change.
    frame: str
    # Frame for clients that catch up: the message as it is now. Changes that a client missed may since have moved
    # behind this one. So it cannot be assumed to know any message before it has received all of them.
    fresh: str
    # True if the message's text is deleted. Earlier frames with the text must be dropped then.
    gone: bool = False

    @property
    def is_new(self) -> bool:
        """True for a new message. Once a message was changed, its last number differs from its id."""
        return self.id == self.seq


@dataclass(frozen=True, slots=True)
class LogSlice:
    """A part of a room's log, as it was read."""

    # The room's slug.
    room: str
    # The number before the first one of this part.
    since: int
    changes: list[Change]
    # True if the log had no further changes.
    whole: bool
    # The room's last number, read with the changes or later.
    last: int

    @property
    def end(self) -> int:
        """The last number that this part covers. Numbers in it without a change are void."""
        return self.last if self.whole else self.changes[-1].seq

    def to_the_end(self) -> list[Change]:
        """The changes. A void change follows if they don't reach the end."""
        last = self.changes[-1].seq if self.changes else self.since
        # If the room was deleted or restored, the end may lie before the beginning.
        return (
            self.changes if last >= self.end else [*self.changes, void_change(self.room, self.end, follows=last)]
        )


def void_change(room: str, seq: int, *, follows: int | None = None) -> Change:
    """A change in place of those up to ``seq`` that later ones have made void."""
    place = {"topic": room} if ":" in room else {"room": room}
    position = Position(**place, seq=seq, follows=UNSET if follows is None else follows)
    frame = protocol.encode(position)
    return Change(seq, 0, frame, frame)


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


def milliseconds(moment: datetime | None) -> int:
    """Milliseconds since 1970; 0 for None, as which Django reads a malformed time in SQLite."""
    return round(moment.timestamp() * 1000) if moment else 0


def as_datetime(timestamp: int) -> datetime:
    """The time that is ``timestamp`` milliseconds after 1970."""
    return datetime.fromtimestamp(timestamp / 1000, UTC)


def as_database_time(timestamp: int, operations: Any) -> Any:
    """The same time as a parameter of SQL; ``operations`` is the connection's ``ops``."""
    return operations.adapt_datetimefield_value(as_datetime(timestamp))
