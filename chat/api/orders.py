"""Changes of messages that Python asks for: now, or with the commit of the caller's transaction.

A change that waits for a commit is a row in the outbox, under the room's slug. The numbering carries it out
(chat.topics.outbox). A change that is carried out now comes after those of its room that wait.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import DataError, IntegrityError, connections, router, transaction

from chat import models
from chat.api.delivery import deliver
from chat.database import milliseconds
from chat.log import Change, Outcome, RoomLog, Written
from chat.log.writes import Held, ref_reused
from chat.message_log import DeleteMessage, EditText, MessageChange, NewMessage, SetReaction, Writer
from chat.message_log.locking_batch import LockingBatch
from chat.message_log.repair import heal
from chat.protocol import ErrorCode, Invalid
from chat.topics.publishing import wake
from chat.topics.writer import Changes

logger = logging.getLogger("chat.api")

FIELDS = {
    NewMessage: ("content", "reply_to", "extra"),
    EditText: ("id", "content"),
    DeleteMessage: ("id",),
    SetReaction: ("id", "emoji", "on"),
}
"""The changes that may wait, and their fields in the outbox beside the author and the ref."""
KINDS: dict[str, type[NewMessage] | type[MessageChange]] = {
    "message": NewMessage,
    "edit": EditText,
    "delete": DeleteMessage,
    "react": SetReaction,
}
"""The changes by the outbox's word for them."""
WORDS = {kind: word for word, kind in KINDS.items()}

Order = NewMessage | EditText | DeleteMessage | SetReaction


@dataclass(frozen=True, slots=True)
class Posted:
    """A committed change: the message's id, the position of the change, and milliseconds since 1970."""

    id: int
    seq: int
    timestamp: int


def carry_out(order: Order) -> Posted | None:
    """Carry out a change now; or within a transaction with its commit, and return None.

    Raises Invalid as the log does. Within a transaction that is what is known before the commit: not_found
    (a missing ``reply_to``) and ref_reused.
    """
    using = router.db_for_write(models.Outbox)
    if not connections[using].in_atomic_block:
        return _carry_out_now(order)
    if isinstance(order, NewMessage):
        if known := _known(order):
            return known
        _check_reply(order)
    row = _row(order)
    if order.ref and _is_waiting(row, using):
        return None
    row.save(using=using)
    transaction.on_commit(wake, using=using)
    return None


def _carry_out_now(order: Order) -> Posted:
    _number_waiting(order.room)
    (outcome,) = Writer().write([order])
    if isinstance(outcome, Invalid):
        raise outcome
    if outcome.change:
        deliver(order.room, [outcome.change])
    return Posted(outcome.id, outcome.seq, outcome.timestamp)


# --- Before the commit ---


def _known(order: NewMessage) -> Posted | None:
    """The message that this one repeats. Raises Invalid: ref_reused."""
    if not order.ref:
        return None
    rows = models.Message.objects.filter(room=order.room.pk, author=order.author, ref=order.ref)
    found = rows.defer("words").first()
    if found is None:
        return None
    if not found.is_repeat(order.sent_text, order.reply_to, order.extra):
        raise ref_reused()
    return Posted(found.number, found.number, milliseconds(found.created))


def _check_reply(order: NewMessage) -> None:
    if order.reply_to is not None and not 1 <= order.reply_to <= order.room.seq:
        message = "replyTo: there is no such message in this room"
        raise Invalid(ErrorCode.NOT_FOUND, message, field="replyTo")


def _is_waiting(row: models.Outbox, using: str) -> bool:
    """True if the same change waits already. Raises Invalid: ref_reused, for another one with its ref."""
    waiting = models.Outbox.objects.using(using).for_topics([row.topic]).filter(author=row.author, ref=row.ref)
    same = waiting.values_list("event", "data").first()
    if same is None:
        return False
    if same != (row.event, row.data):
        raise ref_reused()
    return True


# --- Rows of the outbox ---


def _row(order: Order) -> models.Outbox:
    fields = {name: getattr(order, name) for name in FIELDS[type(order)]}
    return models.Outbox(
        topic=order.room.slug,
        event=WORDS[type(order)],
        data=msgspec.json.encode(fields).decode(),
        author=order.author,
        username=order.username,
        ref=order.ref or "",
    )


def _order(row: models.Outbox, room: RoomLog) -> NewMessage | MessageChange:
    """Raises KeyError, TypeError or DecodeError for a row that something else wrote."""
    kind, fields = KINDS[row.event], msgspec.json.decode(row.data)
    more: dict[str, Any] = {} if kind is NewMessage else {"allowed": models.allow}
    return kind(room=room, author=row.author, username=row.username, ref=row.ref or None, **fields, **more)


def _number_waiting(room: RoomLog) -> None:
    """Carry out the room's changes that were committed before and still wait, so that none is overtaken."""
    using = router.db_for_write(models.Outbox)
    waiting = models.Outbox.objects.using(using).for_topics([room.slug])
    if not waiting.exists():
        return
    with transaction.atomic(using=using):
        # The numbering locks the room too, before it reads its rows.
        models.Room.objects.using(using).filter(pk=room.pk).locked().values_list("pk").first()
        rows = list(waiting)
        changes = write_waiting(rows)
        waiting.filter(pk__in=[row.pk for row in rows]).delete()
    for of_room, done in changes:
        deliver(of_room, done)


# --- The numbering ---


def write_waiting(rows: Sequence[models.Outbox]) -> Changes:
    """Carry out the changes of rooms that wait in the outbox, in the numbering's transaction.

    The rooms' rows are locked. A change that can't be made is logged, and holds up no other one.
    """
    slugs = {row.topic for row in rows}
    found = models.Room.objects.filter(slug__in=slugs).values_list("pk", "slug", "epoch", "seq")
    rooms = {slug: RoomLog(pk, slug, epoch, seq) for pk, slug, epoch, seq in found}
    orders = [order for row in rows if (order := _readable(row, rooms.get(row.topic)))]
    changes: dict[RoomLog, list[Change]] = {}
    for order, outcome in zip(orders, _write(orders), strict=True):
        if isinstance(outcome, Written):
            if outcome.change:
                changes.setdefault(order.room, []).append(outcome.change)
        else:
            _log_refusal(order.room.slug, WORDS.get(type(order), ""), outcome)
    return list(changes.items())


def _readable(row: models.Outbox, room: RoomLog | None) -> NewMessage | MessageChange | None:
    if room is None:
        _log_refusal(row.topic, row.event, "the room is gone")
        return None
    try:
        return _order(row, room)
    except (KeyError, TypeError, msgspec.DecodeError) as error:
        _log_refusal(row.topic, row.event, repr(error))
        return None


def _log_refusal(room: str, event: str, why: object) -> None:
    logger.error("room %s: a waiting %s is refused: %s", room, event, why)


def _write(orders: Sequence[NewMessage | MessageChange]) -> list[Outcome | Held]:
    """The outcomes. If the database refuses one, the others are written without it."""
    using = router.db_for_write(models.Message)
    try:
        with transaction.atomic(using=using):
            return LockingBatch(orders, wait=True).run() if orders else []
    except (IntegrityError, DataError) as error:
        if heal(order.room.pk for order in orders):
            return _write(orders)
        if len(orders) == 1:
            return [Invalid(ErrorCode.FORBIDDEN, f"the database refuses it: {error}")]
        return [outcome for order in orders for outcome in _write([order])]
