"""The log of the topics that are kept in the database: Log and Latest."""

import asyncio
from collections.abc import Sequence
from functools import partial

from django.db import router
from django.db.models import QuerySet

from chat import models
from chat.database import pieces_of
from chat.log import Log, LogSlice, RoomCounters, RoomLog, Write, read_or_busy, within_page, write_or_busy
from chat.protocol import Publication
from chat.topics import writer
from chat.topics.declare import Topic, find
from chat.topics.entries import Item, changes_of
from chat.topics.writer import ROW, Publishing, TopicWriter, item_of

GATHER = 0.01
"""Seconds for which publications wait for others if nobody gets them at once: their topics send at intervals."""


class TopicLog(Log):
    """One per event loop."""

    def __init__(self) -> None:
        super().__init__(TopicWriter())
        # True: among what waits is a publication that is sent at once.
        self._hurry = False

    def append(self, write: Write) -> None:
        super().append(write)
        if not (isinstance(write, Publishing) and write.topic.conflates):
            self._hurry = True

    async def gather(self) -> None:
        if not self._hurry:
            await asyncio.sleep(GATHER)
        self._hurry = False

    async def open(self, name: str, *, make: bool = True, owner: int | str | None = None) -> RoomLog:  # noqa: ARG002 a topic has no owner
        """The topic's row, made if it is missing. The caller has checked the right to subscribe."""
        found = await read_or_busy(partial(_row, name))
        if found is None:
            await write_or_busy(partial(_create, name))
            found = await read_or_busy(partial(_row, name))
        if found is None:
            raise RuntimeError(f"the row of {name!r} vanished")
        return found

    async def positions(self, rooms: list[RoomLog]) -> dict[int, RoomCounters]:
        return await read_or_busy(partial(_positions, [room.pk for room in rooms]))

    async def heal(self, rooms: list[RoomLog]) -> None:
        if found := await read_or_busy(partial(writer.ahead, [room.pk for room in rooms])):
            await write_or_busy(partial(writer.heal, found))

    async def since(self, room: RoomLog, position: int, limit: int) -> LogSlice:
        return await read_or_busy(partial(_since, room, position, limit))

    async def entries(
        self, room: RoomLog, *, before: int | None, after: int | None, limit: int
    ) -> tuple[list[Publication], bool]:
        """Entries, oldest first, and whether there are more in that direction."""
        return await read_or_busy(partial(_entries, room, before, after, limit))

    async def before_last(self, room: RoomLog, number: int) -> int | None:
        """The position before the last ``number`` entries; None if there are none."""
        return await read_or_busy(partial(_before_last, room, number))


def _row(name: str) -> RoomLog | None:
    row = models.Topic.objects.filter(name=name).values_list(*ROW).first()
    return RoomLog(*row) if row else None


def _create(name: str) -> None:
    writer.create(router.db_for_write(models.Topic), [name])


def _positions(pks: Sequence[int]) -> dict[int, RoomCounters]:
    found: dict[int, RoomCounters] = {}
    for some in pieces_of(pks):
        rows = models.Topic.objects.filter(pk__in=some)
        for pk, epoch, seq, floor, rules in rows.values_list("pk", "epoch", "seq", "floor", "rules"):
            found[pk] = RoomCounters(epoch, seq, floor, rules)
    return found


def _since(room: RoomLog, position: int, limit: int) -> LogSlice:
    # Entries have no number above the topic's as of an earlier moment; one that came since is found next time.
    last = models.Topic.objects.filter(pk=room.pk).values_list("seq", flat=True).first() or 0
    rows = models.Entry.objects.filter(topic=room.pk, seq__gt=position, seq__lte=last).order_by("seq")
    found, cut = _page(rows, limit)
    changes = changes_of(_declared(room.slug), found, position)
    return LogSlice(room.slug, position, changes, whole=not cut, last=last)


def _page(rows: QuerySet[models.Entry], limit: int) -> tuple[list[Item], bool]:
    """The first entries, as many as fit a page (chat.log.within_page); and whether there were more."""
    found, more = within_page(list(rows[: limit + 1]), limit, lambda row: len(row.data))
    return [item_of(row) for row in found], more


def _declared(name: str) -> Topic:
    topic = find(name)
    if topic is None:
        raise RuntimeError(f"no class is declared for the topic {name!r}")
    return topic


def _entries(room: RoomLog, before: int | None, after: int | None, limit: int) -> tuple[list[Publication], bool]:
    rows = models.Entry.objects.filter(topic=room.pk, gone=False)
    if after is not None:
        found, more = _page(rows.filter(number__gt=after).order_by("number"), limit)
    else:
        rows = rows if before is None else rows.filter(number__lt=before)
        found, more = _page(rows.order_by("-number"), limit)
        found.reverse()
    return [item.publication(room.slug) for item in found], more


def _before_last(room: RoomLog, number: int) -> int | None:
    rows = models.Entry.objects.filter(topic=room.pk).order_by("-seq").values_list("seq", flat=True)[:number]
    found = list(rows)
    return found[-1] - 1 if found else None
