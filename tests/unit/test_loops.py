"""An event loop's objects are built together, found again by their type, and closed together."""

import asyncio
import threading

import pytest
from pytest_django import Settings

from chat import loops, runtime
from chat.actions import AccessEnforcer
from chat.hub import Hub
from chat.limits import Limits
from chat.loops import Objects
from chat.message_log import MessageLog
from chat.presence import Presence

closed: list[object] = []
built: list[object] = []


class Thing:
    """An object of a loop."""

    async def close(self) -> None:
        closed.append(self)


class Upper(Thing):
    """An object that stands on a Thing."""

    def __init__(self, lower: Thing) -> None:
        self.lower = lower


def build() -> Objects:
    thing = Thing()
    built.append(thing)
    return {Thing: thing, Upper: Upper(thing)}


@pytest.fixture(autouse=True)
def _only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """No loop has objects, and nothing else builds any."""
    closed.clear()
    built.clear()
    monkeypatch.setattr(loops, "_builders", [build])
    monkeypatch.setattr(loops, "_objects", {})


async def test_a_loop_s_objects_are_built_once() -> None:
    """The first call builds all of them; later calls find them."""
    upper = loops.current(Upper)
    assert upper.lower is loops.current(Thing)
    assert loops.current(Upper) is upper
    assert built == [upper.lower]


async def test_what_nobody_builds_is_not_found() -> None:
    """No object comes into being because somebody asks for it."""
    with pytest.raises(KeyError):
        loops.current(Limits)


async def test_every_builder_adds_its_objects() -> None:
    """In the order in which they were added; a builder that is added twice builds once."""

    def another() -> Objects:
        return {Limits: "another's"}

    for _ in range(2):
        loops.add_builder(another)
    assert loops.current(Limits) == "another's"  # type: ignore[comparison-overlap]  # a stand-in
    assert isinstance(loops.current(Thing), Thing)
    assert len(loops._builders) == 2


async def test_a_closed_loop_s_objects_are_built_anew() -> None:
    """After the close the loop has none, so the next call builds others."""
    first = loops.current(Thing)
    await loops.close_current()
    assert closed[-1] is first
    assert loops.current(Thing) is not first


async def test_closing_a_loop_without_objects_is_fine() -> None:
    """Closing twice, or before anything was built, does nothing."""
    await loops.close_current()
    await loops.close_current()
    assert closed == []


async def test_the_youngest_is_closed_first() -> None:
    """An object is closed before those that it stands on."""
    upper = loops.current(Upper)
    await loops.close_current()
    assert closed == [upper, upper.lower]


def test_each_loop_has_its_own() -> None:
    """Two loops, one after the other, don't share; the first one's objects are let go when its loop is closed."""

    async def mine() -> Thing:
        return loops.current(Thing)

    first, second = asyncio.run(mine()), asyncio.run(mine())
    assert first is not second
    assert len(loops._objects) == 1


def test_outside_a_loop_there_is_nothing() -> None:
    """A thread without a running loop can't build one by mistake."""
    with pytest.raises(RuntimeError):
        loops.current(Thing)


async def test_a_thread_sees_every_living_loop_s() -> None:
    """From outside, each living loop's object is found with its loop; a closed loop's is not."""
    mine = loops.current(Thing)
    made, seen = threading.Event(), threading.Event()
    theirs: list[Thing] = []

    async def in_another() -> None:
        theirs.append(loops.current(Thing))
        made.set()
        await asyncio.to_thread(seen.wait, 10)

    thread = threading.Thread(target=lambda: asyncio.run(in_another()))
    thread.start()
    try:
        await asyncio.to_thread(made.wait, 10)
        found = [thing for _, thing in loops.all_loops(Thing)]
    finally:
        seen.set()
        await asyncio.to_thread(thread.join, 10)
    assert found == [mine, *theirs]
    assert [thing for _, thing in loops.all_loops(Thing)] == [mine]
    assert loops.all_loops(Limits) == []


class Stubborn(Thing):
    """An object that fails to close."""

    async def close(self) -> None:
        raise OSError("no")


async def test_an_object_that_fails_to_close_does_not_keep_the_others_open() -> None:
    """Every object is closed, and the failure is raised."""
    thing = Thing()
    loops.install({Thing: thing, Stubborn: Stubborn()})
    with pytest.raises(OSError, match="no"):
        await loops.close_current()
    assert closed == [thing]


# --- The composition root ---


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "chat.layers.ProcessChannelLayer"}}
    monkeypatch.setattr(loops, "_builders", [runtime.build])


@pytest.mark.parametrize("kind", [Presence, Hub, MessageLog, AccessEnforcer])
async def test_the_chat_is_built_in_the_order_of_use(composed: None, kind: type) -> None:
    """The first request does not matter. So an object is closed before those that it uses."""
    loops.current(kind)
    order = [
        kind
        for kind in loops._objects[asyncio.get_running_loop()]
        if kind in {MessageLog, Hub, Presence, AccessEnforcer}
    ]
    assert order == [MessageLog, Hub, Presence, AccessEnforcer]
    await loops.close_current()


async def test_building_starts_nothing(composed: None) -> None:
    """A page's request builds the objects too: their tasks begin with the first connection, and once."""
    before = asyncio.all_tasks()
    loops.current(Hub)
    assert asyncio.all_tasks() == before
    for starting in (runtime.start, runtime.join_cluster):
        starting()
    started = asyncio.all_tasks()
    assert started > before
    for starting in (runtime.start, runtime.join_cluster):
        starting()
    assert asyncio.all_tasks() == started
    await loops.close_current()
    assert asyncio.all_tasks() == before
