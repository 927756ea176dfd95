"""What belongs to an event loop is made once in it, not shared with another, and closed with it."""

import asyncio
import threading

import pytest

from chat import loops
from chat.hub import Hub
from chat.limits import Limits
from chat.log import Log
from chat.presence import Presence

closed: list[object] = []


class Thing:
    """Something that a loop keeps."""

    def __init__(self, name: str = "made without arguments") -> None:
        self.name = name

    async def close(self) -> None:
        closed.append(self)


class Upper(Thing):
    """Something that stands on a Thing."""

    def __init__(self) -> None:
        super().__init__()
        self.lower = loops.current(Thing)


@pytest.fixture(autouse=True)
def _nothing_closed_yet() -> None:
    closed.clear()


async def test_a_loop_has_one_of_a_kind() -> None:
    """The second call finds what the first made, whatever it says about making."""
    first = loops.current(Thing, lambda: Thing("first"))
    assert first.name == "first"
    assert loops.current(Thing) is first
    assert loops.current(Thing, lambda: Thing("second")) is first
    await loops.close_current()


async def test_a_closed_loop_s_things_are_made_anew() -> None:
    """After the close the loop has nothing, so the next call makes another."""
    first = loops.current(Thing)
    await loops.close_current()
    assert closed == [first]
    assert loops.current(Thing) is not first
    await loops.close_current()


async def test_closing_a_loop_that_keeps_nothing_is_fine() -> None:
    """Closing twice, or before anything was made, does nothing."""
    await loops.close_current()
    await loops.close_current()
    assert closed == []


async def test_the_youngest_is_closed_first() -> None:
    """What stands on another thing is closed before it."""
    upper = loops.current(Upper)
    await loops.close_current()
    assert closed == [upper, upper.lower]


@pytest.mark.parametrize("kind", [Presence, Hub, Log])
async def test_presence_is_closed_before_the_hub_and_the_hub_before_the_log(kind: type) -> None:
    """Whichever is asked for first, the order of closing is that of use."""
    loops.current(kind)
    loops.current(Presence)
    kept = [type(thing) for thing in loops._kept[asyncio.get_running_loop()].values()]
    assert [each for each in kept if each is not Limits] == [Log, Hub, Presence]
    await loops.close_current()


def test_each_loop_has_its_own() -> None:
    """Two loops, one after the other, don't share; the first one's things are let go when its loop is closed."""

    async def mine() -> Thing:
        return loops.current(Thing)

    kept_before = len(loops._kept)
    first, second = asyncio.run(mine()), asyncio.run(mine())
    assert first is not second
    assert len(loops._kept) <= kept_before + 1


def test_outside_a_loop_there_is_nothing() -> None:
    """A thread without a running loop can't make one by mistake."""
    with pytest.raises(RuntimeError):
        loops.current(Thing)


async def test_a_thread_sees_every_living_loop_s() -> None:
    """From outside, each living loop's thing is found with its loop; a closed loop's is not."""
    mine = loops.current(Thing, lambda: Thing("mine"))
    made, seen = threading.Event(), threading.Event()
    names: list[str] = []

    async def in_another() -> None:
        loops.current(Thing, lambda: Thing("another's"))
        made.set()
        await asyncio.to_thread(seen.wait, 10)

    thread = threading.Thread(target=lambda: asyncio.run(in_another()))
    thread.start()
    try:
        await asyncio.to_thread(made.wait, 10)
        names = sorted(thing.name for _, thing in loops.all_loops(Thing))
    finally:
        seen.set()
        await asyncio.to_thread(thread.join, 10)
    assert names == ["another's", "mine"]
    assert [thing for _, thing in loops.all_loops(Thing)] == [mine]
    assert loops.all_loops(Upper) == []
    await loops.close_current()


class Stubborn(Thing):
    """Something that fails to close."""

    async def close(self) -> None:
        raise OSError("no")


async def test_what_fails_to_close_does_not_keep_the_others_open() -> None:
    """Every thing is closed, and the failure is still heard of."""
    thing = loops.current(Thing)
    loops.current(Stubborn)
    with pytest.raises(OSError, match="no"):
        await loops.close_current()
    assert closed == [thing]
