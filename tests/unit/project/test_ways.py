"""One message, one join and one ban touch few files of ours: docs/architecture.md has the map of each."""

from collections.abc import Awaitable, Callable

import pytest
from doubles import Clock
from helpers import CommunicatorPersona, Enter
from members import member
from ways import Way, followed, settled

MESSAGE, JOIN, BAN = 20, 29, 28
"""Files that each may touch at most."""

Operation = Callable[[], Awaitable[None]]


async def heard(persona: CommunicatorPersona, kind: str) -> None:
    """Read up to a frame of this type, by its text: to decode it would be counted too."""
    while f'"type":"{kind}"' not in await persona.read():
        pass


async def way_of(clock: Clock, name: str, operation: Operation) -> Way:
    """Follow an operation in a process that has been quiet for a while: no timer fires meanwhile."""
    for _ in range(8):
        # In steps that no process takes for a stall (chat.hub.stall_detector).
        await clock.skip(0.5)
        await settled()
    with followed() as way:
        await operation()
        await settled()
    print(f"\n{name}: {way}", *way.functions, sep="\n    ")
    return way


@pytest.fixture
async def olga(person: Enter) -> CommunicatorPersona:
    """The owner of a room for everybody, and in it."""
    persona = await member(person, "Olga")
    await persona.send("create", room="tea", title="Tea", kind="public", ref="1")
    await heard(persona, "ack")
    await persona.join("tea")
    return persona


async def test_a_message_touches_few_files(clock: Clock, person: Enter, olga: CommunicatorPersona) -> None:
    bob = await member(person, "Bob")
    await bob.join("tea")
    clock.stop()

    async def message() -> None:
        await olga.send("message", room="tea", content="Hello")
        await heard(bob, "message")
        await heard(olga, "ack")

    await way_of(clock, "The first message", message)
    way = await way_of(clock, "A message", message)
    assert len(way.files) <= MESSAGE, way.files


async def test_a_join_touches_few_files(clock: Clock, person: Enter, olga: CommunicatorPersona) -> None:
    carol, bob = [await member(person, name) for name in ("Carol", "Bob")]
    await carol.join("tea")
    clock.stop()

    async def join() -> None:
        await bob.send("join", room="tea")
        await heard(bob, "userList")
        await heard(olga, "join")

    way = await way_of(clock, "A join", join)
    assert len(way.files) <= JOIN, way.files


async def test_a_ban_touches_few_files(clock: Clock, person: Enter, olga: CommunicatorPersona) -> None:
    carol, bob = [await member(person, name) for name in ("Carol", "Bob")]
    for persona in (carol, bob):
        await persona.join("tea")
    clock.stop()

    async def ban(persona: CommunicatorPersona) -> None:
        await olga.send("ban", room="tea", username=persona.name, on=True, ref="2")
        await heard(persona, "removed")
        await heard(olga, "ack")

    await way_of(clock, "The first ban", lambda: ban(carol))
    way = await way_of(clock, "A ban", lambda: ban(bob))
    assert len(way.files) <= BAN, way.files
