"""Prune topics as they are declared, and check their numbers. For threads that may use the ORM."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import connections, router, transaction
from django.db.models import Count, F, Max, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from chat import models
from chat.database import retry_on_conflict
from chat.log.faults import Fault
from chat.protocol import is_topic
from chat.topics.declare import Latest, Log, Topic, find
from chat.topics.writer import lock

REFS_KEPT = timedelta(days=30)
"""Time for which the ref of a publication is remembered: a repetition within it publishes nothing more."""
EMPTY_KEPT = timedelta(days=1)
"""Time for which a topic is kept that had subscribers, and never a publication."""
LATE = timedelta(seconds=60)
"""Age from which a publication that waits for its number is a fault: a server looks each second."""

RECOUNT = "UPDATE chat_topic SET seq = {seq}, pruned = {pruned}, epoch = '{epoch}' WHERE id = {topic};"
"""A new epoch makes clients start over: they may have received numbers that will be given again."""


@dataclass(frozen=True, slots=True)
class PrunedTopic:
    """The entries of a topic that were pruned, or would be."""

    topic: str
    entries: int
    # The numbers of these entries and of their changes.
    numbers: int


def prune(*, dry_run: bool = False) -> Iterator[PrunedTopic]:
    """Delete entries that their topics do not keep, one topic after another, and refs that are too old.

    Clients that have less than the highest pruned number start over.
    """
    for row in models.Topic.objects.order_by("pk").iterator():
        topic = find(row.name)
        if topic and (found := retry_on_conflict(partial(_prune, row, topic, dry_run=dry_run))):
            yield found
    if not dry_run:
        models.PublishedRef.objects.filter(created__lt=timezone.now() - REFS_KEPT).delete()
        models.Topic.objects.filter(seq=0, created__lt=timezone.now() - EMPTY_KEPT).delete()


def _prune(row: models.Topic, topic: Topic, *, dry_run: bool) -> PrunedTopic | None:
    using = router.db_for_write(models.Topic)
    with transaction.atomic(using=using):
        if not dry_run:
            lock(using, [row.name], wait=True)
        old = _old(models.Entry.objects.using(using).filter(topic=row.pk), topic)
        entries, changes, last = old.aggregate(
            n=Count("pk"), changes=Coalesce(Sum("changes"), 0), last=Coalesce(Max("seq"), 0)
        ).values()
        if entries and not dry_run:
            old.delete()
            with connections[using].cursor() as cursor:
                cursor.execute(
                    "UPDATE chat_topic SET pruned = pruned + %s, "
                    "floor = CASE WHEN floor < %s THEN %s ELSE floor END WHERE id = %s",
                    [entries + changes, last, last, row.pk],
                )
    return PrunedTopic(row.name, entries, entries + changes) if entries else None


def _old(entries: QuerySet[models.Entry], topic: Topic) -> QuerySet[models.Entry]:
    """The entries that the topic does not keep."""
    match topic.keep:
        case Log(depth=depth, days=days):
            condition = Q(created__lt=_before(days)) if days else Q(pk__in=[])
            if depth:
                kept = entries.order_by("-seq").values_list("seq", flat=True)[depth - 1 : depth].first()
                condition |= Q(seq__lt=kept or 0)
            return entries.filter(condition)
        case Latest(days=days):
            return entries.filter(gone=True, created__lt=_before(days))
    return entries.none()


def _before(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def faults() -> Iterator[Fault]:
    """The faults of all topics, and publications that nobody numbers."""
    kept = Count("entries") + Coalesce(Sum("entries__changes"), 0)
    counted = models.Topic.objects.annotate(kept=kept, last=Coalesce(Max("entries__seq"), 0))
    for row in counted.exclude(seq=F("pruned") + F("kept"), last__lte=F("seq")):
        what = f"it counts up to {row.seq}, with {row.pruned} pruned and {row.kept} kept, and has {row.last}"
        seq = max(row.seq, row.last, row.kept)
        repair = RECOUNT.format(seq=seq, pruned=seq - row.kept, epoch=models.new_epoch(), topic=row.pk)
        yield Fault(row.name, what, repair)
    late = models.Outbox.objects.filter(created__lt=timezone.now() - LATE)
    for name, number in late.order_by("topic").values_list("topic").annotate(Count("pk")):
        declared = not is_topic(name) or find(name)
        repair = "start a server" if declared else "declare the topic again, or delete these rows of chat_outbox"
        yield Fault(name, f"{number} publications wait for their number", repair)
