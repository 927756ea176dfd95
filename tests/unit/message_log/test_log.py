"""The room log in a real database: commits, numbers, answers, published changes, and reads."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from doubles import Outage, until
from helpers import PATIENCE
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from logs import (
    Follower,
    Messages,
    assert_counted,
    changes_of,
    commit,
    edit,
    erase,
    everything,
    examples,
    hide,
    ignore,
    post,
    posts,
    react,
    read,
    refusals,
    there,
    written,
)
from msgspec import UNSET
from msgspec.structs import replace as replace_struct
from pytest_django import Settings

from chat import database, loops, models, protocol
from chat.database import close_connections, milliseconds, run_read
from chat.log import Change, Outcome, RoomLog, Write, Written, writes
from chat.log import changes as general_changes
from chat.log.write_queue import BATCH
from chat.message_log import (
    DeleteMessage,
    EditText,
    MarkRead,
    MessageChange,
    MessageLog,
    NewMessage,
    Page,
    SetHidden,
    SetReaction,
    Writer,
    queries,
)
from chat.protocol import Deleted, Edited, ErrorCode, Invalid, Message, Position, Reacted, decode_outgoing


@pytest.fixture
def room(db: None) -> RoomLog:
    return queries.open_room("lobby")


@pytest.fixture
def tea(db: None) -> RoomLog:
    return queries.open_room("tea")


@pytest.fixture
def writer() -> Writer:
    return Writer()


def numbers(outcomes: list[Outcome]) -> list[int]:
    return [outcome.seq for outcome in written(outcomes)]


def row(room: RoomLog, number: int) -> models.Message:
    return models.Message.objects.get(room_id=room.pk, number=number)


# --- Messages ---


def test_a_room_s_messages_are_numbered_from_one_without_a_gap(room: RoomLog, writer: Writer) -> None:
    """The first message has the number 1 and each the next, in a batch and from batch to batch."""
    assert [numbers(writer.write(posts(room, size))) for size in (1, 3, 2)] == [[1], [2, 3, 4], [5, 6]]
    assert list(everything(room)) == [1, 2, 3, 4, 5, 6]
    assert_counted(room)


def test_rooms_count_for_themselves(room: RoomLog, tea: RoomLog, writer: Writer) -> None:
    """Messages of several rooms in one batch take each its own room's next number."""
    batch = [post(room), post(tea), post(room), post(tea), post(tea)]
    assert numbers(writer.write(batch)) == [1, 1, 2, 2, 3]
    assert numbers(writer.write(batch)) == [3, 4, 4, 5, 6]
    for each in (room, tea):
        assert_counted(each)


def test_a_message_is_stored_as_it_was_sent(room: RoomLog, writer: Writer) -> None:
    """The row has the whole message, and the answer's time; the published frame has the same."""
    first, answer = written(
        writer.write(
            [post(room, "Tea? \N{TEACUP WITHOUT HANDLE}", ref="r1"), post(room, author="bob", reply_to=1)]
        )
    )
    said = row(room, 1)
    assert (said.author, said.username, said.ref, said.content) == (
        "alice",
        "Alice",
        "r1",
        "Tea? \N{TEACUP WITHOUT HANDLE}",
    )
    assert (said.seq, said.changes, said.edited, said.deleted, said.hidden, said.reply_to) == (
        1,
        0,
        None,
        None,
        False,
        None,
    )
    assert milliseconds(said.created) == first.timestamp
    assert row(room, 2).reply_to == 1
    for outcome in (first, answer):
        assert outcome.change
        assert outcome.change.frame == outcome.change.fresh
        assert decode_outgoing(outcome.change.frame) == everything(room)[outcome.id]


@pytest.mark.parametrize("in_step", [True, False])
def test_only_an_existing_message_can_be_answered(room: RoomLog, in_step: bool) -> None:
    """A reply to a message that does not exist yet is refused, alone. A reply to its neighbour is not."""
    writer = Writer()
    writer.write(posts(room, 2))
    batch = [post(room, reply_to=number) for number in (0, 3, -1, 2**53 - 1, 2, 3, 4, 6)]
    outcomes = (writer if in_step else Writer()).write(batch)
    refused = [ErrorCode.NOT_FOUND] * 4
    assert refusals(outcomes) == [*refused, None, None, None, ErrorCode.NOT_FOUND]
    assert [outcome.field for outcome in outcomes if isinstance(outcome, Invalid)] == ["replyTo"] * 5
    assert [message.reply_to for message in everything(room).values()] == [UNSET, UNSET, 2, 3, 4]
    assert_counted(room)


def test_an_answer_has_the_time_of_its_commit(room: RoomLog, writer: Writer) -> None:
    """Times are of the server's clock, in whole milliseconds, and survive the database."""
    before = protocol.now()
    outcomes = written(writer.write(posts(room, 2)))
    after = protocol.now()
    for outcome in outcomes:
        assert before <= outcome.timestamp <= after
        assert everything(room)[outcome.id].timestamp == outcome.timestamp


# --- The same ref ---


def restarted(writer: Writer) -> Writer:
    return Writer()


def same_process(writer: Writer) -> Writer:
    return writer


def test_the_same_ref_in_one_batch_is_one_message(room: RoomLog, writer: Writer) -> None:
    """The first of two equal refs in a batch is written. The second gets the same answer and is not published."""
    outcomes = written(writer.write([post(room, ref="r"), post(room), post(room, ref="r")]))
    assert [(outcome.id, outcome.seq) for outcome in outcomes] == [(1, 1), (2, 2), (1, 1)]
    assert outcomes[0].timestamp == outcomes[2].timestamp
    assert [outcome.change is None for outcome in outcomes] == [False, False, True]
    assert [message.content for message in everything(room).values()] == ["hi", "hi"]


@pytest.mark.parametrize("later", [same_process, restarted])
@pytest.mark.parametrize("beside", [0, 2])
def test_the_same_ref_later_has_the_first_answer(
    room: RoomLog, writer: Writer, later: Callable[[Writer], Writer], beside: int
) -> None:
    """A retry gets the first answer, also after a restart and among new messages."""
    first = written(writer.write([post(room, "said", ref="r")]))[0]
    again = written(later(writer).write([*posts(room, beside), post(room, "said", ref="r")]))[-1]
    assert (again.id, again.seq, again.timestamp) == (first.id, first.seq, first.timestamp)
    assert again.change is None
    assert everything(room)[1].content == "said"
    assert len(everything(room)) == 1 + beside
    assert_counted(room)


@pytest.mark.parametrize("change", [edit, erase, hide])
def test_a_ref_outlives_changes_of_its_message(
    room: RoomLog, writer: Writer, change: Callable[..., Write]
) -> None:
    """A retry of a message that was edited, deleted or hidden since writes nothing."""
    first = written(writer.write([post(room, ref="r")]))[0]
    writer.write([edit(room, 1, "changed") if change is edit else change(room, 1)])
    again = written(writer.write([post(room, ref="r")]))[0]
    assert (again.id, again.seq, again.timestamp) == (1, 1, first.timestamp)
    assert len(everything(room)) == 1


def test_a_ref_is_its_author_s_and_its_room_s(room: RoomLog, tea: RoomLog, writer: Writer) -> None:
    """An equal ref of another author or in another room is another message; so is a message without one."""
    writer.write([post(room, ref="r")])
    for _ in range(2):
        batch = [post(room, ref="r"), post(room, author="bob", ref="r"), post(tea, ref="r"), post(room)]
        fresh = [outcome.change is not None for outcome in written(writer.write(batch))]
        assert fresh[3]
    assert fresh == [False, False, False, True]
    assert [len(everything(each)) for each in (room, tea)] == [4, 1]


# --- Changes ---


def test_an_edit_takes_the_next_number(room: RoomLog, writer: Writer) -> None:
    """The message keeps its id and gets the change's number. Live clients get the edit, others the message."""
    writer.write(posts(room, 2))
    outcome = written(writer.write([edit(room, 1, "better")]))[0]
    assert (outcome.id, outcome.seq) == (1, 3)
    assert outcome.change
    told = decode_outgoing(outcome.change.frame)
    assert isinstance(told, Edited)
    assert (told.id, told.seq, told.content, told.edited) == (1, 3, "better", outcome.timestamp)
    assert decode_outgoing(outcome.change.fresh) == everything(room)[1]
    assert (row(room, 1).changes, outcome.change.gone) == (1, False)
    assert_counted(room)


def test_a_deleted_message_s_text_and_reactions_are_gone(room: RoomLog, writer: Writer) -> None:
    """Only its number, its author and its times are left in the database."""
    writer.write([post(room, "a secret"), edit(room, 1, "a better secret"), react(room, 1)])
    outcome = written(writer.write([erase(room, 1)]))[0]
    assert (outcome.id, outcome.seq) == (1, 4)
    assert outcome.change
    assert outcome.change.gone
    told = decode_outgoing(outcome.change.frame)
    assert isinstance(told, Deleted)
    assert (told.id, told.seq) == (1, 4)
    left = row(room, 1)
    assert (left.content, left.edited, left.changes) == ("", None, 3)
    assert left.deleted
    assert not models.Reaction.objects.exists()
    state = everything(room)[1]
    assert (state.content, state.deleted, state.edited, state.reactions) == ("", True, UNSET, [])
    assert "secret" not in outcome.change.frame + outcome.change.fresh
    assert_counted(room)


def test_a_hidden_message_comes_back_as_it_was(room: RoomLog, writer: Writer) -> None:
    """Clients see it as deleted, but text and reactions are kept, and the staff can show them again."""
    writer.write([post(room, "rude"), edit(room, 1, "very rude"), react(room, 1)])
    before = everything(room)[1]
    hidden = changes_of(writer.write([hide(room, 1)]))[0]
    assert isinstance(decode_outgoing(hidden.frame), Deleted)
    assert hidden.gone
    assert (everything(room)[1].content, everything(room)[1].deleted) == ("", True)
    assert row(room, 1).content == "very rude"
    shown = changes_of(writer.write([hide(room, 1, hidden=False)]))[0]
    told = decode_outgoing(shown.frame)
    assert isinstance(told, Edited)
    assert (told.content, told.edited, told.reactions) == ("very rude", before.edited, before.reactions)
    assert not shown.gone
    after = everything(room)[1]
    assert (after.content, after.reactions, after.seq) == (before.content, before.reactions, 5)
    assert_counted(room)


def test_reactions_are_published_whole_and_in_order(room: RoomLog, writer: Writer) -> None:
    """Each change of the emoji has all reactions to the message, oldest first, with their users."""
    batch: list[Write] = [post(room)]
    batch += [
        react(room, 1, emoji, author=author) for emoji, author in (("🎉", "bob"), ("👍", "bob"), ("🎉", "eve"))
    ]
    batch.append(react(room, 1, "🎉", author="bob", on=False))
    told = [decode_outgoing(change.frame) for change in changes_of(writer.write(batch))][1:]
    shown = [
        [(reaction.emoji, reaction.usernames, reaction.count) for reaction in frame.reactions]
        for frame in told
        if isinstance(frame, Reacted)
    ]
    assert shown == [
        [("🎉", ["Bob"], 1)],
        [("🎉", ["Bob"], 1), ("👍", ["Bob"], 1)],
        [("🎉", ["Bob", "Eve"], 2), ("👍", ["Bob"], 1)],
        [("👍", ["Bob"], 1), ("🎉", ["Eve"], 1)],
    ]
    assert everything(room)[1].seq == 5
    assert_counted(room)


def test_many_reactors_are_counted_and_the_first_are_named(room: RoomLog, writer: Writer) -> None:
    """A reaction names REACTORS_LIMIT users at most; its count is of all."""
    crowd = [react(room, 1, author=f"p{number}") for number in range(protocol.REACTORS_LIMIT + 5)]
    writer.write([post(room), *crowd])
    reaction = everything(room)[1].reactions[0]
    assert reaction.count == protocol.REACTORS_LIMIT + 5
    assert reaction.usernames == [f"P{number}" for number in range(protocol.REACTORS_LIMIT)]


def test_a_message_takes_so_many_different_emoji(room: RoomLog, writer: Writer) -> None:
    """One emoji more than the limit is refused, unless another user has used it. A removed one makes room."""
    emojis = [chr(0x1F600 + number) for number in range(protocol.EMOJIS_LIMIT + 1)]
    writer.write([post(room), *(react(room, 1, emoji) for emoji in emojis[:-1])])
    refused, same, off, fits = writer.write(
        [
            react(room, 1, emojis[-1]),
            react(room, 1, emojis[0], author="eve"),
            react(room, 1, emojis[1], on=False),
            react(room, 1, emojis[-1]),
        ]
    )
    assert refusals([refused, same, off, fits]) == [ErrorCode.TOO_MANY_EMOJI, None, None, None]
    assert isinstance(refused, Invalid)
    assert refused.field == "emoji"
    assert len(everything(room)[1].reactions) == protocol.EMOJIS_LIMIT
    assert_counted(room)


NOTHING: list[tuple[str, Callable[[RoomLog], Write]]] = [
    ("the same text", lambda room: edit(room, 1, "hi")),
    ("an emoji that is there", lambda room: react(room, 1, "👍")),
    ("an emoji that is not there", lambda room: react(room, 1, "🎉", on=False)),
    ("somebody else's emoji", lambda room: react(room, 1, "👍", author="eve", on=False)),
    ("shown already", lambda room: hide(room, 1, hidden=False)),
    ("deleted already", lambda room: erase(room, 2)),
    ("hidden already", lambda room: hide(room, 3)),
]


@pytest.mark.parametrize("nothing", [make for _, make in NOTHING], ids=[name for name, _ in NOTHING])
def test_a_change_without_effect_takes_no_number(
    room: RoomLog, writer: Writer, nothing: Callable[[RoomLog], Write]
) -> None:
    """A change to the present state is answered with the message's number, and is not published."""
    writer.write(
        [*posts(room, 0), post(room), post(room), post(room), react(room, 1), erase(room, 2), hide(room, 3)]
    )
    before = everything(room)
    write = nothing(room)
    outcome = written(writer.write([write]))[0]
    assert outcome.change is None
    assert (outcome.id, outcome.seq) == (write.id, before[outcome.id].seq)  # type: ignore[attr-defined]
    assert everything(room) == before
    assert models.Room.objects.get(pk=room.pk).seq == 6
    assert_counted(room)


REFUSED: list[tuple[str, Callable[[RoomLog], Write], ErrorCode]] = [
    ("edit what never was", lambda room: edit(room, 9, "x"), ErrorCode.NOT_FOUND),
    ("edit what is deleted", lambda room: edit(room, 2, "x"), ErrorCode.NOT_FOUND),
    ("edit what is hidden", lambda room: edit(room, 3, "x"), ErrorCode.NOT_FOUND),
    ("react to what is deleted", lambda room: react(room, 2), ErrorCode.NOT_FOUND),
    ("react to what is hidden", lambda room: react(room, 3), ErrorCode.NOT_FOUND),
    ("delete what never was", lambda room: erase(room, 9), ErrorCode.NOT_FOUND),
    ("edit by another", lambda room: edit(room, 1, "x", author="charlie"), ErrorCode.FORBIDDEN),
    ("delete by another", lambda room: erase(room, 1, author="charlie"), ErrorCode.FORBIDDEN),
    ("the number of a change", lambda room: edit(room, 4, "x"), ErrorCode.NOT_FOUND),
]


@pytest.mark.parametrize(
    ("make", "code"), [(make, code) for _, make, code in REFUSED], ids=[name for name, _, _ in REFUSED]
)
def test_a_forbidden_change_is_refused(
    room: RoomLog, writer: Writer, make: Callable[[RoomLog], Write], code: ErrorCode
) -> None:
    """The refusal has its reason, takes no number and changes nothing. The others of its batch are written."""
    writer.write([*posts(room, 3), erase(room, 2), hide(room, 3)])
    before = everything(room)
    outcomes = writer.write([post(room, "before"), make(room), post(room, "after")])
    assert refusals(outcomes) == [None, code, None]
    assert isinstance(outcomes[1], Invalid)
    assert outcomes[1].field == "id"
    after = everything(room)
    assert [after[number] for number in (1, 2, 3)] == [before[number] for number in (1, 2, 3)]
    assert [after[number].content for number in (6, 7)] == ["before", "after"]
    assert_counted(room)


def test_another_room_s_message_is_not_found(room: RoomLog, tea: RoomLog, writer: Writer) -> None:
    """A number names a message in its room only."""
    writer.write([post(tea, "tea")])
    assert refusals(writer.write([edit(room, 1, "x"), erase(room, 1)])) == [ErrorCode.NOT_FOUND] * 2
    assert everything(tea)[1].content == "tea"


def test_a_message_can_be_changed_in_its_own_batch(room: RoomLog, writer: Writer) -> None:
    """A message can be posted, edited, liked and deleted in one commit. Each step has its number and its frame."""
    batch = [
        post(room, "1"),
        post(room, "2"),
        edit(room, 1, "1!"),
        react(room, 2),
        erase(room, 1),
        post(room, "3"),
    ]
    outcomes = written(writer.write(batch))
    assert [(outcome.id, outcome.seq) for outcome in outcomes] == [(1, 1), (2, 2), (1, 3), (2, 4), (1, 5), (6, 6)]
    follower = Follower()
    follower.read(change.frame for change in changes_of(outcomes))
    assert follower.messages == everything(room)
    assert_counted(room)


def test_the_rule_is_checked_against_the_row(room: RoomLog, writer: Writer) -> None:
    """The rule sees the message as it is in the database at that moment."""
    seen: list[str] = []

    def allowed(message: models.Message) -> None:
        seen.append(message.content)

    gone = DeleteMessage(room=room, author="staff", username="Staff", id=1, allowed=allowed, done=ignore)
    assert refusals(writer.write([post(room), edit(room, 1, "better"), gone])) == [None] * 3
    assert seen == ["better"]


# --- Read positions ---


def test_read_positions_never_go_back(room: RoomLog, writer: Writer) -> None:
    """The highest counts, in one batch and over several, and each reader has their own."""
    writer.write(posts(room, 5))
    positions = []
    for batch in ([3], [2], [1, 4, 2], [5, 5], [0]):
        outcomes = written(writer.write([read(room, seq) for seq in batch]))
        assert [outcome.change for outcome in outcomes] == [None] * len(batch)
        positions.append(queries.read_position(room.pk, "alice"))
    assert positions == [3, 3, 4, 5, 5]
    assert queries.read_position(room.pk, "bob") == 0
    writer.write([read(room, 2, author="bob")])
    assert queries.read_position(room.pk, "bob") == 2
    assert models.ReadPosition.objects.count() == 2


def test_nobody_reads_ahead_of_the_room(room: RoomLog, tea: RoomLog, writer: Writer) -> None:
    """A position past the room's last number is kept as that one, its own batch's messages counted."""
    writer.write([*posts(room, 2), post(tea)])
    writer.write([read(room, 99), post(room), read(tea, 99)])
    assert queries.read_position(room.pk, "alice") == 3
    assert queries.read_position(tea.pk, "alice") == 1
    writer.write([read(queries.open_room("empty"), 5)])
    assert models.ReadPosition.objects.get(room__slug="empty").seq == 0


def test_unread_messages_are_counted_by_room(room: RoomLog, tea: RoomLog, writer: Writer) -> None:
    """Later messages of others that still exist are counted in each room that the user read, up to a bound."""
    rooms = [room.pk, tea.pk, queries.open_room("never").pk]
    writer.write([*posts(room, 6, author="eve"), *posts(tea, 2, author="eve"), read(room, 2), read(tea, 2)])
    assert queries.unread("alice", rooms, most=100) == {room.pk: 4, tea.pk: 0}
    writer.write([erase(room, 3, author="eve"), hide(room, 4), react(room, 1), post(tea, author="bob"), post(tea)])
    assert queries.unread("alice", rooms, most=100) == {room.pk: 2, tea.pk: 1}
    assert queries.unread("alice", rooms, most=1) == {room.pk: 1, tea.pk: 1}
    assert queries.unread("charlie", rooms, most=100) == queries.unread("alice", [], most=100) == {}


def test_in_a_private_room_that_was_never_read_all_is_unread(room: RoomLog, writer: Writer) -> None:
    """The first message of a direct room, or of a room that a user was added to, is unread."""
    private = models.Room.objects.create(slug=models.new_hidden_slug(), kind="private")
    log = queries.open_room(private.slug)
    writer.write([*posts(log, 3, author="eve"), post(log)])
    assert queries.unread("alice", [private.pk], most=100) == {private.pk: 3}


# --- Rooms ---


def test_a_room_is_created_once(db: None) -> None:
    """Later calls find the same row, its epoch and its last number."""
    made = queries.open_room("new")
    Writer().write(posts(made, 2))
    found = queries.open_room("new")
    assert (found.pk, found.slug, found.epoch, found.seq) == (made.pk, "new", made.epoch, 2)
    assert made.seq == 0
    assert len({queries.open_room(slug).epoch for slug in ("new", "other", "third")}) == 3


def test_a_write_into_a_deleted_room_is_refused(room: RoomLog, tea: RoomLog, writer: Writer) -> None:
    """Every kind of write is refused, also by a writer that knew the room. The others of the batch are written."""
    writer.write([post(room), post(tea)])
    models.Room.objects.filter(pk=room.pk).delete()
    refused = [ErrorCode.NOT_FOUND, None]
    assert refusals(writer.write([post(room), post(tea)])) == refused
    for write in (edit(room, 1, "x"), erase(room, 1), react(room, 1), read(room, 1), hide(room, 1)):
        assert refusals(writer.write([write, post(tea)])) == refused
    assert_counted(tea)
    assert list(everything(tea)) == [1, 2, 3, 4, 5, 6, 7]
    assert not models.ReadPosition.objects.exists()


def test_positions_are_of_the_existing_rooms(room: RoomLog, tea: RoomLog, writer: Writer) -> None:
    """Each room's epoch and last number by its key; deleted rooms are left out."""
    writer.write(posts(room, 3))
    gone = queries.open_room("gone")
    models.Room.objects.filter(pk=gone.pk).delete()
    asked = [room.pk, tea.pk, gone.pk]
    assert queries.positions(asked) == {room.pk: (room.epoch, 3, 0, 0), tea.pk: (tea.epoch, 0, 0, 0)}
    assert queries.positions([]) == {}


def test_positions_of_very_many_rooms_are_queried_in_parts(
    room: RoomLog, tea: RoomLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be more rooms than a statement may have values."""
    monkeypatch.setattr(database, "KEYS", 2)
    more = [queries.open_room(f"r{number}").pk for number in range(5)]
    assert set(queries.positions([room.pk, tea.pk, *more])) == {room.pk, tea.pk, *more}


# --- Several processes ---


def test_new_messages_alone_are_written_without_reading_first(
    room: RoomLog, tea: RoomLog, writer: Writer, statements: list[str]
) -> None:
    """A batch of a writer that is in step costs one statement for the rooms' numbers and one for the rows."""
    writer.write([post(room), post(tea)])
    statements.clear()
    writer.write([*posts(room, 50), *posts(tea, 50)])
    told = [sql.split(maxsplit=1)[0] for sql in statements if "SAVEPOINT" not in sql]
    assert told == ["UPDATE", "INSERT"]


def test_a_writer_that_is_out_of_step_loses_nothing(room: RoomLog, tea: RoomLog) -> None:
    """If another process wrote meanwhile, a batch reads first: numbers go on in all rooms."""
    ours, theirs = Writer(), Writer()
    for _ in range(3):
        ours.write([post(room, "ours"), post(tea, "ours")])
        theirs.write([post(room, "theirs")])
        theirs.write([post(room, "theirs"), edit(room, 1, f"edited {len(everything(room))}")])
    ours.write([post(room, "ours"), post(tea, "ours")])
    for each in (room, tea):
        assert_counted(each)
    assert [message.content for message in everything(tea).values()] == ["ours"] * 4
    assert len(everything(room)) == 10


def test_a_ref_that_another_process_used_has_its_answer(room: RoomLog) -> None:
    """A client whose retry reaches another process gets the first answer there, though that process is in step."""
    ours, theirs = Writer(), Writer()
    theirs.write([post(room)])
    first = written(ours.write([post(room, ref="r")]))[0]
    theirs.write([post(room)])
    again = written(theirs.write([post(room, ref="r"), post(room)]))
    assert (again[0].id, again[0].seq, again[0].timestamp) == (first.id, first.seq, first.timestamp)
    assert again[0].change is None
    assert len(everything(room)) == 4
    assert_counted(room)


def test_a_writer_continues_from_a_restored_database(room: RoomLog, writer: Writer) -> None:
    """A writer whose numbers are ahead of the database continues from the database's."""
    writer.write(posts(room, 5))
    models.Message.objects.filter(room_id=room.pk, number__gt=2).delete()
    models.Room._base_manager.filter(pk=room.pk).update(seq=2)
    assert numbers(writer.write(posts(room, 2))) == [3, 4]
    assert_counted(room)


# --- Refusals by the database ---


def poisonous(room: RoomLog) -> Write:
    """A write that every database refuses: a message without a text."""
    return post(room, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("in_step", [True, False])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_one_write_that_the_database_refuses_harms_no_other(
    room: RoomLog, writer: Writer, in_step: bool, place: int
) -> None:
    """The others of its batch are committed, in order and without a gap. Only that one is refused, for good."""
    if in_step:
        writer.write([post(room)])
    batch: list[Write] = posts(room, 4) if in_step else [*posts(room, 3), react(room, 1)]
    batch.insert(place, poisonous(room))
    outcomes = writer.write(batch)
    assert [index for index, code in enumerate(refusals(outcomes)) if code] == [place]
    assert refusals(outcomes)[place] is ErrorCode.FORBIDDEN
    follower = Follower(int(in_step), everything(room) if in_step else None)
    follower.read(change.frame for change in changes_of(o for o in outcomes if isinstance(o, Written)))
    assert follower.messages == everything(room)
    assert_counted(room)


def test_committed_writes_are_answered_though_the_database_goes_away(
    rooms: None, room: RoomLog, writer: Writer, outage: Outage
) -> None:
    """If a batch is tried one by one and the database goes away amid them, the first ones keep their answers."""
    with ExitStack() as stack:

        def strike(message: models.Message) -> None:
            stack.enter_context(outage.begin())

        last = DeleteMessage(room=room, author="alice", username="Alice", id=1, allowed=strike, done=ignore)
        outcomes = writer.write([post(room), poisonous(room), post(room), last, post(room)])
    assert refusals(outcomes) == [None, ErrorCode.FORBIDDEN, None, ErrorCode.BUSY, ErrorCode.BUSY]
    assert list(everything(room)) == [1, 2]
    assert numbers(writer.write([post(room)])) == [3]
    assert_counted(room)


# --- The log of an event loop ---


@pytest.fixture
async def log(rooms: None) -> AsyncIterator[MessageLog]:
    yield loops.current(MessageLog)
    await loops.close_current()


@pytest.fixture
async def lobby(log: MessageLog) -> RoomLog:
    return await log.open("lobby")


class Diary:
    """The log's outcomes in order: answers by their number, refusals by their code, commits by their numbers."""

    def __init__(self, log: MessageLog) -> None:
        self.lines: list[object] = []
        log.on_committed = self._committed

    def answer(self, outcome: Outcome) -> None:
        self.lines.append(outcome.seq if isinstance(outcome, Written) else outcome.code)

    def _committed(self, room: RoomLog, changes: list[Change]) -> None:
        self.lines.append((room.slug, [change.seq for change in changes]))

    def append(self, log: MessageLog, *writes: Write) -> None:
        for write in writes:
            write.done = self.answer
            log.append(write)


async def test_answers_come_before_the_broadcast(log: MessageLog, lobby: RoomLog) -> None:
    """After a commit the answers come first, in the order of the writes, then each room's changes in theirs."""
    diary = Diary(log)
    other = await log.open("tea")
    diary.append(log, post(lobby), post(other), post(lobby, ref="r"), post(lobby, ref="r"), edit(lobby, 1, "x"))
    assert diary.lines == []
    await log.close()
    assert diary.lines == [1, 1, 2, 2, 3, ("lobby", [1, 2, 3]), ("tea", [1])]


async def test_a_write_without_effect_is_not_published(log: MessageLog, lobby: RoomLog) -> None:
    """No-ops, read positions and refusals are answered, and are not published."""
    diary = Diary(log)
    diary.append(log, post(lobby), edit(lobby, 1, "hi"), read(lobby, 1), edit(lobby, 7, "x"))
    await log.close()
    assert diary.lines == [1, 1, 0, ErrorCode.NOT_FOUND, ("lobby", [1])]
    diary.append(log, edit(lobby, 1, "hi"))
    await log.close()
    assert diary.lines[5:] == [1]


async def test_an_acknowledged_change_is_in_the_database(log: MessageLog, lobby: RoomLog) -> None:
    """When an answer comes, another connection sees its change."""
    seen: list[int] = []

    def look(outcome: Outcome) -> None:
        seen.append(other.cursor().execute("SELECT count(*) FROM chat_message").fetchone()[0])

    other = connection.copy()
    write = post(lobby)
    write.done = look
    log.append(write)
    with pytest.MonkeyPatch.context() as patched:
        # It only reads, and at once.
        patched.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        await log.close()
        other.close()
    assert seen == [1]


async def test_waiting_writes_are_committed_together(
    log: MessageLog, lobby: RoomLog, transactions: list[str]
) -> None:
    """Hundreds of writes cost a transaction or two, and more than BATCH of them one for each BATCH."""
    outcomes = await commit(log, *posts(lobby, 300))
    assert [outcome.id for outcome in written(outcomes)] == list(range(1, 301))
    assert len(transactions) == 1
    transactions.clear()
    await commit(log, *posts(lobby, 2 * BATCH + 1))
    assert len(transactions) == 3
    assert list(await there(lobby)) == list(range(1, 302 + 2 * BATCH))


async def test_writes_during_a_commit_are_in_the_next_one(
    log: MessageLog, lobby: RoomLog, transactions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """During one commit all other writes wait for one more: they share its cost."""
    held = threading.Event()
    plain = Writer.write

    def write(self: Writer, writes: Sequence[Write]) -> list[Outcome]:
        held.wait(PATIENCE)
        return plain(self, writes)

    monkeypatch.setattr(Writer, "write", write)
    diary = Diary(log)
    diary.append(log, post(lobby))
    await until(lambda: not log._waiting)
    others = [asyncio.create_task(commit(log, post(lobby))) for _ in range(50)]
    await until(lambda: len(log._waiting) == 50)
    held.set()
    await asyncio.gather(*others)
    assert len(transactions) == 2
    assert diary.lines == [1, ("lobby", [1]), ("lobby", list(range(2, 52)))]


async def test_a_failing_callback_harms_no_other_write(
    log: MessageLog, lobby: RoomLog, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in one ``done`` is logged. The others are answered, all are published, and the log goes on."""
    diary = Diary(log)

    def fail(outcome: Outcome) -> None:
        raise ValueError("no")

    first, last = post(lobby), post(lobby)
    for write, done in ((first, diary.answer), (post(lobby), fail), (last, diary.answer)):
        write.done = done
        log.append(write)
    await log.close()
    assert diary.lines == [1, 3, ("lobby", [1, 2, 3])]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert written(await commit(log, post(lobby)))[0].seq == 4


async def test_writes_beyond_the_queue_are_refused(log: MessageLog, lobby: RoomLog, settings: Settings) -> None:
    """Past LOG_QUEUE a write is refused with `busy` and a time to retry. When there is space, it is taken."""
    settings.CHAT = {"LOG_QUEUE": 3}
    diary = Diary(log)
    diary.append(log, *posts(lobby, 3))
    with pytest.raises(Invalid) as refused:
        log.append(post(lobby))
    assert refused.value.code is ErrorCode.BUSY
    assert refused.value.retry_after
    assert writes.RETRY_AFTER / 2 <= refused.value.retry_after <= writes.RETRY_AFTER * 3 / 2
    await log.close()
    diary.append(log, post(lobby))
    await log.close()
    assert diary.lines == [1, 2, 3, ("lobby", [1, 2, 3]), 4, ("lobby", [4])]


async def test_a_failed_commit_refuses_all_and_publishes_nothing(
    log: MessageLog, lobby: RoomLog, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    """While the database is away every write is refused with `busy`; then the log goes on, without a gap."""
    diary = Diary(log)
    with outage.begin():
        outcomes = await commit(log, *posts(lobby, 40), edit(lobby, 1, "x"), read(lobby, 1))
    assert refusals(outcomes) == [ErrorCode.BUSY] * 42
    assert diary.lines == []
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert written(await commit(log, post(lobby)))[0].seq == 1
    assert diary.lines == [("lobby", [1])]
    assert list(await there(lobby)) == [1]


async def test_clients_that_are_refused_together_retry_apart(
    log: MessageLog, lobby: RoomLog, outage: Outage
) -> None:
    """Each refusal has its own retry time, around writes.RETRY_AFTER, so that a crowd does not retry at once."""
    with outage.begin():
        outcomes = await commit(log, *posts(lobby, 40))
    times = {outcome.retry_after for outcome in outcomes if isinstance(outcome, Invalid)}
    assert len(times) > 10
    assert all(time and writes.RETRY_AFTER / 2 <= time <= writes.RETRY_AFTER * 3 / 2 for time in times)


@pytest.mark.parametrize("of", ["INSERT INTO chat_message", "UPDATE"])
async def test_a_commit_that_fails_in_the_middle_leaves_nothing(
    log: MessageLog, lobby: RoomLog, outage: Outage, of: str
) -> None:
    """It leaves neither rows nor numbers, whichever statement failed, in an optimistic and in a locking batch."""
    await commit(log, *posts(lobby, 2))
    for batch in (posts(lobby, 3), [post(lobby), edit(lobby, 1, "x"), react(lobby, 1)]):
        with outage.begin(of):
            outcomes = await commit(log, *batch)
        assert refusals(outcomes) == [ErrorCode.BUSY] * 3
    assert [outcome.seq for outcome in written(await commit(log, *posts(lobby, 2)))] == [3, 4]
    await run_read(partial(assert_counted, lobby))
    assert not await run_read(models.Reaction.objects.exists)


async def test_a_repeated_change_undoes_no_later_one(log: MessageLog, lobby: RoomLog) -> None:
    """A server that was frozen wakes with an edit that another one has made meanwhile, before a later edit."""
    await commit(log, post(lobby))
    await commit(log, edit(lobby, 1, "old", ref="e1"), react(lobby, 1, ref="r1"))
    await commit(log, edit(lobby, 1, "new", ref="e2"), react(lobby, 1, on=False, ref="r2"))
    late = written(await commit(log, edit(lobby, 1, "old", ref="e1"), react(lobby, 1, ref="r1")))
    assert [(one.id, one.seq, one.change) for one in late] == [(1, 5, None)] * 2
    state = (await there(lobby))[1]
    assert (state.content, state.reactions) == ("new", [])


async def test_a_change_without_effect_is_remembered_too(log: MessageLog, lobby: RoomLog) -> None:
    """It had no effect at first, and would have one when it is repeated."""
    await commit(log, post(lobby, "same"))
    await commit(log, edit(lobby, 1, "same", ref="e1"))
    await commit(log, edit(lobby, 1, "new", ref="e2"))
    await commit(log, edit(lobby, 1, "same", ref="e1"))
    assert (await there(lobby))[1].content == "new"


async def test_a_ref_belongs_to_its_author_and_message(log: MessageLog, lobby: RoomLog) -> None:
    """A ref identifies one change of one message by one author."""
    await commit(log, post(lobby), post(lobby))
    first = react(lobby, 1, author="alice", ref="r")
    changes = [first, react(lobby, 1, author="bob", ref="r"), react(lobby, 2, author="alice", ref="r")]
    assert [one.seq for one in written(await commit(log, *changes))] == [3, 4, 5]


async def test_a_retry_after_a_refusal_is_written_once(log: MessageLog, lobby: RoomLog, outage: Outage) -> None:
    """A refused ref is free: the same again is written, and once more is not."""
    with outage.begin():
        assert refusals(await commit(log, post(lobby, ref="r"))) == [ErrorCode.BUSY]
    first, again = written(await commit(log, post(lobby, ref="r"), post(lobby, ref="r")))
    assert (first.id, again.id, again.change) == (1, 1, None)


async def test_a_commit_with_unknown_outcome_is_answered_as_refused(
    log: MessageLog, lobby: RoomLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the connection breaks after the commit, the retry finds the message, and does not write it again."""
    plain = BaseDatabaseWrapper.commit

    def break_off(self: BaseDatabaseWrapper) -> None:
        plain(self)
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patched:
        patched.setattr(BaseDatabaseWrapper, "commit", break_off)
        assert refusals(await commit(log, post(lobby, ref="r"))) == [ErrorCode.BUSY]
    again, other = written(await commit(log, post(lobby, ref="r"), post(lobby)))
    assert (again.id, other.id) == (1, 2)


@contextmanager
def locked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another connection holds the lock that writers need, and writers wait for a moment only."""
    patience = {"options": "-c lock_timeout=50"} if connection.vendor == "postgresql" else {"timeout": 0.05}
    with monkeypatch.context() as patched:
        patched.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        close_connections()
        for name, value in patience.items():
            patched.setitem(connection.settings_dict["OPTIONS"], name, value)
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("UPDATE chat_room SET title = 'locked'")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")
        other.close()
        close_connections()


async def test_a_database_that_is_locked_is_busy(
    log: MessageLog, lobby: RoomLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Writes that wait too long for the lock are refused, reads go on, and afterwards all works again."""
    diary = Diary(log)
    await commit(log, post(lobby))
    with locked(monkeypatch):
        outcomes = await commit(log, post(lobby), edit(lobby, 1, "x"))
        assert list(await there(lobby)) == [1]
    assert refusals(outcomes) == [ErrorCode.BUSY] * 2
    assert "locked" in caplog.text or "lock timeout" in caplog.text
    assert [outcome.seq for outcome in written(await commit(log, post(lobby), edit(lobby, 1, "x")))] == [2, 3]
    assert diary.lines == [("lobby", [1]), ("lobby", [2, 3])]


async def test_a_bug_is_answered_as_busy(
    log: MessageLog, lobby: RoomLog, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that is not the database's refuses its batch, is logged with its traceback, and ends nothing."""

    def fail(message: models.Message) -> None:
        raise ZeroDivisionError

    await commit(log, post(lobby))
    broken = DeleteMessage(room=lobby, author="alice", username="Alice", id=1, allowed=fail, done=ignore)
    assert refusals(await commit(log, post(lobby), broken)) == [ErrorCode.BUSY] * 2
    assert "ZeroDivisionError" in caplog.text
    assert written(await commit(log, post(lobby)))[0].seq == 2


async def test_a_closed_log_has_written_everything(log: MessageLog, lobby: RoomLog) -> None:
    """Closing waits for the queued writes."""
    diary = Diary(log)
    diary.append(log, *posts(lobby, 3 * BATCH))
    await log.close()
    assert len(await there(lobby)) == 3 * BATCH
    assert len(diary.lines) == 3 * BATCH + 3


async def test_reading_without_a_database_is_busy(log: MessageLog, lobby: RoomLog, outage: Outage) -> None:
    """Every read is refused with `busy` and a time to retry; the next one is answered."""
    asked: list[Callable[[], Awaitable[object]]] = [
        partial(log.open, "lobby"),
        partial(log.positions, [lobby]),
        partial(log.since, lobby, 0, 10),
        partial(log.history, lobby, before=None, after=None, limit=10),
        partial(log.search, lobby, "tea", before=None, limit=10),
        partial(log.read_position, lobby, "alice"),
    ]
    for ask in asked:
        with outage.begin(), pytest.raises(Invalid) as refused:
            await ask()
        assert refused.value.code is ErrorCode.BUSY
        assert refused.value.retry_after
        await ask()


# --- Reads ---


def slices(room: RoomLog, position: int, limit: int) -> Iterator[Change]:
    """All changes after a position, read in slices of ``limit``."""
    whole = False
    while not whole:
        stretch = queries.changes_since(room, position, limit)
        assert len(stretch.changes) <= limit
        yield from stretch.to_the_end()
        position, whole = stretch.end, stretch.whole


def test_a_message_is_read_once_and_as_it_is_now(room: RoomLog, writer: Writer) -> None:
    """A message that changed often has only its last number; ``follows`` covers the numbers between."""
    writer.write([*posts(room, 4), edit(room, 2, "x"), edit(room, 1, "y"), react(room, 2), edit(room, 2, "z")])
    stretch = queries.changes_since(room, 0, 10)
    assert (stretch.whole, stretch.last, stretch.end) == (True, 8, 8)
    told = [decode_outgoing(change.fresh) for change in stretch.changes]
    assert all(isinstance(message, Message) for message in told)
    assert [(m.id, m.seq, m.follows) for m in told if isinstance(m, Message)] == [
        (3, 3, 0),
        (4, 4, UNSET),
        (1, 6, 4),
        (2, 8, 6),
    ]
    assert [change.frame for change in stretch.changes] == [change.fresh for change in stretch.changes]
    assert {m.id: replace_struct(m, follows=UNSET) for m in told if isinstance(m, Message)} == everything(room)


def test_a_client_that_catches_up_needs_no_earlier_frame(room: RoomLog, writer: Writer) -> None:
    """A client that catches up gets whole messages, deleted ones too: no frame assumes that it knows one."""
    writer.write(
        [*posts(room, 4), edit(room, 1, "x"), react(room, 1), erase(room, 2), react(room, 3), hide(room, 4)]
    )
    changes = queries.changes_since(room, 4, 10).changes
    told = [decode_outgoing(change.frame) for change in changes]
    assert [replace_struct(m, follows=UNSET) for m in told if isinstance(m, Message)] == list(
        everything(room).values()
    )
    assert [change.gone for change in changes] == [False, True, False, True]


def test_void_numbers_at_the_end_are_covered_by_a_position(room: RoomLog, writer: Writer) -> None:
    """If the last numbers' messages were pruned, a position covers them, and no client waits for them."""
    writer.write(posts(room, 5))
    models.Message.objects.filter(room_id=room.pk, number__in=[2, 4, 5]).delete()
    models.Room._base_manager.filter(pk=room.pk).update(pruned=3)
    follower = Follower()
    follower.read(change.fresh for change in slices(room, 0, 2))
    assert (follower.seqs, list(follower.messages)) == ([1, 3, 5], [1, 3])
    told = [decode_outgoing(change.frame) for change in queries.changes_since(room, 3, 10).to_the_end()]
    assert told == [Position(room="lobby", seq=5, follows=3)]
    assert queries.changes_since(room, 5, 10).to_the_end() == []
    assert_counted(room)


def test_a_slice_is_bounded(room: RoomLog, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bounded in changes and characters. It has at least one change, and tells whether there is more."""
    writer.write([post(room, "x" * 90) for _ in range(6)])
    first = queries.changes_since(room, 0, 4)
    assert (len(first.changes), first.whole, first.end, first.last) == (4, False, 4, 6)
    rest = queries.changes_since(room, first.end, 4)
    assert (len(rest.changes), rest.whole, rest.end) == (2, True, 6)
    exact = queries.changes_since(room, 0, 6)
    assert (len(exact.changes), exact.whole) == (6, True)
    monkeypatch.setattr(general_changes, "PAGE", 100)
    assert [len(queries.changes_since(room, position, 10).changes) for position in (0, 2, 5)] == [2, 2, 1]
    monkeypatch.setattr(general_changes, "PAGE", 1)
    assert [change.seq for change in slices(room, 0, 10)] == [1, 2, 3, 4, 5, 6]


def test_a_deleted_room_has_no_changes(room: RoomLog, writer: Writer) -> None:
    """Its slice is empty and ends where it began, or before; no client receives a number of it."""
    writer.write(posts(room, 3))
    models.Room.objects.filter(pk=room.pk).delete()
    for position in (0, 2, 3):
        stretch = queries.changes_since(room, position, 10)
        assert (stretch.whole, stretch.last, stretch.to_the_end()) == (True, 0, [])


def pages(room: RoomLog, *, limit: int, forward: bool = False) -> list[list[int]]:
    """The ids of each page, from one end of the room's history to the other."""
    found: list[list[int]] = []
    edge: int | None = 0 if forward else None
    more = True
    while more:
        before, after = (None, edge) if forward else (edge, None)
        page, more = queries.history(room.pk, room.slug, before=before, after=after, limit=limit)
        found.append([message.id for message in page])
        edge = found[-1][-1 if forward else 0] if page else None
    return found


def test_history_is_paged_both_ways(room: RoomLog, writer: Writer) -> None:
    """Oldest first within a page. The pages meet without a gap, and the last one is marked as such."""
    writer.write([*posts(room, 7), edit(room, 2, "x"), erase(room, 5), post(room)])
    assert pages(room, limit=3) == [[6, 7, 10], [3, 4, 5], [1, 2]]
    assert pages(room, limit=3, forward=True) == [[1, 2, 3], [4, 5, 6], [7, 10]]
    assert pages(room, limit=4) == [[5, 6, 7, 10], [1, 2, 3, 4]]
    assert queries.history(room.pk, room.slug, before=1, limit=3) == ([], False)
    assert queries.history(room.pk, room.slug, after=10, limit=3) == ([], False)
    found, more = queries.history(room.pk, room.slug, before=4, limit=2)
    assert ([message.id for message in found], more) == ([2, 3], True)
    assert (found[0].content, found[0].edited is not UNSET, found[0].seq) == ("x", True, 8)


def test_a_page_of_long_messages_is_shorter(room: RoomLog, writer: Writer) -> None:
    """A page is bounded in characters too. The next one starts where it ended; each has at least one message."""
    writer.write([post(room, f"{number} ".ljust(4_000, "x")) for number in range(60)])
    for forward in (False, True):
        found = pages(room, limit=100, forward=forward)
        assert sorted(number for page in found for number in page) == list(range(1, 61))
        assert all(1 <= len(page) < 40 for page in found)


def test_a_room_s_page_has_its_position(room: RoomLog, writer: Writer) -> None:
    """The page has the latest messages and a position that they include; a room that does not exist has none."""
    writer.write([*posts(room, 3), edit(room, 1, "x")])
    page = queries.page("lobby", 2)
    assert (page.room, page.epoch, page.seq, page.more) == (room.pk, room.epoch, 4, True)
    assert page.messages == [everything(room)[number] for number in (2, 3)]
    assert queries.page("never", 2) == Page()
    assert not models.Room.objects.filter(slug="never").exists()


def test_reactions_of_a_page_are_read_at_once(room: RoomLog, writer: Writer, statements: list[str]) -> None:
    """Reactions cost one query for all messages of a page, and none if no message was ever changed."""
    writer.write(posts(room, 20))
    statements.clear()
    everything(room)
    assert len(statements) == 1
    writer.write([react(room, number) for number in range(1, 21)])
    statements.clear()
    assert all(message.reactions for message in everything(room).values())
    assert len(statements) == 2


# --- The log beside its model ---

AUTHORS = ("alice", "bob", "eve")
EMOJIS = ("👍", "🎉", "🦊")
WHO = st.sampled_from(AUTHORS)
WHICH = st.integers(1, 12)
WHEN = st.sampled_from([None, None, 0, 1])
"""The process that commits the queue after this write; None: the queue grows."""


@dataclass
class Said:
    """A message of the model."""

    number: int
    seq: int
    author: str
    content: str
    reply_to: int | None
    edited: bool = False
    deleted: bool = False
    hidden: bool = False
    # Emoji and users, in their order.
    reactions: list[tuple[str, str]] = field(default_factory=list)
    # True if its author deleted it while it was hidden.
    withdrawn: bool = field(default=False, compare=False)

    def seen(self) -> tuple[object, ...]:
        """Its visible state."""
        gone = self.deleted or self.hidden
        emojis: dict[str, list[str]] = {}
        for emoji, author in self.reactions:
            emojis.setdefault(emoji, []).append(author.title())
        return (
            self.number,
            self.seq,
            self.author.title(),
            "" if gone else self.content,
            self.reply_to,
            self.edited and not gone,
            gone,
            [] if gone else list(emojis.items()),
        )


def seen(message: Message) -> tuple[object, ...]:
    """The visible state of a message on the wire."""
    return (
        message.id,
        message.seq,
        message.username,
        message.content,
        None if message.reply_to is UNSET else message.reply_to,
        message.edited is not UNSET,
        message.deleted,
        [(reaction.emoji, reaction.usernames) for reaction in message.reactions],
    )


class Model:
    """The expected behaviour of a room's log, in a few lines of memory."""

    def __init__(self) -> None:
        self.seq = 0
        self.said: dict[int, Said] = {}
        # Uses of each ref: the number that it got, its text, and the message it answers.
        self.refs: dict[tuple[str, str], tuple[int, str, int | None]] = {}
        self.read: dict[str, int] = {}
        # The visible state of all messages, by the room's last number at the time.
        self.known: dict[int, Messages] = {0: {}}

    def next(self) -> int:
        self.seq += 1
        return self.seq

    def write(self, write: Write) -> tuple[int, int] | ErrorCode | None:
        """The id and the number of the answer, or the error code; None if the write is about no message."""
        match write:
            case NewMessage():
                return self._post(write)
            case MarkRead(author=author, seq=seq):
                self.read[author] = max(self.read.get(author, 0), seq)
                return None
            case MessageChange(id=number) if number in self.said:
                return self._change(self.said[number], write)
        return ErrorCode.NOT_FOUND

    def _post(self, write: NewMessage) -> tuple[int, int] | ErrorCode:
        name = (write.author, write.ref or "")
        if write.ref and name in self.refs:
            number, content, reply_to = self.refs[name]
            same = content == write.content and write.reply_to in (None, reply_to)
            return (number, number) if same else ErrorCode.REF_REUSED
        if write.reply_to is not None and not 1 <= write.reply_to <= self.seq:
            return ErrorCode.NOT_FOUND
        number = self.next()
        self.said[number] = Said(number, number, write.author, write.content, write.reply_to)
        if write.ref:
            self.refs[name] = (number, write.content, write.reply_to)
        return number, number

    def _change(self, said: Said, write: MessageChange) -> tuple[int, int] | ErrorCode:
        if isinstance(write, EditText | DeleteMessage) and write.author != said.author:
            return ErrorCode.FORBIDDEN
        if isinstance(write, EditText | SetReaction) and (said.deleted or said.hidden):
            return ErrorCode.NOT_FOUND
        before = replace(said, reactions=list(said.reactions))
        match write:
            case EditText(content=content):
                said.edited = said.edited or said.content != content
                said.content = content
            case DeleteMessage() if said.hidden:
                said.withdrawn = True
            case DeleteMessage():
                said.deleted, said.reactions, said.content = True, [], ""
            case SetHidden(hidden=hidden):
                said.hidden = hidden or said.withdrawn
            case SetReaction(on=True, emoji=emoji, author=author) if (emoji, author) not in said.reactions:
                said.reactions.append((emoji, author))
            case SetReaction(on=False, emoji=emoji, author=author) if (emoji, author) in said.reactions:
                said.reactions.remove((emoji, author))
        if said != before:
            said.seq = self.next()
        return said.number, said.seq


class LogMachine(RuleBasedStateMachine):
    """Any order of any writes, by two processes, in batches of any size: the log answers as the model does."""

    def __init__(self) -> None:
        super().__init__()
        self.room = queries.open_room(f"r{models.Room.objects.count()}")
        self.writers = [Writer(), Writer()]
        self.model = Model()
        self.live = Follower()
        self.batch: list[Write] = []

    @rule(
        author=WHO,
        text=st.sampled_from(["this", "that"]),
        ref=st.sampled_from([None, None, "1", "2"]),
        reply_to=st.sampled_from([None, 1]),
        process=WHEN,
    )
    def a_user_posts(
        self, author: str, text: str, ref: str | None, reply_to: int | None, process: int | None
    ) -> None:
        self.append(post(self.room, text, author=author, ref=ref, reply_to=reply_to), process)

    @rule(author=WHO, number=WHICH, text=st.sampled_from(["this", "that"]), process=WHEN)
    def a_user_edits(self, author: str, number: int, text: str, process: int | None) -> None:
        self.append(edit(self.room, number, text, author=author), process)

    @rule(author=WHO, number=WHICH, process=WHEN)
    def a_user_deletes(self, author: str, number: int, process: int | None) -> None:
        self.append(erase(self.room, number, author=author), process)

    @rule(number=WHICH, hidden=st.booleans(), process=WHEN)
    def the_staff_hides_or_shows(self, number: int, hidden: bool, process: int | None) -> None:
        self.append(hide(self.room, number, hidden=hidden), process)

    @rule(
        author=WHO,
        number=WHICH,
        emoji=st.sampled_from(EMOJIS),
        on=st.sampled_from([True, True, False]),
        process=WHEN,
    )
    def a_user_reacts(self, author: str, number: int, emoji: str, on: bool, process: int | None) -> None:
        self.append(react(self.room, number, emoji, author=author, on=on), process)

    @rule(author=WHO, seq=st.integers(0, 30), process=WHEN)
    def a_user_reads(self, author: str, seq: int, process: int | None) -> None:
        self.append(read(self.room, seq, author=author), process)

    def append(self, write: Write, process: int | None) -> None:
        """Queue a write; with a process, that one commits the queue."""
        self.batch.append(write)
        if process is not None:
            batch, self.batch = self.batch, []
            for each, outcome in zip(batch, self.writers[process].write(batch), strict=True):
                self.compare(outcome, self.model.seq, self.model.write(each))
            for author, seq in self.model.read.items():
                self.model.read[author] = min(seq, self.model.seq)
            self.all_states_agree()

    def compare(self, outcome: Outcome, before: int, expected: tuple[int, int] | ErrorCode | None) -> None:
        if isinstance(outcome, Invalid):
            assert outcome.code == expected
            return
        assert (outcome.id, outcome.seq) == (expected or (0, 0))
        assert (outcome.change is not None) == (self.model.seq > before)
        if outcome.change:
            self.live.read([outcome.change.frame])
            self.model.known[self.model.seq] = dict(self.live.messages)

    @rule(data=st.data(), limit=st.integers(1, 6))
    def a_user_catches_up(self, data: st.DataObject, limit: int) -> None:
        position = data.draw(st.sampled_from(sorted(self.model.known)))
        follower = Follower(position, self.model.known[position])
        follower.read(change.fresh for change in slices(self.room, position, limit))
        assert follower.seq == self.model.seq
        assert follower.messages == self.live.messages

    @rule(limit=st.integers(1, 6), edge=st.integers(0, 14), forward=st.booleans())
    def a_user_reads_history(self, limit: int, edge: int, forward: bool) -> None:
        ids = sorted(self.model.said)
        if forward:
            found, more = queries.history(self.room.pk, self.room.slug, after=edge, limit=limit)
            there = [number for number in ids if number > edge]
            expected = there[:limit]
        else:
            found, more = queries.history(self.room.pk, self.room.slug, before=edge, limit=limit)
            there = [number for number in ids if number < edge]
            expected = there[-limit:]
        assert [seen(message) for message in found] == [self.model.said[number].seen() for number in expected]
        assert more == (len(there) > limit)

    def all_states_agree(self) -> None:
        model = {number: said.seen() for number, said in self.model.said.items()}
        assert {number: seen(message) for number, message in everything(self.room).items()} == model
        assert {number: seen(message) for number, message in self.live.messages.items()} == model
        assert queries.open_room(self.room.slug).seq == self.model.seq
        for author, seq in self.model.read.items():
            assert queries.read_position(self.room.pk, author) == seq
        assert_counted(self.room)
        deleted = models.Message.objects.filter(room_id=self.room.pk).exclude(deleted=None)
        assert not deleted.exclude(content="").exists()
        assert not models.Reaction.objects.filter(message__in=deleted).exists()


# Hypothesis makes a failure small first, and that takes minutes.
@pytest.mark.timeout(600)
def test_the_log_behaves_like_its_model(db: None) -> None:
    """For any writes in any order, replies, rows, frames and pages are those of the model."""
    run_state_machine_as_test(
        LogMachine, settings=hypothesis_settings(max_examples=examples(20), stateful_step_count=40, deadline=None)
    )
