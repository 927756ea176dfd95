"""An open room: its clients receive every change once and in order, whenever they joined and from any source."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from doubles import Clock, Outage, SlowLog, run_with, until
from logs import Follower, Visitor, edit, elsewhere, erase, hide, post, posts, react, there
from msgspec import UNSET
from pytest_django import Settings

from chat import loops, models
from chat.actions.chat_room import ChatRoom
from chat.database import run_read
from chat.hub import TICK, catch_up
from chat.hub import room as room_module
from chat.hub.catch_up import RETRY
from chat.log import Change, RoomLog, Write
from chat.message_log import MessageLog, maintenance, queries
from chat.protocol import ErrorCode, Invalid, Message, Position, TypingNow, Welcome, encode
from chat.transport import Batch


@pytest.fixture
async def log(rooms: None) -> AsyncIterator[SlowLog]:
    log = SlowLog()
    run_with(log)
    yield log
    log.telling.set()
    await loops.close_current()


@pytest.fixture
async def room(log: SlowLog) -> AsyncIterator[ChatRoom]:
    room = chat_room(log, await log.open("lobby"))
    yield room
    room.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch of the log has three changes at most."""
    monkeypatch.setattr(catch_up, "STRETCH", 3)


@pytest.fixture
def no_ring(settings: Settings) -> None:
    """Hardly anything is in memory: who comes back is told from the log."""
    settings.CHAT = {"RING": 1}


def chat_room(log: MessageLog, row: RoomLog) -> ChatRoom:
    return ChatRoom(log, row, on_policy=lambda room: None)


def come(room: ChatRoom, since: int | None = None, visitor: Visitor | None = None) -> Visitor:
    """Somebody comes in who holds all up to ``since``; or who begins here."""
    visitor = visitor or Visitor(room.written if since is None else since)
    visitor.socket.transport.on_full = partial(room.fall_behind, visitor.socket)
    visitor.socket.transport.on_drained = partial(room.go_on, visitor.socket)
    room.enter(visitor.socket, since)
    return visitor


async def tell(room: ChatRoom, *writes: Write) -> list[Change]:
    """A change is written, and the room receives it."""
    changes = await elsewhere(*writes)
    room.deliver(changes)
    return changes


def numbers(visitor: Visitor) -> list[int]:
    visitor.follow()
    return visitor.seqs


async def assert_knows_all(room: ChatRoom, *visitors: Visitor) -> None:
    """When all is read that the room reads, each holds what is in the database, as it is there."""
    await until(lambda: not (room._gap or room._catch_up._reading))
    truth = await there(room.log)
    last = (await run_read(partial(queries.open_room, room.slug))).seq
    for visitor in visitors:
        await visitor.reaches(last)
        assert visitor.messages == truth


# --- What is delivered ---


async def test_everybody_hears_everything_once_in_order(room: ChatRoom) -> None:
    """A delivered change reaches each socket once; a repeated one is dropped."""
    visitors = [come(room) for _ in range(3)]
    changes = await elsewhere(*posts(room.log, 4), edit(room.log, 2, "x"), react(room.log, 1), erase(room.log, 3))
    room.deliver(changes[:3])
    room.deliver(changes[1:5])
    room.deliver(changes[:2])
    room.deliver(changes[5:])
    await assert_knows_all(room, *visitors)
    assert [numbers(visitor) for visitor in visitors] == [list(range(1, 8))] * 3


async def test_live_changes_are_told_as_events(room: ChatRoom) -> None:
    """A client that has received everything gets only the change, not the whole message again."""
    visitor = come(room)
    await tell(room, post(room.log), edit(room.log, 1, "x"), react(room.log, 1), erase(room.log, 1))
    await visitor.reaches(4)
    assert [type(said).__name__ for said in visitor.ear.heard()] == ["Message", "Edited", "Reacted", "Deleted"]


async def test_a_gap_is_read_from_the_log(room: ChatRoom, log: SlowLog) -> None:
    """Undelivered changes come from the log, before delivered ones; changes delivered meanwhile are read too."""
    visitor = come(room)
    await tell(room, post(room.log))
    await elsewhere(*posts(room.log, 3))
    log.meanwhile.append(partial(tell, room, *posts(room.log, 2)))
    await tell(room, post(room.log))
    await until(lambda: room.position == 7)
    await assert_knows_all(room, visitor)
    assert numbers(visitor) == list(range(1, 8))
    assert len(log.asked) <= 3


async def test_a_long_gap_is_read_in_stretches(short: None, room: ChatRoom, log: SlowLog) -> None:
    """However much was lost, it is read so many changes at a time; each stretch is told as it comes."""
    visitor = come(room)
    await elsewhere(*posts(room.log, 10))
    room.catch_up()
    await assert_knows_all(room, visitor)
    assert log.asked == [0, 3, 6, 9]


async def test_what_changes_between_two_stretches_is_not_missed(short: None, room: ChatRoom, log: SlowLog) -> None:
    """A message that moves behind what was read, once or again and again, is told in its new place, whole."""
    visitor, late = come(room), None
    await elsewhere(*posts(room.log, 8), edit(room.log, 2, "moved"))
    log.meanwhile.append(partial(elsewhere, edit(room.log, 5, "moved"), erase(room.log, 4)))
    log.meanwhile.append(partial(elsewhere, edit(room.log, 5, "moved again"), hide(room.log, 6)))
    log.meanwhile.append(partial(elsewhere, hide(room.log, 6, hidden=False), react(room.log, 1)))
    room.catch_up()
    await until(lambda: len(log.asked) > 1)
    late = come(room, 0)
    await until(lambda: room._gap is None)
    room.catch_up()
    await assert_knows_all(room, visitor, late)


async def test_hints_that_come_late_into_a_gap_are_told_whole(short: None, room: ChatRoom, log: SlowLog) -> None:
    """While a gap is open a change may be the first event of its message: it is sent as a whole message."""
    visitor = come(room)
    hints = await elsewhere(*posts(room.log, 5), edit(room.log, 1, "moved"))

    async def arrive() -> None:
        # 2, 3 and 4 are told by now. The message 1 was not found in its old place.
        room.deliver(hints[4:])

    log.meanwhile.extend([partial(asyncio.sleep, 0), arrive])
    room.deliver(hints[2:3])
    await assert_knows_all(room, visitor)


async def test_a_gap_is_read_however_long_the_database_is_away(room: ChatRoom, log: SlowLog, clock: Clock) -> None:
    """It is asked again every RETRY seconds; then everything comes, and live changes go on."""
    visitor = come(room)
    log.away = True
    await elsewhere(*posts(room.log, 3))
    room.catch_up()
    for attempt in range(1, 5):
        await until(lambda attempt=attempt: len(log.asked) == attempt)  # type: ignore[misc]
        await clock.skip(RETRY)
    log.away = False
    await clock.skip(RETRY)
    await assert_knows_all(room, visitor)
    await tell(room, post(room.log))
    await assert_knows_all(room, visitor)


async def test_numbers_without_a_message_are_passed_over(room: ChatRoom) -> None:
    """Where messages were pruned, live and returning clients are told that there is nothing, and see no gap."""
    visitor = come(room)
    await elsewhere(*posts(room.log, 6))

    def prune() -> None:
        models.Message.objects.filter(room_id=room.log.pk, number__in=[1, 2, 4, 6]).delete()
        models.Room._base_manager.filter(pk=room.log.pk).update(pruned=4)

    await run_read(prune)
    room.catch_up()
    await assert_knows_all(room, visitor, come(room, 0))
    assert isinstance(visitor.ear.heard()[-1], Position)
    await tell(room, post(room.log))
    await assert_knows_all(room, visitor)


# --- Who comes back ---


async def returned(room: ChatRoom, visitor: Visitor) -> Visitor:
    """The same client on another connection: what was under way to the first is lost."""
    visitor.follow()
    room.exit(visitor.socket)
    return come(room, visitor.seq, Visitor(visitor.seq, visitor.messages))


@pytest.mark.parametrize("since", range(8))
async def test_who_comes_back_is_told_what_it_missed(room: ChatRoom, since: int) -> None:
    """From memory where that reaches, without a question to the database; then what is live, with no seam."""
    known = {}
    witness = come(room)
    for write in (*posts(room.log, 4), edit(room.log, 2, "x"), erase(room.log, 1), react(room.log, 4)):
        known[witness.follow()] = dict(witness.messages)
        changes = await tell(room, write)
        await witness.reaches(changes[-1].seq)
    known[7] = witness.messages
    back = come(room, since, Visitor(since, known[since]))
    await tell(room, post(room.log))
    await assert_knows_all(room, back, witness)
    assert numbers(back) == list(range(since + 1, 9))


async def test_the_ring_asks_no_database(room: ChatRoom, log: SlowLog, statements: list[str]) -> None:
    """A crowd that comes back within what is in memory costs the database nothing."""
    await tell(room, *posts(room.log, 50), edit(room.log, 3, "x"))
    statements.clear()
    crowd = [come(room, since) for since in range(51) for _ in range(4)]
    for visitor in crowd:
        await visitor.reaches(51)
    assert (log.asked, statements) == ([], [])


async def test_who_comes_from_before_the_ring_is_told_from_the_log(
    short: None, no_ring: None, room: ChatRoom, log: SlowLog
) -> None:
    """In stretches, each from where the last ended, up to where memory begins; and then what is live."""
    await tell(room, *posts(room.log, 10), edit(room.log, 2, "x"), erase(room.log, 9))
    back = come(room, 0)
    await assert_knows_all(room, back)
    assert log.asked == [0, 4, 7]
    await tell(room, post(room.log))
    await assert_knows_all(room, back)


async def test_what_was_read_for_one_is_in_memory_for_the_next(room: ChatRoom, log: SlowLog) -> None:
    """A room that was just opened has nothing in memory: the first who comes back fills it."""
    await elsewhere(*posts(room.log, 10), edit(room.log, 2, "x"))
    room = chat_room(log, await log.open("lobby"))
    for since in (3, 3, 5, 11):
        await come(room, since).reaches(11)
    assert log.asked == [3]
    await come(room, 0).reaches(11)
    assert log.asked == [3, 0]
    room.close()


async def test_a_herd_from_before_the_ring_is_told_with_few_reads(
    settings: Settings, log: SlowLog, statements: list[str]
) -> None:
    """Hundreds who come back at once from anywhere cost as many reads as one who comes from furthest."""
    settings.CHAT = {"RING": 10}
    room = chat_room(log, await log.open("lobby"))
    await tell(room, *posts(room.log, 120), *(edit(room.log, number, "x") for number in range(1, 20)))
    come(room, 0)
    await until(lambda: not room.behind)
    alone, statements[:] = len(statements), []
    again = chat_room(log, await log.open("lobby"))
    statements.clear()
    log.asked.clear()
    crowd = [come(again, position) for position in range(0, 100, 10) for _ in range(40)]
    assert len(crowd) == 400
    for visitor in crowd:
        await visitor.reaches(139)
    assert log.asked == [0]
    assert len(statements) <= alone
    assert crowd[0].messages == await there(room.log)
    for each in (room, again):
        each.close()


async def test_who_comes_while_the_log_is_read_waits_for_the_next_read(
    short: None, no_ring: None, room: ChatRoom, log: SlowLog
) -> None:
    """They come from different places and at different moments, and each is told all of it."""
    await tell(room, *posts(room.log, 12))
    log.telling.clear()
    crowd = [come(room, 4)]
    await until(lambda: log.asked)
    crowd += [come(room, since) for since in (0, 7, 4, 11)]
    log.telling.set()
    await tell(room, *posts(room.log, 3), edit(room.log, 1, "x"), edit(room.log, 14, "y"))
    for visitor in crowd:
        await visitor.reaches(17)
    assert crowd[1].messages == await there(room.log)
    assert not room.behind


async def test_what_is_committed_and_not_delivered_is_not_missed(
    no_ring: None, room: ChatRoom, log: SlowLog
) -> None:
    """A client that catches up from a log ahead of the room gets the rest live: once, and without a seam."""
    witness = come(room)
    await tell(room, *posts(room.log, 5))
    underway = await elsewhere(post(room.log), edit(room.log, 2, "moved"))
    back = come(room, 0)
    await until(lambda: not log.asked or back.follow())
    room.deliver(underway)
    await tell(room, post(room.log))
    await assert_knows_all(room, witness, back)
    assert len(numbers(back)) == len(set(numbers(back)))


async def test_nobody_goes_live_without_a_message_that_moved(room: ChatRoom, log: SlowLog) -> None:
    """A client waits if it joins after a read during which a message moved, before the room received that
    change.
    """
    await elsewhere(*posts(room.log, 4))
    room = chat_room(log, await log.open("lobby"))
    underway = await elsewhere(edit(room.log, 3, "moved"))
    first = come(room, 0)
    await first.reaches(5)
    # The page that was read for the first client is in memory now, and message 3 is not in its place there.
    second = come(room, 2, Visitor(2, {number: first.messages[number] for number in (1, 2)}))
    await second.reaches(4)
    assert 3 not in second.messages
    assert room.sockets == set()
    room.deliver(underway)
    await assert_knows_all(room, first, second)
    assert room.sockets == {first.socket, second.socket}
    room.close()


@pytest.mark.parametrize("heard", range(1, 8))
async def test_who_is_cut_off_while_catching_up_loses_nothing(
    short: None, no_ring: None, room: ChatRoom, log: SlowLog, heard: int
) -> None:
    """A client that has a part of what it missed, and comes back from there, gets the rest: moved messages too."""
    await tell(room, *posts(room.log, 8), edit(room.log, 2, "moved"), react(room.log, 4))
    first = come(room, 0)
    first.ear.enough = heard
    await until(lambda: first.follow() and len(first.ear.frames) == heard)
    second = await returned(room, first)
    await tell(room, edit(room.log, 3, "moved"), post(room.log))
    await assert_knows_all(room, second)


async def test_catching_up_while_the_database_is_away_waits(
    no_ring: None, room: ChatRoom, log: SlowLog, clock: Clock
) -> None:
    """A client that catches up receives nothing wrong meanwhile, a live one goes on, and then both have all."""
    live = come(room)
    await tell(room, *posts(room.log, 6))
    log.away = True
    back = come(room, 0)
    await until(lambda: log.asked)
    await tell(room, post(room.log))
    await live.reaches(7)
    assert back.follow() == 0
    for _ in range(3):
        await clock.skip(RETRY)
    log.away = False
    await clock.skip(RETRY)
    await assert_knows_all(room, live, back)


@pytest.mark.parametrize(
    ("since", "epoch", "resumes"),
    [
        (None, None, False),
        (None, "its", False),
        (5, None, False),
        (5, "another", False),
        (5, "", False),
        (0, "its", True),
        (5, "its", True),
        (10, "its", True),
        (11, "its", False),
        (2**53 - 1, "its", False),
    ],
)
async def test_a_position_resumes_in_its_own_life_only(
    room: ChatRoom, since: int | None, epoch: str | None, resumes: bool
) -> None:
    """Not without its epoch, nor with another's, nor ahead of the room."""
    await tell(room, *posts(room.log, 10))
    assert await room.can_resume(since, room.log.epoch if epoch == "its" else epoch, 100) is resumes


async def test_who_was_away_for_too_long_starts_over(room: ChatRoom) -> None:
    """Up to so many changes are told, and one more is too many."""
    await tell(room, *posts(room.log, 10))
    assert [await room.can_resume(since, room.log.epoch, 4) for since in (5, 6)] == [False, True]


async def test_going_back_on_the_same_socket(room: ChatRoom) -> None:
    """A client that finds a gap asks again from where it is: it is told from there, and stays in the room once."""
    visitor = come(room)
    await tell(room, *posts(room.log, 4))
    await visitor.reaches(4)
    room.enter(visitor.socket, 2)
    await tell(room, post(room.log))
    await visitor.reaches(5)
    told = [said.seq for said in visitor.ear.heard() if isinstance(said, Message)]
    assert told == [1, 2, 3, 4, 3, 4, 5]
    assert room.audience == 1


async def test_going_back_on_the_same_socket_beyond_the_ring(no_ring: None, room: ChatRoom, log: SlowLog) -> None:
    """While the log is read for it the socket receives nothing else; it is counted once, and then gets all in
    order.
    """
    visitor = come(room)
    await tell(room, *posts(room.log, 6))
    await visitor.reaches(6)
    log.telling.clear()
    room.enter(visitor.socket, 1)
    await until(lambda: log.asked)
    await tell(room, post(room.log))
    assert room.audience == 1
    assert len(visitor.ear.frames) == 6
    log.telling.set()
    await visitor.reaches(7)
    told = [said.seq for said in visitor.ear.heard() if isinstance(said, Message)]
    assert told == [*range(1, 7), *range(2, 8)]


async def test_what_waits_for_its_tick_is_told_to_who_falls_behind(room: ChatRoom, clock: Clock) -> None:
    """A socket that stops reading before a tick gets what the tick would have brought when it goes on."""
    clock.stop()
    visitor = come(room)
    for change in await elsewhere(*posts(room.log, 3)):
        room.deliver([change])
    room.fall_behind(visitor.socket)
    await clock.skip(TICK)
    assert visitor.follow() == 1
    room.go_on(visitor.socket)
    await assert_knows_all(room, visitor)


async def test_nothing_is_read_into_memory_twice(log: SlowLog) -> None:
    """A log that is ahead of the room is told as far as it is, and kept as far as the room is."""
    room = chat_room(log, await log.open("lobby"))
    room.deliver(await elsewhere(*posts(room.log, 4)))
    again = chat_room(log, await log.open("lobby"))
    again.deliver(await elsewhere(*posts(room.log, 2)))
    underway = await elsewhere(*posts(room.log, 2))
    first = come(again, 0)
    await first.reaches(8)
    again.deliver(underway)
    second = come(again, 0)
    await second.reaches(8)
    for visitor in (first, second):
        told = [said.seq for said in visitor.ear.heard() if isinstance(said, Message)]
        assert told == list(range(1, 9))
    for each in (room, again):
        each.close()


# --- Who comes from another process ---


async def test_who_was_told_more_elsewhere_goes_on_from_there(room: ChatRoom) -> None:
    """A client that is ahead of this process resumes where the log has its number, and else starts over."""
    await tell(room, *posts(room.log, 3))
    underway = await elsewhere(*posts(room.log, 2), edit(room.log, 1, "x"))
    answers = [await room.can_resume(since, room.log.epoch, 100) for since in (5, 6, 7)]
    assert answers == [True, True, False]
    truth = await there(room.log)
    visitor = come(room, 6, Visitor(6, truth))
    room.deliver(underway)
    await tell(room, post(room.log))
    await assert_knows_all(room, visitor)
    assert numbers(visitor) == [7]


async def test_a_room_that_is_gone_is_resumed_by_nobody(room: ChatRoom) -> None:
    """A number ahead of the room's is not believed where the room has no row any more."""
    await run_read(partial(gone, room.log))
    assert not await room.can_resume(1, room.log.epoch, 100)


async def test_who_was_cut_off_elsewhere_lacks_nothing_here(room: ChatRoom) -> None:
    """A message that had moved on when another process told the others, and moves here only now, is told whole."""
    await tell(room, *posts(room.log, 4))
    truth = await there(room.log)
    underway = await elsewhere(post(room.log), edit(room.log, 3, "moved"), react(room.log, 2))
    # It was told 4, as what follows 2, and was cut off before it would have been told 3, as it is now.
    known = {number: truth[number] for number in (1, 2, 4)}
    visitors = [come(room), come(room, 4, Visitor(4, known))]
    visitors[0].show(list(truth.values()))
    room.deliver(underway)
    await assert_knows_all(room, *visitors)


async def test_what_waited_for_its_tick_is_told_whole_to_who_came_back_meanwhile(
    room: ChatRoom, clock: Clock
) -> None:
    """The same, where the change was delivered already and is not written yet."""
    clock.stop()
    live = come(room)
    await tell(room, *posts(room.log, 4))
    truth = await there(room.log)
    room.deliver(await elsewhere(edit(room.log, 3, "moved"), post(room.log)))
    assert (room.position, room.written) == (6, 4)
    # As above: cut off elsewhere, it has 4 and not 3.
    back = come(room, 4, Visitor(4, {number: truth[number] for number in (1, 2, 4)}))
    await clock.skip(TICK)
    await assert_knows_all(room, live, back)


async def test_once_all_is_told_changes_are_told_as_events_again(room: ChatRoom) -> None:
    """When the room has delivered what the log had after the last one came back, nobody can lack a message."""
    visitor = come(room, 0)
    await tell(room, *posts(room.log, 2), edit(room.log, 1, "x"))
    room.compared(room.returned, 4)
    await tell(room, react(room.log, 1))
    room.compared(room.returned - 1, 4)
    await tell(room, react(room.log, 2))
    room.compared(room.returned, 5)
    await tell(room, edit(room.log, 1, "y"), erase(room.log, 2))
    await assert_knows_all(room, visitor)
    assert [type(said).__name__ for said in visitor.ear.heard()] == ["Message"] * 5 + ["Edited", "Deleted"]


async def test_the_latest_page_is_as_new_as_who_asks_for_it(room: ChatRoom) -> None:
    """A page that was read before is too old for a client which another process told more."""
    await tell(room, *posts(room.log, 2))
    assert await latest(room) == [1, 2]
    await elsewhere(post(room.log))
    assert await latest(room) == [1, 2]
    assert await room.can_resume(3, room.log.epoch, 100)
    come(room, 3)
    assert await latest(room) == [1, 2, 3]


# --- Deleted words ---


async def test_deleted_words_are_told_to_nobody_who_comes_back(room: ChatRoom) -> None:
    """A deleted message's text is gone from memory with it; the numbers have no gap."""
    live = come(room)
    await tell(room, post(room.log, "a secret"), post(room.log), edit(room.log, 1, "the same secret"))
    await tell(room, erase(room.log, 1))
    await live.reaches(4)
    back = come(room, 0)
    await assert_knows_all(room, live, back)
    assert not any("secret" in frame for frame in back.ear.frames)


async def test_pruned_messages_are_told_to_nobody_who_comes_back(room: ChatRoom) -> None:
    """Old messages leave memory too, after the hub's comparison; a client that resumes gets the remaining ones."""
    await tell(room, post(room.log, "old"), post(room.log, "new"))
    room.pruned(0)
    assert [message.content for message in (await room.history(before=None, after=None, limit=5))[0]] == [
        "old",
        "new",
    ]
    await run_read(partial(prune_first, room.log))
    room.pruned(1)
    assert [message.content for message in (await room.history(before=None, after=None, limit=5))[0]] == ["new"]
    back = come(room, 0)
    await back.reaches(2)
    assert not any("old" in frame for frame in back.ear.frames)


def prune_first(room: RoomLog) -> None:
    list(maintenance.prune(models.Message.objects.filter(room_id=room.pk, number=1)))


async def test_what_is_hidden_and_shown_in_one_moment_is_there(room: ChatRoom) -> None:
    """Both in one delivery: who was away finds the message as it is."""
    live = come(room)
    await tell(room, post(room.log, "rude?"))
    await tell(room, hide(room.log, 1), hide(room.log, 1, hidden=False), post(room.log))
    await assert_knows_all(
        room, live, come(room, 0), come(room, 1, Visitor(1, {1: live.messages.get(1) or said(live)}))
    )


def said(visitor: Visitor) -> Message:
    """The first message that came."""
    return next(message for message in visitor.ear.heard() if isinstance(message, Message))


# --- Slow readers ---


@pytest.fixture
def narrow(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send queues are full after a few frames, and every frame is written as it comes."""
    settings.CHAT = {"OUTBOX": 1_024, "RING": 5}
    monkeypatch.setattr(room_module, "TICK", 0)


async def talk(room: ChatRoom, number: int) -> None:
    """So many messages of some length, one after another."""
    for _ in range(number):
        await tell(room, post(room.log, "x" * 200))


async def test_a_slow_reader_is_caught_up(narrow: None, short: None, room: ChatRoom) -> None:
    """A full send queue gets nothing more; when it has drained, the missed part comes, also from the log."""
    quick, slow = come(room), come(room)
    slow.ear.open.clear()
    await talk(room, 30)
    await tell(room, edit(room.log, 2, "x"), edit(room.log, 29, "y"), erase(room.log, 12))
    assert room.behind.keys() == {slow.socket}
    assert slow.socket.transport.waiting < 2_048
    slow.ear.open.set()
    await assert_knows_all(room, quick, slow)
    assert room.sockets == {quick.socket, slow.socket}
    await talk(room, 1)
    await assert_knows_all(room, quick, slow)


async def test_who_falls_behind_within_a_gap_loses_nothing(
    narrow: None, short: None, room: ChatRoom, log: SlowLog
) -> None:
    """A slow reader that has a part of a gap gets the rest when it reads on: also what moved while it was read."""
    slow = come(room)
    slow.ear.open.clear()
    await elsewhere(*(post(room.log, "x" * 600) for _ in range(8)), edit(room.log, 1, "moved"))
    log.meanwhile.append(partial(elsewhere, edit(room.log, 5, "moved too")))
    room.catch_up()
    await until(lambda: not room._gap)
    assert room.behind.keys() == {slow.socket}
    slow.ear.open.set()
    await assert_knows_all(room, slow)


async def test_who_comes_with_a_full_lane_waits_for_it(narrow: None, room: ChatRoom) -> None:
    """A socket that has not read what it has in other rooms gets nothing of this one until it has."""
    await talk(room, 3)
    visitor = Visitor()
    visitor.ear.open.clear()
    while not visitor.socket.transport.full:
        visitor.socket.transport.write(Batch([encode(TypingNow(room="tea", username="Bob", timestamp=1))]))
    come(room, 0, visitor)
    await talk(room, 1)
    assert room.behind == {visitor.socket: 0}
    visitor.ear.open.set()
    await assert_knows_all(room, visitor)


async def test_a_long_way_is_told_in_pieces(narrow: None, room: ChatRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's missed changes never enter its send queue all at once."""
    monkeypatch.setattr(catch_up, "CHUNK", 1_024)
    await talk(room, 60)
    visitor = Visitor()
    most = 0
    plain = visitor.ear.send

    async def watched(message: dict[str, Any]) -> None:
        nonlocal most
        most = max(most, visitor.socket.transport.waiting)
        await plain(message)

    visitor.socket.transport._send = watched  # type: ignore[attr-defined]
    come(room, 0, visitor)
    await assert_knows_all(room, visitor)
    assert most < 4_096


async def test_the_newest_of_a_kind_is_told_to_who_was_behind(narrow: None, room: ChatRoom) -> None:
    """After the missed changes; a new client does not need it."""
    slow = come(room)
    slow.ear.open.clear()
    await talk(room, 10)
    room.keep_latest("userList", encode(TypingNow(room="lobby", username="list", timestamp=1)))
    fresh = come(room)
    slow.ear.open.set()
    await until(lambda: len(slow.ear.frames) == 11)
    assert isinstance(slow.ear.heard()[-1], TypingNow)
    assert fresh.ear.frames == []


@pytest.mark.parametrize("moment", ["live", "behind", "nearly", "read for"])
async def test_who_leaves_hears_no_more(no_ring: None, room: ChatRoom, log: SlowLog, moment: str) -> None:
    """At any step of a catch-up: if its client is gone, nothing is sent, and no other client notices."""
    other = come(room)
    await tell(room, *posts(room.log, 5))
    if moment == "nearly":
        await elsewhere(edit(room.log, 2, "moved"))
    visitor = come(room, None if moment == "live" else 0)
    if moment == "nearly":
        await until(lambda: room._catch_up.nearly_live)
    if moment == "behind":
        room.fall_behind(visitor.socket)
    assert room.exit(visitor.socket)
    assert not room.exit(visitor.socket)
    await visitor.socket.transport.flushed()
    heard = len(visitor.ear.frames)
    await tell(room, post(room.log))
    room.catch_up()
    await assert_knows_all(room, other)
    assert len(visitor.ear.frames) == heard
    assert room.audience == 1


# --- The room's row is gone, or is another ---


def gone(room: RoomLog) -> None:
    models.Room.objects.filter(pk=room.pk).delete()


async def test_a_room_whose_row_is_gone_does_not_keep_asking(
    no_ring: None, room: ChatRoom, log: SlowLog, clock: Clock
) -> None:
    """Those who wait for its log wait for what the hub finds out: the database is asked now and then."""
    live = come(room)
    await tell(room, *posts(room.log, 5))
    await live.reaches(5)
    await run_read(partial(gone, room.log))
    back = come(room, 0)
    room.catch_up()
    for rounds in range(1, 4):
        await until(lambda rounds=rounds: len(log.asked) > rounds)  # type: ignore[misc]
        for _ in range(20):
            # Time enough to ask again and again.
            await run_read(object)
        assert len(log.asked) == rounds + 1
        await clock.skip(RETRY)
    assert back.ear.frames == []
    assert live.follow() == 5


async def test_another_life_begins_anew_for_everybody(
    no_ring: None, room: ChatRoom, log: SlowLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Live, slow and waiting clients receive a welcome with the new epoch, and then new changes."""
    crowd = [come(room)]
    await tell(room, *posts(room.log, 5))
    log.telling.clear()
    crowd.append(come(room, 0))
    await run_read(partial(gone, room.log))
    anew = await log.open("lobby")
    await elsewhere(*posts(anew, 2), edit(anew, 1, "x"))
    life = await log.open("lobby")
    room.start_over(life)
    log.telling.set()
    await tell(room, post(life), edit(life, 2, "y"))
    truth = await there(life)
    for visitor in crowd:
        await until(lambda visitor=visitor: any(isinstance(said, Welcome) for said in visitor.ear.heard()))  # type: ignore[misc]
        heard = visitor.ear.heard()
        at = next(index for index, said in enumerate(heard) if isinstance(said, Welcome))
        welcome = heard[at]
        assert isinstance(welcome, Welcome)
        assert (welcome.resumed, welcome.seq, welcome.epoch) == (False, 3, life.epoch)
        follower = Follower(welcome.seq)
        follower.show((await room.history(before=None, after=None, limit=10))[0])
        await until(lambda visitor=visitor, at=at: len(visitor.ear.frames) >= at + 3)  # type: ignore[misc]
        follower.read(visitor.ear.frames[at:])
        assert (follower.seq, follower.messages) == (5, truth)
    assert "another" in caplog.text
    assert room._gap is None
    assert room._catch_up._reading is None


async def test_another_life_does_not_tell_what_was_made_for_the_former(room: ChatRoom, log: SlowLog) -> None:
    """A client that resumes at the same number of another epoch gets the later changes there."""
    await tell(room, *posts(room.log, 3))
    await come(room, 1).reaches(3)
    await run_read(partial(gone, room.log))
    anew = await log.open("lobby")
    room.start_over(anew)
    await tell(room, *(post(anew, "anew") for _ in range(3)))
    back = come(room, 1)
    await back.reaches(3)
    assert [message.content for message in back.messages.values()] == ["anew", "anew"]


async def test_what_is_read_of_a_former_life_is_told_to_nobody(
    short: None, no_ring: None, room: ChatRoom, log: SlowLog
) -> None:
    """A stretch that was asked for before the room started over is dropped, for a gap and for who came back."""
    live, back = come(room), None
    await tell(room, *posts(room.log, 8))
    await live.reaches(8)
    log.telling.clear()
    back = come(room, 0)
    await elsewhere(post(room.log))
    room.catch_up()
    await until(lambda: len(log.asked) == 2)
    await run_read(partial(gone, room.log))
    room.start_over(await log.open("lobby"))
    log.telling.set()
    await until(lambda: not (room._gap or room._catch_up._reading))
    await tell(room, post(room.log))
    for visitor in (live, back):
        await until(lambda visitor=visitor: len(visitor.ear.frames) >= 2)  # type: ignore[misc]
    assert [said.seq for said in back.ear.heard() if isinstance(said, Welcome | Message)] == [0, 1]
    assert [said.seq for said in live.ear.heard() if isinstance(said, Welcome | Message)] == [*range(1, 9), 0, 1]


# --- The latest page ---


async def test_the_latest_page_is_read_once_for_a_crowd(room: ChatRoom, statements: list[str]) -> None:
    """While nothing changes everybody who asks gets the same page from one question."""
    await tell(room, *posts(room.log, 10))
    statements.clear()
    answers = await asyncio.gather(*(room.history(before=None, after=None, limit=4) for _ in range(200)))
    answers.append(await room.history(before=None, after=None, limit=4))
    assert len(statements) == 1
    assert all(answer is answers[0] for answer in answers)
    messages, more = answers[0]
    assert ([message.id for message in messages], more) == ([7, 8, 9, 10], True)


async def test_the_latest_page_is_read_again_when_it_is_another(room: ChatRoom) -> None:
    """After a change, for another number of messages, and in another epoch."""
    await tell(room, *posts(room.log, 3))
    assert await latest(room) == [1, 2, 3]
    await tell(room, post(room.log), erase(room.log, 1))
    assert await latest(room) == [1, 2, 3, 4]
    assert await latest(room, 2) == [3, 4]
    assert await latest(room) == [1, 2, 3, 4]
    assert (await room.history(before=None, after=None, limit=10))[0][0].deleted


async def latest(room: ChatRoom, limit: int = 10) -> list[int]:
    messages, _ = await room.history(before=None, after=None, limit=limit)
    return [message.id for message in messages]


async def test_other_pages_are_asked_each(room: ChatRoom) -> None:
    """Before and after a message: whatever the latest page was."""
    await tell(room, *posts(room.log, 6))
    await latest(room)
    before, more = await room.history(before=4, after=None, limit=2)
    assert ([message.id for message in before], more) == ([2, 3], True)
    after, more = await room.history(before=None, after=4, limit=5)
    assert ([message.id for message in after], more) == ([5, 6], False)


async def test_a_page_that_could_not_be_read_is_asked_again(room: ChatRoom, outage: Outage) -> None:
    """All waiting clients are refused with `busy`; the next one gets it."""
    await tell(room, *posts(room.log, 2))
    with outage.begin():
        answers = await asyncio.gather(*(latest(room) for _ in range(5)), return_exceptions=True)
    assert [answer.code for answer in answers if isinstance(answer, Invalid)] == [ErrorCode.BUSY] * 5
    assert await latest(room) == [1, 2]


async def test_who_gives_up_on_a_page_takes_it_from_nobody(room: ChatRoom) -> None:
    """The first to ask is cut off: the others still get what was asked for them too."""
    await tell(room, *posts(room.log, 2))
    asking = [asyncio.create_task(latest(room)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    assert await asyncio.gather(*asking[1:]) == [[1, 2]] * 2


# --- The welcome ---


async def test_a_welcome_tells_where_the_socket_is(room: ChatRoom) -> None:
    """The room's number and its life, the name, and how far the person has read, where that is known."""
    await tell(room, *posts(room.log, 3))
    visitor = Visitor()
    visitor.socket.username = "Alice"
    room.welcome(visitor.socket, resumed=True, read=2, ref="r1")
    room.welcome(visitor.socket, resumed=False)
    await until(lambda: len(visitor.ear.frames) == 2)
    full, plain = visitor.ear.heard()
    assert isinstance(full, Welcome)
    assert isinstance(plain, Welcome)
    assert (full.room, full.username, full.seq, full.epoch) == ("lobby", "Alice", 3, room.log.epoch)
    assert (full.resumed, full.read, full.ref) == (True, 2, "r1")
    assert (plain.resumed, plain.read, plain.ref) == (False, UNSET, UNSET)


async def test_a_welcome_never_tells_of_what_is_still_to_come(room: ChatRoom, clock: Clock) -> None:
    """Frames that wait for their tick are not counted: they will be sent."""
    clock.stop()
    come(room)
    for change in await elsewhere(*posts(room.log, 2)):
        room.deliver([change])
    assert (room.position, room.written) == (2, 1)
    late = Visitor(1)
    room.welcome(late.socket, resumed=False)
    come(room, None, late)
    await clock.skip(TICK)
    await until(lambda: len(late.ear.frames) == 2)
    assert [said.seq for said in late.ear.heard() if isinstance(said, Welcome | Message)] == [1, 2]
