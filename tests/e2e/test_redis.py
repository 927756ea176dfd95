"""The same conversations through a real Redis as the channel layer: started here, on a free port."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers import SocketPersona, over_socket
from proxies import certificate
from redis import asyncio as aioredis
from servers import PATIENCE, Start, free_port, redis, sentinel

from chat.protocol import Late, Message, TypingNow, UserList

pytestmark = pytest.mark.e2e


async def test_a_room_works_through_redis_and_without_it(start: Start, tmp_path: Path) -> None:
    """Messages pass Redis; while it is away clients of one process receive from each other, and afterwards too."""
    port = free_port()
    with ExitStack() as first:
        first.enter_context(redis(tmp_path, port))
        server = start("daphne", REDIS_URL=f"redis://127.0.0.1:{port}/0")
        # The layer's error is in the log with its traceback.
        server.clean = False
        async with over_socket(server.ws, "Alice") as alice, over_socket(server.ws, "Bob") as bob:
            await alice.join()
            await bob.join()
            for situation in ("with Redis", "without Redis", "with Redis again"):
                if situation == "without Redis":
                    first.close()
                if situation == "with Redis again":
                    first.enter_context(redis(tmp_path, port))
                for number in range(5):
                    await alice.say(f"{situation} {number}")
                heard = [(await bob.expect(Message)).content for _ in range(5)]
                assert heard == [f"{situation} {number}" for number in range(5)]


async def test_redis_over_tls(start: Start, tmp_path: Path) -> None:
    """`rediss://`, with the authority that made its certificate: two servers are one room."""
    made = certificate(tmp_path)
    port = free_port()
    more = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
    for name, path in {"cert": made.chain, "key": made.key, "ca-cert": made.authority}.items():
        more += [f"--tls-{name}-file", str(path)]
    with redis(tmp_path, port, *more):
        await _one_room(start, f"rediss://localhost:{port}/0?ssl_ca_certs={made.authority}")


async def test_redis_that_sentinels_know(start: Start, tmp_path: Path) -> None:
    """`redis+sentinel://`: the servers ask where the master is; when another becomes it, they go there."""
    master, replica, watcher = free_port(), free_port(), free_port()
    known = tmp_path / "sentinel.conf"
    known.write_text(
        f"port {watcher}\nsentinel monitor mymaster 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n"
    )
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        first.enter_context(redis(tmp_path, master))
        stack.enter_context(redis(tmp_path, replica, "--replicaof", "127.0.0.1", str(master)))
        stack.enter_context(sentinel(known))
        await _until_replicated(replica)
        url = f"redis+sentinel://127.0.0.1:{watcher}/mymaster/0"
        servers = [start("daphne", REDIS_URL=url) for _ in range(2)]
        async with over_socket(servers[0].ws, "Alice") as alice, over_socket(servers[1].ws, "Bob") as bob:
            await _meet(alice, bob)
            first.close()
            for persona in (alice, bob):
                assert (await persona.expect(Late)).late
            for persona in (alice, bob):
                assert not (await persona.expect(Late)).late
            await alice.say("by another")
            await bob.expect(Message, content="by another")
            await alice.send("typing")
            await bob.expect(TypingNow, username="Alice")


async def _until_replicated(port: int) -> None:
    """The Sentinel makes only one the master that has the data."""
    store = aioredis.Redis(port=port, decode_responses=True)
    async with store, asyncio.timeout(PATIENCE):
        while (await store.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110 it tells nobody
            await asyncio.sleep(0.1)


async def _one_room(start: Start, url: str) -> None:
    servers = [start("daphne", REDIS_URL=url) for _ in range(2)]
    async with over_socket(servers[0].ws, "Alice") as alice, over_socket(servers[1].ws, "Bob") as bob:
        await _meet(alice, bob)


async def _meet(alice: SocketPersona, bob: SocketPersona) -> None:
    """They receive each other's events. Typing is in no database: it came through Redis."""
    await alice.join()
    await bob.join()
    while (await alice.expect(UserList)).count < 2:
        pass
    await bob.send("typing")
    await alice.expect(TypingNow, username="Bob")
