"""Several servers that share a Redis and a database: real ones, each a process of its own."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships none
import pytest
from asgiref.sync import sync_to_async
from browsing import ACCOUNTS, Browser, shell
from helpers import SocketPersona, over_socket
from redis import asyncio as aioredis
from servers import PATIENCE, Server, Start, free_port, redis
from torture.engines import plugged

from chat.hub import group_name
from chat.hub.stall_detector import LONGEST
from chat.protocol import (
    LOBBY,
    Ack,
    CloseCode,
    Error,
    ErrorCode,
    Joined,
    Late,
    Left,
    Message,
    Removed,
    TypingNow,
    UserList,
)

pytestmark = pytest.mark.e2e

PREFIX = "chat"
ROOM = "garden"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    with redis(tmp_path, port):
        yield port


@pytest.fixture
def nodes(port: int, start: Start) -> list[Server]:
    """Two."""
    return [start("daphne", REDIS_URL=f"redis://127.0.0.1:{port}/0", REDIS_PREFIX=PREFIX) for _ in range(2)]


@asynccontextmanager
async def people(nodes: list[Server], *names: str) -> AsyncIterator[list[SocketPersona]]:
    """In the lobby, one at each node in turn; all see all."""
    async with AsyncExitStack() as stack:
        found = []
        for number, name in enumerate(names):
            persona = await stack.enter_async_context(over_socket(nodes[number % len(nodes)].ws, name))
            await persona.join()
            found.append(persona)
        for persona in found:
            await sees(persona, *names)
        yield found


async def sees(persona: SocketPersona, *names: str) -> None:
    """In a moment its list has these people."""
    lists = [said for said in persona.heard if isinstance(said, UserList)]
    while not lists or sorted(lists[-1].users) != sorted(names):
        lists.append(await persona.expect(UserList))


async def test_two_nodes_are_one_room(nodes: list[Server]) -> None:
    """Messages, typing and presence reach both; a name belongs to one user in both."""
    async with people(nodes, "Alice", "Bob") as (alice, bob):
        for number in range(10):
            await alice.say(f"from here {number}")
            await bob.say(f"from there {number}")
        for persona in (alice, bob):
            heard = [(await persona.expect(Message)).seq for _ in range(20 - persona.count(Message))]
            assert [said.seq for said in persona.heard if isinstance(said, Message)] == list(range(1, 21)), heard
        await alice.send("typing")
        await bob.expect(TypingNow, username="Alice")
        async with over_socket(nodes[1].ws, "alice") as other:
            await other.send("join", username="alice")
            assert (await other.expect(Error)).code == ErrorCode.NAME_TAKEN
        await bob.vanish()
        await alice.expect(Left, username="Bob")
        assert (alice.count(Joined, username="Bob"), alice.count(Left)) == (1, 1)


async def test_each_message_crosses_redis_once_for_each_process(nodes: list[Server], port: int) -> None:
    """However many sockets there are: one subscription of each process, and each change published once."""
    store = aioredis.Redis(port=port)
    channel = f"{PREFIX}__group__{group_name('lobby')}"
    names = [f"u{number}" for number in range(10)]
    async with store, store.pubsub() as listening, people(nodes, *names) as found:
        assert await store.pubsub_numsub(channel) == [(channel.encode(), 2)]
        await listening.subscribe(channel)
        await listening.get_message(timeout=5)
        await asyncio.gather(*(_speak(persona, 20) for persona in found))
        for persona in found:
            while persona.count(Message) < 200:
                await persona.expect(Message)
        crossed: Counter[int] = Counter()
        while sum(crossed.values()) < 200:
            message = await listening.get_message(ignore_subscribe_messages=True, timeout=5)
            assert message, crossed
            crossed.update(_changes(message["data"]))
        assert crossed == Counter(range(1, 201))
        assert await listening.get_message(ignore_subscribe_messages=True, timeout=0.2) is None


async def _speak(persona: SocketPersona, times: int) -> None:
    for number in range(times):
        await persona.say(f"{persona.name} {number}")


def _changes(data: bytes) -> list[int]:
    """The numbers of the changes in a message of the layer."""
    message: dict[str, Any] = msgpack.unpackb(data)
    return [change[0] for part in message["parts"] if part[0] == "changes" for change in part[2]]


async def test_redis_goes_and_comes(tmp_path: Path, start: Start) -> None:
    """While it is away each node goes on, and receives from the other late; in the end no event is lost."""
    port = free_port()
    with redis(tmp_path, port):
        pair = [start("daphne", REDIS_URL=f"redis://127.0.0.1:{port}/0") for _ in range(2)]
        stack = AsyncExitStack()
        alice, bob = await stack.enter_async_context(people(pair, "Alice", "Bob"))
    async with stack:
        await alice.say("one")
        await bob.say("two")
        await alice.expect(Message, content="one")
        await alice.expect(Message, content="two")
        await bob.expect(Message, content="one")
        for persona in (alice, bob):
            assert (await persona.expect(Late)).late
        async with over_socket(pair[0].ws, "Charlie") as charlie:
            await charlie.join()
            assert (await charlie.expect(Late)).late
            with redis(tmp_path, port):
                for persona in (alice, bob, charlie):
                    assert not (await persona.expect(Late)).late
                await sees(bob, "Alice", "Bob", "Charlie")
                await charlie.say("three")
                for persona in (alice, bob):
                    await persona.expect(Message, content="three")
                assert bob.count(Left) == alice.count(Left) == 0


# --- The staff, and lost sign-ins ---


@pytest.fixture
def accounts(nodes: list[Server]) -> list[Server]:
    """The nodes, with accounts; who leaves after the grace of a lost connection does not leave in a test."""
    shell(nodes[0], ACCOUNTS)
    return nodes


async def signed_in(server: Server, name: str) -> Browser:
    return await sync_to_async(Browser(server).sign_in)(name)


@asynccontextmanager
async def at(server: Server, name: str, browser: Browser, room: str = LOBBY) -> AsyncIterator[SocketPersona]:
    """A socket at this server, as a page in this browser opens it."""
    headers = {**browser.headers, "Origin": server.http}
    async with over_socket(server.ws, name, additional_headers=headers) as persona:
        await persona.join(room)
        yield persona


async def test_a_sign_in_that_ends_at_one_node_ends_at_the_other(accounts: list[Server]) -> None:
    """By a page of the first; and by a command, which serves nobody."""
    here, there = accounts
    alice_s, bob_s = await signed_in(here, "Alice"), await signed_in(here, "Bob")
    async with at(there, "Alice", alice_s) as alice, at(there, "Bob", bob_s) as bob:
        await sync_to_async(alice_s.post)("/logout/", form="/")
        assert await alice.closed() == CloseCode.NOT_SIGNED_IN
        await bob.silence()
        await sync_to_async(shell)(
            here,
            "from django.contrib.auth.models import User\n"
            "bob = User.objects.get(username='Bob')\nbob.is_active = False\nbob.save()",
        )
        assert await bob.closed() == CloseCode.NOT_SIGNED_IN


async def test_a_node_that_stood_still_lets_nobody_do_what_they_no_longer_may(port: int, start: Start) -> None:
    """Bob was banned at the other node, and the event does not arrive: no client receives his later messages."""
    with plugged(port) as cable:
        addresses = f"127.0.0.1:{port}", cable.address
        here, there = (start("daphne", REDIS_URL=f"redis://{address}/0") for address in addresses)
        shell(here, ACCOUNTS)
        alice_s, bob_s = await signed_in(here, "Alice"), await signed_in(here, "Bob")
        async with at(here, "Alice", alice_s, ROOM) as alice, at(there, "Bob", bob_s, ROOM) as bob:
            await alice.say("welcome", ROOM)
            await bob.expect(Message, content="welcome")
            cable.freeze(frozen=True)
            there.process.send_signal(signal.SIGSTOP)
            await alice.send("ban", room=ROOM, username="Bob", ref="ban")
            await alice.expect(Ack, ref="ban")
            await bob.send("message", room=ROOM, content="still here", ref="late")
            await asyncio.sleep(LONGEST + 0.5)
            there.process.send_signal(signal.SIGCONT)
            await bob.expect(Removed, room=ROOM)
            assert (await bob.expect(Error, ref="late")).code == ErrorCode.NOT_JOINED
            await alice.silence()
            assert alice.count(Message) == 1


async def until_it_says(what: str, ask: Callable[[str], str]) -> str:
    """The page of who is here, when it does. On a busy machine a process may be too slow to be counted, once."""
    async with asyncio.timeout(PATIENCE):
        while what not in (page := await sync_to_async(ask)("/admin/chat/connection/")):  # noqa: ASYNC110 it tells nobody
            await asyncio.sleep(0.1)
    return page


async def test_the_admin_shows_the_sockets_of_all_nodes(accounts: list[Server]) -> None:
    """Whichever answers; and disconnects those of the others too."""
    here, there = accounts
    async with people(accounts, "Ann", "Ben") as (ann, ben):
        for server in (there, here):
            staff = await signed_in(server, "Sam")
            page = await until_it_says("The sockets of 2 processes:", staff.get)
            assert "<bdi>Ann</bdi>" in page
            assert "<bdi>Ben</bdi>" in page
            assert f", pid {here.process.pid}" in page
            assert f", pid {there.process.pid}" in page
        row = next(part for part in page.split("<tr>") if "<bdi>Ben</bdi>" in part)
        chosen = row.split("<code>")[-1].split("</code>")[0]
        await until_it_says("1 socket was disconnected.", partial(staff.post, socket=chosen))
        assert await ben.closed() == CloseCode.FORBIDDEN
        await ann.silence()
