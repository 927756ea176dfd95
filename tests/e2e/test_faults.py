"""Faults of the machine and the network around a real server; docs/reliability.md lists them for operators.

Faults under load, and of shared services, are in torture/.
"""

import asyncio
import resource
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from helpers import SocketPersona, over_socket
from servers import Server, Start, get, needs
from talking import alice_and_bob
from torture.engines import plugged, redis
from websockets.exceptions import WebSocketException

from chat.protocol import VERSION, Ack, Error, ErrorCode, Joined, Left, Message, UserList

pytestmark = pytest.mark.e2e


async def heard(speaker: SocketPersona, listener: SocketPersona, content: str) -> Message:
    await speaker.say(content)
    return await listener.expect(Message, content=content)


# --- Things run out ---


async def test_open_files_that_run_out_stop_nobody_who_is_in(start: Start) -> None:
    """Further connections are refused, which the log says; those who are in go on; when some go others come in."""
    server = start("daphne")
    async with alice_and_bob(server) as (alice, bob):
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (160, 160))
        async with AsyncExitStack() as crowd:
            with suppress(OSError, WebSocketException):
                for number in range(160):
                    await crowd.enter_async_context(over_socket(server.ws, f"P{number}"))
            await heard(alice, bob, "crowded")
        assert "too many open files" in server.said()
        async with over_socket(server.ws, "Zoe") as zoe:
            await zoe.join()
            await heard(zoe, bob, "there is room again")


async def test_a_disk_that_takes_no_more_loses_nothing(start: Start) -> None:
    """A message that can't be committed is refused with a time to retry, and no client receives it; then all goes
    on.
    """
    server = start("daphne")
    async with alice_and_bob(server) as (alice, bob):
        await heard(alice, bob, "kept")
        bound = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (65_536, bound[1]))
        kept = []
        while True:
            await alice.send("message", content="x" * 4_000)
            answer = await alice.next()
            if isinstance(answer, Error):
                break
            kept += [answer.id] if isinstance(answer, Ack) else []
        assert (answer.code, bool(answer.retry_after)) == (ErrorCode.BUSY, True)
        assert get(server, "/healthz").status == 200
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, bound)
        last = await heard(alice, bob, "there is space again")
        told = [message.id for message in bob.heard if isinstance(message, Message)]
        assert told == list(range(1, last.id + 1))
        assert set(kept) <= set(told)


# --- The network ---


async def test_a_link_that_carries_nothing_any_more_is_found(start: Start) -> None:
    """Nobody closes it: the person leaves when a ping is not answered, and comes back to what they missed."""
    server = start("probed", PROBE_PING="1 4")
    with plugged(int(server.address.partition(":")[2])) as cable:
        async with alice_and_bob(server) as (alice, _), over_socket(f"ws://{cable.address}/ws", "Carol") as carol:
            welcome = await carol.join()
            await alice.expect(Joined, username="Carol")
            cable.freeze(frozen=True)
            await alice.expect(Left, username="Carol")
            await alice.expect(UserList, count=2)
            await alice.say("Carol?")
            async with over_socket(server.ws, "Carol") as again:
                await again.join(since=welcome.seq, epoch=welcome.epoch)
                await again.expect(Message, content="Carol?")
            cable.end()


# --- Time ---


def faked(clock: Path) -> dict[str, str]:
    """A server's variables: its wall clock is off by what the file says, and may jump while it runs."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    needs(libraries, "faketime: apt-get install faketime")
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


LOOK = 2.5
"""Seconds in which Daphne looks at each connection once: at every two."""


async def test_a_clock_that_jumps_disconnects_nobody(start: Start, tmp_path: Path) -> None:
    """A day on, or back: sockets stay, limits go on, and the order is that of the numbers and not of the times."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    server = start("daphne", CHAT_LIMITS="on", **faked(clock))
    async with alice_and_bob(server) as (alice, bob):
        shifts = ["+25h", "-2h", "+0"]
        messages = []
        for shift in shifts:
            clock.write_text(shift)
            messages.append(await heard(alice, bob, shift))
            await asyncio.sleep(LOOK)
        times = [message.timestamp for message in messages]
        assert times[1] < times[2] < times[0]
        assert [message.seq for message in messages] == [1, 2, 3]
        assert alice.count(Left) == bob.count(Left) == 0


async def test_a_clock_that_was_set_back_hides_no_dead_link(start: Start, tmp_path: Path) -> None:
    """Silent connections are pinged all the same."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    server = start("probed", PROBE_PING="1 4", **faked(clock))
    with plugged(int(server.address.partition(":")[2])) as cable:
        async with alice_and_bob(server) as (alice, _), over_socket(f"ws://{cable.address}/ws", "Carol") as carol:
            await carol.join()
            await alice.expect(Joined, username="Carol")
            clock.write_text("-2h")
            cable.freeze(frozen=True)
            await alice.expect(Left, username="Carol")
            cable.end()


async def test_servers_whose_clocks_differ_are_one_site(start: Start, tmp_path: Path) -> None:
    """Four minutes between them: all receive all messages in one order, and neither takes the other for dead."""
    with redis() as layer:
        servers = []
        for shift in ("+120", "-120"):
            clock = tmp_path / f"clock{shift}"
            clock.write_text(shift)
            servers.append(start("daphne", REDIS_URL=layer.url, **faked(clock)))
        async with alice_and_bob(*servers) as (alice, bob):
            for number in range(5):
                await heard(alice, bob, f"from Alice {number}")
                await heard(bob, alice, f"from Bob {number}")
            # Longer than a server is silent before the others bury it.
            await asyncio.sleep(DEAD)
            await alice.silence()
            await bob.silence()
            assert alice.count(Left) == bob.count(Left) == 0
            for person in (alice, bob):
                numbers = [message.seq for message in person.heard if isinstance(message, Message)]
                assert numbers == list(range(1, 11))
            await bob.vanish()
            await alice.expect(Left, username="Bob")


DEAD = 9.0


async def test_a_process_that_stalls_loses_nobody(start: Start) -> None:
    """For five seconds it does nothing, longer than a ping may take: all stay, and have their answers after it."""
    server = start("probed", PROBE_PING="1 4")
    async with alice_and_bob(server) as (alice, bob):
        stall = asyncio.create_task(asyncio.to_thread(get, server, "/stall"))
        for number in range(50):
            await alice.send("message", content=f"{number}")
            await asyncio.sleep(0.02)
        assert (await stall).status == 200
        assert [(await bob.expect(Message)).content for _ in range(50)] == [f"{number}" for number in range(50)]
        await alice.silence()
        assert alice.count(Ack) == 50
        assert alice.count(Left) == bob.count(Left) == 0


# --- Versions ---


async def test_a_newer_client_is_told_what_the_server_does_not_know(server: Server) -> None:
    """It gets the protocol's version first; unknown fields are ignored, an unknown command is refused."""
    async with over_socket(server.ws, "Alice") as alice:
        welcome = await alice.join("versions", weather="fine")
        assert welcome.protocol == VERSION
        await alice.say("hello", "versions", mood="merry")
        await alice.send("sing", room="versions", ref="s")
        refusal = await alice.refused(ErrorCode.UNKNOWN_TYPE)
        assert "must be one of ban, create" in refusal.message
        await alice.say("still here", "versions")
