"""What is done to the logs from outside the chat: the staff hides a message, old ones are pruned, all is checked.

For threads that may use the ORM, beside a chat that goes on: each change is a transaction of its own under the
room's lock, so several of these can run at once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import DatabaseError, OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, F, Max, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from chat import models
from chat.database import retry_on_conflict
from chat.log.queries import RoomLog, open_room
from chat.log.repair import recount
from chat.log.search import (
    INDEX,
    POSTGRESQL_INDEXES,
    POSTGRESQL_STANDS,
    POSTGRESQL_TRIGGER,
    REBUILD,
    TRIGGERS,
    UNINDEXED,
)
from chat.log.writer import BATCH, Writer
from chat.log.writes import NewMessage, SetHidden, Written
from chat.protocol import Invalid, name_key

Messages = QuerySet[models.Message]


def in_pieces(messages: Messages, size: int = BATCH) -> Iterator[list[models.Message]]:
    """The messages, room by room and in their order, so many at once.

    Each piece is a query of its own, from where the last one ended: nothing is held open meanwhile, and what is
    done with a piece does not disturb the next.
    """
    for room in list(messages.order_by("room").values_list("room", flat=True).distinct()):
        of_room, last = messages.filter(room=room).order_by("number"), 0
        while rows := list(of_room.filter(number__gt=last)[:size]):
            yield rows
            last = rows[-1].number


# --- A project ---


def post(
    slug: str,
    content: str,
    *,
    username: str,
    author: str = "",
    ref: str | None = None,
    reply_to: int | None = None,
) -> Written:
    """Publish a message in an existing room, from a view, a task or a command. Raises Invalid if it is refused.

    ``author`` is who may change it later ("account:<pk>"); without one only the name is kept. Within a transaction
    of the caller's it is published with the commit, and the room waits until then. Open pages have it within two
    seconds. No rule of the room and no limit is asked.
    """
    write = NewMessage(
        room=open_room(slug, make=False),
        author=author or f"name:{name_key(username)}",
        username=username,
        content=content,
        ref=ref,
        reply_to=reply_to,
    )
    (outcome,) = Writer().write([write])
    if isinstance(outcome, Invalid):
        raise outcome
    return outcome


# --- The staff ---


def hide(messages: Sequence[models.Message], *, author: str, username: str, hidden: bool) -> list[models.Message]:
    """Take messages out of sight, or show them again, as a change of the room; those that were not so already.

    Their rooms are read from them: select those along.
    """
    writes = [
        SetHidden(
            room=RoomLog(message.room_id, message.room.slug, message.room.epoch, message.room.seq),
            author=author,
            username=username,
            id=message.number,
            hidden=hidden,
            allowed=_by_permission,
        )
        for message in messages
    ]
    outcomes = Writer().write(writes)
    return [
        message
        for message, outcome in zip(messages, outcomes, strict=True)
        if isinstance(outcome, Written) and outcome.change
    ]


def _by_permission(message: models.Message) -> None:
    """The admin asks for the permission."""


# --- What is old ---


@dataclass(frozen=True, slots=True)
class Gone:
    """What went, or would go: so many messages, with so many numbers."""

    room: str
    messages: int
    numbers: int


def measure(messages: Messages) -> list[Gone]:
    """What would go of each room with these messages."""
    rows = messages.order_by("room__slug").values_list("room__slug")
    return [Gone(slug, n, n + changes) for slug, n, changes in rows.annotate(Count("pk"), Sum("changes"))]


def prune(messages: Messages, size: int = BATCH) -> Iterator[Gone]:
    """Delete messages, so many in one transaction; what went with each. The rooms remember how many numbers."""
    for rows in in_pieces(messages.select_related("room").only("number", "room__slug"), size):
        began = time.monotonic()
        gone = retry_on_conflict(partial(_prune, rows[0].room, [row.pk for row in rows]))
        took = time.monotonic() - began
        yield gone
        # Who waits for SQLite's lock only looks again now and then, and must find it free.
        time.sleep(took)


def _prune(room: models.Room, keys: Sequence[int]) -> Gone:
    using = router.db_for_write(models.Message)
    with transaction.atomic(using=using):
        lock(room.pk, using)
        # What another run has not taken before, with the changes that it has now.
        rows = models.Message.objects.using(using).filter(pk__in=keys)
        messages, changes = rows.aggregate(n=Count("pk"), changes=Coalesce(Sum("changes"), 0)).values()
        rows.only("pk").delete()
        row = models.Room._base_manager.using(using).filter(pk=room.pk)  # noqa: SLF001 the one that takes counters
        row.update(pruned=F("pruned") + messages + changes)
    return Gone(room.slug, messages, messages + changes)


def lock(room: int, using: str) -> None:
    """Keep others from writing in the room until the transaction ends."""
    models.Room.objects.using(using).filter(pk=room).locked().values_list("pk").first()


# --- The proof ---


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with a room, or with what all rooms share."""

    where: str
    what: str
    # A statement for the database, or what to do.
    repair: str
    # Does it; None where nobody but you can.
    mend: Callable[[], object] | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. To repair: {self.repair}"


RESTORE = "the chat never writes such rows: restore a backup."
# With another epoch clients start over: they may have seen numbers that will be given again.
RECOUNT = "UPDATE chat_room SET seq = {seq}, pruned = {pruned}, epoch = '{epoch}' WHERE id = {room};"
NO_TEXT = "UPDATE chat_message SET content = '' WHERE room_id = {room} AND deleted IS NOT NULL;"
NO_REPLY = (
    "UPDATE chat_message SET reply_to = NULL WHERE room_id = {room} AND NOT reply_to BETWEEN 1 AND number - 1;"
)
HIDDEN_AGAIN = (
    "UPDATE chat_message SET hidden = TRUE WHERE room_id = {room} AND withdrawn IS NOT NULL; "
    "UPDATE chat_room SET epoch = '{epoch}' WHERE id = {room};"
)
NO_EMOJI = (
    "DELETE FROM chat_reaction WHERE message_id IN "
    "(SELECT id FROM chat_message WHERE room_id = {room} AND deleted IS NOT NULL);"
)
READ_ALL = "UPDATE chat_readposition SET seq = {seq} WHERE room_id = {room} AND seq > {seq};"
INTEGRITY = "INSERT INTO chat_message_search(chat_message_search, rank) VALUES ('integrity-check', 1)"
"""The 1 has the index compared with the messages, not only with itself."""
RULES = {
    "order": (
        Q(number__lt=1) | Q(seq__lt=F("number")),
        "{n} messages have a number under 1, or a last change before it",
        RESTORE,
    ),
    "text": (
        Q(deleted__isnull=False) & ~Q(content=""),
        "{n} deleted messages still have their text",
        NO_TEXT,
    ),
    "replies": (
        Q(reply_to__gte=F("number")) | Q(reply_to__lt=1),
        "{n} messages answer one that was not there yet",
        NO_REPLY,
    ),
    "withdrawn": (
        Q(withdrawn__isnull=False, hidden=False),
        "{n} messages that their authors deleted while they were hidden are shown",
        HIDDEN_AGAIN,
    ),
}
"""What no message may be; how that is said; and the repair."""


def faults(rooms: QuerySet[models.Room]) -> Iterator[Fault]:
    """What is wrong with the rooms' logs. Each question is one statement, so it holds while the chat goes on."""
    messages = models.Message.objects.filter(room__in=rooms)
    yield from _doubled(messages, "number")
    yield from _doubled(messages, "seq")
    yield from _miscounted(rooms)
    yield from _broken(messages)
    yield from _deleted_with_emoji(rooms)
    yield from _read_ahead(rooms)
    yield from _search_out_of_step(connections[router.db_for_read(models.Message)])


def _mended(statement: str) -> Callable[[], object] | None:
    """Carries out a repair that holds whatever has changed since it was found."""
    return None if statement == RESTORE else partial(_execute, statement)


def _execute(repair: str) -> None:
    using = router.db_for_write(models.Message)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        # SQLite takes one at a time.
        for statement in repair.split("; "):
            cursor.execute(statement)


def _doubled(messages: Messages, field: str) -> Iterator[Fault]:
    """The same number on several messages. The database's own constraint forbids it, where it is there."""
    rows = messages.values("room", field).annotate(n=Count("pk")).filter(n__gt=1)
    found: dict[int, list[int]] = {}
    for room, number in rows.order_by("room", field).values_list("room", field):
        found.setdefault(room, []).append(number)
    for room in models.Room.objects.filter(pk__in=found):
        numbers = found[room.pk]
        what = f"{len(numbers)} times the same {field} is on several messages, first {numbers[0]}"
        yield Fault(room.slug, what, f"the constraint chat_message_{field} is lost; {RESTORE}")


def _miscounted(rooms: QuerySet[models.Room]) -> Iterator[Fault]:
    """A number for each message and for each of its changes, kept or pruned, and no other."""
    kept = Count("messages") + Coalesce(Sum("messages__changes"), 0)
    counted = rooms.annotate(kept=kept, last=Coalesce(Max("messages__seq"), 0))
    for room in counted.exclude(seq=F("pruned") + F("kept"), last__lte=F("seq")):
        seq = max(room.seq, room.last, room.kept)
        what = f"it counts up to {room.seq}, with {room.pruned} pruned and {room.kept} kept, and has {room.last}"
        repair = RECOUNT.format(seq=seq, pruned=seq - room.kept, epoch=models.new_epoch(), room=room.pk)
        yield Fault(room.slug, what, repair, partial(recount, room.pk))


def _broken(messages: Messages) -> Iterator[Fault]:
    """All of RULES in one pass."""
    counts = {name: Count("pk", filter=broken) for name, (broken, _, _) in RULES.items()}
    some = Q(*((f"{name}__gt", 0) for name in RULES), _connector=Q.OR)
    rows = messages.values_list("room", "room__slug").annotate(**counts).filter(some)
    for room, slug, *found in rows.order_by("room__slug"):
        for n, (_, what, repair) in zip(found, RULES.values(), strict=True):
            if n:
                statement = repair.format(room=room, epoch=models.new_epoch())
                yield Fault(slug, what.format(n=n), statement, _mended(statement))


def _deleted_with_emoji(rooms: QuerySet[models.Room]) -> Iterator[Fault]:
    left = models.Reaction.objects.filter(message__room__in=rooms, message__deleted__isnull=False)
    for room, slug, n in left.values_list("message__room", "message__room__slug").annotate(Count("pk")):
        statement = NO_EMOJI.format(room=room)
        yield Fault(slug, f"{n} emoji are on deleted messages", statement, _mended(statement))


def _read_ahead(rooms: QuerySet[models.Room]) -> Iterator[Fault]:
    ahead = models.ReadPosition.objects.filter(room__in=rooms, seq__gt=F("room__seq"))
    for room, slug, seq, n in ahead.values_list("room", "room__slug", "room__seq").annotate(Count("pk")):
        what = f"{n} people have read further than the last number, {seq}"
        statement = READ_ALL.format(room=room, seq=seq)
        yield Fault(slug, what, statement, _mended(statement))


def _search_out_of_step(connection: BaseDatabaseWrapper) -> Iterator[Fault]:
    asked = {"sqlite": _sqlite_index, "postgresql": _postgresql_index}.get(connection.vendor)
    if asked:
        for what, repair in asked(connection):
            yield Fault("search", what, repair, None if repair.startswith("manage.py") else _mended(repair))


def _sqlite_index(connection: BaseDatabaseWrapper) -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE name LIKE 'chat_message_%%'", [])
        missing = {INDEX, UNINDEXED, *TRIGGERS} - {name for (name,) in cursor.fetchall()}
        if missing:
            yield f"{', '.join(sorted(missing))} not there", f"manage.py migrate, and then: {REBUILD};"
        if INDEX in missing:
            return
        try:
            cursor.execute(INTEGRITY)
        except OperationalError:
            # It is locked, or away: that says nothing of the index.
            raise
        except DatabaseError as error:
            yield f"the index is not of the messages as they are ({error})", f"{REBUILD};"


def _postgresql_index(connection: BaseDatabaseWrapper) -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(POSTGRESQL_TRIGGER)
        if not cursor.fetchall():
            yield f"the trigger {INDEX}_void is not there", "manage.py migrate."
        for name in POSTGRESQL_INDEXES:
            cursor.execute(POSTGRESQL_STANDS, [name])
            row = cursor.fetchone()
            if row is None:
                yield f"the index {name} is not there", "manage.py migrate."
            elif not row[0]:
                yield f"the index {name} is not valid", f"REINDEX INDEX {name};"
