"""The batch for writes of every kind: it locks the rooms, reads them, and then writes."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from chat import models
from chat.database import insert_rows, milliseconds
from chat.log.writes import Held, Outcome, Write, Written, ref_reused
from chat.message_log.batches import WriteBatch, written_message
from chat.message_log.row_changes import apply, change_of
from chat.message_log.search_words import words_for
from chat.message_log.writes import DeleteMessage, EditText, MarkRead, MessageChange, NewMessage
from chat.protocol import ErrorCode, Invalid, Message

IsRepeat: TypeAlias = Callable[[str, int | None, str | None], bool]
"""Does a message with this text, in reply to that one, with that extra JSON, repeat the first?"""


class LockingBatch(WriteBatch):
    """Writes of every kind, safe beside other processes that write to the same rooms."""

    def __init__(self, writes: Sequence[Write], *, wait: bool) -> None:
        super().__init__(writes)
        self.wait = wait

    def run(self) -> list[Outcome | Held]:
        self._lock()
        self.known = self._known_refs()
        # New messages that are not inserted yet.
        self.waiting: list[tuple[NewMessage, Message]] = []
        outcomes = [self._one(write) for write in self.writes]
        self._flush()
        self._write_read_positions()
        self.advance()
        return outcomes

    def _lock(self) -> None:
        """Lock the rooms and read their counters. Without ``wait`` locked rooms are left out."""
        rooms = models.Room.objects.using(self.using).filter(pk__in={write.room.pk for write in self.writes})
        self.first = dict(rooms.locked(skip=not self.wait).values_list("pk", "seq"))
        self.last = dict(self.first)
        self.find_locked()

    def _known_refs(self) -> dict[tuple[str, str, int], tuple[Written, IsRepeat]]:
        """The answers to refs that were used before, by (ref, author, room).

        Each has a test whether a message repeats the first one.
        """
        refs = [write.ref for write in self.writes if isinstance(write, NewMessage) and write.ref]
        rows = models.Message.objects.using(self.using).filter(ref__in=refs, room__in=self.first)
        return {
            (row.ref or "", row.author, row.room_id): (
                Written(row.number, row.number, milliseconds(row.created)),
                row.is_repeat,
            )
            for row in rows.defer("words")
        }

    def _one(self, write: Write) -> Outcome | Held:
        if write.room.pk not in self.first:
            return self.outcome_without_room(write)
        try:
            match write:
                case NewMessage():
                    return self._new(write)
                case MessageChange():
                    return self._change(write)
        except Invalid as refusal:
            return refusal
        return Written()

    def _new(self, write: NewMessage) -> Outcome:
        name = (write.ref or "", write.author, write.room.pk)
        if write.ref and name in self.known:
            answer, is_repeat = self.known[name]
            return answer if is_repeat(write.sent_text, write.reply_to, write.extra) else ref_reused()
        if write.reply_to is not None and not 1 <= write.reply_to <= self.last[write.room.pk]:
            raise Invalid(ErrorCode.NOT_FOUND, "replyTo: there is no such message in this room", field="replyTo")
        message = self.message(write)
        self.waiting.append((write, message))
        outcome = written_message(message)
        if write.ref:
            self.known[name] = (Written(message.id, message.seq, message.timestamp), write.is_repeat)
        return outcome

    def _flush(self) -> None:
        if self.waiting:
            self.insert(self.waiting)
            self.waiting = []

    def _change(self, write: MessageChange) -> Outcome:
        # The message may be one of this batch.
        self._flush()
        rows = models.Message.objects.using(self.using).filter(room_id=write.room.pk, number=write.id)
        row = rows.defer("words").first()
        if row is None:
            raise Invalid(ErrorCode.NOT_FOUND, "id: there is no such message in this room", field="id")
        write.allowed(row)
        requested = row.was_requested(write.author, write.ref, write.description) if write.ref else False
        if requested is None:
            return ref_reused()
        if requested:
            # The client repeats it late: later changes stay.
            return Written(row.number, row.seq, self.now)
        changed = apply(write, row, self.now)
        if write.ref:
            row.remember_request(write.author, write.ref, write.description)
        if not changed:
            if write.ref or row.withdrawn:
                row.save_numbered(using=self.using, update_fields=["asked", "withdrawn"])
            return Written(row.number, row.seq, self.now)
        row.seq = self.next_number(write.room)
        row.changes += 1
        row.save_numbered(using=self.using)
        if isinstance(write, EditText | DeleteMessage):
            # A trigger removed the tokens of the old text.
            rows.update(words=words_for(row.room_id, row.content))
        return Written(row.number, row.seq, self.now, change_of(write, row))

    def _write_read_positions(self) -> None:
        read: dict[tuple[int, str], int] = {}
        for write in self.writes:
            if isinstance(write, MarkRead) and write.room.pk in self.first:
                key = (write.room.pk, write.author)
                read[key] = max(read.get(key, 0), min(write.seq, self.last[write.room.pk]))
        if read:
            insert_rows(
                self.connection,
                "chat_readposition",
                "room_id, reader, seq",
                [(room, reader, seq) for (room, reader), seq in read.items()],
                "ON CONFLICT (reader, room_id) DO UPDATE SET seq = excluded.seq "
                "WHERE chat_readposition.seq < excluded.seq",
            )
