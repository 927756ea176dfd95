"""Helpers for tests of the log: short writes, the stored messages, a client that checks each number."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TypeAlias

from doubles import ear_and_socket, until
from hypothesis import settings
from msgspec import UNSET
from msgspec.structs import replace

from chat import models
from chat.database import run_read, run_write
from chat.log import Change, Outcome, RoomLog, Write, Written
from chat.message_log import (
    DeleteMessage,
    EditText,
    MarkRead,
    MessageLog,
    NewMessage,
    SetHidden,
    SetReaction,
    Writer,
    queries,
)
from chat.protocol import (
    AnyOutgoing,
    Deleted,
    Edited,
    ErrorCode,
    Invalid,
    Message,
    Position,
    Reacted,
    decode_outgoing,
)

Messages: TypeAlias = dict[int, Message]
Numbered: TypeAlias = Message | Edited | Deleted | Reacted | Position


def examples(number: int) -> int:
    """The number of examples: ``number`` in a usual run, in proportion under another profile of Hypothesis."""
    return max(1, number * settings().max_examples // 100)


# --- Writes ---


def ignore(outcome: Outcome) -> None:
    """A callback for tests that need no answer."""


def own(author: str, row: models.Message) -> None:
    """The operations' rule: only the author may change a message."""
    if row.author != author:
        raise Invalid(ErrorCode.FORBIDDEN, "id: only who wrote a message can change it", field="id")


def anybody(row: models.Message) -> None:
    """The rule for changes that every user may make."""


def post(
    room: RoomLog,
    content: str = "hi",
    *,
    author: str = "alice",
    ref: str | None = None,
    reply_to: int | None = None,
) -> NewMessage:
    return NewMessage(
        room=room,
        author=author,
        username=author.title(),
        content=content,
        ref=ref,
        reply_to=reply_to,
        done=ignore,
    )


def posts(room: RoomLog, number: int, *, author: str = "alice") -> list[Write]:
    return [post(room, f"message {index}", author=author) for index in range(number)]


def edit(room: RoomLog, number: int, content: str, *, author: str = "alice", ref: str | None = None) -> EditText:
    return EditText(
        room=room,
        author=author,
        username=author.title(),
        id=number,
        ref=ref,
        content=content,
        allowed=partial(own, author),
        done=ignore,
    )


def erase(room: RoomLog, number: int, *, author: str = "alice") -> DeleteMessage:
    return DeleteMessage(
        room=room, author=author, username=author.title(), id=number, allowed=partial(own, author), done=ignore
    )


def hide(room: RoomLog, number: int, *, hidden: bool = True) -> SetHidden:
    return SetHidden(
        room=room, author="staff", username="Staff", id=number, hidden=hidden, allowed=anybody, done=ignore
    )


def react(
    room: RoomLog,
    number: int,
    emoji: str = "👍",
    *,
    author: str = "bob",
    on: bool = True,
    ref: str | None = None,
) -> SetReaction:
    return SetReaction(
        room=room,
        author=author,
        username=author.title(),
        id=number,
        ref=ref,
        emoji=emoji,
        on=on,
        allowed=anybody,
        done=ignore,
    )


def read(room: RoomLog, seq: int, *, author: str = "alice") -> MarkRead:
    return MarkRead(room=room, author=author, username=author.title(), seq=seq, done=ignore)


def written(outcomes: Iterable[Outcome]) -> list[Written]:
    """The outcomes, none of which may be a refusal."""
    found = []
    for outcome in outcomes:
        assert isinstance(outcome, Written), outcome
        found.append(outcome)
    return found


def changes_of(outcomes: Iterable[Outcome]) -> list[Change]:
    return [outcome.change for outcome in written(outcomes) if outcome.change]


def refusals(outcomes: Iterable[Outcome]) -> list[ErrorCode | None]:
    """Each refusal's error code; None for a committed write."""
    return [outcome.code if isinstance(outcome, Invalid) else None for outcome in outcomes]


async def commit(log: MessageLog, *writes: Write) -> list[Outcome]:
    """Append the writes, and wait for their answers."""
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[Outcome]] = []
    for write in writes:
        answer: asyncio.Future[Outcome] = loop.create_future()
        write.done = answer.set_result
        answers.append(answer)
        log.append(write)
    return await asyncio.gather(*answers)


async def elsewhere(*writes: Write) -> list[Change]:
    """Write like another process, without publishing; returns the changes."""
    return changes_of(await run_write(partial(Writer().write, writes)))


# --- Stored messages ---


def everything(room: RoomLog) -> Messages:
    """All messages of the room, by their numbers, as the wire has them."""
    found: Messages = {}
    more, last = True, 0
    while more:
        page, more = queries.history(room.pk, room.slug, after=last, limit=100)
        found |= {message.id: message for message in page}
        last = max(found, default=0)
    return found


async def there(room: RoomLog) -> Messages:
    """Like ``everything``, from an event loop."""
    return await run_read(partial(everything, room))


def assert_counted(room: RoomLog) -> None:
    """Assert that the room gave one number for each message and each change."""
    row = models.Room.objects.get(pk=room.pk)
    rows = list(models.Message.objects.filter(room=row))
    assert row.seq == row.pruned + sum(1 + message.changes for message in rows)
    seqs = [message.seq for message in rows]
    assert len(set(seqs)) == len(seqs)
    assert all(message.number <= message.seq <= row.seq for message in rows)


# --- A client ---


class Follower:
    """A client that holds a room's messages. It drops old numbers, and a gap is an assertion error.

    A change of a message that it does not hold is applied when a page of history brings the message.
    """

    def __init__(self, seq: int = 0, messages: Messages | None = None) -> None:
        self.seq = seq
        self.messages = dict(messages or {})
        # Each accepted number, in the order of arrival.
        self.seqs: list[int] = []
        self._early: list[Edited | Deleted | Reacted] = []

    def read(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.receive(decode_outgoing(text))

    def receive(self, said: AnyOutgoing) -> None:
        if not isinstance(said, Numbered) or said.seq <= self.seq:
            return
        before = said.seq - 1 if said.follows is UNSET else said.follows
        assert before <= self.seq, f"there is a gap between {self.seq} and {before}: {said}"
        self.seq = said.seq
        self.seqs.append(said.seq)
        if isinstance(said, Message):
            self._keep(replace(said, follows=UNSET))
        elif not isinstance(said, Position):
            self._change(said)

    def _change(self, said: Edited | Deleted | Reacted) -> None:
        if said.id in self.messages:
            self._keep(_changed(self.messages[said.id], said))
        else:
            self._early.append(said)

    def _keep(self, message: Message) -> None:
        known = self.messages.get(message.id)
        # A page may have brought a newer state.
        if known is None or known.seq < message.seq:
            self.messages[message.id] = message

    def show(self, page: Sequence[Message]) -> None:
        """Add a page of history, and apply earlier events about its messages."""
        for message in page:
            self._keep(message)
        early, self._early = self._early, []
        for said in early:
            self._change(said)

    def start_over(self, seq: int) -> None:
        self.seq, self.messages, self._early = seq, {}, []


def _changed(message: Message, said: Edited | Deleted | Reacted) -> Message:
    match said:
        case Edited():
            return replace(
                message,
                seq=said.seq,
                content=said.content,
                edited=said.edited,
                reactions=said.reactions,
                deleted=False,
            )
        case Deleted():
            return replace(message, seq=said.seq, content="", deleted=True, edited=UNSET, reactions=[])
        case Reacted():
            return replace(message, seq=said.seq, reactions=said.reactions)


class Visitor(Follower):
    """A client with a socket of its own."""

    def __init__(self, seq: int = 0, messages: Messages | None = None) -> None:
        super().__init__(seq, messages)
        self.ear, self.socket = ear_and_socket()
        # Count of the received frames that it has read.
        self.taken = 0

    def follow(self) -> int:
        """Read the received frames; returns the last number."""
        frames = self.ear.frames[self.taken :]
        self.taken += len(frames)
        self.read(frames)
        return self.seq

    async def reaches(self, seq: int) -> None:
        """Wait until it has received everything up to a number."""
        await until(lambda: self.follow() >= seq)
        assert self.seq == seq
