"""Faults in the rooms' logs, and their repairs: `manage.py chat_check` prints and fixes them.

For threads that may use the ORM, beside a running chat.
"""

from collections.abc import Callable, Iterator
from functools import partial

from django.db import DatabaseError, OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, F, Max, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from chat import models
from chat.log.faults import Fault
from chat.message_log.repair import recount
from chat.message_log.search import (
    INDEX,
    POSTGRESQL_INDEXES,
    POSTGRESQL_STANDS,
    POSTGRESQL_TRIGGER,
    REBUILD,
    TRIGGERS,
    UNINDEXED,
)

RESTORE = "the chat never writes such rows: restore a backup."
# A new epoch makes clients start over: they may have received numbers that will be given again.
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
"""The 1 compares the index with the messages, not only with itself."""
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
"""Per rule: the condition that no message may meet, the fault's text, and its repair."""


def faults(rooms: QuerySet[models.Room]) -> Iterator[Fault]:
    """The faults of the rooms' logs. Each check is one statement, so it is exact while the chat goes on."""
    messages = models.Message.objects.filter(room__in=rooms)
    yield from _duplicate_numbers(messages, "number")
    yield from _duplicate_numbers(messages, "seq")
    yield from _miscounted(rooms)
    yield from _broken_rules(messages)
    yield from _deleted_with_emoji(rooms)
    yield from _read_ahead(rooms)
    yield from _search_out_of_step(connections[router.db_for_read(models.Message)])


def _fix_by(statement: str) -> Callable[[], object] | None:
    """A function that executes the repair. Its statement is right whatever has changed since the check."""
    return None if statement == RESTORE else partial(_execute, statement)


def _execute(repair: str) -> None:
    using = router.db_for_write(models.Message)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        # SQLite takes one statement at a time.
        for statement in repair.split("; "):
            cursor.execute(statement)


def _duplicate_numbers(messages: QuerySet[models.Message], field: str) -> Iterator[Fault]:
    """Several messages with the same number. The database's constraint forbids that, if it exists."""
    rows = messages.values("room", field).annotate(n=Count("pk")).filter(n__gt=1)
    found: dict[int, list[int]] = {}
    for room, number in rows.order_by("room", field).values_list("room", field):
        found.setdefault(room, []).append(number)
    for room in models.Room.objects.filter(pk__in=found):
        numbers = found[room.pk]
        what = f"{len(numbers)} times the same {field} is on several messages, first {numbers[0]}"
        yield Fault(room.slug, what, f"the constraint chat_message_{field} is lost; {RESTORE}")


def _miscounted(rooms: QuerySet[models.Room]) -> Iterator[Fault]:
    """Rooms that did not give one number for each message and change, kept or pruned."""
    kept = Count("messages") + Coalesce(Sum("messages__changes"), 0)
    counted = rooms.annotate(kept=kept, last=Coalesce(Max("messages__seq"), 0))
    for room in counted.exclude(seq=F("pruned") + F("kept"), last__lte=F("seq")):
        seq = max(room.seq, room.last, room.kept)
        what = f"it counts up to {room.seq}, with {room.pruned} pruned and {room.kept} kept, and has {room.last}"
        repair = RECOUNT.format(seq=seq, pruned=seq - room.kept, epoch=models.new_epoch(), room=room.pk)
        yield Fault(room.slug, what, repair, partial(recount, room.pk))


def _broken_rules(messages: QuerySet[models.Message]) -> Iterator[Fault]:
    """All RULES in one query."""
    counts = {name: Count("pk", filter=broken) for name, (broken, _, _) in RULES.items()}
    any_broken = Q(*((f"{name}__gt", 0) for name in RULES), _connector=Q.OR)
    rows = messages.values_list("room", "room__slug").annotate(**counts).filter(any_broken)
    for room, slug, *found in rows.order_by("room__slug"):
        for n, (_, what, repair) in zip(found, RULES.values(), strict=True):
            if n:
                statement = repair.format(room=room, epoch=models.new_epoch())
                yield Fault(slug, what.format(n=n), statement, _fix_by(statement))


def _deleted_with_emoji(rooms: QuerySet[models.Room]) -> Iterator[Fault]:
    left = models.Reaction.objects.filter(message__room__in=rooms, message__deleted__isnull=False)
    for room, slug, n in left.values_list("message__room", "message__room__slug").annotate(Count("pk")):
        statement = NO_EMOJI.format(room=room)
        yield Fault(slug, f"{n} emoji are on deleted messages", statement, _fix_by(statement))


def _read_ahead(rooms: QuerySet[models.Room]) -> Iterator[Fault]:
    ahead = models.ReadPosition.objects.filter(room__in=rooms, seq__gt=F("room__seq"))
    for room, slug, seq, n in ahead.values_list("room", "room__slug", "room__seq").annotate(Count("pk")):
        what = f"{n} people have read further than the last number, {seq}"
        statement = READ_ALL.format(room=room, seq=seq)
        yield Fault(slug, what, statement, _fix_by(statement))


def _search_out_of_step(connection: BaseDatabaseWrapper) -> Iterator[Fault]:
    check = {"sqlite": _sqlite_index, "postgresql": _postgresql_index}.get(connection.vendor)
    if check:
        for what, repair in check(connection):
            yield Fault("search", what, repair, None if repair.startswith("manage.py") else _fix_by(repair))


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
            # The database is locked, or away: that is no fault of the index.
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
