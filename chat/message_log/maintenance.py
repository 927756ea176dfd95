"""Operations on the logs from outside the chat: post, hide, prune.

For threads that may use the ORM, beside a running chat. Each change is a transaction of its own under the room's
lock, so several of these can run at once.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import router, transaction
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import Coalesce

from chat import models
from chat.database import retry_on_conflict
from chat.log.room_log import RoomLog
from chat.log.write_queue import BATCH
from chat.log.writes import Written
from chat.message_log.queries import open_room
from chat.message_log.writer import Writer
from chat.message_log.writes import NewMessage, SetHidden
from chat.protocol import Invalid, name_key


def in_pieces(messages: QuerySet[models.Message], size: int = BATCH) -> Iterator[list[models.Message]]:
    """The messages in lists of at most ``size``, room by room, each room's in their order.

    Each list is a query of its own, from where the last one ended. So no query stays open meanwhile, and changes
    of one list do not disturb the next.
    """
    for room in list(messages.order_by("room").values_list("room", flat=True).distinct()):
        of_room, last = messages.filter(room=room).order_by("number"), 0
        while rows := list(of_room.filter(number__gt=last)[:size]):
            yield rows
            last = rows[-1].number


def post(
    slug: str,
    content: str,
    *,
    username: str,
    author: str = "",
    ref: str | None = None,
    reply_to: int | None = None,
) -> Written:
    """Post a message in an existing room, from a view, a task or a command. Raises Invalid if it is refused.

    ``author`` is the key of the account that may change it later ("account:<pk>"); without one only the name is
    kept. Within a transaction of the caller's the message is published with the commit, and the room waits until
    then. Open pages receive it within two seconds. The room's rules and the limits do not apply.
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


def hide(messages: Sequence[models.Message], *, author: str, username: str, hidden: bool) -> list[models.Message]:
    """Hide messages, or show them again, as changes of their rooms. Returns those that changed.

    ``author`` and ``username`` are the staff member's. Load the messages with ``select_related("room")``.
    """
    writes = [
        SetHidden(
            room=RoomLog(message.room_id, message.room.slug, message.room.epoch, message.room.seq),
            author=author,
            username=username,
            id=message.number,
            hidden=hidden,
            allowed=_checked_by_admin,
        )
        for message in messages
    ]
    outcomes = Writer().write(writes)
    return [
        message
        for message, outcome in zip(messages, outcomes, strict=True)
        if isinstance(outcome, Written) and outcome.change
    ]


def _checked_by_admin(message: models.Message) -> None:
    """The admin has checked the permission."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """The messages of a room that were pruned, or would be."""

    # The room's slug.
    room: str
    messages: int
    # The numbers of these messages and of their changes.
    numbers: int


def count_prunable(messages: QuerySet[models.Message]) -> list[Pruned]:
    """The counts that ``prune`` would yield for these messages, one per room."""
    rows = messages.order_by("room__slug").values_list("room__slug")
    return [Pruned(slug, n, n + changes) for slug, n, changes in rows.annotate(Count("pk"), Sum("changes"))]


def prune(messages: QuerySet[models.Message], size: int = BATCH) -> Iterator[Pruned]:
    """Delete messages for good, ``size`` in one transaction, and yield the counts of each.

    The rooms remember how many numbers were pruned.
    """
    for rows in in_pieces(messages.select_related("room").only("number", "room__slug"), size):
        began = time.monotonic()
        pruned = retry_on_conflict(partial(_prune, rows[0].room, [row.pk for row in rows]))
        took = time.monotonic() - began
        yield pruned
        # A writer that waits for SQLite's lock only polls now and then, and must find it free.
        time.sleep(took)


def _prune(room: models.Room, keys: Sequence[int]) -> Pruned:
    using = router.db_for_write(models.Message)
    with transaction.atomic(using=using):
        lock(room.pk, using)
        # Another run may have pruned some of them, and their changes count as of now.
        rows = models.Message.objects.using(using).filter(pk__in=keys)
        messages, changes = rows.aggregate(n=Count("pk"), changes=Coalesce(Sum("changes"), 0)).values()
        rows.only("pk").delete()
        row = models.Room._base_manager.using(using).filter(pk=room.pk)  # noqa: SLF001 this one may update counters
        row.update(pruned=F("pruned") + messages + changes)
    return Pruned(room.slug, messages, messages + changes)


def lock(room: int, using: str) -> None:
    """Keep others from writing in the room until the transaction ends."""
    models.Room.objects.using(using).filter(pk=room).locked().values_list("pk").first()
