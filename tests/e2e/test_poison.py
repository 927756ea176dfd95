"""Foreign data in the layer, in the registry or in the database ends no socket."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing

import msgspec
import pytest
from helpers import SocketPersona, over_socket
from redis import Redis as Client
from servers import Server, Start
from talking import alice_and_bob
from torture.engines import Redis, redis

from chat.protocol import Found, History, Left, Message, UserList

pytestmark = pytest.mark.e2e


@pytest.fixture
def layer() -> Iterator[Redis]:
    with redis() as layer:
        yield layer


def two(start: Start, layer: Redis) -> list[Server]:
    """Servers that share the layer, and say with tracebacks what they can't read."""
    servers = [start("daphne", REDIS_URL=layer.url) for _ in range(2)]
    for server in servers:
        server.clean = False
    return servers


@asynccontextmanager
async def talking(*servers: Server) -> AsyncIterator[tuple[SocketPersona, SocketPersona]]:
    """Alice and Bob, who have received each other's messages."""
    async with alice_and_bob(*servers) as (alice, bob):
        await alice.say("before")
        await bob.expect(Message, content="before")
        yield alice, bob


def packed(**message: object) -> bytes:
    return msgspec.msgpack.encode({"type": "hub.hear", "room": "lobby", "from": "nobody", "parts": [], **message})


POISON = [
    *(b"", b"\xc1", b"nonsense", msgspec.msgpack.encode(1), msgspec.msgpack.encode({"type": "explode"})),
    *(packed(room=7, parts=[["frame", 7]]), packed(parts=7), packed(parts=[[]]), packed(parts=[["explode"]])),
    *(packed(parts=[["changes", "epoch", [["a", "b"]]]]), packed(parts=[["presence", ["n", "v", "came"]]])),
    packed(room=None, parts=[["people", 7, 7]]),
]


async def test_what_is_not_ours_in_the_layer_ends_nothing(start: Start, layer: Redis) -> None:
    """Any foreign message on a hub's channel is logged by both servers, and they deliver later events."""
    servers = two(start, layer)
    async with talking(*servers) as (alice, bob):
        with Client(port=layer.port) as client:
            channels = client.pubsub_channels()
            for message in POISON:
                for channel in channels:
                    client.publish(channel, message)
        for number in range(3):
            await alice.say(f"to Bob {number}")
            await bob.expect(Message, content=f"to Bob {number}")
            await bob.say(f"to Alice {number}")
            await alice.expect(Message, content=f"to Alice {number}")
        await bob.expect(Message, content="to Alice 2")
        for server, person in zip(servers, (alice, bob), strict=True):
            assert "a message from the channel layer was not delivered" in server.said()
            assert person.count(Message) == 7
            assert person.count(Left) == 0


UNREADABLE = {
    "a place without a name": ("here:lobby", "nonsense", '["who"]'),
    "a place that is no JSON": ("here:lobby", "somewhere somebody", "nonsense"),
    "a place of another kind": ("here:lobby", "somewhere somebody", "[1, 2]"),
    "a version that is none": ("versions", "lobby", "nonsense"),
}


@pytest.mark.parametrize(("key", "field", "value"), UNREADABLE.values(), ids=UNREADABLE)
async def test_what_is_not_ours_among_the_people_ends_nothing(
    start: Start, layer: Redis, key: str, field: str, value: str
) -> None:
    """Presence is then known within each process only, until the data is mended; all else goes on."""
    servers = two(start, layer)
    async with talking(*servers) as (alice, bob):
        with Client(port=layer.port, decode_responses=True) as client:
            (name,) = client.keys("*:chat:versions")
            place, version = name.removesuffix("versions") + key, client.hget(name, "lobby")
            client.hset(place, field, value)
            if key != "versions":
                client.hincrby(name, "lobby", 2)
            async with over_socket(servers[1].ws, "Carol") as carol:
                await carol.join()
                await alice.say("Carol?")
                await carol.expect(Message, content="Carol?")
                if key == "versions":
                    client.hset(name, "lobby", str(version))
                else:
                    client.hdel(place, field)
                await alice.expect(UserList, count=3)
            await alice.expect(UserList, count=2)
        assert bob.count(Left, username="Alice") == alice.count(Left, username="Bob") == 0


STRANGE_ROWS = {
    "bytes for a text": "content = x'fffe00'",
    "a NUL in a text": "content = 'a' || char(0) || 'b'",
    "nobody's name": "username = ''",
    "no time": "created = 'yesterday'",
    "no time of an edit": "edited = 'yesterday', changes = 1",
    "an answer to what was never said": "reply_to = 2",
}


@pytest.mark.parametrize("change", STRANGE_ROWS.values(), ids=STRANGE_ROWS)
async def test_a_row_that_is_not_ours_ends_nothing(start: Start, change: str) -> None:
    """A client that reads the room, from the recent changes or the database, by pages or by a search, gets the
    others with it.
    """
    server = start("daphne", CHAT_RING="1")
    async with talking(server) as (alice, _):
        for number in range(2, 6):
            await alice.say(f"word {number}")
        path = server.variables["DATABASE_URL"].removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(f"UPDATE chat_message SET {change} WHERE number = 3")  # noqa: S608 the rows above
        async with over_socket(server.ws, "Carol") as carol:
            epoch = (await carol.join("lobby")).epoch
            await carol.join(since=0, epoch=epoch)
            assert [(await carol.expect(Message)).id for _ in range(5)] == [1, 2, 3, 4, 5]
            await alice.say("after")
            await carol.expect(Message, content="after")
            await carol.send("history")
            assert [message.id for message in (await carol.expect(History)).messages] == [1, 2, 3, 4, 5, 6]
            await carol.send("search", query="word")
            assert {2, 4, 5} <= {message.id for message in (await carol.expect(Found)).messages}
