"""What the log is asked: a room's position, its latest messages, what changed since. Functions for a thread."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import connections, router, transaction
from django.db.models import F, QuerySet

from chat import models
from chat.log.changes import LogSlice, of_messages, with_reactions
from chat.log.repair import has_rows_ahead, heal
from chat.protocol import ErrorCode, Invalid, Message

PAGE = 131_072
"""Characters of a page of history: servers bound what they send in one frame too (stock Daphne: 1 MiB)."""

UNREAD = (
    "SELECT chat_room.id, (SELECT count(*) FROM (SELECT 1 FROM chat_message "
    "WHERE chat_message.room_id = chat_room.id AND chat_message.number > coalesce(chat_readposition.seq, 0) "
    "AND chat_message.author <> %s AND chat_message.deleted IS NULL AND NOT chat_message.hidden LIMIT %s) AS n) "
    "FROM chat_room LEFT JOIN chat_readposition ON chat_readposition.room_id = chat_room.id "
    "AND chat_readposition.reader = %s WHERE chat_room.id IN ({places}) "
    "AND (chat_readposition.seq IS NOT NULL OR chat_room.kind IN ('private', 'direct'))"
)
"""One statement for all rooms that a page shows."""
AT_ONCE = 10_000
"""Rooms that one query asks for: a statement has at most 32,766 values in SQLite."""


@dataclass(eq=False, slots=True)
class RoomLog:
    """A room, as its row told when it was opened."""

    pk: int
    slug: str
    epoch: str
    # The number of the last change, then.
    seq: int


@dataclass(frozen=True, slots=True)
class Page:
    """A room as its page shows it: its latest messages, oldest first, at the position that they are of."""

    # Its key and its epoch; 0 and None where the room does not exist yet.
    room: int = 0
    epoch: str | None = None
    seq: int = 0
    messages: list[Message] = field(default_factory=list)
    # Are there older ones?
    more: bool = False


def open_room(slug: str, *, make: bool = True, owner: int | str | None = None) -> RoomLog:
    """The room, made where there is none, for its owner. Raises Invalid (no_room) where it may not be made."""
    rooms = models.Room.objects.filter(slug=slug)
    row = rooms.values_list("pk", "epoch", "seq", has_rows_ahead()).first()
    if row is None and not make:
        raise Invalid(ErrorCode.NO_ROOM, f"room: there is no room {slug!r}, or you may not enter it", field="room")
    if row is None:
        made = _made(slug, owner)
        return RoomLog(made.pk, slug, made.epoch, made.seq)
    pk, epoch, seq, ahead = row
    if ahead and heal([pk]):
        seq = rooms.values_list("seq", flat=True).get()
    return RoomLog(pk, slug, epoch, seq)


def _made(slug: str, owner: int | str | None) -> models.Room:
    with transaction.atomic():
        room, new = models.Room.objects.get_or_create(slug=slug)
        if new and owner is not None:
            models.Membership.objects.create(room=room, user_id=owner, role=models.Membership.Role.OWNER)
    return room


class RoomCounters(NamedTuple):
    """How a room stands now."""

    epoch: str
    # The number of the last change, and how many numbers were pruned.
    seq: int
    pruned: int
    # How often its settings, roles and restrictions changed.
    rules: int = 0


def positions(rooms: list[int]) -> dict[int, RoomCounters]:
    """How each room stands, by its key. One that is gone is not there."""
    found: dict[int, RoomCounters] = {}
    for start in range(0, len(rooms), AT_ONCE):
        rows = models.Room.objects.filter(pk__in=rooms[start : start + AT_ONCE]).values_list(
            "pk", "epoch", "seq", "pruned", "rules"
        )
        found |= {pk: RoomCounters(epoch, seq, pruned, rules) for pk, epoch, seq, pruned, rules in rows}
    return found


def changes_since(room: RoomLog, position: int, limit: int) -> LogSlice:
    """What changed after ``position``, in order: ``limit`` changes and PAGE characters at most."""
    # Where there are rows, they tell the room's last number as of the same moment.
    last = models.Room.objects.filter(pk=room.pk).values_list("seq", flat=True).first() or 0
    rows: QuerySet[models.Message] = models.Message.objects.filter(room_id=room.pk, seq__gt=position)
    rows = rows.defer("words").order_by("seq")
    found = list(rows.annotate(last=F("room__seq"))[: limit + 1])
    kept, cut = _within_page(found, limit)
    if found:
        last = found[0].last
    return LogSlice(
        room.slug, position, of_messages(with_reactions(kept, room.slug), position), whole=not cut, last=last
    )


def history(
    room: int, slug: str, *, before: int | None = None, after: int | None = None, limit: int
) -> tuple[list[Message], bool]:
    """The messages before the id ``before``, after the id ``after``, or the latest: oldest first. Are there more?

    Fewer than ``limit`` where they are long: a page has about PAGE characters at most, and at least one message.
    """
    rows = models.Message.objects.filter(room_id=room).defer("words")
    if after is not None:
        rows = rows.filter(number__gt=after).order_by("number")
    else:
        rows = (rows if before is None else rows.filter(number__lt=before)).order_by("-number")
    kept, more = _within_page(list(rows[: limit + 1]), limit)
    messages = with_reactions(kept, slug)
    return (messages if after is not None else messages[::-1]), more


def page(slug: str, limit: int) -> Page:
    """The room's latest messages. Of a room that does not exist: none."""
    row = models.Room.objects.filter(slug=slug).values_list("pk", "epoch", "seq").first()
    if row is None:
        return Page()
    # The position is read first: what changes in between comes a second time, and never not at all.
    pk, epoch, seq = row
    messages, more = history(pk, slug, limit=limit)
    return Page(pk, epoch, seq, messages, more)


def read_position(room: int, reader: str) -> int:
    """Up to which number somebody has read the room; 0 where they never did."""
    return (
        models.ReadPosition.objects.filter(room_id=room, reader=reader).values_list("seq", flat=True).first() or 0
    )


def unread(reader: str, rooms: list[int], *, most: int) -> dict[int, int]:
    """How many messages of others somebody has not read in each of these rooms, up to ``most``; by the room's key.

    The count is unknown for a room that they never read. In a room of their own nothing is read then.
    """
    found: dict[int, int] = {}
    with connections[router.db_for_read(models.Message)].cursor() as cursor:
        for start in range(0, len(rooms), AT_ONCE):
            some = rooms[start : start + AT_ONCE]
            cursor.execute(UNREAD.format(places=", ".join(["%s"] * len(some))), [reader, most, reader, *some])
            found |= dict(cursor.fetchall())
    return found


def _within_page(rows: Sequence[models.Message], limit: int) -> tuple[Sequence[models.Message], bool]:
    """The first ``limit`` of the rows, or as many as fit a page; and were there more?"""
    size = 0
    for index, row in enumerate(rows[:limit]):
        if index and size >= PAGE:
            return rows[:index], True
        size += len(row.content)
    return rows[:limit], len(rows) > limit
