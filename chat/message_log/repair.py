"""Count a room's numbers again. For threads that may use the ORM.

The log gives each message its number. A row that something else wrote, by SQL or a fixture, may have the number
that the log gives next. Then the database would refuse every message, and no client would learn of that row. So
the room's counter is moved behind its last row, and the hub finds that the room has new changes.
"""

from collections.abc import Iterable, Sequence

from django.db import router, transaction
from django.db.models import Count, Exists, Max, OuterRef, Sum
from django.db.models.functions import Coalesce

from chat import models
from chat.database import pieces_of


def rooms_with_rows_ahead(rooms: Sequence[int]) -> list[int]:
    """The keys of those rooms that have rows with numbers which the log has not given."""
    found: list[int] = []
    for some in pieces_of(rooms):
        rows = models.Room.objects.filter(pk__in=some).filter(has_rows_ahead())
        found += rows.values_list("pk", flat=True)
    return found


def has_rows_ahead() -> Exists:
    """A condition for a query of rooms: the room has messages with numbers that the log has not given."""
    return Exists(models.Message.objects.filter(room=OuterRef("pk"), seq__gt=OuterRef("seq")))


def heal(rooms: Iterable[int], *, skip: bool = False) -> bool:
    """Move the counters of rooms behind their last rows. True if there were any such rows.

    With ``skip`` locked rooms are left out. No client has received rows ahead of the counter, so clients need not
    start over.
    """
    healed = [recount(room, skip=skip) for room in rooms_with_rows_ahead(sorted(set(rooms)))]
    return any(healed)


def recount(room: int, *, skip: bool = False) -> bool:
    """Make a room's counters agree with its rows. Clients start over if no row is ahead of the counters.

    In that case they may have received a number that will be given again, or may lack a row that is older than
    the last change. False if the room is deleted, or is locked and ``skip`` is set.
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
        models.Room._base_manager.using(using).filter(pk=room).update(**changed)  # noqa: SLF001 this one may update counters
    return True
