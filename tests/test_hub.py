"""The hub over a channel layer that is slow, lossy, out of order or away: a room hears all of it, in order."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from doubles import Clock, Ear, FakeLayer, ear_and_socket, until
from pytest_django import Settings

from chat import loops
from chat.hub import LEAD, RECONCILE, RENEW, RETRY, TICK, Hub, Socket, group_name
from chat.lanes import Batch
from chat.log import Entry, Log
from chat.protocol import CloseCode, Joined, Message, TypingNow, Welcome, encode

ROOM = "lobby"
GROUP = group_name(ROOM)


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> FakeLayer:
    layer = FakeLayer()
    monkeypatch.setattr("chat.hub.get_channel_layer", lambda: layer)
    return layer


@pytest.fixture
async def hub(layer: FakeLayer) -> AsyncIterator[Hub]:
    yield loops.of_this_loop(Hub)
    layer.open.set()
    await loops.close_this_loop()


@pytest.fixture
async def clock() -> Clock:
    return Clock()


async def enter(hub: Hub, slug: str = ROOM) -> tuple[Ear, Socket]:
    """Somebody comes into the room."""
    ear, socket = ear_and_socket()
    hub.add(socket)
    hub.enter(await hub.open(slug), socket)
    return ear, socket


def keep(content: str = "hi", slug: str = ROOM) -> Entry:
    """Number a message, and publish nothing yet."""
    entry, _ = loops.of_this_loop(Log).append(slug, author="a", username="Alice", content=content, ref=None)
    return entry


async def post(hub: Hub, content: str = "hi", slug: str = ROOM) -> Entry:
    entry = keep(content, slug)
    await hub.publish(slug, entry.frame, entry.seq)
    return entry


def numbers(ear: Ear) -> list[int]:
    """The numbers of what was heard, in the order of hearing."""
    return [said.seq for said in ear.heard() if isinstance(said, Message)]


def note(number: int) -> str:
    """A frame without a number of its own in the room: ``number`` is only to tell it by."""
    return encode(TypingNow(room=ROOM, username=f"u{number}", timestamp=number))


def notes(ear: Ear) -> list[int]:
    return [said.timestamp for said in ear.heard() if isinstance(said, TypingNow)]


# --- Order ---


async def test_everybody_hears_everything_once_in_order(hub: Hub) -> None:
    """What is published reaches each socket in the room once, in the room's order."""
    ears = [(await enter(hub))[0] for _ in range(3)]
    for _ in range(20):
        await post(hub)
    await until(lambda: all(len(ear.frames) >= 20 for ear in ears))
    assert [numbers(ear) for ear in ears] == [list(range(1, 21))] * 3


async def test_rooms_do_not_leak(hub: Hub) -> None:
    """A socket hears the rooms that it is in, and only those."""
    (tea, _), (both, socket) = await enter(hub, "tea"), await enter(hub, "tea")
    hub.enter(await hub.open("cake"), socket)
    await post(hub, "in tea", "tea")
    await post(hub, "in cake", "cake")
    await post(hub, "last", "tea")
    await until(lambda: len(both.frames) == 3 and len(tea.frames) == 2)
    assert [said.content for said in tea.heard() if isinstance(said, Message)] == ["in tea", "last"]
    assert [said.content for said in both.heard() if isinstance(said, Message)] == ["in tea", "in cake", "last"]


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_posts_arrive_in_order(hub: Hub, layer: FakeLayer, seed: int) -> None:
    """Sends that overtake each other in the layer don't show: the numbers decide."""
    layer.random.seed(seed)
    layer.slowness = 10
    ear, _ = await enter(hub)
    await asyncio.gather(*(post(hub) for _ in range(50)))
    await until(lambda: len(ear.frames) >= 50)
    assert numbers(ear) == list(range(1, 51))


async def test_a_frame_that_comes_again_is_dropped(hub: Hub, layer: FakeLayer) -> None:
    """An old number is no news, whoever brings it."""
    ear, _ = await enter(hub)
    first = await post(hub)
    epoch = loops.of_this_loop(Log).open(ROOM).epoch
    again = {"type": "hub.deliver", "room": ROOM, "frame": first.frame, "seq": first.seq, "epoch": epoch}
    layer.carry(GROUP, again)
    await post(hub)
    layer.carry(GROUP, again)
    await post(hub)
    await until(lambda: 3 in numbers(ear))
    assert numbers(ear) == [1, 2, 3]


async def test_a_gap_is_read_from_the_log(hub: Hub) -> None:
    """What the layer did not bring comes from the log, before what it did bring."""
    ear, _ = await enter(hub)
    await post(hub)
    for _ in range(3):
        keep()
    await post(hub)
    await until(lambda: 5 in numbers(ear))
    assert numbers(ear) == [1, 2, 3, 4, 5]


async def test_a_gap_that_the_log_no_longer_has_is_skipped_and_logged(
    hub: Hub, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The room goes on with what there is; that something is missing stands in the server's log."""
    settings.CHAT = {"LOG_MESSAGES": 2}
    ear, _ = await enter(hub)
    for _ in range(5):
        keep()
    await post(hub)
    await post(hub)
    await until(lambda: 7 in numbers(ear))
    assert numbers(ear) == [6, 7]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert ROOM in caplog.text


async def test_notes_keep_their_place(hub: Hub, layer: FakeLayer) -> None:
    """Frames without a number arrive in the order of publishing, also before a message that follows them."""
    layer.slowness = 5
    ear, _ = await enter(hub)
    for number in range(10):
        hub.publish_soon(ROOM, note(number))
    await post(hub)
    assert ear.frames or layer.calls
    await until(lambda: 1 in numbers(ear))
    assert notes(ear) == list(range(10))
    assert [type(said).__name__ for said in ear.heard()] == ["TypingNow"] * 10 + ["Message"]


async def test_publishing_returns_when_the_layer_has_it(hub: Hub, layer: FakeLayer) -> None:
    """``publish`` waits for its own turn behind what ``publish_soon`` was given before."""
    await enter(hub)
    layer.open.clear()
    hub.publish_soon(ROOM, note(1))
    posting = asyncio.create_task(post(hub))
    await until(lambda: ("send", GROUP) in layer.calls)
    assert not posting.done()
    layer.open.set()
    await posting
    assert [call for call in layer.calls if call[0] == "send"] == [("send", GROUP)] * 2


async def test_a_publisher_that_gave_up_does_not_stop_the_others(hub: Hub, layer: FakeLayer) -> None:
    """A socket that is cancelled while its message waits takes nobody's turn, and its message still goes out."""
    ear, _ = await enter(hub)
    layer.open.clear()
    hub.publish_soon(ROOM, note(1))
    given_up, patient = asyncio.create_task(post(hub)), asyncio.create_task(post(hub))
    await until(lambda: ("send", GROUP) in layer.calls)
    given_up.cancel()
    layer.open.set()
    await patient
    await until(lambda: 2 in numbers(ear))
    assert (notes(ear), numbers(ear)) == ([1], [1, 2])


# --- Losses ---


@pytest.mark.parametrize("seed", range(8))
async def test_a_layer_that_loses_a_third_converges(hub: Hub, layer: FakeLayer, clock: Clock, seed: int) -> None:
    """Lost, doubled and late hints: nobody hears a number twice or out of order, and in a second all have all."""
    layer.random.seed(seed)
    layer.slowness = 3
    layer.lost = layer.doubled = layer.delayed = 0.3
    ears = [(await enter(hub))[0] for _ in range(2)]
    for _ in range(40):
        await post(hub)
    late, socket = ear_and_socket()
    room = await hub.open(ROOM)
    hub.add(socket)
    hub.enter(room, socket, 0)
    await asyncio.gather(*(post(hub) for _ in range(20)))
    layer.release_held()
    await clock.skip(RECONCILE)
    await clock.skip(RECONCILE)
    await until(lambda: all(60 in numbers(ear) for ear in (*ears, late)))
    assert [numbers(ear) for ear in (*ears, late)] == [list(range(1, 61))] * 3


async def test_what_the_layer_lost_comes_within_a_second(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """The hub compares its position with the log's by itself: no later message is needed."""
    ear, _ = await enter(hub)
    layer.lost = 1.0
    await post(hub)
    await post(hub)
    assert ear.frames == []
    await clock.skip(RECONCILE)
    await clock.skip(RECONCILE)
    await until(lambda: len(ear.frames) == 2)
    assert numbers(ear) == [1, 2]


async def test_a_comparison_brings_nothing_twice(hub: Hub, clock: Clock) -> None:
    """Where nothing was lost the comparison says nothing."""
    ear, _ = await enter(hub)
    await post(hub)
    await until(lambda: ear.frames)
    for _ in range(3):
        await clock.skip(RECONCILE)
    await post(hub)
    await until(lambda: 2 in numbers(ear))
    assert numbers(ear) == [1, 2]


async def test_a_message_of_another_life_is_dropped(hub: Hub, layer: FakeLayer, settings: Settings) -> None:
    """A hint that was under way while its room was forgotten does not pass for one of the new room's."""
    settings.CHAT = {"LOG_IDLE_ROOMS": 0}
    _, socket = await enter(hub)
    before = loops.of_this_loop(Log).open(ROOM).epoch
    layer.lost = 1.0
    for _ in range(3):
        old = await post(hub, "old")
    layer.lost = 0.0
    hub.exit(ROOM, socket)
    await until(lambda: not hub.rooms())
    ear, _ = await enter(hub)
    assert loops.of_this_loop(Log).open(ROOM).epoch != before
    late = {"type": "hub.deliver", "room": ROOM, "frame": old.frame, "seq": old.seq, "epoch": before}
    layer.carry(GROUP, late)
    await post(hub, "new")
    await until(lambda: ear.frames)
    assert numbers(ear) == [1]
    assert "new" in ear.frames[0]


# --- The layer is away ---


async def test_while_the_layer_is_away_this_process_goes_on(
    hub: Hub, layer: FakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """Those in this process hear each other, numbered or not; each failure is one warning."""
    ear, _ = await enter(hub)
    layer.error = ConnectionError("no layer")
    hub.publish_soon(ROOM, note(1))
    await post(hub)
    await until(lambda: len(ear.frames) == 2)
    layer.error = None
    await post(hub)
    await until(lambda: 2 in numbers(ear))
    assert (notes(ear), numbers(ear)) == ([1], [1, 2])
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


async def test_a_room_that_opens_while_the_layer_is_away_works_here(
    hub: Hub, layer: FakeLayer, clock: Clock
) -> None:
    """Joining does not fail; everything is heard once here, and from the next second on through the layer."""
    layer.error = ConnectionError("no layer")
    ear, _ = await enter(hub)
    await post(hub)
    hub.publish_soon(ROOM, note(1))
    await until(lambda: len(ear.frames) == 2)
    layer.error = None
    await post(hub)
    hub.publish_soon(ROOM, note(2))
    await until(lambda: len(ear.frames) == 4)
    assert GROUP not in layer.groups
    await clock.skip(RECONCILE)
    await clock.skip(RECONCILE)
    await until(lambda: GROUP in layer.groups)
    await post(hub)
    hub.publish_soon(ROOM, note(3))
    await until(lambda: len(ear.frames) >= 6)
    assert (numbers(ear), notes(ear)) == ([1, 2, 3], [1, 2, 3])


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


async def test_leaving_does_not_wait_for_the_layer(hub: Hub, layer: FakeLayer) -> None:
    """A layer that hangs keeps nobody in a room, and another room opens as ever once it is back."""
    _, socket = await enter(hub)
    layer.open.clear()
    hub.remove(socket)
    assert (hub.audience(ROOM), hub.sockets, socket.rooms) == (0, {}, set())
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
    ear, _ = await enter(hub)
    await until(lambda: len(caplog.records) == 1)
    await clock.skip(RETRY)
    await until(lambda: len(caplog.records) == 2)
    await clock.skip(RETRY)
    await post(hub)
    await until(lambda: ear.frames)
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2


@pytest.mark.parametrize(
    "junk",
    [
        {},
        {"type": "hub.deliver"},
        {"type": "hub.deliver", "room": ROOM},
        {"type": "chat.message", "text": "hello"},
        {"type": "hub.deliver", "room": ROOM, "frame": "x", "seq": "many", "epoch": None},
        {"type": "hub.deliver", "room": ["x"], "frame": "x", "seq": None, "epoch": None},
    ],
)
async def test_a_message_that_is_not_ours_ends_nothing(
    hub: Hub, layer: FakeLayer, clock: Clock, junk: dict[str, object]
) -> None:
    """Whatever somebody puts on the group, later messages are delivered."""
    ear, _ = await enter(hub)
    layer.carry(GROUP, junk)
    await post(hub)
    await until(lambda: layer.queues[hub._channel].qsize() <= 1)
    await clock.skip(RETRY)
    await until(lambda: ear.frames)
    assert numbers(ear) == [1]


async def test_a_message_for_a_room_that_is_not_open_goes_nowhere(hub: Hub, layer: FakeLayer) -> None:
    """A copy that comes after the last socket left is nobody's."""
    ear, socket = await enter(hub)
    await enter(hub, "other")
    hub.exit(ROOM, socket)
    layer.carry(group_name("other"), {"type": "hub.deliver", "room": ROOM, "frame": note(1), "seq": None})
    layer.carry(group_name("other"), {"type": "hub.deliver", "room": "never", "frame": note(1), "seq": None})
    await until(lambda: not layer.queues[hub._channel].qsize())
    await until(lambda: not hub._shutting)
    assert ear.frames == []
    assert hub.rooms() == {"other": 1}


# --- Rooms open and close ---


async def test_a_room_has_one_subscription(hub: Hub, layer: FakeLayer) -> None:
    """However many sockets come and go, the layer hears of the first and of the last."""
    sockets = [(await enter(hub))[1] for _ in range(50)]
    for socket in sockets:
        hub.remove(socket)
    await until(lambda: not hub.rooms())
    assert layer.calls == [("add", GROUP), ("discard", GROUP)]


async def test_what_is_empty_is_forgotten(hub: Hub, layer: FakeLayer) -> None:
    """When the last socket is gone there is no room, no subscription and no open log."""
    _, socket = await enter(hub)
    hub.enter(await hub.open("tea"), socket)
    assert hub.rooms() == {ROOM: 1, "tea": 1}
    assert (hub.audience(ROOM), hub.audience("never")) == (1, 0)
    hub.remove(socket)
    await until(lambda: not hub.rooms())
    assert (hub.sockets, socket.rooms, dict(layer.groups)) == ({}, set(), {})
    assert loops.of_this_loop(Log).positions() == {}


async def test_leaving_twice_is_leaving_once(hub: Hub) -> None:
    """A second exit, or one from a room that the socket was never in, takes nobody else's hold."""
    _, socket = await enter(hub)
    ear, _ = await enter(hub)
    for _ in range(2):
        hub.exit(ROOM, socket)
    hub.exit("never", socket)
    hub.remove(socket)
    await post(hub)
    await until(lambda: ear.frames)
    assert hub.rooms() == {ROOM: 1}


@pytest.mark.parametrize("seed", range(10))
async def test_no_race_loses_a_subscription(hub: Hub, layer: FakeLayer, seed: int) -> None:
    """Rooms that are joined and left by many at once on a slow layer: who is in one is subscribed, always."""
    layer.random.seed(seed)
    layer.slowness = 4
    chance = random.Random(seed)

    async def come_and_go() -> None:
        for _ in range(15):
            slug = chance.choice(["a", "b", "c"])
            _, socket = await enter(hub, slug)
            for _ in range(chance.randint(0, 4)):
                assert hub._channel in layer.groups[group_name(slug)], "in the room, and not subscribed"
                await asyncio.sleep(0)
            hub.remove(socket)

    await asyncio.gather(*(come_and_go() for _ in range(8)))
    await until(lambda: not hub.rooms())
    assert {group: members for group, members in layer.groups.items() if members} == {}
    assert loops.of_this_loop(Log).positions() == {}
    ear, _ = await enter(hub, "a")
    await post(hub, "hi", "a")
    await until(lambda: ear.frames)


async def test_a_room_that_is_joined_while_it_closes_stays_open(hub: Hub, layer: FakeLayer) -> None:
    """The next one in waits for the unsubscription that is under way, and subscribes again."""
    _, socket = await enter(hub)
    layer.open.clear()
    hub.exit(ROOM, socket)
    await until(lambda: ("discard", GROUP) in layer.calls)
    coming = asyncio.create_task(enter(hub))
    layer.open.set()
    ear, _ = await coming
    await post(hub)
    await until(lambda: ear.frames)
    assert layer.calls[:3] == [("add", GROUP), ("discard", GROUP), ("add", GROUP)]
    await until(lambda: not hub._shutting)
    assert hub.rooms() == {ROOM: 1}


async def test_an_opening_that_is_cancelled_holds_nothing(hub: Hub, layer: FakeLayer) -> None:
    """A socket that is cut while its room opens leaves no room and no subscription behind."""
    layer.open.clear()
    coming = asyncio.create_task(enter(hub))
    await until(lambda: layer.calls)
    coming.cancel()
    layer.open.set()
    await until(lambda: not hub.rooms())
    assert dict(layer.groups) == {}


async def test_one_cancelled_opening_does_not_harm_another(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """Who waited behind it is in the room, and soon subscribed."""
    layer.open.clear()
    first, second = asyncio.create_task(enter(hub)), asyncio.create_task(enter(hub))
    await until(lambda: layer.calls)
    first.cancel()
    layer.open.set()
    ear, _ = await second
    await post(hub)
    await until(lambda: ear.frames)
    await clock.skip(RECONCILE)
    await clock.skip(RECONCILE)
    await until(lambda: GROUP in layer.groups)
    assert hub.audience(ROOM) == 1


async def test_memberships_are_renewed(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """A layer that lost a membership has it back within a minute; one that fails meanwhile is asked again."""
    ear, _ = await enter(hub)
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
    await until(lambda: ear.frames)


@pytest.mark.parametrize("slug", ["a", "x" * 50, "0-_"])
def test_a_room_s_group_fits_a_layer(slug: str) -> None:
    """Every slug that the protocol takes makes a group name that layers take."""
    assert InMemoryChannelLayer().require_valid_group_name(group_name(slug))


# --- Catching up ---


async def test_catching_up_and_going_live_leave_no_seam(hub: Hub, layer: FakeLayer) -> None:
    """What is numbered and not yet delivered comes live and not from the log: once, in order."""
    await enter(hub)
    await post(hub)
    await until(lambda: hub._rooms[ROOM].position == 1)
    underway = keep()
    room = await hub.open(ROOM)
    ear, socket = ear_and_socket()
    hub.enter(room, socket, 0)
    await until(lambda: ear.frames)
    assert numbers(ear) == [1]
    await hub.publish(ROOM, underway.frame, underway.seq)
    await until(lambda: len(ear.frames) == 2)
    assert numbers(ear) == [1, 2]


@pytest.mark.parametrize(
    ("since", "epoch", "seqs"),
    [
        (None, None, None),
        (0, None, None),
        (0, "right", [1, 2, 3]),
        (2, "right", [3]),
        (3, "right", []),
        (4, "right", None),
        (2, "wrong", None),
    ],
)
async def test_what_was_missed_is_told_whole_or_not_at_all(
    hub: Hub, since: int | None, epoch: str | None, seqs: list[int] | None
) -> None:
    """A position of this life gets all that follows; one that is ahead or of another life gets nothing."""
    await enter(hub)
    for _ in range(3):
        await post(hub)
    await until(lambda: hub._rooms[ROOM].written == 3)
    room = await hub.open(ROOM)
    epochs = {"right": room.epoch, "wrong": "wrong", None: None}
    resumed = hub.can_resume(room, since, epochs[epoch])
    assert resumed == (seqs is not None)
    ear, socket = ear_and_socket()
    hub.enter(room, socket, since if resumed else None)
    await socket.lane.flushed()
    assert numbers(ear) == (seqs or [])


# --- Sockets, and the end ---


async def test_the_staff_can_end_a_socket(hub: Hub) -> None:
    """A socket of this process is closed with the code; one that is not here is said not to be."""
    ear, socket = await enter(hub)
    assert hub.disconnect(socket.id, CloseCode.FORBIDDEN)
    await until(lambda: ear.closed)
    assert ear.code == CloseCode.FORBIDDEN
    hub.remove(socket)
    assert not hub.disconnect(socket.id, CloseCode.FORBIDDEN)


async def test_without_a_layer_the_hub_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project without CHANNEL_LAYERS is told what to set."""
    monkeypatch.setattr("chat.hub.get_channel_layer", lambda: None)
    with pytest.raises(RuntimeError, match="CHANNEL_LAYERS"):
        Hub()


async def test_an_unused_hub_has_no_task(layer: FakeLayer) -> None:
    """Nothing runs before the first room, and nothing after the close."""
    before = asyncio.all_tasks()
    hub = loops.of_this_loop(Hub)
    assert asyncio.all_tasks() == before
    await enter(hub)
    hub.publish_soon(ROOM, encode(Joined(room=ROOM, username="Alice", timestamp=1)))
    assert asyncio.all_tasks() > before
    await loops.close_this_loop()
    await until(lambda: asyncio.all_tasks() == before)


async def test_closing_lets_go_of_those_who_wait(layer: FakeLayer) -> None:
    """A publisher that waits for a layer that hangs does not wait for ever when the hub closes."""
    hub = loops.of_this_loop(Hub)
    await enter(hub)
    layer.open.clear()
    hub.publish_soon(ROOM, note(1))
    waiting = asyncio.create_task(post(hub))
    await until(lambda: ("send", GROUP) in layer.calls)
    await loops.close_this_loop()
    await until(waiting.done)
    assert waiting.cancelled()


async def test_closing_finishes_what_is_quick(layer: FakeLayer) -> None:
    """Rooms that were just left are left in the layer too."""
    layer.slowness = 3
    hub = loops.of_this_loop(Hub)
    _, socket = await enter(hub)
    hub.remove(socket)
    await loops.close_this_loop()
    assert dict(layer.groups) == {}


async def test_nothing_unexpected_is_logged(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """A healthy life of a room leaves no line in the log."""
    caplog.set_level(logging.INFO)
    ear, socket = await enter(hub)
    await post(hub)
    await until(lambda: ear.frames)
    hub.remove(socket)
    await until(lambda: not hub.rooms())
    assert [record for record in caplog.records if record.name.startswith("chat")] == []


# --- Slow readers ---


@pytest.fixture
def narrow(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes are full after a few frames, and every frame is written as it comes."""
    settings.CHAT = {"OUTBOX": 1_024, "LOG_MESSAGES": 50}
    monkeypatch.setattr("chat.hub.TICK", 0)


async def slow(hub: Hub, slug: str = ROOM) -> tuple[Ear, Socket]:
    """Somebody in the room who reads nothing until told."""
    ear, socket = await enter(hub, slug)
    ear.open.clear()
    return ear, socket


async def deliver(hub: Hub, content: str = "hi", slug: str = ROOM) -> int:
    """Post, and wait until the hub has written it."""
    entry = await post(hub, content, slug)
    await until(lambda: hub._rooms[slug].written >= entry.seq)
    return entry.seq


async def fill(hub: Hub, socket: Socket, slug: str = ROOM) -> None:
    """Say so much that the socket is behind."""
    while not socket.lane.full:
        await deliver(hub, "x" * 300, slug)


async def test_who_is_behind_is_caught_up_once_and_in_order(narrow: None, hub: Hub) -> None:
    """A full lane gets nothing more; once drained, what was missed comes from the log, then what is live."""
    quick, _ = await enter(hub)
    ear, socket = await slow(hub)
    for _ in range(30):
        await deliver(hub, "x" * 100)
    await until(lambda: 30 in numbers(quick))
    assert socket in hub._rooms[ROOM].behind
    assert socket.lane.waiting < 2_048
    ear.open.set()
    await until(lambda: 30 in numbers(ear))
    assert socket in hub._rooms[ROOM].sockets
    await deliver(hub)
    await until(lambda: 31 in numbers(ear))
    assert numbers(ear) == list(range(1, 32))


async def test_a_long_way_is_caught_up_in_pieces(narrow: None, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missed is never put into the lane all at once."""
    monkeypatch.setattr("chat.hub.CHUNK", 1_024)
    ear, socket = await slow(hub)
    for _ in range(50):
        await deliver(hub, "x" * 400)
    most = 0
    plain = ear.send

    async def watched(message: dict[str, Any]) -> None:
        nonlocal most
        most = max(most, socket.lane.waiting)
        await plain(message)

    socket.lane._send = watched  # type: ignore[attr-defined]
    ear.open.set()
    await until(lambda: 50 in numbers(ear))
    assert numbers(ear) == list(range(1, 51))
    assert most < 4_096


async def test_only_the_newest_of_a_kind_is_kept_for_who_is_behind(narrow: None, hub: Hub) -> None:
    """Of the lists that were missed the last one comes; what is true only for a moment does not come at all."""
    ear, socket = await slow(hub)
    await fill(hub, socket)
    for number in range(5):
        hub.publish_soon(ROOM, note(100 + number), latest="userList")
        hub.publish_soon(ROOM, note(200 + number))
    await until(lambda: hub._rooms[ROOM].latest.get("userList") == note(104))
    ear.open.set()
    await until(lambda: 104 in notes(ear))
    assert notes(ear) == [104]


async def test_who_is_behind_in_one_room_is_behind_in_all(narrow: None, hub: Hub) -> None:
    """A socket has one lane: its other rooms wait too, and go on where they were left."""
    ear, socket = await slow(hub)
    hub.enter(await hub.open("tea"), socket)
    await fill(hub, socket)
    for number in range(3):
        await deliver(hub, f"tea {number}", "tea")
    assert socket in hub._rooms["tea"].behind
    ear.open.set()
    await until(lambda: "tea 2" in said_in(ear, "tea"))
    assert said_in(ear, "tea") == ["tea 0", "tea 1", "tea 2"]


def said_in(ear: Ear, slug: str) -> list[str]:
    return [said.content for said in ear.heard() if isinstance(said, Message) and said.room == slug]


async def test_who_missed_more_than_the_log_keeps_starts_over(narrow: None, hub: Hub) -> None:
    """Part of the truth would look like all of it: a welcome says that the rest can't be told, then it is live."""
    ear, socket = await slow(hub)
    await fill(hub, socket)
    had = hub._rooms[ROOM].behind[socket]
    for _ in range(60):
        last = await deliver(hub)
    ear.open.set()
    await until(lambda: any(isinstance(said, Welcome) for said in ear.heard()))
    welcome = next(said for said in ear.heard() if isinstance(said, Welcome))
    assert (welcome.resumed, welcome.seq) == (False, last)
    await deliver(hub)
    await until(lambda: last + 1 in numbers(ear))
    assert numbers(ear) == [*range(1, had + 1), last + 1]


async def test_slow_is_not_stuck(narrow: None, hub: Hub, clock: Clock) -> None:
    """One that reads a little in each STUCK stays; one that reads nothing is closed with 4008."""
    ear, socket = await slow(hub)
    await fill(hub, socket)
    for _ in range(3):
        before = ear.sends
        ear.open.set()
        await until(lambda before=before: ear.sends > before)  # type: ignore[misc]
        ear.open.clear()
        await fill(hub, socket)
        await clock.skip(29)
    assert socket.lane.closed_with is None
    await clock.skip(31)
    await clock.skip(31)
    assert socket.lane.closed_with is CloseCode.TOO_SLOW


async def test_who_is_behind_can_leave(narrow: None, hub: Hub) -> None:
    """Nothing is kept for somebody who is gone."""
    ear, socket = await slow(hub)
    await fill(hub, socket)
    hub.exit(ROOM, socket)
    await until(lambda: ROOM not in hub._rooms)
    ear.open.set()
    await socket.lane.flushed()


# --- Ticks ---


async def test_the_first_frame_after_quiet_goes_out_at_once(hub: Hub, clock: Clock) -> None:
    """A tick delays only what comes within it, and that leaves in one write, in order."""
    ear, socket = await enter(hub)
    writes: list[int] = []
    plain = socket.lane.write

    def counted(batch: Batch) -> None:
        writes.append(len(batch.texts))
        plain(batch)

    socket.lane.write = counted  # type: ignore[method-assign]
    await deliver(hub)
    assert writes == [1]
    for _ in range(9):
        await post(hub)
    await until(lambda: hub._rooms[ROOM].position == 10)
    await clock.skip(TICK)
    assert sum(writes) == 10
    assert len(writes) <= 3
    await socket.lane.flushed()
    assert numbers(ear) == list(range(1, 11))


# --- The log, the layer and the hub at different speeds ---


async def test_a_room_that_lost_its_thread_is_told_to_start_over(
    hub: Hub, layer: FakeLayer, clock: Clock, settings: Settings
) -> None:
    """Where neither the layer nor the log has what a room's sockets lack, they hear so, and then what is new."""
    settings.CHAT = {"LOG_MESSAGES": 5}
    ear, _ = await enter(hub)
    await post(hub)
    await until(lambda: ear.frames)
    layer.lost = 1.0
    for _ in range(20):
        await post(hub)
    layer.lost = 0.0
    await clock.skip(RECONCILE)
    await clock.skip(RECONCILE)
    await until(lambda: any(isinstance(said, Welcome) for said in ear.heard()))
    welcome = next(said for said in ear.heard() if isinstance(said, Welcome))
    assert (welcome.resumed, welcome.seq) == (False, 21)
    await post(hub)
    await until(lambda: 22 in numbers(ear))
    assert numbers(ear) == [1, 22]


async def test_what_is_on_its_way_is_not_taken_for_lost(hub: Hub, clock: Clock) -> None:
    """A comparison acts only where a room stood still since the last one: a busy room is not read from the log."""
    ear, _ = await enter(hub)
    await clock.skip(RECONCILE)
    await post(hub)
    await until(lambda: 1 in numbers(ear))
    underway = keep()
    await clock.skip(RECONCILE)
    assert numbers(ear) == [1]
    await hub.publish(ROOM, underway.frame, underway.seq)
    await until(lambda: 2 in numbers(ear))
    assert numbers(ear) == [1, 2]


async def test_who_speaks_faster_than_the_hub_delivers_waits(hub: Hub, layer: FakeLayer, clock: Clock) -> None:
    """Past LEAD numbers ahead of the delivery a post does not return until the hub has caught up."""
    ear, _ = await enter(hub)
    layer.lost = 1.0
    posts = [asyncio.create_task(post(hub)) for _ in range(LEAD + 1)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert [task.done() for task in posts] == [True] * LEAD + [False]
    await clock.skip(RECONCILE)
    await clock.skip(RECONCILE)
    await until(lambda: LEAD + 1 in numbers(ear))
    await clock.skip(TICK)
    await asyncio.gather(*posts)


async def test_a_layer_that_is_away_at_the_first_join_stops_nobody(
    hub: Hub, layer: FakeLayer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in the process talk; when the layer is there, the hub has a name in it and joins the group."""

    async def away(prefix: str = "") -> str:
        raise ConnectionError(prefix)

    with monkeypatch.context() as patched:
        patched.setattr(layer, "new_channel", away)
        ear, _ = await enter(hub)
        await post(hub)
        await until(lambda: 1 in numbers(ear))
        assert GROUP not in layer.groups
    await clock.skip(RECONCILE)
    await until(lambda: GROUP in layer.groups)
