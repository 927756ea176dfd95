"""The hub over a channel layer that is slow, lossy, out of order or away: a room receives all changes, in
order.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from operator import gt

import pytest
from channels.layers import InMemoryChannelLayer
from doubles import Clock, FakeLayer, Outage, SlowLog, another_process, message_log, run_with, until
from logs import (
    Visitor,
    assert_counted,
    commit,
    edit,
    elsewhere,
    erase,
    post,
    posts,
    react,
    there,
    written,
)
from pytest_django import Settings

from chat import loops, models
from chat.actions.chat_room import open_room
from chat.database import run_read
from chat.hub import RECONCILE, REST, TICK, Hub, OpenRoom, degraded_notice, group_name, people_part
from chat.hub import room as room_module
from chat.hub.bus import ALL_HUBS, PATIENCE, RETRY, UNHEARD, Outside
from chat.hub.hub import RENEW
from chat.hub.reorder_buffer import CROSSING
from chat.hub.stall_detector import LONGEST
from chat.limits import Limits
from chat.log import Change, RoomLog, Write, Written
from chat.message_log import queries
from chat.protocol import (
    CloseCode,
    ErrorCode,
    Invalid,
    Joined,
    Late,
    Message,
    TypingNow,
    Welcome,
    decode_outgoing,
    encode,
)
from chat.transport import Batch

ROOM = "lobby"
GROUP = group_name(ROOM)


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> FakeLayer:
    layer = FakeLayer()
    monkeypatch.setattr("chat.hub.bus.get_channel_layer", lambda: layer)
    return layer


@pytest.fixture
async def log(rooms: None, layer: FakeLayer) -> SlowLog:
    log = SlowLog()
    run_with(log)
    return log


@pytest.fixture
async def hub(log: SlowLog, layer: FakeLayer) -> AsyncIterator[Hub]:
    yield loops.current(Hub)
    layer.open.set()
    log.telling.set()
    await loops.close_current()


@pytest.fixture
async def another(hub: Hub) -> AsyncIterator[Hub]:
    """The hub of another process, on the same layer and the same database."""
    other = another_process(SlowLog)
    yield other
    await other.close()
    await message_log(other).close()


async def enter(hub: Hub, slug: str = ROOM, since: int | None = None) -> Visitor:
    """Somebody comes into the room: new, or holding nothing of what came up to ``since``."""
    visitor = Visitor()
    hub.add(visitor.socket)
    room = await hub.open(slug)
    visitor.seq = room.written if since is None else since
    hub.enter(room, visitor.socket, since)
    return visitor


def log_of(hub: Hub, slug: str = ROOM) -> RoomLog:
    return hub.rooms()[slug].log


async def say(hub: Hub, content: str = "hi", slug: str = ROOM) -> Written:
    """A message is committed; the room receives it soon."""
    return written(await commit(message_log(hub), post(log_of(hub, slug), content)))[0]


async def keep(hub: Hub, *writes: Write) -> list[Change]:
    """Another process writes into the room, and no hint of it comes."""
    return await elsewhere(*(writes or [post(log_of(hub))]))


def numbers(visitor: Visitor) -> list[int]:
    """The numbers of the received messages, in the order of receipt. They have no gap."""
    visitor.follow()
    return [said.seq for said in visitor.ear.heard() if isinstance(said, Message)]


def note(number: int) -> str:
    """A frame without a number of its own in the room: ``number`` is only to tell it by."""
    return encode(TypingNow(room=ROOM, username=f"u{number}", timestamp=number))


def notes(visitor: Visitor) -> list[int]:
    return [said.timestamp for said in visitor.ear.heard() if isinstance(said, TypingNow)]


def audiences(hub: Hub) -> dict[str, int]:
    return {slug: room.audience for slug, room in hub.rooms().items()}


async def emptied(hub: Hub, clock: Clock) -> None:
    """Wait until no room is open: one that was just opened is held for a moment."""
    await clock.skip(RECONCILE)
    await until(lambda: not hub.rooms())


async def seconds(clock: Clock, *hubs: Hub, number: int = 2) -> None:
    """By default two comparisons with the log: one sees that the room stands still, the next one acts."""
    for _ in range(number):
        before = compared(hubs)
        await clock.skip(RECONCILE)
        await until(lambda before=before: all(map(gt, compared(hubs), before)))  # type: ignore[misc]


def compared(hubs: Iterable[Hub]) -> list[int]:
    return [hub.comparisons for hub in hubs]


# --- Order ---


async def test_everybody_hears_everything_once_in_order(hub: Hub) -> None:
    """A committed change reaches each socket in the room once, in the room's order."""
    visitors = [await enter(hub) for _ in range(3)]
    for _ in range(20):
        await say(hub)
    for visitor in visitors:
        await visitor.reaches(20)
    assert [numbers(visitor) for visitor in visitors] == [list(range(1, 21))] * 3


async def test_rooms_do_not_leak(hub: Hub) -> None:
    """A socket receives from the rooms that it is in, and only from those."""
    tea, both = await enter(hub, "tea"), await enter(hub, "tea")
    hub.enter(await hub.open("cake"), both.socket)
    await say(hub, "in tea", "tea")
    await say(hub, "in cake", "cake")
    await say(hub, "last", "tea")
    await until(lambda: len(both.ear.frames) == 3 and len(tea.ear.frames) == 2)
    assert [said.content for said in tea.ear.heard() if isinstance(said, Message)] == ["in tea", "last"]
    assert said_in(both, "tea") + said_in(both, "cake") == ["in tea", "last", "in cake"]


def said_in(visitor: Visitor, slug: str) -> list[str]:
    return [said.content for said in visitor.ear.heard() if isinstance(said, Message) and said.room == slug]


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_posts_arrive_in_order(hub: Hub, layer: FakeLayer, seed: int) -> None:
    """However slow the layer is, what is said at once arrives in the order of its numbers."""
    layer.random.seed(seed)
    layer.slowness = 10
    visitor = await enter(hub)
    await asyncio.gather(*(say(hub) for _ in range(50)))
    await visitor.reaches(50)
    assert numbers(visitor) == list(range(1, 51))


async def test_one_commit_is_one_message_to_the_layer(hub: Hub, layer: FakeLayer) -> None:
    """Changes of one commit travel together, for each room separately."""
    visitor = await enter(hub)
    await enter(hub, "tea")
    await commit(
        message_log(hub), *posts(log_of(hub), 50), *posts(log_of(hub, "tea"), 50), edit(log_of(hub), 1, "x")
    )
    await visitor.reaches(51)
    assert [
        (group, [len(changes) for _, _, changes in message["parts"]])
        for group, message in layer.sent
        if group != ALL_HUBS
    ] == [(GROUP, [51]), (group_name("tea"), [50])]


async def test_what_is_kept_is_answered_whatever_the_layer_does(hub: Hub, layer: FakeLayer) -> None:
    """A layer that hangs delays no reply; when it goes on, everything is received in order."""
    visitor = await enter(hub)
    layer.open.clear()
    assert [(await say(hub)).seq for _ in range(3)] == [1, 2, 3]
    assert visitor.ear.frames == []
    layer.open.set()
    await visitor.reaches(3)


async def test_what_comes_again_is_dropped(hub: Hub, layer: FakeLayer) -> None:
    """An old number is dropped, from any sender."""
    visitor = await enter(hub)
    await say(hub)
    await visitor.reaches(1)
    again = layer.sent[0]
    layer.carry(*again)
    await say(hub)
    layer.carry(*again)
    await say(hub)
    await visitor.reaches(3)
    assert numbers(visitor) == [1, 2, 3]


async def test_a_gap_is_read_from_the_log(hub: Hub) -> None:
    """Changes that the layer lost come from the log, before those that it delivered."""
    visitor = await enter(hub)
    await say(hub)
    await keep(hub, *posts(log_of(hub), 3), edit(log_of(hub), 1, "x"))
    await say(hub)
    await visitor.reaches(6)
    assert visitor.messages == await there(log_of(hub))


async def test_notes_keep_their_place(hub: Hub, layer: FakeLayer) -> None:
    """Frames without a number arrive in the order of publishing, also before a message that follows them."""
    layer.slowness = 5
    visitor = await enter(hub)
    for number in range(10):
        hub.publish_soon(ROOM, note(number))
    await say(hub)
    await until(lambda: 1 in numbers(visitor))
    assert notes(visitor) == list(range(10))
    assert [type(said).__name__ for said in visitor.ear.heard()] == ["TypingNow"] * 10 + ["Message"]


# --- Two processes ---


@pytest.mark.parametrize("seed", range(3))
async def test_two_processes_hear_each_other(hub: Hub, another: Hub, layer: FakeLayer, seed: int) -> None:
    """Messages of either are received in both, in one order, although their hints cross."""
    layer.random.seed(seed)
    layer.slowness = 5
    visitors = [await enter(hub), await enter(another)]
    for _ in range(10):
        here, _ = await asyncio.gather(say(hub, "here"), say(another, "there"))
        await commit(message_log(another), react(log_of(another), here.id))
    for visitor in visitors:
        await visitor.reaches(30)
    truth = await there(log_of(hub))
    assert [visitor.messages for visitor in visitors] == [truth, truth]
    await run_read(partial(assert_counted, log_of(hub)))


async def test_what_another_process_wrote_is_found(hub: Hub, another: Hub, layer: FakeLayer, clock: Clock) -> None:
    """Without a word from the layer, in two seconds at most."""
    visitors = [await enter(hub), await enter(another)]
    layer.lost = 1.0
    await say(another)
    await commit(message_log(another), post(log_of(another)), edit(log_of(another), 1, "x"))
    await seconds(clock, hub, another)
    for visitor in visitors:
        await visitor.reaches(3)
        assert visitor.messages == await there(log_of(hub))


async def test_after_a_standstill_the_log_is_read_first(hub: Hub, clock: Clock) -> None:
    """A client that joins then does not get texts deleted meanwhile, and a present client receives all events."""
    here = await enter(hub)
    await say(hub, "secret")
    await here.reaches(1)
    await keep(hub, erase(log_of(hub), 1), post(log_of(hub)))
    clock.work(LONGEST + 0.1)
    await hub.stalls.end()
    late = await enter(hub, since=0)
    for visitor in (here, late):
        await visitor.reaches(3)
        assert visitor.messages == await there(log_of(hub))
    assert "secret" in "".join(here.ear.frames)
    assert "secret" not in "".join(late.ear.frames)


# --- Losses ---


@pytest.mark.parametrize("seed", range(8))
async def test_a_layer_that_loses_a_third_converges(hub: Hub, layer: FakeLayer, clock: Clock, seed: int) -> None:
    """Lost, doubled and late hints: no client receives a number twice or out of order, and soon all have all."""
    layer.random.seed(seed)
    layer.slowness = 3
    layer.lost = layer.doubled = layer.delayed = 0.3
    visitors = [await enter(hub) for _ in range(2)]
    for number in range(1, 31):
        await say(hub)
        if number % 3 == 0:
            # Some of these are messages, the others are changes and cannot be changed.
            await commit(message_log(hub), edit(log_of(hub), number - 1, "x"), react(log_of(hub), number // 3))
    visitors.append(await enter(hub, since=0))
    await asyncio.gather(*(say(hub) for _ in range(10)))
    layer.release_held()
    await seconds(clock, hub)
    last = (await message_log(hub).open(ROOM)).seq
    for visitor in visitors:
        await visitor.reaches(last)
        assert visitor.messages == await there(log_of(hub))
        assert visitor.seqs == sorted(set(visitor.seqs))


async def test_what_the_layer_lost_comes_within_two_seconds(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """The hub compares its position with the log's by itself: no later message is needed."""
    visitor = await enter(hub)
    layer.lost = 1.0
    await say(hub)
    await say(hub)
    assert visitor.ear.frames == []
    await seconds(clock, hub)
    await visitor.reaches(2)


async def test_a_comparison_brings_nothing_twice(hub: Hub, clock: Clock, log: SlowLog) -> None:
    """Where nothing was lost the comparison says nothing, and no change is read."""
    visitor = await enter(hub)
    await say(hub)
    await visitor.reaches(1)
    await seconds(clock, hub, number=3)
    await say(hub)
    await visitor.reaches(2)
    assert numbers(visitor) == [1, 2]
    assert log.asked == []


async def test_a_comparison_is_one_question_for_all_rooms(hub: Hub, clock: Clock, statements: list[str]) -> None:
    """However many rooms are open; and none where none is."""
    visitors = [await enter(hub, f"r{number}") for number in range(20)]
    statements.clear()
    await seconds(clock, hub, number=1)
    assert len(statements) == 1
    for visitor in visitors:
        hub.remove(visitor.socket)
    await emptied(hub, clock)
    statements.clear()
    await seconds(clock, hub, number=2)
    assert statements == []


async def test_what_is_on_its_way_is_not_taken_for_lost(hub: Hub, clock: Clock, log: SlowLog) -> None:
    """A comparison acts only where a room stood still since the last one: a busy room is not read from the log."""
    visitor = await enter(hub)
    await seconds(clock, hub, number=1)
    await say(hub)
    await visitor.reaches(1)
    underway = await keep(hub)
    await seconds(clock, hub, number=1)
    assert log.asked == []
    hub.rooms()[ROOM].deliver(underway)
    await visitor.reaches(2)


async def test_a_comparison_outlives_the_database(hub: Hub, clock: Clock, outage: Outage) -> None:
    """While it is away nothing is compared; afterwards what was lost comes as ever."""
    visitor = await enter(hub)
    await keep(hub)
    with outage.begin():
        await seconds(clock, hub, number=3)
        # Each is asked again at once, on a new connection.
        assert outage.struck == 6
    await seconds(clock, hub, number=2)
    await visitor.reaches(1)


# --- A room of another life ---


async def test_a_hint_of_another_life_is_dropped(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """A change that was under way while its room was deleted is not taken for one of the new room."""
    visitor = await enter(hub)
    layer.lost = 1.0
    for _ in range(3):
        await say(hub, "old")
    layer.lost = 0.0
    hub.remove(visitor.socket)
    await emptied(hub, clock)
    await run_read(lambda: models.Room.objects.all().delete())
    visitor = await enter(hub)
    layer.carry(*layer.sent[0])
    await say(hub, "new")
    await visitor.reaches(1)
    assert [message.content for message in visitor.messages.values()] == ["new"]
    assert len(visitor.ear.frames) == 1


async def test_a_room_whose_row_is_gone_starts_over(
    hub: Hub, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub finds out within a second: its clients start over, and can go on posting."""
    visitor = await enter(hub)
    for _ in range(3):
        await say(hub)
    await visitor.reaches(3)
    before = log_of(hub)
    await run_read(lambda: models.Room.objects.all().delete())
    with pytest.raises(AssertionError, match="room: is gone"):
        await say(hub)
    await seconds(clock, hub, number=1)
    await until(lambda: log_of(hub) is not before)
    await until(lambda: len(visitor.ear.frames) == 4)
    welcome = visitor.ear.heard()[-1]
    assert isinstance(welcome, Welcome)
    assert (welcome.resumed, welcome.seq, welcome.epoch) == (False, 0, log_of(hub).epoch)
    assert welcome.epoch != before.epoch
    assert (await say(hub, "anew")).seq == 1
    await until(lambda: len(visitor.ear.frames) == 5)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_database_that_was_restored_starts_over(hub: Hub, clock: Clock) -> None:
    """A room whose log is behind what was told is another one, though its row has the same name."""
    visitor = await enter(hub)
    for _ in range(5):
        await say(hub)
    await visitor.reaches(5)

    def restore() -> None:
        models.Message.objects.filter(number__gt=2).delete()
        models.Room._base_manager.update(seq=2)

    await run_read(restore)
    await seconds(clock, hub, number=1)
    await until(lambda: len(visitor.ear.frames) == 6)
    welcome = visitor.ear.heard()[-1]
    assert isinstance(welcome, Welcome)
    assert (welcome.resumed, welcome.seq) == (False, 2)
    visitor.start_over(2)
    assert (await say(hub)).seq == 3
    await visitor.reaches(3)


async def test_a_room_that_cannot_start_over_yet_does_so_later(
    hub: Hub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes away between the comparison and the new start: the next comparison tries again."""
    visitor = await enter(hub)
    await say(hub)
    await visitor.reaches(1)
    await run_read(lambda: models.Room.objects.all().delete())

    async def away(slug: str, **_: object) -> RoomLog:
        raise Invalid(ErrorCode.BUSY, slug)

    with monkeypatch.context() as patched:
        patched.setattr(message_log(hub), "open", away)
        await seconds(clock, hub, number=2)
        assert len(visitor.ear.frames) == 1
    await seconds(clock, hub, number=1)
    await until(lambda: len(visitor.ear.frames) == 2)


# --- The layer is away ---


async def test_while_the_layer_is_away_this_process_goes_on(
    hub: Hub, layer: FakeLayer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients of this process receive from each other, numbered or not; the layer is not used, and one line is
    logged.
    """
    visitor = await enter(hub)
    await until(lambda: layer.hubs)
    layer.error = ConnectionError("no layer")
    hub.publish_soon(ROOM, note(1))
    await say(hub)
    await until(lambda: len(visitor.ear.frames) == 2)
    assert [call for call in layer.calls if call[0] == "send"] == [("send", GROUP)]
    layer.error = None
    await seconds(clock, hub)
    await until(lambda: not hub.is_alone)
    await say(hub)
    await visitor.reaches(2)
    assert (notes(visitor), numbers(visitor)) == ([1], [1, 2])
    assert ("send", GROUP) in layer.calls[-1:]
    assert [record.getMessage() for record in caplog.records] == [
        "the channel layer is away: ConnectionError('no layer')",
        "the channel layer is there again",
    ]


async def test_a_layer_that_hangs_is_waited_for_once(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """Events are delayed for as long as the layer may take, and later ones not at all."""
    visitor = await enter(hub)
    await until(lambda: layer.hubs)
    layer.open.clear()
    hub.publish_soon(ROOM, note(1))
    await until(lambda: ("send", GROUP) in layer.calls)
    assert notes(visitor) == []
    await clock.skip(PATIENCE)
    await until(lambda: notes(visitor) == [1])
    for number in range(2, 5):
        hub.publish_soon(ROOM, note(number))
    await until(lambda: notes(visitor) == [1, 2, 3, 4])
    assert layer.calls.count(("send", GROUP)) == 1
    layer.open.set()


async def test_a_layer_that_takes_and_brings_nothing_is_away(
    hub: Hub, layer: FakeLayer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis' pub/sub loses in silence: the beats that do not come back tell. The first that does ends it."""
    visitor = await enter(hub)
    await until(lambda: layer.hubs)
    layer.lost = 1.0
    for _ in range(UNHEARD + 2):
        await clock.skip(RECONCILE)
    await until(lambda: hub.is_alone)
    hub.publish_soon(ROOM, note(1))
    await until(lambda: notes(visitor) == [1])
    layer.lost = 0.0
    await clock.skip(RECONCILE)
    await until(lambda: not hub.is_alone)
    hub.publish_soon(ROOM, note(2))
    await until(lambda: notes(visitor) == [1, 2])
    assert layer.sent[-1][0] == GROUP


async def test_people_are_told_while_others_may_be_late(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """Not of a hiccup; once when the layer is away for a while, and once when it is there again."""
    visitor = await enter(hub)
    await until(lambda: layer.hubs)

    def told() -> list[bool]:
        return [said.late for said in visitor.ear.heard() if isinstance(said, Late)]

    layer.error = ConnectionError("no layer")
    await clock.skip(RECONCILE)
    await until(lambda: hub.is_alone)
    layer.error = None
    await clock.skip(RECONCILE)
    await until(lambda: not hub.is_alone)
    assert told() == []
    layer.error = ConnectionError("no layer")
    for _ in range(degraded_notice.CHECKS + 2):
        await clock.skip(RECONCILE)
    await until(lambda: told() == [True])
    assert decode_outgoing(hub.degraded.frame()).late is True  # type: ignore[union-attr]
    layer.error = None
    for _ in range(3):
        await clock.skip(RECONCILE)
    await until(lambda: told() == [True, False])
    assert not hub.degraded.is_shown


async def test_when_the_layer_is_back_all_is_compared_at_once(
    hub: Hub, another: Hub, layer: FakeLayer, clock: Clock
) -> None:
    """Another process's messages from meanwhile come with the first comparison; all rooms are subscribed again."""
    visitor = await enter(hub)
    await enter(another)
    await until(lambda: len(layer.hubs) == 2)
    clock.stop()
    layer.error = ConnectionError("no layer")
    hub.publish_soon(ROOM, note(1))
    await until(lambda: hub.is_alone)
    await say(another)
    layer.groups.clear()
    layer.error = None
    compared_before = message_log(hub).compared  # type: ignore[attr-defined]
    await clock.skip(RECONCILE)
    await until(lambda: not hub.is_alone)
    await until(lambda: message_log(hub).compared > compared_before + 1)  # type: ignore[attr-defined]
    await clock.skip(RECONCILE)
    await visitor.reaches(1)
    await until(lambda: hub._bus._channel in layer.groups[GROUP])


async def test_numbers_that_cross_are_put_in_order(hub: Hub, layer: FakeLayer, log: SlowLog, clock: Clock) -> None:
    """Messages of two processes at once may come in any order: a short wait saves a read of the log."""
    visitor = await enter(hub)
    clock.stop()
    changes = await keep(hub, *posts(log_of(hub), 3))
    for change in (changes[2], changes[0]):
        hub.rooms()[ROOM].deliver([change])
    await until(lambda: numbers(visitor) == [1])
    hub.rooms()[ROOM].deliver([changes[1]])
    await clock.skip(TICK)
    await until(lambda: numbers(visitor) == [1, 2, 3])
    await clock.skip(2 * CROSSING)
    assert log.asked == []


async def test_a_number_that_does_not_come_is_read(hub: Hub, layer: FakeLayer, log: SlowLog, clock: Clock) -> None:
    """After the wait for it, once, with all that came behind it."""
    visitor = await enter(hub)
    clock.stop()
    changes = await keep(hub, *posts(log_of(hub), 4))
    hub.rooms()[ROOM].deliver([changes[1]])
    await clock.skip(CROSSING / 2)
    hub.rooms()[ROOM].deliver([changes[3]])
    assert log.asked == []
    await clock.skip(CROSSING / 2)
    await until(lambda: numbers(visitor) == [1, 2, 3, 4])
    assert log.asked == [0]


async def test_what_waits_for_the_layer_travels_together(hub: Hub, layer: FakeLayer) -> None:
    """While one message is under way all that comes for a room is the next one, in its order; rooms take turns."""
    visitor = await enter(hub)
    await enter(hub, "tea")
    await until(lambda: layer.hubs)
    layer.sent.clear()
    layer.open.clear()
    hub.publish_soon(ROOM, note(1))
    await until(lambda: ("send", GROUP) in layer.calls)
    for number in range(2, 6):
        hub.publish_soon(ROOM, note(number))
    hub.publish_soon("tea", note(9))
    layer.open.set()
    await until(lambda: notes(visitor) == [1, 2, 3, 4, 5])
    await until(lambda: len([group for group, _ in layer.sent if group != ALL_HUBS]) == 3)
    sent = [(group, len(message["parts"])) for group, message in layer.sent if group != ALL_HUBS]
    assert sent == [(GROUP, 1), (GROUP, 4), (group_name("tea"), 1)]


async def test_one_person_is_told_in_every_process(hub: Hub, another: Hub) -> None:
    """How far somebody has read goes to their other sockets, wherever they are, and to nobody else."""
    here, there, stranger = await enter(hub), await enter(another), await enter(another)
    there.socket.identity = here.socket.identity
    hub.publish_to(ROOM, here.socket.identity.key, note(1), but=here.socket.id)
    await until(lambda: notes(there) == [1])
    assert (notes(here), notes(stranger)) == ([], [])


async def test_a_process_without_a_hub_tells_all(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """A command that ends a sign-in; a layer that fails it asks no more for a while."""
    told: list[list[str]] = []
    hub.cluster.on_people = lambda people, _: told.append(people)
    await enter(hub)
    await until(lambda: layer.hubs)
    outside = Outside()

    async def tell(person: str) -> None:
        await asyncio.to_thread(outside.publish, people_part([person]))

    await tell("account:1")
    await until(lambda: told == [["account:1"]])
    layer.error = ConnectionError("no layer")
    await tell("account:2")
    layer.error = None
    await tell("account:3")
    outside._quiet_until = 0.0
    await tell("account:4")
    await until(lambda: told == [["account:1"], ["account:4"]])


async def test_slow_mode_knows_who_spoke_elsewhere(hub: Hub, another: Hub) -> None:
    """When somebody spoke in one process is known in all."""
    for each in (hub, another):
        await enter(each)
    here, there = open_room(hub, ROOM), open_room(another, ROOM)
    assert here
    assert there
    here.note_post(hub, "account:1")
    await until(lambda: there.slow_mode_wait("account:1", 10) > 0)
    assert there.slow_mode_wait("account:2", 10) <= 0


async def test_a_room_that_opens_while_the_layer_is_away_works_here(
    hub: Hub, layer: FakeLayer, clock: Clock
) -> None:
    """Joining does not fail; everything is received once here, and from the next second on through the layer."""
    layer.error = ConnectionError("no layer")
    visitor = await enter(hub)
    await say(hub)
    hub.publish_soon(ROOM, note(1))
    await until(lambda: len(visitor.ear.frames) == 2)
    layer.error = None
    await say(hub)
    hub.publish_soon(ROOM, note(2))
    await until(lambda: len(visitor.ear.frames) == 4)
    assert GROUP not in layer.groups
    await clock.skip(RECONCILE)
    await clock.skip(RECONCILE)
    await until(lambda: GROUP in layer.groups)
    await say(hub)
    hub.publish_soon(ROOM, note(3))
    await until(lambda: len(visitor.ear.frames) >= 6)
    assert (numbers(visitor), notes(visitor)) == ([1, 2, 3], [1, 2, 3])


async def test_a_layer_that_hangs_holds_up_one_join_at_most(hub: Hub, layer: FakeLayer) -> None:
    """Only the first into a room asks the layer: when it gives up, the others are in at once."""
    layer.open.clear()
    joining = [asyncio.create_task(enter(hub)) for _ in range(20)]
    await until(lambda: layer.calls)
    layer.error = TimeoutError()
    layer.open.set()
    await asyncio.gather(*joining)
    assert layer.calls == [("add", GROUP)]
    assert hub.audience(ROOM) == 20


async def test_a_layer_that_is_away_at_the_first_join_stops_nobody(
    hub: Hub, layer: FakeLayer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in the process talk; when the layer is there, the hub has a name in it and joins the group."""

    async def away(prefix: str = "") -> str:
        raise ConnectionError(prefix)

    with monkeypatch.context() as patched:
        patched.setattr(layer, "new_channel", away)
        visitor = await enter(hub)
        await say(hub)
        await visitor.reaches(1)
        assert GROUP not in layer.groups
    await clock.skip(RECONCILE)
    await until(lambda: GROUP in layer.groups)


async def test_leaving_does_not_wait_for_the_layer(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """A layer that hangs keeps nobody in a room, and the room is closed once it is back."""
    visitor = await enter(hub)
    layer.open.clear()
    hub.remove(visitor.socket)
    assert (hub.audience(ROOM), hub.sockets, visitor.socket.rooms) == (0, {}, {})
    await clock.skip(RECONCILE)
    assert ROOM in hub.rooms()
    layer.open.set()
    await until(lambda: not hub.rooms())


async def test_the_receiver_outlives_a_layer_that_fails(
    hub: Hub, layer: FakeLayer, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed receive is logged and tried again after a pause."""
    failures = iter([ConnectionError("gone"), ConnectionError("gone")])
    receive = layer.receive

    async def failing(channel: str) -> dict[str, object]:
        if error := next(failures, None):
            raise error
        return await receive(channel)

    monkeypatch.setattr(layer, "receive", failing)
    visitor = await enter(hub)
    await until(lambda: len(caplog.records) == 1)
    await clock.skip(RETRY)
    await until(lambda: len(caplog.records) == 2)
    await clock.skip(RETRY)
    await say(hub)
    await visitor.reaches(1)
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2


JUNK: list[dict[str, object]] = [
    {},
    {"type": "hub.deliver"},
    {"type": "hub.deliver", "room": ROOM},
    {"type": "chat.message", "text": "hello"},
    {"type": "hub.deliver", "room": ROOM, "frame": None, "changes": "many", "epoch": None, "latest": None},
    {"type": "hub.deliver", "room": ROOM, "frame": None, "changes": [[1, 1]], "epoch": None, "latest": None},
    {"type": "hub.deliver", "room": ["x"], "frame": "x", "changes": None, "epoch": None, "latest": None},
    {"type": "hub.deliver", "room": ROOM, "frame": None, "changes": None, "epoch": None, "latest": None},
]


@pytest.mark.parametrize("junk", JUNK)
async def test_a_message_that_is_not_ours_ends_nothing(
    hub: Hub, layer: FakeLayer, clock: Clock, junk: dict[str, object]
) -> None:
    """After any foreign message on the group, later messages are delivered."""
    visitor = await enter(hub)
    layer.carry(GROUP, junk)
    await say(hub)
    await until(lambda: layer.queues[hub._bus._channel].qsize() <= 1)
    await clock.skip(RETRY)
    await visitor.reaches(1)
    assert numbers(visitor) == [1]


async def test_a_message_for_a_room_that_is_not_open_goes_nowhere(
    hub: Hub, layer: FakeLayer, clock: Clock
) -> None:
    """A copy that comes after the last socket left is nobody's."""
    visitor = await enter(hub)
    await say(hub)
    await visitor.reaches(1)
    await enter(hub, "other")
    await clock.skip(RECONCILE)
    hub.exit(ROOM, visitor.socket)
    await until(lambda: ROOM not in hub.rooms())
    layer.carry(group_name("other"), layer.sent[0][1])
    layer.carry(group_name("other"), {**layer.sent[0][1], "room": "never"})
    await until(lambda: not layer.queues[hub._bus._channel].qsize())
    assert len(visitor.ear.frames) == 1
    assert audiences(hub) == {"other": 1}


# --- Rooms open and close ---


async def test_a_room_has_one_subscription(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """For any number of sockets, the layer is called for the first and for the last."""
    visitors = [await enter(hub) for _ in range(50)]
    for visitor in visitors:
        hub.remove(visitor.socket)
    await emptied(hub, clock)
    assert layer.calls == [("add", GROUP), ("discard", GROUP)]


async def test_a_room_is_made_for_who_may_beside_who_may_not(hub: Hub) -> None:
    """Both wait for the same question; the one who may not make a room does not spoil it for the other."""
    one = asyncio.create_task(hub.open("new", make=False))
    await asyncio.sleep(0)
    other = asyncio.create_task(hub.open("new", make=True))
    with pytest.raises(Invalid) as refused:
        await one
    assert refused.value.code == ErrorCode.NO_ROOM
    hub.release(await other)


async def test_a_room_is_made_for_who_comes_as_it_is_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the turn of the loop in which the opening for another has failed, and is not forgotten yet."""
    failed = asyncio.get_running_loop().create_future()
    opened = message_log(hub).open

    async def refused(slug: str, *, make: bool, owner: int | str | None = None) -> RoomLog:
        try:
            return await opened(slug, make=make, owner=owner)
        except Invalid:
            failed.set_result(None)
            raise

    async def come_then() -> OpenRoom:
        await failed
        return await hub.open("new")

    monkeypatch.setattr(message_log(hub), "open", refused)
    coming = asyncio.create_task(come_then())
    with pytest.raises(Invalid):
        await hub.open("new", make=False)
    hub.release(await coming)


async def test_a_room_is_opened_once_for_all_who_come(hub: Hub, statements: list[str], clock: Clock) -> None:
    """A crowd that comes at once is one question to the database, and one room."""
    await enter(hub)
    hub.remove(next(iter(hub.sockets.values())))
    await emptied(hub, clock)
    statements.clear()
    crowd = await asyncio.gather(*(enter(hub) for _ in range(100)))
    # The room, and its rules: its row again, the roles, the restrictions.
    assert len(statements) == 4
    await say(hub)
    for visitor in crowd:
        await visitor.reaches(1)


async def test_a_room_does_not_open_without_the_database(hub: Hub, layer: FakeLayer, outage: Outage) -> None:
    """All clients are refused with `busy`, and no state is left; afterwards it opens as usual."""
    with outage.begin():
        refused = await asyncio.gather(*(enter(hub) for _ in range(5)), return_exceptions=True)
    assert [error.code for error in refused if isinstance(error, Invalid)] == [ErrorCode.BUSY] * 5
    assert (hub.rooms(), hub._rooms._opening, layer.calls) == ({}, {}, [])
    visitor = await enter(hub)
    await say(hub)
    await visitor.reaches(1)


async def test_who_gives_up_takes_the_room_from_nobody(hub: Hub) -> None:
    """The first who asked for the room is cut off while it opens: the others come in."""
    coming = [asyncio.create_task(enter(hub)) for _ in range(3)]
    await until(lambda: hub._rooms._opening)
    coming[0].cancel()
    await asyncio.gather(*coming, return_exceptions=True)
    assert hub.audience(ROOM) == 2


async def test_a_room_that_nobody_wants_any_more_is_closed(hub: Hub, clock: Clock, layer: FakeLayer) -> None:
    """All waiting clients gave up while it opened: it is not kept for ever."""
    coming = asyncio.create_task(enter(hub))
    await until(lambda: hub._rooms._opening)
    coming.cancel()
    await until(hub.rooms)
    await emptied(hub, clock)
    assert dict(layer.groups) == {}


async def test_what_is_empty_is_forgotten(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """When the last socket is gone there is no room and no subscription."""
    visitor = await enter(hub)
    hub.enter(await hub.open("tea"), visitor.socket)
    assert audiences(hub) == {ROOM: 1, "tea": 1}
    assert (hub.audience(ROOM), hub.audience("never")) == (1, 0)
    hub.remove(visitor.socket)
    await emptied(hub, clock)
    assert (hub.sockets, visitor.socket.rooms, dict(layer.groups)) == ({}, {}, {})
    assert hub.room(ROOM) is None


async def test_leaving_twice_is_leaving_once(hub: Hub, clock: Clock) -> None:
    """A second exit, or one from a room that the socket was never in, takes nobody else's hold."""
    gone, stays = await enter(hub), await enter(hub)
    for _ in range(2):
        hub.exit(ROOM, gone.socket)
    hub.exit("never", gone.socket)
    hub.remove(gone.socket)
    await clock.skip(RECONCILE)
    await say(hub)
    await stays.reaches(1)
    assert audiences(hub) == {ROOM: 1}


async def test_entering_twice_is_entering_once(hub: Hub, clock: Clock) -> None:
    """A socket that joins again goes back to where it says, and one exit is enough to be out."""
    visitor = await enter(hub)
    for _ in range(3):
        await say(hub)
    await visitor.reaches(3)
    hub.enter(await hub.open(ROOM), visitor.socket, 1)
    await until(lambda: len(visitor.ear.frames) == 5)
    assert numbers(visitor) == [1, 2, 3, 2, 3]
    hub.exit(ROOM, visitor.socket)
    await emptied(hub, clock)


@pytest.mark.parametrize("seed", range(10))
async def test_no_race_loses_a_subscription(hub: Hub, layer: FakeLayer, clock: Clock, seed: int) -> None:
    """Rooms that are joined and left by many at once on a slow layer: who is in one is subscribed, always."""
    layer.random.seed(seed)
    layer.slowness = 4
    chance = random.Random(seed)

    async def come_and_go() -> None:
        for _ in range(10):
            slug = chance.choice(["a", "b", "c"])
            visitor = await enter(hub, slug)
            for _ in range(chance.randint(0, 4)):
                assert hub._bus._channel in layer.groups[group_name(slug)], "in the room, and not subscribed"
                await asyncio.sleep(0)
            hub.remove(visitor.socket)

    await asyncio.gather(*(come_and_go() for _ in range(8)))
    await emptied(hub, clock)
    assert {group: members for group, members in layer.groups.items() if members} == {}
    visitor = await enter(hub, "a")
    await say(hub, "hi", "a")
    await visitor.reaches(1)


async def test_a_room_that_is_joined_while_it_closes_stays_open(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """The next one in waits for the unsubscription that is under way, and subscribes again."""
    visitor = await enter(hub)
    await clock.skip(RECONCILE)
    layer.open.clear()
    hub.exit(ROOM, visitor.socket)
    await until(lambda: ("discard", GROUP) in layer.calls)
    coming = asyncio.create_task(enter(hub))
    layer.open.set()
    visitor = await coming
    await say(hub)
    await visitor.reaches(1)
    assert layer.calls[:3] == [("add", GROUP), ("discard", GROUP), ("add", GROUP)]
    await until(lambda: not hub._rooms._closing)
    assert audiences(hub) == {ROOM: 1}


async def test_an_opening_that_is_cancelled_holds_nothing(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """A socket that is cut while its room opens leaves no room and no subscription behind."""
    layer.open.clear()
    coming = asyncio.create_task(enter(hub))
    await until(lambda: layer.calls)
    coming.cancel()
    layer.open.set()
    await emptied(hub, clock)
    assert dict(layer.groups) == {}


async def test_one_cancelled_opening_does_not_harm_another(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """A client that waited behind it is in the room, and soon subscribed."""
    layer.open.clear()
    first, second = asyncio.create_task(enter(hub)), asyncio.create_task(enter(hub))
    await until(lambda: layer.calls)
    first.cancel()
    layer.open.set()
    visitor = await second
    await say(hub)
    await visitor.reaches(1)
    await clock.skip(RECONCILE)
    await clock.skip(RECONCILE)
    await until(lambda: GROUP in layer.groups)
    assert hub.audience(ROOM) == 1


async def test_memberships_are_renewed(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """A layer that lost a membership has it back within a minute; one that fails meanwhile is asked again."""
    visitor = await enter(hub)
    layer.groups.clear()
    for _ in range(RENEW - 1):
        await clock.skip(RECONCILE)
    assert layer.calls == [("add", GROUP)]
    layer.error = ConnectionError("no layer")
    await clock.skip(RECONCILE)
    await until(lambda: len(layer.calls) == 2)
    layer.error = None
    await clock.skip(RECONCILE)
    await until(lambda: GROUP in layer.groups)
    hub.publish_soon(ROOM, note(1))
    await until(lambda: visitor.ear.frames)


@pytest.mark.parametrize("slug", ["a", "x" * 50, "0-_"])
def test_a_room_s_group_fits_a_layer(slug: str) -> None:
    """Every slug that the protocol takes makes a group name that layers take."""
    assert InMemoryChannelLayer().require_valid_group_name(group_name(slug))


# --- Catching up ---


async def test_catching_up_and_going_live_leave_no_seam(hub: Hub, layer: FakeLayer) -> None:
    """Committed and undelivered changes come live and not from memory: once, in order."""
    await enter(hub)
    await say(hub)
    await until(lambda: hub.rooms()[ROOM].position == 1)
    layer.open.clear()
    await say(hub)
    visitor = await enter(hub, since=0)
    await visitor.reaches(1)
    layer.open.set()
    await visitor.reaches(2)
    assert numbers(visitor) == [1, 2]


@pytest.mark.parametrize("since", range(5))
async def test_a_room_that_was_just_opened_tells_what_was_missed(hub: Hub, since: int) -> None:
    """Nothing of it is in memory: who comes back to an empty room is told from the log."""
    room = await run_read(partial(queries.open_room, ROOM))
    await elsewhere(*posts(room, 3), edit(room, 1, "x"))
    visitor = await enter(hub, since=since)
    await say(hub)
    await visitor.reaches(5)
    assert visitor.seqs[-1] == 5


async def test_changes_are_told_whole_until_nobody_can_lack_a_message(
    hub: Hub, clock: Clock, log: SlowLog
) -> None:
    """A client that resumed may lack a change, until a comparison that began afterwards finds all delivered."""
    visitor = await enter(hub)
    room = log_of(hub)
    await commit(message_log(hub), post(room))
    await visitor.reaches(1)
    await enter(hub, since=1)
    await commit(message_log(hub), edit(room, 1, "whole"))
    await visitor.reaches(2)
    await seconds(clock, hub, number=1)
    await commit(message_log(hub), edit(room, 1, "event"))
    await visitor.reaches(3)
    log.telling.clear()
    compared = log.compared
    await clock.skip(RECONCILE)
    await enter(hub, since=3)
    log.telling.set()
    await until(lambda: log.compared > compared)
    await commit(message_log(hub), edit(room, 1, "whole again"))
    await visitor.reaches(4)
    await seconds(clock, hub, number=1)
    await commit(message_log(hub), edit(room, 1, "event again"))
    await visitor.reaches(5)
    told = [type(said).__name__ for said in visitor.ear.heard()]
    assert told == ["Message", "Message", "Edited", "Message", "Edited"]


# --- Sockets, and the end ---


async def test_a_hub_closes_though_the_layer_loses_a_cancellation(
    hub: Hub, layer: FakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """channels_redis may raise an error of its own where it is cancelled. The hub's loop then retries."""
    monkeypatch.setattr("chat.loops.CANCEL_AGAIN", 0.01)
    lost: list[str] = []

    async def receive(channel: str) -> dict[str, object]:
        try:
            return await layer.queues[channel].get()
        except asyncio.CancelledError as cancelled:
            if lost:
                raise
            lost.append(channel)
            raise AssertionError("the lock is held") from cancelled

    monkeypatch.setattr(layer, "receive", receive)
    await enter(hub)
    # It waits for the layer, in a queue of its own.
    await until(lambda: layer.queues)
    await hub.close()
    assert len(lost) == 1


async def test_the_staff_can_end_a_socket(hub: Hub) -> None:
    """A socket of this process is closed with the code; one that is not here is said not to be."""
    visitor = await enter(hub)
    assert hub.disconnect(visitor.socket.id, CloseCode.FORBIDDEN)
    await until(lambda: visitor.ear.closed)
    assert visitor.ear.code == CloseCode.FORBIDDEN
    hub.remove(visitor.socket)
    assert not hub.disconnect(visitor.socket.id, CloseCode.FORBIDDEN)


async def test_without_a_layer_the_hub_says_so(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project without CHANNEL_LAYERS is told what to set."""
    monkeypatch.setattr("chat.hub.bus.get_channel_layer", lambda: None)
    with pytest.raises(RuntimeError, match="CHANNEL_LAYERS"):
        Hub((), Limits())


async def test_an_unused_hub_has_no_task(log: SlowLog, layer: FakeLayer) -> None:
    """Nothing runs before the first room, and nothing after the close."""
    before = asyncio.all_tasks()
    hub = loops.current(Hub)
    assert asyncio.all_tasks() == before
    await enter(hub)
    hub.publish_soon(ROOM, encode(Joined(room=ROOM, username="Alice", timestamp=1)))
    assert asyncio.all_tasks() > before
    await loops.close_current()
    await until(lambda: asyncio.all_tasks() == before)


async def test_closing_does_not_wait_for_a_layer_that_hangs(log: SlowLog, layer: FakeLayer, clock: Clock) -> None:
    """Unpublished events are dropped; committed changes stay."""
    hub = loops.current(Hub)
    await enter(hub)
    layer.open.clear()
    hub.publish_soon(ROOM, note(1))
    room = log_of(hub)
    await say(hub)
    await until(lambda: ("send", GROUP) in layer.calls)
    closing = asyncio.create_task(loops.close_current())
    await clock.skip(RECONCILE)
    await closing
    assert list(await there(room)) == [1]
    layer.open.set()


async def test_closing_keeps_what_waits_to_be_kept(log: SlowLog, layer: FakeLayer) -> None:
    """The last messages are written before the loop's objects are closed."""
    hub = loops.current(Hub)
    await enter(hub)
    room = log_of(hub)
    for write in posts(room, 20):
        message_log(hub).append(write)
    await loops.close_current()
    assert len(await there(room)) == 20


async def test_closing_finishes_what_is_quick(log: SlowLog, layer: FakeLayer) -> None:
    """Rooms that were just left are left in the layer too."""
    layer.slowness = 3
    hub = loops.current(Hub)
    visitor = await enter(hub)
    hub.remove(visitor.socket)
    await loops.close_current()
    assert dict(layer.groups) == {}


async def test_nothing_unexpected_is_logged(hub: Hub, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A healthy room leaves no line in the log."""
    caplog.set_level(logging.INFO)
    visitor = await enter(hub)
    await commit(message_log(hub), post(log_of(hub)), edit(log_of(hub), 1, "x"), erase(log_of(hub), 1))
    await visitor.reaches(3)
    hub.remove(visitor.socket)
    await emptied(hub, clock)
    assert [record for record in caplog.records if record.name.startswith("chat")] == []


# --- Slow readers ---


@pytest.fixture
def narrow(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send queues are full after a few frames, and every frame is written as it comes."""
    settings.CHAT = {"OUTBOX": 1_024, "RING": 10}
    monkeypatch.setattr(room_module, "TICK", 0)


async def slow(hub: Hub, slug: str = ROOM) -> Visitor:
    """Somebody in the room who reads nothing until told."""
    visitor = await enter(hub, slug)
    visitor.ear.open.clear()
    return visitor


async def deliver(hub: Hub, content: str = "hi", slug: str = ROOM) -> int:
    """Say something, and wait until the hub has written it."""
    number = (await say(hub, content, slug)).seq
    await until(lambda: hub.rooms()[slug].written >= number)
    return number


async def fill(hub: Hub, visitor: Visitor, slug: str = ROOM) -> None:
    """Say so much that the socket is behind."""
    while not visitor.socket.transport.full:
        await deliver(hub, "x" * 300, slug)


async def test_who_is_behind_is_caught_up_once_and_in_order(narrow: None, hub: Hub) -> None:
    """A full send queue gets nothing more; once drained, the missed part comes from the log, then live events."""
    quick, slow_one = await enter(hub), await slow(hub)
    for _ in range(30):
        await deliver(hub, "x" * 100)
    await quick.reaches(30)
    assert slow_one.socket in hub.rooms()[ROOM].behind
    assert slow_one.socket.transport.waiting < 2_048
    slow_one.ear.open.set()
    await slow_one.reaches(30)
    assert slow_one.socket in hub.rooms()[ROOM].sockets
    await deliver(hub)
    await slow_one.reaches(31)
    assert numbers(slow_one) == list(range(1, 32))


async def test_only_the_newest_of_a_kind_is_kept_for_who_is_behind(narrow: None, hub: Hub) -> None:
    """The last of the missed lists comes; transient events do not come at all."""
    visitor = await slow(hub)
    await fill(hub, visitor)
    for number in range(5):
        hub.write_here(ROOM, note(100 + number), latest="userList")
        hub.publish_soon(ROOM, note(200 + number))
    # Behind them, in the same order.
    await deliver(hub)
    visitor.ear.open.set()
    await until(lambda: 104 in notes(visitor))
    assert notes(visitor) == [104]


async def test_who_is_behind_in_one_room_is_behind_in_all(narrow: None, hub: Hub) -> None:
    """A socket has one send queue: its other rooms wait too, and go on at their positions."""
    visitor = await slow(hub)
    hub.enter(await hub.open("tea"), visitor.socket)
    await fill(hub, visitor)
    for number in range(3):
        await deliver(hub, f"tea {number}", "tea")
    assert visitor.socket in hub.rooms()["tea"].behind
    visitor.ear.open.set()
    await until(lambda: "tea 2" in said_in(visitor, "tea"))
    assert said_in(visitor, "tea") == ["tea 0", "tea 1", "tea 2"]


async def test_slow_is_not_stuck(narrow: None, hub: Hub, clock: Clock) -> None:
    """A client that reads a little in each STUCK stays; one that reads nothing is closed with 4008."""
    visitor = await slow(hub)
    await fill(hub, visitor)
    for _ in range(3):
        before = visitor.ear.sends
        visitor.ear.open.set()
        await until(lambda before=before: visitor.ear.sends > before)  # type: ignore[misc]
        visitor.ear.open.clear()
        await fill(hub, visitor)
        await clock.skip(29)
    assert visitor.socket.transport.closed_with is None
    await clock.skip(31)
    await clock.skip(31)
    assert visitor.socket.transport.closed_with is CloseCode.TOO_SLOW


async def test_who_is_behind_can_leave(narrow: None, hub: Hub, clock: Clock) -> None:
    """Nothing is kept for somebody who is gone."""
    visitor = await slow(hub)
    await fill(hub, visitor)
    hub.exit(ROOM, visitor.socket)
    await clock.skip(RECONCILE)
    await until(lambda: ROOM not in hub.rooms())
    visitor.ear.open.set()
    await visitor.socket.transport.flushed()


# --- Ticks ---


def counted(visitor: Visitor, also: Callable[[], None] = lambda: None) -> list[int]:
    """How many frames each write to the visitor has, from here on; and what else happens with each."""
    writes: list[int] = []
    plain = visitor.socket.transport.write

    def write(batch: Batch) -> None:
        writes.append(len(batch.texts))
        also()
        plain(batch)

    visitor.socket.transport.write = write  # type: ignore[method-assign]
    return writes


async def test_the_first_frame_after_quiet_goes_out_at_once(hub: Hub, clock: Clock) -> None:
    """A tick delays only what comes within it, and that leaves in one write, in order."""
    visitor = await enter(hub)
    writes = counted(visitor)
    clock.stop()
    await deliver(hub)
    assert writes == [1]
    for _ in range(9):
        await say(hub)
    await until(lambda: hub.rooms()[ROOM].position == 10)
    assert writes == [1]
    await clock.skip(TICK)
    assert writes == [1, 9]
    await visitor.reaches(10)


@pytest.mark.parametrize(("wrote", "rests"), [(0.05, 0.05), (1.5, REST)], ids=["a big room", "a busy process"])
async def test_a_room_rests_as_long_as_it_writes(hub: Hub, clock: Clock, wrote: float, rests: float) -> None:
    """A big one takes half of the loop at most, and what comes meanwhile leaves together; but soon."""
    visitor = await enter(hub)
    clock.stop()
    writes = counted(visitor, partial(clock.work, wrote))
    await deliver(hub)
    for _ in range(9):
        await say(hub)
    await until(lambda: hub.rooms()[ROOM].position == 10)
    await clock.skip(rests - 0.01)
    assert writes == [1]
    await clock.skip(0.01)
    assert writes == [1, 9]
    await visitor.reaches(10)
