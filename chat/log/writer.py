"""How the log is written: everything that waits in one transaction, each change with its room's next number.

Measured on SQLite (WAL, synchronous=NORMAL), CPU for each message: 190 us in a commit of its own, 31 us where 22
are committed together, 16 us where 200 are. The statements take all rows at once, for a statement per row costs a
change of threads each: SQLite lets go of Python's lock at every step.

Two ways. Where a batch has new messages only, it takes their numbers with the statement that advances the rooms'
counters. PostgreSQL tells them. On SQLite they go on from those that this process gave last, and the statement
proves that nobody else wrote in between. Otherwise, or where that fails, the rooms are locked and read first, and
each write looks at what is there.

Somebody else's transaction may lock a room's row, or another row that a write needs, for as long as it likes. On
PostgreSQL a batch that waits for a lock gives up when the `lock_timeout` of chat.database is over. Then it takes
the rooms that it can have; the writes of the others are HELD. If the lock is on another row, the batch is done
again room by room.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any

from django.db import DataError, Error, IntegrityError, OperationalError, connections, router, transaction
from msgspec import UNSET

from chat import models, protocol
from chat.database import LOCK_RETRY_SECONDS, LOCK_TIMEOUT_MS, is_locked, retry_on_conflict
from chat.log.changes import (
    Change,
    database_moment,
    event_of,
    milliseconds,
    moment,
    reactions_on,
    state_of,
)
from chat.log.queries import RoomLog
from chat.log.repair import heal
from chat.log.search import words_for
from chat.log.writes import (
    HELD,
    DeleteMessage,
    EditText,
    Held,
    MarkRead,
    MessageChange,
    NewMessage,
    Outcome,
    SetHidden,
    SetReaction,
    Write,
    Written,
    ref_reused,
    unavailable,
)
from chat.protocol import ErrorCode, Invalid, Message, Reacted

logger = logging.getLogger("chat.log")

BATCH = 500
"""Writes of one transaction: some 20 ms of work, for which the readers of a busy database may have to wait."""


MOMENT = 0.1
"""Seconds for which lines are tried one after another: the writes of all other rooms wait meanwhile."""


class _OutOfStep(Exception):  # noqa: N818 it names what happened
    """The rooms are not as they were thought to be: somebody else wrote since we did, or one is gone."""


class Writer:
    """One per process, used by one thread at a time."""

    def __init__(self) -> None:
        # The last number of each room that this process gave, by the room's key.
        self._last: dict[int, int] = {}

    def write(self, writes: Sequence[Write]) -> list[Outcome]:
        """Commit them. Each one's outcome, in their order; raises a database error where none is committed.

        It waits for what somebody else has locked, and in the end refuses what it waits for (busy).
        """
        outcomes = self.attempt(writes)
        give_up = time.monotonic() + LOCK_RETRY_SECONDS
        while HELD in outcomes and time.monotonic() < give_up:
            time.sleep(LOCK_TIMEOUT_MS / 1_000)
            held = [place for place, outcome in enumerate(outcomes) if outcome is HELD]
            self._fill(outcomes, held, writes)
        return [unavailable() if outcome is HELD else outcome for outcome in outcomes]

    def attempt(self, writes: Sequence[Write], *, wait: bool = False) -> list[Outcome | Held]:
        """Like ``write``, but a write to a locked row is HELD, with all that follows in its line.

        With ``wait`` it waits as long as the connection's `lock_timeout` says. Waiting transactions get
        a lock in order. A transaction that only tries can miss it again and again, in a room of several
        writing processes.
        """
        if wait:
            try:
                return self._attempt(writes, wait=True)
            except OperationalError as error:
                if not is_locked(error):
                    raise
        return self._attempt(writes, wait=False)

    def _attempt(self, writes: Sequence[Write], *, wait: bool) -> list[Outcome | Held]:
        try:
            return self._write(writes, wait=wait)
        except (IntegrityError, DataError):
            healed = self._heal(writes)
            if healed is None:
                return [HELD] * len(writes)
            if healed:
                return self._attempt(writes, wait=wait)
            if len(writes) == 1:
                raise
            # One of them is not to the database's liking: it must not take the others with it.
            return self._one_by_one(writes)
        except OperationalError as error:
            if wait or not is_locked(error):
                raise
            return self._line_by_line(writes)

    def _heal(self, writes: Sequence[Write]) -> bool | None:
        """Did something else write rows with the numbers that come next? Then the rooms go on behind them.

        None: somebody else has locked such a room.
        """
        try:
            return heal(write.room.pk for write in writes)
        except OperationalError as error:
            if not is_locked(error):
                raise
            return None

    def _write(self, writes: Sequence[Write], *, wait: bool = False) -> list[Outcome | Held]:
        fast = self._fast([write for write in writes if isinstance(write, NewMessage)], wait=wait)
        if fast and len(fast.writes) == len(writes):
            try:
                return self._commit(fast)
            except (_OutOfStep, IntegrityError):
                # Another process wrote, or a ref is not new.
                pass
        return self._commit(_LockingBatch(writes, wait=wait))

    def _fast(self, new: Sequence[NewMessage], *, wait: bool) -> "_Batch | None":
        """The way for new messages alone, if there is one for these."""
        if connections[router.db_for_write(models.Message)].vendor == "postgresql":
            return _ReturningBatch(new, wait=wait)
        return _OptimisticBatch(new, self._last) if all(map(self._goes_on, new)) else None

    def _goes_on(self, write: NewMessage) -> bool:
        """Is all that it needs known here: the room's last number, and that what it answers was said?"""
        last = self._last.get(write.room.pk)
        return last is not None and (write.reply_to is None or 1 <= write.reply_to <= last)

    def _one_by_one(self, writes: Sequence[Write]) -> list[Outcome | Held]:
        outcomes: list[Outcome | Held] = []
        held: set[Hashable] = set()
        try:
            for write in writes:
                # None may overtake one of its line.
                outcome = HELD if write.line in held else self._alone(write)
                outcomes.append(outcome)
                if outcome is HELD:
                    held.add(write.line)
        except Error as error:
            logger.error("the database refuses %d changes: %s", len(writes) - len(outcomes), error)  # noqa: TRY400 no traceback: it is not ours
        return outcomes + [unavailable() for _ in writes[len(outcomes) :]]

    def _alone(self, write: Write) -> Outcome | Held:
        try:
            return self._write([write])[0]
        except (IntegrityError, DataError):
            return Invalid(ErrorCode.FORBIDDEN, "The database refuses this.")
        except OperationalError as error:
            if not is_locked(error):
                raise
            return HELD

    def _line_by_line(self, writes: Sequence[Write]) -> list[Outcome | Held]:
        """Each line in a transaction of its own, as far as they get in a moment: which one waits nothing tells."""
        lines: dict[Hashable, list[int]] = {}
        for place, write in enumerate(writes):
            lines.setdefault(write.line, []).append(place)
        outcomes: list[Outcome | Held] = [HELD] * len(writes)
        if len(lines) == 1:
            return outcomes
        end = time.monotonic() + MOMENT
        for places in random.sample(list(lines.values()), len(lines)):
            if time.monotonic() > end:
                break
            self._fill(outcomes, places, writes)
        return outcomes

    def _fill(self, outcomes: list[Outcome | Held], places: Sequence[int], writes: Sequence[Write]) -> None:
        """Write those in these places. The commits of others in the batch must be told, even if these fail."""
        some = [writes[place] for place in places]
        try:
            found = retry_on_conflict(partial(self.attempt, some))
        except Error as error:
            logger.error("the database refuses %d changes: %s", len(some), error)  # noqa: TRY400 as above
            found = [unavailable() for _ in some]
        for place, outcome in zip(places, found, strict=True):
            outcomes[place] = outcome

    def _commit(self, batch: "_Batch") -> list[Outcome | Held]:
        with transaction.atomic(using=batch.using):
            outcomes = batch.run()
        self._last.update(batch.last)
        return outcomes


class _Batch:
    """Writes of one transaction."""

    def __init__(self, writes: Sequence[Write]) -> None:
        self.writes = writes
        self.using = router.db_for_write(models.Message)
        self.connection = connections[self.using]
        self.now = protocol.now()
        # The last number of each room, as it was and as it becomes.
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        # Rooms that somebody else has locked.
        self.locked: set[int] = set()

    def run(self) -> list[Outcome | Held]:
        raise NotImplementedError

    def find_locked(self) -> None:
        """Find the rooms that exist among those that could not be locked."""
        missing = {write.room.pk for write in self.writes} - self.first.keys()
        if missing:
            rooms = models.Room.objects.using(self.using).filter(pk__in=missing)
            self.locked = set(rooms.values_list("pk", flat=True))

    def left(self, write: Write) -> Invalid | Held:
        """The outcome of a write whose room could not be had."""
        if write.room.pk in self.locked:
            return HELD
        return Invalid(ErrorCode.NOT_FOUND, "room: is gone", field="room")

    def next_number(self, room: RoomLog) -> int:
        self.last[room.pk] += 1
        return self.last[room.pk]

    def message(self, write: NewMessage) -> Message:
        number = self.next_number(write.room)
        return Message(
            room=write.room.slug,
            id=number,
            seq=number,
            username=write.username,
            content=write.content,
            timestamp=self.now,
            by=models.author_key(write.author) or UNSET,
            reply_to=UNSET if write.reply_to is None else write.reply_to,
        )

    def insert(self, new: Sequence[tuple[NewMessage, Message]]) -> None:
        created = database_moment(self.now, self.connection.ops)
        words_of = [words_for(write.room.pk, write.content) if write.content else None for write, _ in new]
        columns = "room_id, number, seq, changes, author, username, ref, content, created, hidden, reply_to, words"
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
                words,
            )
            for (w, m), words in zip(new, words_of, strict=True)
        ]
        if any([w.ref and w.sent is not None for w, _ in new]):  # noqa: C419 a list is quicker, and this is for each message
            columns += ", said"
            said = ["" if w.sent is None or not w.ref else models.digest(w.sent) for w, _ in new]
            rows = [(*row, digest) for row, digest in zip(rows, said, strict=True)]
        self._insert(models.Message, columns, rows)

    def _insert(self, model: Any, columns: str, rows: Sequence[tuple[Any, ...]], more: str = "") -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {model._meta.db_table} ({columns}) VALUES {_places(rows)} {more}",  # noqa: S608, SLF001 names of ours
                [value for row in rows for value in row],
            )

    def _moments(self) -> list[Any]:
        """Before when a room must have been active last, for that to be written anew; and now."""
        operations = self.connection.ops
        before = self.now - 1_000 * models.ACTIVE_PRECISION
        return [database_moment(before, operations), database_moment(self.now, operations)]

    def advance(self) -> bool:
        """Write the rooms' counters. False where one was not as it was thought to be."""
        rows = [(pk, self.first[pk], last) for pk, last in self.last.items() if last != self.first[pk]]
        if not rows:
            return True
        with self.connection.cursor() as cursor:
            cursor.execute(
                # It begins with UPDATE, or sqlite3 would not count its rows.
                f"UPDATE chat_room SET seq = numbers.last, {_active('numbers.last')} FROM "  # noqa: S608 places for values
                f"(WITH given(room, first, last) AS (VALUES {_places(rows)}) SELECT * FROM given) AS numbers "
                "WHERE chat_room.id = numbers.room AND chat_room.seq = numbers.first",
                [*self._moments(), *(value for row in rows for value in row)],
            )
            written: int = cursor.rowcount
        return written == len(rows)


class _OptimisticBatch(_Batch):
    """New messages only, numbered on from what this process wrote last."""

    def __init__(self, writes: Sequence[NewMessage], last: dict[int, int]) -> None:
        super().__init__(writes)
        self.new = writes
        self.first = {write.room.pk: last[write.room.pk] for write in writes}
        self.last = dict(self.first)

    def run(self) -> list[Outcome | Held]:
        new = [(write, self.message(write)) for write in self.new]
        if not self.advance():
            raise _OutOfStep
        self.insert(new)
        return [_said(message) for _, message in new]


class _ReturningBatch(_Batch):
    """New messages only, numbered by the database: other processes that write to the same rooms only wait."""

    def __init__(self, writes: Sequence[NewMessage], *, wait: bool) -> None:
        super().__init__(writes)
        self.new = writes
        self.wait = wait

    def run(self) -> list[Outcome | Held]:
        if self._take_numbers():
            new = [(write, self._next(write)) for write in self.new]
            self.insert(new)
            return [_said(message) for _, message in new]
        self.find_locked()
        had = {write: self._next(write) for write in self.new if write.room.pk in self.first}
        if had:
            self.insert(list(had.items()))
        return [_said(had[write]) if write in had else self.left(write) for write in self.new]

    def _take_numbers(self) -> bool:
        """Advance the rooms' counters, and learn what they were. Were those all rooms?

        They are locked always in the same order; those that can't be had are left out, where nobody waits.
        """
        taken = Counter(write.room.pk for write in self.new)
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE chat_room SET seq = seq + numbers.taken, {_active('seq + numbers.taken')} FROM "  # noqa: S608 places for values
                f"(WITH given(room, taken) AS (VALUES {_places(taken.items())}) "
                "SELECT locked.id AS room, taken FROM given JOIN chat_room AS locked ON locked.id = given.room "
                f"ORDER BY locked.id FOR NO KEY UPDATE OF locked {'' if self.wait else 'SKIP LOCKED'}) AS numbers "
                "WHERE chat_room.id = numbers.room RETURNING chat_room.id, chat_room.seq",
                [*self._moments(), *(value for row in taken.items() for value in row)],
            )
            self.first = {room: last - taken[room] for room, last in cursor.fetchall()}
        self.last = dict(self.first)
        return len(self.first) == len(taken)

    def _next(self, write: NewMessage) -> Message:
        if write.reply_to is not None and not 1 <= write.reply_to <= self.last[write.room.pk]:
            # It is refused, and its number must go to another.
            raise _OutOfStep
        return self.message(write)


class _LockingBatch(_Batch):
    """Anything, beside others that write too."""

    def __init__(self, writes: Sequence[Write], *, wait: bool) -> None:
        super().__init__(writes)
        self.wait = wait

    def run(self) -> list[Outcome | Held]:
        self._lock()
        self.known = self._known()
        self.waiting: list[tuple[NewMessage, Message]] = []
        outcomes = [self._one(write) for write in self.writes]
        self._flush()
        self._keep_positions()
        self.advance()
        return outcomes

    def _lock(self) -> None:
        """Lock the rooms that can be had; read their counters."""
        rooms = models.Room.objects.using(self.using).filter(pk__in={write.room.pk for write in self.writes})
        self.first = dict(rooms.locked(skip=not self.wait).values_list("pk", "seq"))
        self.last = dict(self.first)
        self.find_locked()

    def _known(self) -> dict[tuple[str, str, int], tuple[Written, Callable[[str, int | None], bool]]]:
        """The answers to refs that were used before, each with a test: was the ref used for the same words?"""
        refs = [write.ref for write in self.writes if isinstance(write, NewMessage) and write.ref]
        rows = models.Message.objects.using(self.using).filter(ref__in=refs, room__in=self.first)
        return {
            (row.ref or "", row.author, row.room_id): (
                Written(row.number, row.number, milliseconds(row.created)),
                row.says,
            )
            for row in rows.defer("words")
        }

    def _one(self, write: Write) -> Outcome | Held:
        if write.room.pk not in self.first:
            return self.left(write)
        try:
            match write:
                case NewMessage():
                    return self._new(write)
                case MessageChange():
                    return self._changed(write)
        except Invalid as refusal:
            return refusal
        return Written()

    def _new(self, write: NewMessage) -> Outcome:
        name = (write.ref or "", write.author, write.room.pk)
        if write.ref and name in self.known:
            answer, says = self.known[name]
            return answer if says(write.words, write.reply_to) else ref_reused()
        if write.reply_to is not None and not 1 <= write.reply_to <= self.last[write.room.pk]:
            raise Invalid(ErrorCode.NOT_FOUND, "replyTo: there is no such message in this room", field="replyTo")
        message = self.message(write)
        self.waiting.append((write, message))
        outcome = _said(message)
        if write.ref:
            self.known[name] = (Written(message.id, message.seq, message.timestamp), write.says)
        return outcome

    def _flush(self) -> None:
        if self.waiting:
            self.insert(self.waiting)
            self.waiting = []

    def _changed(self, write: MessageChange) -> Outcome:
        # What is changed may be as new as this batch.
        self._flush()
        rows = models.Message.objects.using(self.using).filter(room_id=write.room.pk, number=write.id)
        row = rows.defer("words").first()
        if row is None:
            raise Invalid(ErrorCode.NOT_FOUND, "id: there is no such message in this room", field="id")
        write.allowed(row)
        asked = row.was_asked(write.author, write.ref, write.what) if write.ref else False
        if asked is None:
            return ref_reused()
        if asked:
            # It was sent again, and comes late: what was changed since then stays.
            return Written(row.number, row.seq, self.now)
        changed = self._apply(write, row)
        if write.ref:
            row.note_asked(write.author, write.ref, write.what)
        if not changed:
            if write.ref or row.withdrawn:
                row.keep(using=self.using, update_fields=["asked", "withdrawn"])
            return Written(row.number, row.seq, self.now)
        row.seq = self.next_number(write.room)
        row.changes += 1
        row.keep(using=self.using)
        if isinstance(write, EditText | DeleteMessage):
            # With the text its words were taken.
            rows.update(words=words_for(row.room_id, row.content))
        return Written(row.number, row.seq, self.now, _change(write, row))

    def _apply(self, write: MessageChange, row: models.Message) -> bool:
        """Change the row. False where it is so already."""
        match write:
            case SetHidden(hidden=hidden):
                return _hide(row, hidden=hidden)
            case DeleteMessage() if row.author != write.author:
                # A moderator's: out of sight, and for the staff still there.
                return row.deleted is None and _hide(row, hidden=True)
            case DeleteMessage():
                return _erase(row, self.now)
        if row.deleted is not None or row.hidden:
            raise Invalid(ErrorCode.NOT_FOUND, "id: this message was deleted", field="id")
        match write:
            case EditText(content=content):
                row.note_said()
                changed, row.content, row.edited = row.content != content, content, moment(self.now)
                return changed
            case SetReaction(on=True):
                return _put_on(write, row)
            case SetReaction(on=False, emoji=emoji, author=author):
                return row.reactions.filter(emoji=emoji, author=author).delete()[0] > 0
        raise TypeError(f"{write!r} is nothing that changes a message")

    def _keep_positions(self) -> None:
        read: dict[tuple[int, str], int] = {}
        for write in self.writes:
            if isinstance(write, MarkRead) and write.room.pk in self.first:
                key = (write.room.pk, write.author)
                read[key] = max(read.get(key, 0), min(write.seq, self.last[write.room.pk]))
        if read:
            self._insert(
                models.ReadPosition,
                "room_id, reader, seq",
                [(room, reader, seq) for (room, reader), seq in read.items()],
                "ON CONFLICT (reader, room_id) DO UPDATE SET seq = excluded.seq "
                "WHERE chat_readposition.seq < excluded.seq",
            )


def _active(last: str) -> str:
    """SQL that sets, now and then, when a room was last active, as its last number becomes ``last``."""
    listed = f"kind IN ('public', 'members') AND {last} >= {models.ACTIVE_FROM_CHANGES}"
    return f"active = CASE WHEN {listed} AND (active IS NULL OR active < %s) THEN %s ELSE active END"


def _said(message: Message) -> Written:
    frame = protocol.encode(message)
    return Written(message.id, message.seq, message.timestamp, Change(message.seq, message.id, frame, frame))


def _change(write: MessageChange, row: models.Message) -> Change:
    state = state_of(row, write.room.slug, reactions_on([row.pk]).get(row.pk, []))
    if isinstance(write, SetReaction):
        event: Any = Reacted(room=state.room, id=state.id, seq=state.seq, reactions=state.reactions)
    else:
        event = event_of(state)
    return Change(state.seq, state.id, protocol.encode(event), protocol.encode(state), gone=state.deleted)


def _hide(row: models.Message, *, hidden: bool) -> bool:
    # Nobody is shown again what its author deleted meanwhile.
    changed = row.hidden != hidden and not (row.withdrawn and not hidden)
    row.hidden = hidden if changed else row.hidden
    return changed


def _erase(row: models.Message, now: int) -> bool:
    """The author's. Text that the staff hid is evidence: it stays, and is never shown again."""
    if row.deleted is not None:
        return False
    if row.hidden:
        row.withdrawn = row.withdrawn or moment(now)
        return False
    row.note_said()
    row.content, row.edited, row.deleted = "", None, moment(now)
    row.reactions.all().delete()
    return True


def _put_on(write: SetReaction, row: models.Message) -> bool:
    emojis = Counter(row.reactions.values_list("emoji", flat=True))
    if write.emoji not in emojis and len(emojis) >= protocol.EMOJIS_LIMIT:
        message = f"emoji: a message has at most {protocol.EMOJIS_LIMIT} different ones"
        raise Invalid(ErrorCode.TOO_MANY_EMOJI, message, field="emoji")
    _, made = row.reactions.get_or_create(
        emoji=write.emoji, author=write.author, defaults={"username": write.username}
    )
    return made


def _places(rows: Iterable[tuple[Any, ...]]) -> str:
    """The places of the values of several rows in a statement."""
    return ", ".join("(" + ", ".join(["%s"] * len(row)) + ")" for row in rows)
