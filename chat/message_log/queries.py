"""Queries of the log: a room's position, its latest messages, its changes. For threads that may use the ORM."""

from dataclasses import dataclass, field

from django.db import connections, router, transaction
from django.db.models import F, QuerySet

from chat import models
from chat.database import pieces_of
from chat.log import LogSlice, RoomCounters, RoomLog, within_page
from chat.message_log.changes import message_changes, messages_of
from chat.message_log.repair import has_rows_ahead, heal
from chat.protocol import Message, no_room

UNREAD = (
    "SELECT chat_room.id, (SELECT count(*) FROM (SELECT 1 FROM chat_message "
    "WHERE chat_message.room_id = chat_room.id AND chat_message.number > coalesce(chat_readposition.seq, 0) "
    "AND chat_message.author <> %s AND chat_message.deleted IS NULL AND NOT chat_message.hidden LIMIT %s) AS n) "
    "FROM chat_room LEFT JOIN chat_readposition ON chat_readposition.room_id = chat_room.id "
    "AND chat_readposition.reader = %s WHERE chat_room.id IN ({places}) "
    "AND (chat_readposition.seq IS NOT NULL OR chat_room.kind IN ('private', 'direct'))"
)
"""Counts the unread messages of several rooms: one statement for all rooms that a page shows."""


@dataclass(frozen=True, slots=True)
class Page:
    """A room as its page shows it: its latest messages, oldest first, and the position that they belong to."""

    # The room's key and epoch; 0 and None if the room does not exist yet.
    room: int = 0
    epoch: str | None = None
    seq: int = 0
    messages: list[Message] = field(default_factory=list)
    # True if there are older messages.
    more: bool = False


def open_room(slug: str, *, make: bool = True, owner: int | str | None = None) -> RoomLog:
    """Open the room. If it does not exist, create it for its owner, or raise Invalid (no_room) without ``make``.

    ``owner`` is the primary key of an account.
    """
    rooms = models.Room.objects.filter(slug=slug)
    row = rooms.values_list("pk", "epoch", "seq", has_rows_ahead()).first()
    if row is None and not make:
        raise no_room(slug)
    if row is None:
        room = _create(slug, owner)
        return RoomLog(room.pk, slug, room.epoch, room.seq)
    pk, epoch, seq, ahead = row
    if ahead and heal([pk]):
        seq = rooms.values_list("seq", flat=True).get()
    return RoomLog(pk, slug, epoch, seq)


def _create(slug: str, owner: int | str | None) -> models.Room:
    with transaction.atomic():
        room, new = models.Room.objects.get_or_create(slug=slug)
        if new and owner is not None:
            models.Membership.objects.create(room=room, user_id=owner, role=models.Membership.Role.OWNER)
    return room


def positions(rooms: list[int]) -> dict[int, RoomCounters]:
    """The counters of each room, by its key. Deleted rooms are left out."""
    found: dict[int, RoomCounters] = {}
    for some in pieces_of(rooms):
        rows = models.Room.objects.filter(pk__in=some).values_list("pk", "epoch", "seq", "pruned", "rules")
        found |= {pk: RoomCounters(epoch, seq, pruned, rules) for pk, epoch, seq, pruned, rules in rows}
    return found


def changes_since(room: RoomLog, position: int, limit: int) -> LogSlice:
    """The changes after ``position``, in order: as many as fit a page (chat.log.within_page)."""
    # If there are rows, they have the room's last number as of the same moment.
    last = models.Room.objects.filter(pk=room.pk).values_list("seq", flat=True).first() or 0
    rows: QuerySet[models.Message] = models.Message.objects.filter(room_id=room.pk, seq__gt=position)
    rows = rows.defer("words").order_by("seq")
    found = list(rows.annotate(last=F("room__seq"))[: limit + 1])
    kept, cut = within_page(found, limit, _size)
    if found:
        last = found[0].last
    return LogSlice(
        room.slug, position, message_changes(messages_of(kept, room.slug), position), whole=not cut, last=last
    )


def history(
    room: int, slug: str, *, before: int | None = None, after: int | None = None, limit: int
) -> tuple[list[Message], bool]:
    """The messages before the id ``before``, after the id ``after``, or the latest ones, oldest first.

    The result also tells whether there are more that way. A page has at most ``limit`` messages, fewer if they are
    long (chat.log.within_page).
    """
    rows = models.Message.objects.filter(room_id=room).defer("words")
    if after is not None:
        rows = rows.filter(number__gt=after).order_by("number")
    else:
        rows = (rows if before is None else rows.filter(number__lt=before)).order_by("-number")
    kept, more = within_page(list(rows[: limit + 1]), limit, _size)
    messages = messages_of(kept, slug)
    return (messages if after is not None else messages[::-1]), more


def page(slug: str, limit: int) -> Page:
    """The room's latest messages; an empty page if the room does not exist."""
    row = models.Room.objects.filter(slug=slug).values_list("pk", "epoch", "seq").first()
    if row is None:
        return Page()
    # The position is read first: a change in between arrives twice, but is never missed.
    pk, epoch, seq = row
    messages, more = history(pk, slug, limit=limit)
    return Page(pk, epoch, seq, messages, more)


def read_position(room: int, reader: str) -> int:
    """The last number that ``reader`` has read in the room; 0 if they never read it."""
    return (
        models.ReadPosition.objects.filter(room_id=room, reader=reader).values_list("seq", flat=True).first() or 0
    )


def unread(reader: str, rooms: list[int], *, most: int) -> dict[int, int]:
    """The count of others' messages that ``reader`` has not read, up to ``most``, by the room's key.

    A public or members' room that they never read has no count. In a private or direct one all is unread then.
    """
    found: dict[int, int] = {}
    with connections[router.db_for_read(models.Message)].cursor() as cursor:
        for some in pieces_of(rooms):
            cursor.execute(UNREAD.format(places=", ".join(["%s"] * len(some))), [reader, most, reader, *some])
            found |= dict(cursor.fetchall())
    return found


def _size(row: models.Message) -> int:
    return len(row.content) + len(row.extra or "")
