"""Crowds, fuzz and leaks, on a real server."""

import asyncio
import json
import os
import random
import time
from contextlib import AsyncExitStack

import msgspec
import pytest
from helpers import Closed, SocketPersona, over_socket
from servers import PATIENCE, Server, Start, get
from thorough import either

from chat.conf import ChatSettings
from chat.protocol import Message, UserList

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

FUZZ = int(os.environ.get("FUZZ", either("5000", "50000")))
"""Frames of the fuzz test."""
CAME_AND_WENT = int(os.environ.get("CAME_AND_WENT", either("100", "2000")))
"""Sockets of the leak test."""
SIZE = either(100, 200)
"""How many of them are there at once."""
CROWDS = either([125, 250, 500], [250, 500, 1_000])
"""How many join a room at once."""


async def crowd(stack: AsyncExitStack, server: Server, size: int) -> list[SocketPersona]:
    """``size`` people on open sockets, in no room yet."""
    gate = asyncio.Semaphore(200)

    async def enter(number: int) -> SocketPersona:
        async with gate:
            context = over_socket(server.ws, f"P{number}", open_timeout=60, ping_interval=None)
            return await stack.enter_async_context(context)

    return await asyncio.gather(*(enter(number) for number in range(size)))


ANSWERS = 8_000
"""Bytes of what one who joins is answered: a list of 200 names in it, and a list when all have come."""
LONGEST_LIST = 4_000
"""Bytes of a list of 200 names."""


async def joined_by_all(server: Server, size: int) -> tuple[int, float]:
    """``size`` users join a room at once, then one posts and all receive it. Return the sent bytes, and the
    seconds.
    """
    async with AsyncExitStack() as stack:
        people = await crowd(stack, server, size)
        room = f"crowd{size}"
        start = time.monotonic()
        await asyncio.gather(*(person.join(room) for person in people))
        print(f"{size} joined in {time.monotonic() - start:.2f} s")
        # The list with everybody in it is the last: after it the room is quiet.
        await asyncio.gather(*(person.expect(UserList, count=size) for person in people))
        await people[0].say("all here?", room)
        await asyncio.gather(*(person.expect(Message, content="all here?") for person in people))
        return sum(person.bytes for person in people), time.monotonic() - start


async def test_a_thousand_joins_cost_linear_traffic(start: Start) -> None:
    """A join costs its own answers, and the lists what they may in that time.

    A list to each at each join would cost a thousand joins 2.4 GB.
    """
    server = start("daphne", CHAT_GRACE="0")
    for size in CROWDS:
        sent, seconds = await joined_by_all(server, size)
        print(f"{size}: {sent / 1e6:.2f} MB in {seconds:.2f} s, {sent // size} bytes a join")
        # The first list goes out at once, and so the budget holds from the second on.
        lists = LONGEST_LIST * size + ChatSettings().USER_LIST_BANDWIDTH * seconds
        assert sent < ANSWERS * size + lists


WORDS = [
    "type",
    "join",
    "message",
    "room",
    "content",
    "ref",
    "lobby",
    "username",
    "since",
    "\u202e",
    "\x00",
    "\ud83d",
]


def anything(chance: random.Random) -> str:
    """Some frame: random text, JSON of random shape, or a right command with something wrong in it."""
    kind = chance.randrange(6)
    if kind == 0:
        return "".join(
            chr(chance.choice((chance.randrange(32, 127), chance.randrange(0xA0, 0xD7FF)))) for _ in range(40)
        )
    if kind == 1:
        return chance.choice("[{") * chance.choice((1, 10, 2_000))
    if kind == 2:
        return json.dumps(value(chance, 4))
    command = {
        "type": chance.choice(["join", "leave", "message", "typing", "history", "ping"]),
        "room": chance.choice(["lobby", "r1", value(chance, 1)]),
        "ref": chance.choice(["a", value(chance, 1)]),
        "username": chance.choice(["Fuzz", value(chance, 1)]),
        "content": chance.choice(["x", value(chance, 2)]),
        "since": chance.choice([0, -1, 2**70, value(chance, 1)]),
        "limit": chance.choice([1, value(chance, 1)]),
    }
    for field in chance.sample(sorted(command), chance.randrange(4)):
        del command[field]
    text = json.dumps(command)
    if kind == 3:
        cut = chance.randrange(len(text))
        return text[:cut] + chance.choice(["", "\\", '"', "}", "\x7f"]) + text[cut + 1 :]
    return text


def value(chance: random.Random, depth: int) -> object:
    kind = chance.randrange(8 if depth else 6)
    if kind == 6:
        return [value(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 7:
        return {chance.choice(WORDS): value(chance, depth - 1) for _ in range(chance.randrange(4))}
    simple = [
        None,
        True,
        chance.randrange(-(2**65), 2**65),
        chance.random() * 1e300,
        chance.choice(WORDS),
        "y" * 5_000,
    ]
    return simple[kind]


async def fuzz_some(server: Server, chance: random.Random, count: int) -> None:
    """``count`` frames over one socket, all of them answered or passed over before this returns.

    A ping after every fifth keeps the server from closing for ten invalid frames in a row.
    """
    async with over_socket(server.ws, "Fuzz", max_size=None) as fuzz:
        for number in range(count):
            text = anything(chance).encode("utf-8", "surrogatepass")
            if chance.random() < 0.02:
                await fuzz.connection.send(text)
            else:
                await fuzz.connection.send(text.decode(errors="replace"), text=True)
            if number % 5 == 4:
                await fuzz.send("ping")
        await fuzz.silence()


@pytest.mark.on_services
@pytest.mark.once
async def test_nothing_a_client_sends_breaks_the_server(server: Server) -> None:
    """For any frames: no traceback in the log (the server fixture's end checks), and it still serves."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(FUZZ // 500):
        await fuzz_some(server, chance, 500)
    async with over_socket(server.ws, "Alice") as alice:
        await alice.join("after-the-fuzz")
        await alice.say("still here", "after-the-fuzz")


def held(server: Server) -> dict[str, int]:
    return msgspec.json.decode(get(server, "/probe").body, type=dict[str, int])  # type: ignore[attr-defined]


async def come_and_go(server: Server, count: int) -> None:
    """Half of them close, half are cut; each was in the lobby and in a room of its own."""
    async with AsyncExitStack() as stack:
        people = await crowd(stack, server, count)
        for room in ("lobby", "another"):
            await asyncio.gather(*(person.join(room) for person in people))
        await people[0].say("bye")
        await asyncio.gather(*(person.expect(Message, content="bye") for person in people))
        await asyncio.gather(*(person.vanish() for person in people[::2]))


@pytest.mark.on_services
@pytest.mark.once
async def test_sockets_that_came_and_went_leave_nothing_behind(start: Start) -> None:
    """After closes and cuts, tasks, people, rooms and memory are where they were."""
    server = start("probed")
    # The first round fills what is filled once: caches, the hub's own tasks, the allocator's arenas.
    await come_and_go(server, SIZE)
    before, memory = await quiet(server), server.memory()
    for _ in range(max(1, CAME_AND_WENT // SIZE)):
        await come_and_go(server, SIZE)
        # One crowd at a time: memory is measured where no two overlapped.
        after = await quiet(server)
    print(before, after, f"memory {memory / 1e6:.1f} -> {server.memory() / 1e6:.1f} MB")
    assert after["tasks"] == before["tasks"]
    assert abs(after["objects"] - before["objects"]) < 2_000
    assert server.memory() < memory + 8e6


async def quiet(server: Server) -> dict[str, int]:
    """The objects that are left after the last client."""
    async with asyncio.timeout(PATIENCE):
        while True:
            now = await asyncio.to_thread(held, server)
            if not (now["sockets"] or now["rooms"] or now["people"] or now["open"]):
                # Daphne reaps what has ended once a second.
                await asyncio.sleep(1.5)
                return await asyncio.to_thread(held, server)
            await asyncio.sleep(0.1)


@pytest.mark.on_services
async def test_a_socket_that_never_joins_is_closed(start: Start) -> None:
    """An open socket that asks for nothing is not kept."""
    server = start("daphne", CHAT_JOIN_TIMEOUT="1")
    async with over_socket(server.ws, "Idler") as idler:
        with pytest.raises(Closed) as closed:
            await idler.next()
        assert closed.value.code == 4009
