"""Several workers behind one socket: who dies, hangs or is replaced, and what clients notice of it."""

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest
from helpers import SocketPersona, over_socket
from processes import children, lives, served_by, variables
from roaming import ABNORMAL, Roamer, all_heard, all_joined, all_speak, probing, roaming, talking
from servers import PATIENCE, ROOT, Server, Start, free_port, listens, redis
from stuck import WORD
from thorough import either

from chat.protocol import CloseCode, Message

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CLIENTS = int(os.environ.get("ROLL_CLIENTS", either("30", "100")))
"""Clients in the test of a roll; the long form has 1,000."""
ROLLS = either(1, 2)
"""Rolls, one after the other."""
AT_ONCE = 200
"""Milliseconds within which those come back for whom there is somebody; as the server has it."""

NUMBERS = count()
"""Nobody has another's name."""

Site = Callable[..., Server]


@pytest.fixture
def site(start: Start, tmp_path: Path) -> Iterator[Site]:
    """``site(2)`` starts a master with two workers; they have a Redis."""
    port, servers = free_port(), []

    def begin(size: int = 2, arguments: str = "", **more: str) -> Server:
        # A master that is killed leaves its metrics there.
        more |= {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "TMPDIR": str(tmp_path)}
        servers.append(start("daphne", ARGUMENTS=f"--workers {size} {arguments}", **more))
        return servers[-1]

    with redis(tmp_path, port):
        yield begin
        for server in servers:
            # Before their Redis ends.
            server.stop()


def workers(server: Server) -> list[int]:
    return children(server.process.pid)


async def becomes(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for what other processes do."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 they send us no events
            await asyncio.sleep(0.05)


async def logged(server: Server, text: str, seconds: float = PATIENCE, times: int = 1) -> None:
    try:
        await becomes(lambda: server.said().count(text) >= times, seconds)
    except TimeoutError:
        raise AssertionError(f"{text!r} is not in the log: {server.said()[-4_000:]}") from None


async def full(server: Server, size: int = 2) -> list[int]:
    """The workers, once so many serve."""
    await becomes(lambda: len(workers(server)) == size and server.said().count(" serves\n") >= size)
    return workers(server)


async def one_on_each(stack: AsyncExitStack, server: Server) -> dict[int, SocketPersona]:
    """Somebody on each worker, in the lobby; by pid."""
    pids, found = workers(server), dict[int, SocketPersona]()
    async with asyncio.timeout(PATIENCE):
        while len(found) < len(pids):
            person = await stack.enter_async_context(over_socket(server.ws, f"P{next(NUMBERS)}"))
            found.setdefault(served_by(pids)[person.connection.local_address[1]], person)
    for person in found.values():
        await person.join()
    return found


# --- Together ---


async def test_what_is_said_on_one_worker_is_heard_on_all(site: Site) -> None:
    """There are so many processes as were asked for, they share the port, and all rooms."""
    server = site(3)
    async with AsyncExitStack() as stack:
        people = await one_on_each(stack, server)
        assert sorted(people) == sorted(workers(server))
        assert len(people) == 3
        for number, person in enumerate(people.values()):
            await person.say(f"hello {number}")
        for person in people.values():
            # Messages of others may have come before the answer to one's own.
            while len(heard := [said.content for said in person.heard if isinstance(said, Message)]) < 3:
                await person.expect(Message)
            assert heard == ["hello 0", "hello 1", "hello 2"]
    assert server.said().count("The chat is on") == 1


def test_workers_without_a_shared_layer_are_refused(start: Start) -> None:
    """At once, saying what to set: people would not see each other."""
    with pytest.raises(AssertionError, match="set REDIS_URL"):
        start("daphne", ARGUMENTS="--workers 2")


def test_a_worker_that_can_not_start_stops_the_start(site: Site, tmp_path: Path) -> None:
    """With its output, and not with success."""
    broken = (
        "from chatsite.settings import *\nimport os\nif 'SERVE_WORKER' in os.environ:\n    raise SystemExit('no!')"
    )
    (tmp_path / "broken.py").write_text(broken)
    with pytest.raises(AssertionError, match=r"ended with 1(?s:.*)no!(?s:.*)did not start"):
        site(DJANGO_SETTINGS_MODULE="broken", PYTHONPATH=f"{ROOT}:{tmp_path}")


# --- Deaths ---


async def test_a_worker_that_is_killed_is_replaced(site: Site) -> None:
    """Its clients come back to others, nobody is refused, and those of the others notice nothing."""
    server = site()
    async with roaming(server.address, 20) as roamers, probing(server.address) as probe:
        first, second = workers(server)
        where = served_by([first, second])
        on_first = [roamer for roamer in roamers if where[port_of(roamer)] == first]
        with talking(roamers, rate=20):
            os.kill(first, signal.SIGKILL)
            await logged(server, f"(pid {first}) was ended by signal 9")
            await becomes(lambda: len(workers(server)) == 2 and server.said().count(" serves\n") == 3)
        await all_joined(roamers)
        await all_heard(roamers)
        assert second in workers(server)
        for roamer in roamers:
            assert roamer.ends == ([ABNORMAL] if roamer in on_first else [])
            assert in_order(roamer)
            assert roamer.refused == 0
        assert probe.refused == 0
        # The one that the killed worker may have had.
        assert probe.cut <= 1
        assert probe.answered > 10


def port_of(roamer: Roamer) -> int:
    assert roamer.link
    return roamer.link.port


def in_order(roamer: Roamer) -> bool:
    """True if it received everything, once, in order."""
    return roamer.heard == list(range(roamer.heard[0], roamer.heard[0] + len(roamer.heard)))


async def test_workers_that_hang_are_replaced(site: Site) -> None:
    """One is frozen from outside, one in a loop without end; the log has the stack of the one that has any."""
    server = site(3, "--hung 5", PYTHONPATH=f"{ROOT}:{ROOT / 'tests/support'}", CHAT_FILTERS="stuck.stuck")
    async with AsyncExitStack() as stack:
        people = await one_on_each(stack, server)
        (frozen, _), (busy, poor), (well, lucky) = people.items()
        os.kill(frozen, signal.SIGSTOP)
        await poor.send("message", content=WORD)
        await logged(server, f"(pid {busy}) said nothing for 5 seconds")
        await logged(server, f"(pid {frozen}) said nothing for 5 seconds")
        await logged(server, "in stuck")
        await logged(server, f"(pid {busy}) was ended by signal 6")
        await logged(server, f"(pid {frozen}) was ended by signal 9")
        now = await full(server, 3)
        await lucky.say("still here")
        assert well in now
        assert not {frozen, busy} & set(now)
        for person in (await one_on_each(stack, server)).values():
            await person.say("all of us")


async def test_workers_without_a_master_end(site: Site) -> None:
    """It was killed: they say farewell as if they had been asked to, and nobody listens on the port any more."""
    server = site()
    pids = workers(server)
    async with AsyncExitStack() as stack:
        people = await one_on_each(stack, server)
        server.process.kill()
        for person in people.values():
            assert await person.closed() == CloseCode.RESTART
        await becomes(lambda: not any(map(lives, pids)))
        assert not listens(server.address)
    assert server.said().count("the master is gone: this worker ends") == 2


# --- Signals ---


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.thorough)])
async def test_all_workers_say_farewell(site: Site, tmp_path: Path, how: signal.Signals) -> None:
    """Each client is told, by whichever worker it is with, and the exit code is that of an end that was wished."""
    server = site()
    pids = workers(server)
    metrics = variables(pids[0])["PROMETHEUS_MULTIPROC_DIR"]
    assert folders(tmp_path) == [metrics]
    async with AsyncExitStack() as stack:
        people = await one_on_each(stack, server)
        server.process.send_signal(how)
        for person in people.values():
            assert await person.closed() == CloseCode.RESTART
        assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0
    assert not any(map(lives, pids))
    assert folders(tmp_path) == []


def folders(path: Path) -> list[str]:
    """Those of metrics."""
    return [str(found) for found in path.glob("chat-metrics-*")]


async def test_a_roll_loses_nothing(site: Site) -> None:
    """All workers are replaced while people talk, again and again: nobody is refused, each is told to come back at
    once, and is; and nobody is told that anybody came or left.
    """
    # On a busy machine somebody may come back late, but not as late as that.
    server = site(CHAT_GRACE="60")
    before = workers(server)
    # A signal that is sent to all processes is for the master.
    os.kill(before[1], signal.SIGHUP)
    async with roaming(server.address, CLIENTS) as roamers, probing(server.address) as probe:
        await all_speak(roamers)
        for roamer in roamers:
            roamer.told.clear()
        with talking(roamers, rate=10):
            for roll in range(1, ROLLS + 1):
                server.process.send_signal(signal.SIGHUP)
                await logged(server, "all workers are new", seconds=100, times=roll)
        await all_joined(roamers)
        await all_speak(roamers)
    tell(roamers)
    assert [(roamer.name, said) for roamer in roamers for said in roamer.told] == []
    assert not set(before) & set(workers(server))
    assert (probe.refused, probe.cut) == (0, 0)
    assert probe.answered > 10
    assert {code for roamer in roamers for code in roamer.ends} == {CloseCode.RESTART}
    assert all(roamer.ends for roamer in roamers)
    assert all(roamer.refused == 0 for roamer in roamers)
    assert max(after for roamer in roamers for after in roamer.asked) <= AT_ONCE
    assert all(in_order(roamer) for roamer in roamers)
    numbers = [number for roamer in roamers for number in roamer.acked.values()]
    assert set(numbers) == set(roamers[0].heard)
    assert len(numbers) == len(set(numbers))


def tell(roamers: list[Roamer]) -> None:
    """The measured numbers."""
    away = sorted(seconds for roamer in roamers for seconds in roamer.absences)
    said = sum(len(roamer.acked) for roamer in roamers)
    print(
        f"{len(roamers)} clients, {said} messages; {len(away)} times away, "
        f"for {away[len(away) // 2]:.2f} s at the median, {away[len(away) * 99 // 100]:.2f} s at p99, "
        f"{away[-1]:.2f} s at most; {Counter(code for roamer in roamers for code in roamer.ends)}"
    )


async def test_a_roll_to_code_that_does_not_run_changes_nothing(site: Site, tmp_path: Path) -> None:
    """Those who serve go on; when the code is mended, the next one succeeds."""
    settings = tmp_path / "changing.py"
    settings.write_text("from chatsite.settings import *")
    server = site(DJANGO_SETTINGS_MODULE="changing", PYTHONPATH=f"{ROOT}:{tmp_path}")
    before = workers(server)
    async with AsyncExitStack() as stack:
        people = await one_on_each(stack, server)
        settings.write_text("raise SystemExit('not yet')")
        server.process.send_signal(signal.SIGHUP)
        await logged(server, "the replacement stops at worker 1: who served goes on")
        assert workers(server) == before
        for person in people.values():
            await person.say("nothing happened")
        settings.write_text("from chatsite.settings import *")
        server.process.send_signal(signal.SIGHUP)
        await logged(server, "all workers are new", seconds=60)
        assert not set(before) & set(workers(server))


async def test_one_worker_needs_no_redis(start: Start) -> None:
    """It is looked after, and replaced without a refusal, all the same."""
    server = start("daphne", ARGUMENTS="--workers 1")
    before = workers(server)
    async with roaming(server.address, 5) as roamers, probing(server.address) as probe:
        server.process.send_signal(signal.SIGHUP)
        await logged(server, "all workers are new", seconds=60)
        await all_joined(roamers)
        assert all(roamer.ends == [CloseCode.RESTART] for roamer in roamers)
        os.kill(workers(server)[0], signal.SIGKILL)
        await becomes(lambda: server.said().count(" serves\n") == 3)
        await all_joined(roamers)
    assert not set(before) & set(workers(server))
    assert probe.refused == 0
    assert probe.cut <= 1
    assert server.stop() == 0


# --- systemd ---


async def test_systemd_hears_of_all_that_happens(site: Site, tmp_path: Path) -> None:
    """It is told by the master alone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(PATIENCE)
        server = site(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        heard = [ear.recv(200)]
        assert heard == [b"READY=1"]

        async def hears(what: bytes) -> None:
            while not heard[-1].startswith(what):
                heard.append(await asyncio.to_thread(ear.recv, 200))

        await hears(b"WATCHDOG=1")
        server.process.send_signal(signal.SIGHUP)
        await hears(b"RELOADING=1\nMONOTONIC_USEC=")
        await hears(b"READY=1")
        assert server.said().count(" serves\n") == 4
        server.process.send_signal(signal.SIGTERM)
        await hears(b"STOPPING=1")
        assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0
        assert {line.split(b"\n")[0] for line in heard} == {
            b"READY=1",
            b"WATCHDOG=1",
            b"RELOADING=1",
            b"STOPPING=1",
        }
