"""The portable lane: what leaves a socket keeps its order, is bounded, and never holds anybody up."""

import asyncio

import pytest
from doubles import Ear, until
from pytest_django import Settings

from chat import lanes
from chat.lanes import PortableLane
from chat.protocol import CloseCode


@pytest.fixture
def ear(settings: Settings) -> Ear:
    settings.CHAT = {"OUTBOX": 1_024}
    return Ear()


@pytest.fixture
def lane(ear: Ear) -> PortableLane:
    return PortableLane(ear.send)


def others() -> set[asyncio.Task[object]]:
    """The tasks there are, beside the test's own."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_frames_leave_in_order(ear: Ear, lane: PortableLane) -> None:
    """Nothing overtakes: what is written first is sent first, also what is written while a send is under way."""
    ear.open.clear()
    for number in range(10):
        lane.write(str(number))
    await until(lambda: ear.sends)
    for number in range(10, 20):
        lane.write(str(number))
    ear.open.set()
    await lane.flushed()
    assert ear.frames == [str(number) for number in range(20)]


async def test_writing_returns_at_once(ear: Ear, lane: PortableLane) -> None:
    """Nothing is sent before the caller has its turn back, and nothing waits for a peer that does not read."""
    ear.open.clear()
    lane.write("a")
    assert ear.sends == 0
    await until(lambda: ear.sends)
    lane.write("b")
    assert (ear.sends, lane.waiting) == (1, 2)
    ear.open.set()
    await lane.flushed()
    assert (ear.sends, lane.waiting) == (2, 0)


async def test_an_idle_lane_has_no_task(ear: Ear, lane: PortableLane) -> None:
    """The writer lives only while something waits; the next frame has another."""
    before = others()
    for frame in ("a", "b"):
        lane.write(frame)
        assert len(others() - before) == 1
        await lane.flushed()
        await until(lambda: others() == before)
    assert ear.frames == ["a", "b"]


async def test_many_frames_have_one_writer(lane: PortableLane) -> None:
    """However much waits, one task sends it."""
    before = others()
    for _ in range(100):
        lane.write("x")
    assert len(others() - before) == 1
    await lane.flushed()


async def test_what_just_fits_may_wait(ear: Ear, lane: PortableLane) -> None:
    """The bound is what may wait: 1,024 bytes do, in one frame or in many."""
    ear.open.clear()
    for _ in range(4):
        lane.write("x" * 256)
    assert lane.closed_with is None
    ear.open.set()
    await lane.flushed()
    assert len(ear.frames) == 4


async def test_one_byte_more_closes_the_socket(ear: Ear, lane: PortableLane) -> None:
    """Past the bound what waits is let go, and the socket is closed with 4008 instead."""
    ear.open.clear()
    lane.write("under way")
    await until(lambda: ear.sends)
    lane.write("x" * (1_024 - len("under way")))
    assert lane.closed_with is None
    lane.write("y")
    assert lane.closed_with is CloseCode.TOO_SLOW
    assert lane.waiting == 0
    ear.open.set()
    await lane.flushed()
    assert (ear.frames, ear.code) == (["under way"], CloseCode.TOO_SLOW)
    assert lane.waiting == 0


async def test_the_bound_counts_bytes(ear: Ear, lane: PortableLane) -> None:
    """A frame in another script has more bytes than characters, and its bytes count."""
    ear.open.clear()
    lane.write("\N{PILE OF POO}" * 256)
    assert (lane.waiting, lane.closed_with) == (1_024, None)
    lane.write("\N{PILE OF POO}")
    assert lane.closed_with is CloseCode.TOO_SLOW
    ear.open.set()
    await lane.flushed()


async def test_what_was_sent_no_longer_counts(ear: Ear, lane: PortableLane) -> None:
    """A peer that reads may get any amount, one bound after another."""
    for _ in range(20):
        lane.write("\u20ac" * 300)
        await lane.flushed()
        assert lane.waiting == 0
    assert len(ear.frames) == 20
    assert lane.closed_with is None


async def test_close_comes_after_what_waits(ear: Ear, lane: PortableLane) -> None:
    """What was written before the close is sent before it; what comes after is not sent."""
    lane.write("last words")
    lane.close(CloseCode.FORBIDDEN)
    lane.write("too late")
    await lane.flushed()
    assert ear.frames == ["last words"]
    assert ear.closed == {"type": "websocket.close", "code": 4403, "reason": CloseCode.FORBIDDEN.meaning}


async def test_only_the_first_close_counts(ear: Ear, lane: PortableLane) -> None:
    """A second close, with whatever code, does nothing."""
    lane.close(CloseCode.BAD_INPUT, "enough")
    lane.close(CloseCode.NORMAL)
    await lane.flushed()
    lane.close(CloseCode.NORMAL)
    await lane.flushed()
    assert (ear.code, ear.sends) == (CloseCode.BAD_INPUT, 1)
    assert lane.closed_with is CloseCode.BAD_INPUT
    assert ear.closed
    assert ear.closed["reason"] == "enough"


async def test_an_abandoned_lane_sends_nothing(ear: Ear, lane: PortableLane) -> None:
    """Once the peer is gone what waits is let go, and no task stays for a send that will never end."""
    before = others()
    ear.open.clear()
    lane.write("a")
    lane.write("b")
    await until(lambda: ear.sends)
    lane.abandon()
    lane.write("c")
    lane.close(CloseCode.NORMAL)
    await until(lambda: others() == before)
    assert (ear.frames, ear.closed, lane.waiting) == ([], None, 0)


async def test_a_lane_may_be_abandoned_before_it_began(ear: Ear, lane: PortableLane) -> None:
    """Abandoning twice, unused, or before the writer's first turn leaves no task either."""
    before = others()
    lane.write("a")
    lane.abandon()
    lane.abandon()
    await until(lambda: others() == before)
    PortableLane(ear.send).abandon()
    assert ear.sends == 0


async def test_abandoning_keeps_the_first_code(lane: PortableLane) -> None:
    """Why the socket was closed stays known after its peer is gone."""
    lane.close(CloseCode.TOO_SLOW)
    lane.abandon()
    assert lane.closed_with is CloseCode.TOO_SLOW


@pytest.mark.parametrize("error", [OSError("gone"), ConnectionResetError(), RuntimeError("after close")])
async def test_a_send_that_fails_is_the_last(ear: Ear, lane: PortableLane, error: Exception) -> None:
    """When a server says that the peer is gone, nothing more is tried and nothing is raised."""
    ear.error = error
    lane.write("a")
    lane.write("b")
    await lane.flushed()
    lane.write("c")
    lane.close(CloseCode.NORMAL)
    await lane.flushed()
    assert (ear.sends, lane.waiting) == (1, 0)
    assert lane.closed_with is not None


async def test_flushing_an_idle_lane_returns(lane: PortableLane) -> None:
    """Where nothing waits there is nothing to wait for."""
    await lane.flushed()


async def test_flushing_does_not_wait_for_ever(
    ear: Ear, lane: PortableLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that does not read holds up a farewell only for so long, and the frames still wait for it."""
    monkeypatch.setattr(lanes, "FAREWELL", 0.01)
    ear.open.clear()
    lane.write("a")
    lane.close(CloseCode.INTERNAL)
    await lane.flushed()
    assert ear.frames == []
    ear.open.set()
    await lane.flushed()
    assert (ear.frames, ear.code) == (["a"], CloseCode.INTERNAL)


async def test_one_that_does_not_read_delays_nobody(ear: Ear, lane: PortableLane) -> None:
    """Each lane has its own queue and writer."""
    ear.open.clear()
    lane.write("stuck")
    reader = Ear()
    other = PortableLane(reader.send)
    other.write("a")
    await other.flushed()
    assert reader.frames == ["a"]
    lane.abandon()
