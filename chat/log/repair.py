"""A room's counters, counted anew. For threads that may use the ORM.

The log gives each message its number. A row that something else wrote, by SQL or a fixture, stands where the log
goes next: every message would be refused, and that row told to nobody. So the counter goes on behind the last row,
and the hub finds that the room has gone on.
"""

from collections.abc import Iterable, Sequence

from django.db import router, transaction
from django.db.models import Count, Exists, Max, OuterRef, Sum
from django.db.models.functions import Coalesce

from chat import models

AT_ONCE = 10_000
"""Rooms that one query asks for, as in chat.log.queries."""


def ahead(rooms: Sequence[int]) -> list[int]:
    """The rooms that have rows with numbers which they have not given."""
    found: list[int] = []
    for start in range(0, len(rooms), AT_ONCE):
        rows = models.Room.objects.filter(pk__in=rooms[start : start + AT_ONCE]).filter(has_rows_ahead())
        found += rows.values_list("pk", flat=True)
    return found


def has_rows_ahead() -> Exists:
    """A condition for a query of rooms: the room has messages with numbers that it has not given."""
    return Exists(models.Message.objects.filter(room=OuterRef("pk"), seq__gt=OuterRef("seq")))


def heal(rooms: Iterable[int], *, skip: bool = False) -> bool:
    """Let the rooms count on behind their last rows. Was that done to any?

    With ``skip`` rooms that somebody else has locked are left out. Nobody was told yet of rows behind the counter,
    so clients need not start over.
    """
    healed = [recount(room, skip=skip) for room in ahead(sorted(set(rooms)))]
    return any(healed)


def recount(room: int, *, skip: bool = False) -> bool:
    """Have a room's counters agree with its rows. Clients start over if no row is ahead of the counters.

    They may have seen a number that will be given again, or may not have been told of a row that is older than the
    last change. False where the room is gone, or is to be skipped.
    """
    using = router.db_for_write(models.Room)
    with transaction.atomic(using=using):
        row = models.Room.objects.using(using).filter(pk=room).locked(skip=skip).first()
        if row is None:
            return False
        messages = models.Message.objects.using(using).filter(room=room)
        kept, last = messages.aggregate(
            kept=Count("pk") + Coalesce(Sum("changes"), 0), last=Coalesce(Max("seq"), 0)
        ).values()
        seq = max(row.seq, last, kept)
        changed: dict[str, object] = {"seq": seq, "pruned": seq - kept}
        if last <= row.seq:
            changed["epoch"] = models.new_epoch()
        models.Room._base_manager.using(using).filter(pk=room).update(**changed)  # noqa: SLF001 the one that takes counters
    return True
