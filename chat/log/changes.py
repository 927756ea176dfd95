"""A numbered change of a room, as it goes over the wire; and a message's row as the wire has it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from chat import models, protocol
from chat.protocol import Deleted, Edited, Message, Position, Reaction


@dataclass(frozen=True, slots=True)
class Change:
    """One change, encoded once for everybody."""

    seq: int
    # The message that it is about; 0 where it is about none.
    id: int
    # For those who have had every change before this one.
    frame: str
    # For who catches up: the message as it is now. Changes that it missed may have moved behind this one in the
    # meantime, so that it can't be said to know any message before it has had them all.
    fresh: str
    # Is the message's text gone? Then earlier frames with it must go too.
    gone: bool = False

    @property
    def is_new(self) -> bool:
        """Is it a message as it was said? One that was changed since has two numbers."""
        return self.id == self.seq


@dataclass(frozen=True, slots=True)
class LogSlice:
    """A part of a room's log, as it was read."""

    room: str
    # It begins after this number.
    since: int
    changes: list[Change]
    # Is that all there was?
    whole: bool
    # The room's last number, read afterwards.
    last: int

    @property
    def end(self) -> int:
        """The number up to which it tells everything: what is not there was made void by a later change."""
        return self.last if self.whole else self.changes[-1].seq

    def to_the_end(self) -> list[Change]:
        """The changes, and where they don't reach the end, one that does."""
        last = self.changes[-1].seq if self.changes else self.since
        # Of a room that is gone or was restored, the end may lie before the beginning.
        return (
            self.changes if last >= self.end else [*self.changes, void_change(self.room, self.end, follows=last)]
        )


def void_change(room: str, seq: int, *, follows: int | None = None) -> Change:
    """In the place of changes up to ``seq`` that later ones have made void."""
    position = Position(room=room, seq=seq, follows=UNSET if follows is None else follows)
    frame = protocol.encode(position)
    return Change(seq, 0, frame, frame)


def of_messages(messages: Iterable[Message], since: int) -> list[Change]:
    """Messages that changed after the number ``since``, by the number of their last change."""
    changes = []
    for message in messages:
        if message.seq - since > 1:
            message.follows = since
        changes.append(_of_message(message))
        since = message.seq
    return changes


def _of_message(message: Message) -> Change:
    frame = protocol.encode(message)
    return Change(message.seq, message.id, frame, frame, gone=message.deleted)


def event_of(message: Message) -> Edited | Deleted:
    """What tells somebody who knows the message what became of it."""
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


def state_of(row: models.Message, room: str, reactions: list[Reaction]) -> Message:
    """A row as the wire has it."""
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
    return without_text(message) if row.hidden or row.deleted is not None else message


def without_text(message: Message) -> Message:
    return replace(message, content="", deleted=True, edited=UNSET, reactions=[])


def with_reactions(rows: Sequence[models.Message], room: str) -> list[Message]:
    """The rows as the wire has them, with what is on them: one query for all of them, where any needs it."""
    # One that never changed has none.
    touched = [row.pk for row in rows if row.changes]
    by_message = reactions_on(touched) if touched else {}
    return [state_of(row, room, by_message.get(row.pk, [])) for row in rows]


def reactions_on(messages: Sequence[int]) -> dict[int, list[Reaction]]:
    """The emoji on each message, by its key; the first that came first."""
    found: dict[int, dict[str, list[tuple[str, str]]]] = defaultdict(dict)
    rows = models.Reaction.objects.filter(message_id__in=messages).order_by("pk")
    for message, emoji, username, author in rows.values_list("message_id", "emoji", "username", "author"):
        found[message].setdefault(emoji, []).append((username, author))
    return {
        message: [_reaction(emoji, people) for emoji, people in emojis.items()]
        for message, emojis in found.items()
    }


def _reaction(emoji: str, people: list[tuple[str, str]]) -> Reaction:
    told = people[: protocol.REACTORS_LIMIT]
    return Reaction(
        emoji,
        [username for username, _ in told],
        len(people),
        [models.author_key(author) for _, author in told],
    )


def milliseconds(moment: datetime | None) -> int:
    """SQLite keeps anything for a time, and what is none is read as None: the message is there all the same."""
    return round(moment.timestamp() * 1000) if moment else 0


def moment(timestamp: int) -> datetime:
    """The time that is so many milliseconds after 1970."""
    return datetime.fromtimestamp(timestamp / 1000, UTC)


def database_moment(timestamp: int, operations: Any) -> Any:
    """The same as a database's own SQL wants it."""
    return operations.adapt_datetimefield_value(moment(timestamp))
