"""One transaction of writes: numbers, rows, counters. Two batches for new messages, and what all batches share.

Table names stand in the statements as they are: the app's migrations fix them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.db import connections, router
from msgspec import UNSET

from chat import models, protocol
from chat.database import as_database_time, insert_rows, places_of
from chat.log.changes import Change
from chat.log.room_log import RoomLog
from chat.log.writes import HELD, Held, Outcome, Write, Written
from chat.message_log.changes import add_extra
from chat.message_log.search_words import words_for
from chat.message_log.writes import NewMessage
from chat.protocol import ErrorCode, Invalid, Message

COLUMNS = "room_id, number, seq, changes, author, username, ref, content, created, hidden, reply_to, words"


class OutOfStep(Exception):  # noqa: N818 it names what happened
    """The rooms differ from this process's memory: another process wrote to one, or deleted it."""


class WriteBatch:
    """Writes of one transaction."""

    def __init__(self, writes: Sequence[Write]) -> None:
        self.writes = writes
        self.using = router.db_for_write(models.Message)
        self.connection = connections[self.using]
        self.now = protocol.now()
        # Each room's last number before the batch and after it, by the room's key.
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        # Keys of the rooms that another transaction has locked.
        self.locked: set[int] = set()

    def run(self) -> list[Outcome | Held]:
        """Execute the batch within a transaction of the caller; one outcome per write, in their order."""
        raise NotImplementedError

    def find_locked(self) -> None:
        """Among the rooms that could not be locked, find those that exist."""
        missing = {write.room.pk for write in self.writes} - self.first.keys()
        if missing:
            rooms = models.Room.objects.using(self.using).filter(pk__in=missing)
            self.locked = set(rooms.values_list("pk", flat=True))

    def outcome_without_room(self, write: Write) -> Invalid | Held:
        """The outcome of a write whose room this batch could not lock."""
        if write.room.pk in self.locked:
            return HELD
        return Invalid(ErrorCode.NOT_FOUND, "room: is gone", field="room")

    def next_number(self, room: RoomLog) -> int:
        self.last[room.pk] += 1
        return self.last[room.pk]

    def message(self, write: NewMessage) -> Message:
        """The message on the wire, with the room's next number."""
        number = self.next_number(write.room)
        message = Message(
            room=write.room.slug,
            id=number,
            seq=number,
            username=write.username,
            content=write.content,
            timestamp=self.now,
            by=models.author_key(write.author) or UNSET,
            reply_to=UNSET if write.reply_to is None else write.reply_to,
        )
        if write.extra:
            add_extra(message, write.extra)
        return message

    def insert(self, new: Sequence[tuple[NewMessage, Message]]) -> None:
        """Insert the rows of new messages with one statement."""
        created = as_database_time(self.now, self.connection.ops)
        columns = COLUMNS
        digests: list[tuple[str | None, ...]] = [()] * len(new)
        if any([w.ref and w.sent is not None for w, _ in new]):  # noqa: C419 a list is quicker, and this is for each message
            columns += ", said"
            digests = [("" if w.sent is None or not w.ref else models.digest(w.sent),) for w, _ in new]
        if any([w.extra for w, _ in new]):  # noqa: C419 as above
            columns += ", extra"
            digests = [(*digest, w.extra) for (w, _), digest in zip(new, digests, strict=True)]
        rows: list[tuple[Any, ...]] = [
            (
                w.room.pk,
                m.id,
                m.seq,
                0,
                w.author,
                w.username,
                w.ref,
                w.content,
                created,
                False,
                w.reply_to,
                words_for(w.room.pk, w.content) if w.content else None,
                *digest,
            )
            for (w, m), digest in zip(new, digests, strict=True)
        ]
        insert_rows(self.connection, "chat_message", columns, rows)

    def activity_times(self) -> list[Any]:
        """The values for ``set_active``: rooms active before the first time get the second one, now."""
        operations = self.connection.ops
        before = self.now - 1_000 * models.ACTIVE_PRECISION
        return [as_database_time(before, operations), as_database_time(self.now, operations)]

    def advance(self) -> bool:
        """Write the rooms' counters. False if a room's counter is not the expected one."""
        rows = [(pk, self.first[pk], last) for pk, last in self.last.items() if last != self.first[pk]]
        if not rows:
            return True
        with self.connection.cursor() as cursor:
            cursor.execute(
                # The statement begins with UPDATE, or sqlite3 would not count its rows.
                f"UPDATE chat_room SET seq = numbers.last, {set_active('numbers.last')} FROM "  # noqa: S608 places for values
                f"(WITH given(room, first, last) AS (VALUES {places_of(rows)}) SELECT * FROM given) AS numbers "
                "WHERE chat_room.id = numbers.room AND chat_room.seq = numbers.first",
                [*self.activity_times(), *(value for row in rows for value in row)],
            )
            written: int = cursor.rowcount
        return written == len(rows)


class OptimisticBatch(WriteBatch):
    """New messages only, numbered on from what this process wrote last. Raises OutOfStep if another one wrote."""

    def __init__(self, writes: Sequence[NewMessage], last: dict[int, int]) -> None:
        super().__init__(writes)
        self.new = writes
        self.first = {write.room.pk: last[write.room.pk] for write in writes}
        self.last = dict(self.first)

    def run(self) -> list[Outcome | Held]:
        new = [(write, self.message(write)) for write in self.new]
        if not self.advance():
            raise OutOfStep
        self.insert(new)
        return [written_message(message) for _, message in new]


class ReturningBatch(WriteBatch):
    """New messages only, numbered by the database (PostgreSQL). Other processes that write to the rooms only wait.

    Raises OutOfStep if a message answers one that does not exist.
    """

    def __init__(self, writes: Sequence[NewMessage], *, wait: bool) -> None:
        super().__init__(writes)
        self.new = writes
        self.wait = wait

    def run(self) -> list[Outcome | Held]:
        if self._take_numbers():
            new = [(write, self._next(write)) for write in self.new]
            self.insert(new)
            return [written_message(message) for _, message in new]
        self.find_locked()
        had = {write: self._next(write) for write in self.new if write.room.pk in self.first}
        if had:
            self.insert(list(had.items()))
        return [
            written_message(had[write]) if write in had else self.outcome_without_room(write) for write in self.new
        ]

    def _take_numbers(self) -> bool:
        """Advance the rooms' counters, and read their former values. True if that reached all rooms.

        Rooms are always locked in the same order. Without ``wait`` locked rooms are left out.
        """
        taken = Counter(write.room.pk for write in self.new)
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE chat_room SET seq = seq + numbers.taken, {set_active('seq + numbers.taken')} FROM "  # noqa: S608 places for values
                f"(WITH given(room, taken) AS (VALUES {places_of(taken.items())}) "
                "SELECT locked.id AS room, taken FROM given JOIN chat_room AS locked ON locked.id = given.room "
                f"ORDER BY locked.id FOR NO KEY UPDATE OF locked {'' if self.wait else 'SKIP LOCKED'}) AS numbers "
                "WHERE chat_room.id = numbers.room RETURNING chat_room.id, chat_room.seq",
                [*self.activity_times(), *(value for row in taken.items() for value in row)],
            )
            self.first = {room: last - taken[room] for room, last in cursor.fetchall()}
        self.last = dict(self.first)
        return len(self.first) == len(taken)

    def _next(self, write: NewMessage) -> Message:
        if write.reply_to is not None and not 1 <= write.reply_to <= self.last[write.room.pk]:
            # The message will be refused, and its number must go to another one.
            raise OutOfStep
        return self.message(write)


def written_message(message: Message) -> Written:
    """The outcome of a new message."""
    frame = protocol.encode(message)
    return Written(message.id, message.seq, message.timestamp, Change(message.seq, message.id, frame, frame))


def set_active(last: str) -> str:
    """SQL that sets a listed room's time of last activity, if the old one is too old.

    ``last`` is SQL for the room's new last number. The values are those of ``activity_times``.
    """
    listed = f"kind IN ('public', 'members') AND {last} >= {models.ACTIVE_FROM_CHANGES}"
    return f"active = CASE WHEN {listed} AND (active IS NULL OR active < %s) THEN %s ELSE active END"
