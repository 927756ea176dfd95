"""How publications get their numbers: all that wait in one transaction, each topic's in their order.

For the thread that writes. A transaction that has locked a topic's row delays only that topic: locked rows are
skipped, and their publications come with a later batch.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeAlias

from django.db import IntegrityError, connections, router, transaction
from django.db.models import Exists, OuterRef

from chat import models, protocol
from chat.database import as_database_time, insert_rows, milliseconds, pieces_of, places_of, retry_on_conflict
from chat.log import Change, Outcome, RoomLog, Write, Written
from chat.log.writes import HELD, Held, ref_reused
from chat.protocol import Invalid, is_topic
from chat.topics.declare import Memory, Topic, find
from chat.topics.entries import Item, change_of
from chat.topics.rights import Wish, allowed, forbidden

logger = logging.getLogger("chat.topics")

BATCH = 1_000
"""Publications of one transaction: some 20 ms of work."""

HEAL = (
    "UPDATE chat_topic SET seq = (SELECT max(seq) FROM chat_entry WHERE topic_id = chat_topic.id) "
    "WHERE id = %s AND seq < (SELECT max(seq) FROM chat_entry WHERE topic_id = chat_topic.id)"
)

Changes: TypeAlias = list[tuple[RoomLog, list[Change]]]


@dataclass(eq=False, slots=True, kw_only=True)
class Publishing(Write):
    """A publication that is to be numbered."""

    topic: Topic
    event: str
    data: str
    key: str = ""
    gone: bool = False
    ref: str = ""
    # The user's wish, which the project must allow. None: Python publishes.
    wish: Wish | None = None

    @property
    def digest(self) -> str:
        """Tells this publication from another one with the same ref."""
        parts = "\0".join([self.event, self.key, self.data, str(self.gone)])
        return blake2b(parts.encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class Numbered:
    """The result of one batch of waiting publications."""

    changes: Changes = field(default_factory=list)
    # Publications of topics that are kept in memory.
    passed: list[Publishing] = field(default_factory=list)
    # Names of topics whose rows were locked.
    locked: set[str] = field(default_factory=set)
    # Count of the rows that were taken from the outbox.
    taken: int = 0


class TopicBatch:
    """Publications of one transaction, whose topics' rows are locked."""

    def __init__(self, using: str, topics: dict[str, RoomLog]) -> None:
        self.using = using
        self.connection = connections[using]
        self.topics = topics
        self.now = protocol.now()
        self.last = {name: row.seq for name, row in topics.items()}
        # Entries with a key, as they are after the batch, by (topic's key, key); and how often each was replaced.
        self._keyed: dict[tuple[int, str], Item] = {}
        self._existed: set[tuple[int, str]] = set()
        self._replaced: dict[tuple[int, str], int] = {}
        self._stream: list[tuple[int, Item]] = []
        self._refs: dict[tuple[int, str, str], tuple[str, Written]] = {}
        self._new_refs: list[tuple[Any, ...]] = []

    def run(self, writes: Sequence[Publishing]) -> list[Outcome]:
        """One outcome per publication, in their order."""
        self._read_refs(writes)
        self._read_keys(writes)
        outcomes = [self._one(self.topics[write.topic.name], write) for write in writes]
        self._insert()
        self._advance()
        return outcomes

    # --- Reading ---

    def _read_refs(self, writes: Sequence[Publishing]) -> None:
        refs = {write.ref for write in writes if write.ref}
        if refs:
            keys = [row.pk for row in self.topics.values()]
            rows = models.PublishedRef.objects.using(self.using).filter(topic__in=keys, ref__in=refs)
            for row in rows:
                written = Written(row.number, row.seq, milliseconds(row.created))
                self._refs[row.topic_id, row.author, row.ref] = (row.digest, written)

    def _read_keys(self, writes: Sequence[Publishing]) -> None:
        keys = {write.key for write in writes if write.key}
        if keys:
            pks = {self.topics[write.topic.name].pk for write in writes if write.key}
            rows = models.Entry.objects.using(self.using).filter(topic__in=pks, key__in=keys)
            for row in rows:
                self._keyed[row.topic_id, row.key] = item_of(row)
            self._existed = set(self._keyed)

    # --- Numbers ---

    def _one(self, row: RoomLog, write: Publishing) -> Outcome:
        name = (row.pk, write.author, write.ref)
        if write.ref and name in self._refs:
            digest, written = self._refs[name]
            return written if digest == write.digest else ref_reused()
        before = self._keyed.get((row.pk, write.key)) if write.key else None
        if write.gone and (before is None or before.gone):
            return Written()
        written = self._number(row, write, before)
        if write.ref:
            self._refs[name] = (write.digest, Written(written.id, written.seq, written.timestamp))
            self._new_refs.append((*name, write.digest, written.id, written.seq))
        return written

    def _number(self, row: RoomLog, write: Publishing, before: Item | None) -> Written:
        seq = self.last[row.slug] = self.last[row.slug] + 1
        item = Item(
            number=before.number if before else seq,
            seq=seq,
            event="" if write.gone else write.event,
            key=write.key,
            data="{}" if write.gone else write.data,
            gone=write.gone,
            author=write.author,
            username=write.username,
            timestamp=self.now,
        )
        if write.key:
            place = (row.pk, write.key)
            self._keyed[place] = item
            self._replaced[place] = self._replaced.get(place, -1) + 1
        else:
            self._stream.append((row.pk, item))
        known = before.data if before and not before.gone and before.event == item.event else None
        return Written(item.number, seq, self.now, change_of(write.topic, item, live=True, before=known))

    # --- Writing ---

    def _insert(self) -> None:
        created = as_database_time(self.now, self.connection.ops)
        rows = [(pk, item, 0) for pk, item in self._stream]
        new: list[tuple[int, Item, int]] = []
        old: list[tuple[int, Item, int]] = []
        for place, replaced in self._replaced.items():
            (old if place in self._existed else new).append((place[0], self._keyed[place], replaced))
        self._insert_entries([*rows, *new], created)
        self._update(old, created)
        refs = [(*ref, created) for ref in self._new_refs]
        insert_rows(
            self.connection, "chat_publishedref", "topic_id, author, ref, digest, number, seq, created", refs
        )

    def _insert_entries(self, rows: Sequence[tuple[int, Item, int]], created: Any) -> None:
        columns = "topic_id, number, seq, changes, event, key, data, gone, author, username, created"
        values = [
            (pk, i.number, i.seq, changes, i.event, i.key, i.data, i.gone, i.author, i.username, created)
            for pk, i, changes in rows
        ]
        insert_rows(self.connection, "chat_entry", columns, values)

    def _update(self, rows: Sequence[tuple[int, Item, int]], created: Any) -> None:
        if not rows:
            return
        with self.connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE chat_entry SET seq = %s, changes = changes + %s, event = %s, data = %s, gone = %s, "
                "author = %s, username = %s, created = %s WHERE topic_id = %s AND key = %s",
                [
                    (i.seq, replaced + 1, i.event, i.data, i.gone, i.author, i.username, created, pk, i.key)
                    for pk, i, replaced in rows
                ],
            )

    def _advance(self) -> None:
        moved = [(self.last[name], row.pk) for name, row in self.topics.items() if self.last[name] != row.seq]
        if moved:
            with self.connection.cursor() as cursor:
                cursor.executemany("UPDATE chat_topic SET seq = %s WHERE id = %s", moved)


class TopicWriter:
    """Numbers the publications of sockets, and those that wait in the outbox. Used by one thread at a time."""

    def attempt(self, writes: Sequence[Write], *, wait: bool = False) -> list[Outcome | Held]:
        """Commit a batch of publications; see chat.log.log.BatchWriter."""
        return retry_on_conflict(
            lambda: self._attempt([w for w in writes if isinstance(w, Publishing)], wait=wait)
        )

    def _attempt(self, writes: Sequence[Publishing], *, wait: bool) -> list[Outcome | Held]:
        using = router.db_for_write(models.Topic)
        outcomes: dict[Write, Outcome | Held] = {write: forbidden(write.topic) for write in _denied(writes)}
        writes_left = [write for write in writes if write not in outcomes]
        with healing(), transaction.atomic(using=using):
            topics = lock(using, {write.topic.name for write in writes_left}, wait=wait)
            free = [write for write in writes_left if write.topic.name in topics]
            outcomes |= zip(free, self._run(using, topics, free), strict=True)
        return [outcomes.get(write, HELD) for write in writes]

    def _run(self, using: str, topics: dict[str, RoomLog], writes: Sequence[Publishing]) -> list[Outcome]:
        """Number the publications, after those of the same topics that were committed before and still wait.

        Hubs find the numbers of the latter missing, and read them from the log.
        """
        rows = list(models.Outbox.objects.using(using).for_topics(topics))
        known = {write.topic.name: write.topic for write in writes}
        waiting = [publishing(known[row.topic], topics[row.topic], row) for row in rows]
        outcomes = TopicBatch(using, topics).run([*waiting, *writes])
        _log_refused(waiting, outcomes)
        remove_rows(using, rows)
        return outcomes[len(rows) :]


def _denied(writes: Sequence[Publishing]) -> list[Publishing]:
    """The publications that the project does not allow to their users."""
    asked = [write for write in writes if write.wish]
    answers = allowed([write.wish for write in asked if write.wish]) if asked else []
    return [write for write, answer in zip(asked, answers, strict=True) if not answer]


def number_waiting(rooms: Callable[[Sequence[models.Outbox]], Changes], skip: Iterable[str] = ()) -> Numbered:
    """Give the next batch of waiting publications their numbers, in one transaction.

    ``rooms`` takes those that are messages for rooms, within the transaction. ``skip``: names to leave out.
    """
    return retry_on_conflict(lambda: _number_waiting(rooms, frozenset(skip)))


def _number_waiting(rooms: Callable[[Sequence[models.Outbox]], Changes], skip: frozenset[str]) -> Numbered:
    using = router.db_for_write(models.Outbox)
    waiting = models.Outbox.objects.using(using).exclude(topic__in=skip)
    with healing(), transaction.atomic(using=using):
        names = set(waiting.order_by("pk").values_list("topic", flat=True)[:BATCH])
        if not names:
            return Numbered()
        ours = {name: topic for name in names if is_topic(name) and (topic := find(name))}
        topics = lock(using, ours)
        slugs = lock_rooms(using, {name for name in names if not is_topic(name)})
        rows = list(models.Outbox.objects.using(using).for_topics({*topics, *slugs})[:BATCH])
        result = Numbered(taken=len(rows), locked=names - topics.keys() - slugs)
        _number(using, topics, ours, rows, result)
        result.changes += rooms([row for row in rows if not is_topic(row.topic)])
        remove_rows(using, rows)
    return result


def _number(
    using: str,
    topics: dict[str, RoomLog],
    known: dict[str, Topic],
    rows: Sequence[models.Outbox],
    result: Numbered,
) -> None:
    writes = [publishing(known[row.topic], topics[row.topic], row) for row in rows if is_topic(row.topic)]
    result.passed = [write for write in writes if isinstance(write.topic.keep, Memory)]
    stored = [write for write in writes if not isinstance(write.topic.keep, Memory)]
    outcomes = TopicBatch(using, topics).run(stored)
    _log_refused(stored, outcomes)
    changes: dict[str, list[Change]] = {}
    for write, outcome in zip(stored, outcomes, strict=True):
        if isinstance(outcome, Written) and outcome.change:
            changes.setdefault(write.topic.name, []).append(outcome.change)
    result.changes += [(topics[name], of_topic) for name, of_topic in changes.items()]


def _log_refused(waiting: Sequence[Publishing], outcomes: Sequence[Outcome]) -> None:
    """Nobody waits for the outcome of a row of the outbox. ``outcomes`` begin with theirs."""
    for write, outcome in zip(waiting, outcomes, strict=False):
        if isinstance(outcome, Invalid):
            logger.error("topic %s: the ref %r was used for another publication", write.topic.name, write.ref)


def publishing(topic: Topic, row: RoomLog, waiting: models.Outbox) -> Publishing:
    """A row of the outbox as a publication."""
    return Publishing(
        room=row,
        author=waiting.author,
        username=waiting.username,
        topic=topic,
        event=waiting.event,
        data=waiting.data,
        key=waiting.key,
        gone=waiting.gone,
        ref=waiting.ref,
    )


def remove_rows(using: str, rows: Sequence[models.Outbox]) -> None:
    """Delete these rows of the outbox: their publications have numbers. The ORM would load them first."""
    with connections[using].cursor() as cursor:
        for some in pieces_of(rows):
            keys = tuple(row.pk for row in some)
            cursor.execute(f"DELETE FROM chat_outbox WHERE id IN {places_of([keys])}", keys)  # noqa: S608 places


def lock(using: str, names: Iterable[str], *, wait: bool = False) -> dict[str, RoomLog]:
    """Lock the topics' rows, and make the missing ones. Without ``wait`` locked ones are left out."""
    names = set(names)
    found = _locked(using, names, wait=wait)
    if missing := names - found.keys():
        create(using, missing)
        found |= _locked(using, missing, wait=wait)
    return found


def _locked(using: str, names: set[str], *, wait: bool) -> dict[str, RoomLog]:
    features = connections[using].features
    rows = models.Topic.objects.using(using).filter(name__in=names).order_by("pk")
    rows = rows.select_for_update(
        skip_locked=not wait and features.has_select_for_update_skip_locked,
        no_key=features.has_select_for_no_key_update,
    )
    return {name: RoomLog(pk, name, epoch, seq) for pk, name, epoch, seq in rows.values_list(*ROW)}


ROW = ("pk", "name", "epoch", "seq")


def lock_rooms(using: str, slugs: set[str]) -> set[str]:
    """Lock the rooms' rows, without those that another transaction has locked. A room that is gone counts too."""
    if not slugs:
        return set()
    rooms = models.Room.objects.using(using).filter(slug__in=slugs)
    locked = set(rooms.locked(skip=True).values_list("slug", flat=True))
    return locked | (slugs - set(rooms.values_list("slug", flat=True)))


def create(using: str, names: Iterable[str]) -> None:
    """Make the topics' rows, except those that exist."""
    now = as_database_time(protocol.now(), connections[using].ops)
    with connections[using].cursor() as cursor:
        for name in sorted(names):
            cursor.execute(
                "INSERT INTO chat_topic (name, epoch, seq, pruned, floor, rules, created) "
                "VALUES (%s, %s, 0, 0, 0, 0, %s) ON CONFLICT DO NOTHING",
                [name, models.new_epoch(), now],
            )


@contextmanager
def healing() -> Iterator[None]:
    """An IntegrityError within moves the counters of topics behind their entries. The caller tries again."""
    try:
        yield
    except IntegrityError:
        heal(ahead())
        raise


def ahead(pks: Sequence[int] | None = None) -> list[int]:
    """The keys of those topics that have entries with numbers which were not given; of all, without ``pks``."""
    numbers = models.Entry.objects.filter(topic=OuterRef("pk"), seq__gt=OuterRef("seq"))
    topics = models.Topic.objects.using(router.db_for_write(models.Topic)).filter(Exists(numbers))
    if pks is None:
        return list(topics.values_list("pk", flat=True))
    return [pk for some in pieces_of(pks) for pk in topics.filter(pk__in=some).values_list("pk", flat=True)]


def heal(pks: Iterable[int]) -> None:
    """Move the counters of these topics behind entries that something else wrote."""
    with connections[router.db_for_write(models.Topic)].cursor() as cursor:
        cursor.executemany(HEAL, [[pk] for pk in pks])


def item_of(row: models.Entry) -> Item:
    return Item(
        row.number,
        row.seq,
        row.event,
        row.key,
        row.data,
        row.gone,
        row.author,
        row.username,
        milliseconds(row.created),
    )
