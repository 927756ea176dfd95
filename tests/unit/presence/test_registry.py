"""Presence in several processes: each with its own, on one real Redis and a bus that may lose events."""

import asyncio
import random
import subprocess
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from doubles import until, until_true
from pytest_django import Settings
from servers import free_port, redis

from chat import loops
from chat.auth import Identity
from chat.presence import Claim, JoinRequest, Presence, RegistryEntry, pipeline, registry
from chat.presence.registry import Registry
from chat.presence.versions import VersionSet
from chat.protocol import AnyOutgoing, ErrorCode, Invalid, Joined, Left, UserList, decode_outgoing

ROOM = "lobby"
GRACE = 0.2
ALICE = Identity("account:1", "Alice", lasting=True)
ALISE = Identity("account:2", "alice", lasting=True)
BOB = Identity("guest:b0b:Bob", "Bob", lasting=True)
CHARLIE = Identity("account:3", "Charlie", lasting=True)


def passer_by(number: object) -> Identity:
    return Identity(f"socket:{number}")


class Bus:
    """Stands for the channel layer: delivers events to the hubs in which the room is open, in order; or loses
    them.
    """

    def __init__(self, seed: int = 0) -> None:
        self.hubs: list[Ear] = []
        self.random = random.Random(seed)
        # The share of events that is lost, for each hub separately; a hub's own are not.
        self.lost = 0.0
        self.waiting: deque[tuple[Ear, str, Sequence[Any]]] = deque()

    def publish(self, origin: "Ear", slug: str, news: Sequence[Any]) -> None:
        # A hub's own events come back even if nothing comes from others.
        for hub in dict.fromkeys([origin, *self.hubs]):
            if hub is origin or self.random.random() >= self.lost:
                self.waiting.append((hub, slug, news))
        asyncio.get_running_loop().call_soon(self._carry)

    def _carry(self) -> None:
        while self.waiting:
            hub, slug, news = self.waiting.popleft()
            if hub.is_open(slug):
                hub.on_presence(slug, news)


class Ear:
    """Stands for a process's hub: the events that the room's sockets there receive."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        bus.hubs.append(self)
        self.on_return: list[Callable[[], None]] = []
        self.on_presence: Callable[[str, Sequence[Any]], None] = lambda *_: None
        self.is_open: Callable[[str], bool] = lambda _: False
        self.said: list[AnyOutgoing] = []

    def publish_presence(self, slug: str, news: Sequence[Any]) -> None:
        self.bus.publish(self, slug, news)

    def write_here(self, slug: str, frame: str, *, latest: str | None = None) -> None:
        if self.is_open(slug):
            self.said.append(decode_outgoing(frame))

    def audience(self, slug: str) -> int:
        return 1

    def told(self, kind: type[Joined | Left]) -> list[str]:
        return [said.username for said in self.said if isinstance(said, kind)]

    def shown(self) -> list[str]:
        """The names of the last list."""
        return sorted([[], *(said.users for said in self.said if isinstance(said, UserList))][-1])


class Node:
    """One process."""

    def __init__(self, bus: Bus, port: int) -> None:
        self.ear = Ear(bus)
        registry_of_its_own = Registry({"address": f"redis://127.0.0.1:{port}"}, "test")
        self.presence = Presence(self.ear, registry_of_its_own)  # type: ignore[arg-type]  # what presence needs of a hub
        self.ear.on_presence = self.presence.receive
        self.ear.is_open = lambda slug: slug in self.presence._rooms and bool(self.presence._rooms[slug].keys)
        assert self.presence.replica
        self.replica = self.presence.replica
        self.ousted: list[str] = []
        self.presence.on_name_lost = self._oust
        self._sockets = iter(range(10**9))

    def _oust(self, slug: str, sockets: list[str]) -> None:
        self.ousted += sockets
        for each in sockets:
            self.presence.exit(slug, each, at_once=True)

    async def come(self, identity: Identity, name: str, room: str = ROOM) -> str:
        """Somebody comes in; their socket's id. Raises Invalid (name_taken)."""
        tab = f"{self.presence._node}-{next(self._sockets)}"
        async with self.presence.joining(JoinRequest(room, identity, name, tab, "192.0.2.1")) as claim:
            self.presence.enter(claim)
        self.presence.announce(claim)
        return tab

    async def may_come(self, identity: Identity, name: str) -> bool:
        return not await self.taken(identity, name)

    async def taken(self, identity: Identity, name: str) -> bool:
        try:
            await self.come(identity, name)
        except Invalid as refusal:
            assert refusal.code == ErrorCode.NAME_TAKEN  # noqa: PT017 both ways are right
            return True
        return False

    def leave(self, tab: str, *, at_once: bool = True, room: str = ROOM) -> None:
        self.presence.exit(room, tab, at_once=at_once)

    @property
    def names(self) -> list[str]:
        return sorted(self.presence.user_list(ROOM).users)

    async def die(self) -> None:
        """Like a killed process: Redis gets no message from it."""
        self.ear.bus.hubs.remove(self.ear)
        self.ear.is_open = lambda _: False
        self.presence.replica = None
        await self.presence.close()
        self.replica._follower, follower = None, self.replica._follower
        if follower:
            follower.cancel()
        await self.replica.close()


class Redis:
    """A Redis that comes and goes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._life = ExitStack()

    def start(self) -> None:
        self._life.enter_context(redis(self.folder, self.port))

    def stop(self) -> None:
        self._life.close()

    def empty(self) -> None:
        """Everything is lost, and nobody is told."""
        self._tell("flushall")

    def refuse_writes(self) -> None:
        """It is a replica now, of a master that is not there: it can be read only, and loses nothing."""
        self._tell("replicaof", "127.0.0.1", "9")

    def take_writes(self) -> None:
        self._tell("replicaof", "no", "one")

    def _tell(self, *command: str) -> None:
        subprocess.run(["redis-cli", "-p", str(self.port), *command], check=True, capture_output=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Redis]:
    store = Redis(tmp_path)
    store.start()
    yield store
    store.stop()


Start = Callable[[], Node]


@pytest.fixture
async def bus() -> Bus:
    return Bus()


@pytest.fixture
async def start(
    store: Redis, bus: Bus, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Start]:
    """Processes that share the store. Times of seconds are tenths here."""
    settings.CHAT = {"GRACE": GRACE, "USER_LIST_INTERVAL": 0}
    for name, seconds in (("BEAT_INTERVAL", 0.1), ("DEAD_AFTER", 0.6)):
        monkeypatch.setattr(registry, name, seconds)
    monkeypatch.setattr(pipeline, "ANSWER_TIMEOUT", 0.3)
    async with AsyncExitStack() as stack:

        def start() -> Node:
            node = Node(bus, store.port)
            stack.push_async_callback(node.presence.close)
            return node

        yield start
    await loops.close_current()


async def all_see(nodes: Sequence[Node], *names: str) -> None:
    """In a moment all have these people, and their sockets the list of them."""
    expected = sorted(names)
    try:
        await until_soon(lambda: all(node.names == expected == node.ear.shown() for node in nodes))
    except TimeoutError:
        seen = [(node.names, node.ear.shown()) for node in nodes]
        raise AssertionError(f"{expected} were to be seen, not {seen}") from None


def versions_of(node: Node) -> VersionSet:
    """The process's view of the room elsewhere; empty if it has not been read."""
    return node.presence._rooms[ROOM].versions or VersionSet()


async def until_soon(condition: Callable[[], object]) -> None:
    """As ``until``, for what takes a while: without turning the loop all the time."""

    async def holds() -> object:
        return condition()

    await until_true(holds)


# --- Once per person, in all processes ---


async def test_each_process_sees_the_people_of_all(start: Start) -> None:
    """A join is published to all; a later user finds the earlier ones."""
    here, there = start(), start()
    await here.come(ALICE, "Alice")
    await there.come(BOB, "Bob")
    await all_see([here, there], "Alice", "Bob")
    assert (here.ear.told(Joined), there.ear.told(Joined)) == (["Alice", "Bob"], ["Bob"])
    assert there.presence.user_list(ROOM).users == ["Bob", "Alice"]


async def test_tabs_in_two_processes_are_one_person(start: Start) -> None:
    """The second is no join, the first one's end is no leave; the last one's is, everywhere."""
    here, there, third = start(), start(), start()
    await third.come(BOB, "Bob")
    one, other = await here.come(ALICE, "Alice"), await there.come(ALICE, "Alice")
    await all_see([here, there, third], "Alice", "Bob")
    here.leave(one)
    other_again = await there.come(ALICE, "Alice")
    there.leave(other)
    await all_see([there, third], "Alice", "Bob")
    assert (third.ear.told(Joined), third.ear.told(Left)) == (["Bob", "Alice"], [])
    there.leave(other_again)
    await all_see([third], "Bob")
    assert third.ear.told(Left) == ["Alice"]


@pytest.mark.parametrize("who", [BOB, passer_by("before")], ids=["with a session", "without"])
async def test_a_user_who_reconnects_to_another_process_never_left(start: Start, who: Identity) -> None:
    """Within the grace; one who only says a name is taken for the one who said it."""
    here, there, third = start(), start(), start()
    await third.come(ALICE, "Alice")
    tab = await here.come(who, "Bob")
    await all_see([third], "Alice", "Bob")
    here.leave(tab, at_once=False)
    again = who if who.lasting else passer_by("after")
    # The event that only the grace is left may still be under way.
    await until_true(lambda: there.may_come(again, "Bob"))
    await until_soon(lambda: ROOM not in here.presence._rooms)
    await all_see([there, third], "Alice", "Bob")
    assert (third.ear.told(Joined), third.ear.told(Left)) == (["Alice", "Bob"], [])


async def test_a_user_who_does_not_reconnect_leaves_everywhere(start: Start) -> None:
    """After the grace, once."""
    here, there = start(), start()
    await there.come(ALICE, "Alice")
    tab = await here.come(BOB, "Bob")
    await all_see([there], "Alice", "Bob")
    here.leave(tab, at_once=False)
    await all_see([there], "Alice")
    assert there.ear.told(Left) == ["Bob"]


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> Callable[[Node], None]:
    """From here on a grace ends after Redis granted the name, and before the process receives the reply."""

    def slowly(node: Node) -> None:
        plain = node.replica.claim

        async def claim(*arguments: Any) -> Claim | None:
            claim = await plain(*arguments)
            await asyncio.sleep(2 * GRACE)
            return claim

        monkeypatch.setattr(node.replica, "claim", claim)

    return slowly


@pytest.mark.parametrize("who", [BOB, passer_by("before")], ids=["with a session", "without"])
async def test_a_grace_that_ends_while_they_come_back_ends_nothing(
    start: Start, slowly: Callable[[Node], None], who: Identity
) -> None:
    """The name that Redis gave them is not given away after that."""
    here, there = start(), start()
    await there.come(ALICE, "Alice")
    tab = await here.come(who, "Bob")
    await all_see([here, there], "Alice", "Bob")
    slowly(here)
    here.leave(tab, at_once=False)
    # Redis is told first that only the grace is left.
    await asyncio.sleep(0)
    await here.come(who if who.lasting else passer_by("after"), "Bob")
    await here.come(CHARLIE, "Charlie")
    await all_see([here, there], "Alice", "Bob", "Charlie")
    assert [node.ear.told(Left) for node in (here, there)] == [[], []]
    assert {name for _, _, (_, name, *_) in (await here.replica.registry.read(ROOM))[2]} == {
        "Alice",
        "Bob",
        "Charlie",
    }


async def test_who_does_not_come_back_after_all_leaves(start: Start, slowly: Callable[[Node], None]) -> None:
    """Their grace ended while Redis was asked, and then they were refused."""
    here, there = start(), start()
    await there.come(ALICE, "Alice")
    tab = await here.come(BOB, "Bob")
    await all_see([here, there], "Alice", "Bob")
    slowly(here)
    here.leave(tab, at_once=False)
    with pytest.raises(PermissionError):
        async with here.presence.joining(JoinRequest(ROOM, BOB, "Bob", "tab")):
            raise PermissionError
    await all_see([there], "Alice")
    assert there.ear.told(Left) == ["Bob"]
    await until_soon(lambda: ROOM not in here.presence._rooms)


# --- Names ---


async def test_a_name_is_one_persons_in_all_processes(start: Start) -> None:
    """One user of a crowd that claims one name at once, in three processes, gets it; after their leave the next
    does.
    """
    nodes = [start() for _ in range(3)]
    for node in nodes:
        await node.come(Identity(f"guest:{node.presence._node}:x", "x", lasting=True), node.presence._node)
    crowd = [(node, passer_by(f"{number} {node}")) for number in range(10) for node in nodes]
    refused = await asyncio.gather(*(node.taken(who, "Eve") for node, who in crowd))
    assert refused.count(False) == 1
    winner = nodes[refused.index(False) % 3]
    person = winner.presence.person(ROOM, "Eve")
    assert person
    for tab in list(person.sockets):
        winner.leave(tab)
    loser = nodes[(nodes.index(winner) + 1) % 3]
    await until_soon(lambda: "Eve" not in loser.names)
    assert not await loser.taken(passer_by("next"), "Eve")


async def test_accounts_keep_their_names_beside_others_elsewhere(start: Start) -> None:
    """Two accounts whose names look the same are two people, in two processes too."""
    here, there = start(), start()
    await asyncio.gather(here.come(ALICE, "Alice"), there.come(ALISE, "alice"))
    await all_see([here, there], "Alice", "alice")
    assert await here.taken(passer_by(1), "ALICE")
    assert await there.taken(passer_by(1), "ALICE")


async def test_who_does_not_come_in_after_all_lets_go_of_the_name(start: Start) -> None:
    """Refused in the last moment: no client receives an event, and the name is free."""
    here, there = start(), start()
    await there.come(ALICE, "Alice")
    with pytest.raises(PermissionError):
        async with here.presence.joining(JoinRequest(ROOM, BOB, "Bob", "tab")):
            raise PermissionError
    await until_soon(lambda: ROOM not in here.presence._rooms)
    assert not await there.taken(Identity("guest:0ther:Bob", "Bob", lasting=True), "Bob")
    await until_soon(lambda: there.ear.told(Joined) == ["Alice", "Bob"])


async def test_where_somebody_elsewhere_comes_from_is_known(start: Start) -> None:
    """A moderator may ban a guest by address, in any process."""
    here, there = start(), start()
    await there.come(ALICE, "Alice")
    await here.come(BOB, "Bob")
    await all_see([there], "Alice", "Bob")
    bob = there.presence.person(ROOM, "Bob")
    assert bob
    assert (bob.identity, [*bob.addresses], [*bob.sockets]) == (BOB, ["192.0.2.1"], [])


# --- Renamed accounts ---

ALICIA = Identity("account:1", "Alicia", lasting=True)


@pytest.mark.parametrize("how", ["here", "there", "both", "ended"])
async def test_a_renamed_account_is_one_person_under_its_new_name_everywhere(
    start: Start, settings: Settings, how: str
) -> None:
    """Wherever it comes back, and whether its other sockets are lost or still open: all say the same of it."""
    settings.CHAT = {"GRACE": 60, "USER_LIST_INTERVAL": 0}
    here, there, third = start(), start(), start()
    nodes = [here, there, third]
    await third.come(BOB, "Bob")
    tab = await here.come(ALICE, "Alice")
    await there.come(CHARLIE, "Charlie")
    await all_see(nodes, "Alice", "Bob", "Charlie")
    if how != "both":
        here.leave(tab, at_once=False)
    if how == "ended":
        await here.presence.close()
        nodes.remove(here)
        here.ear.bus.hubs.remove(here.ear)
    back = here if how == "here" else there
    again = await back.come(ALICIA, "Alicia")
    await all_see([node for node in nodes if node.presence._rooms[ROOM].keys], "Alicia", "Bob", "Charlie")
    assert third.ear.told(Joined)[-1] == "Alicia"
    assert third.ear.told(Left) == ["Alice"]
    # A new user finds the same in Redis.
    late = start()
    await late.come(passer_by(1), "Dora")
    assert sorted(late.names) == ["Alicia", "Bob", "Charlie", "Dora"]
    back.leave(again)
    if how == "both":
        here.leave(tab)
    if how == "there":
        here.presence._end_local(ROOM, "account:1")
    if how != "ended":
        await all_see([third, late], "Bob", "Charlie", "Dora")
        assert third.ear.told(Left) == ["Alice", "Alicia"]
        found = (await late.replica.registry.read(ROOM))[2]
        assert "account:1" not in {key for _, key, _ in found}


# --- What is lost ---


@pytest.mark.parametrize("seed", range(5))
async def test_events_that_the_layer_loses_are_found(start: Start, bus: Bus, seed: int) -> None:
    """However many are lost: in a moment all see all, and everybody was told of each join and leave once."""
    nodes = [start() for _ in range(3)]
    for number, node in enumerate(nodes):
        await node.come(passer_by(number), f"host {number}")
    await all_see(nodes, "host 0", "host 1", "host 2")
    bus.random.seed(seed)
    bus.lost = 0.5
    tabs = [(node, await node.come(passer_by(f"{n} {node}"), f"u{n}")) for n, node in enumerate(nodes * 4)]
    for node, tab in tabs[::2]:
        node.leave(tab)
    await all_see(nodes, "host 0", "host 1", "host 2", *(f"u{number}" for number in range(1, 12, 2)))
    for node in nodes:
        joined, left = node.ear.told(Joined), node.ear.told(Left)
        assert len(set(joined)) == len(joined)
        assert len(set(left)) == len(left)


async def test_the_users_of_a_dead_process_are_evicted(start: Start) -> None:
    """It says nothing: when it has not beaten for a while its people leave, once, and their names are free."""
    here, there, third = start(), start(), start()
    await here.come(ALICE, "Alice")
    await there.come(BOB, "Bob")
    await third.come(passer_by(1), "Charlie")
    await all_see([here, third], "Alice", "Bob", "Charlie")
    await there.die()
    await all_see([here, third], "Alice", "Charlie")
    assert here.ear.told(Left) == third.ear.told(Left) == ["Bob"]
    assert not await here.taken(Identity("guest:0ther:Bob", "Bob", lasting=True), "Bob")


async def test_who_moves_from_a_process_that_ends_was_never_gone(start: Start) -> None:
    """It says goodbye: its people have the grace to be elsewhere. Other users leave."""
    here, there = start(), start()
    await here.come(ALICE, "Alice")
    await there.come(BOB, "Bob")
    await there.come(passer_by("before"), "Charlie")
    await all_see([here], "Alice", "Bob", "Charlie")
    await there.presence.close()
    there.ear.bus.hubs.remove(there.ear)
    await here.come(passer_by("after"), "Charlie")
    await all_see([here], "Alice", "Charlie")
    assert (here.ear.told(Joined), here.ear.told(Left)) == (["Alice", "Bob", "Charlie"], ["Bob"])


async def test_a_process_that_is_known_to_have_died_is_not_waited_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that notices the end publishes it: the users have the grace, not the time of a silent process."""
    monkeypatch.setattr(registry, "DEAD_AFTER", 60)
    here, there = start(), start()
    await here.come(ALICE, "Alice")
    await there.come(BOB, "Bob")
    await all_see([here], "Alice", "Bob")
    await there.die()
    other = next(node for node in await here.replica.registry.nodes("") if node != here.replica.node)
    here.presence.process_died(int(other.split(".")[1]))
    # In this test all processes are one: it is reported too, and says with its next beat that it lives.
    await all_see([here], "Alice")
    assert here.ear.told(Left) == ["Bob"]


async def test_a_process_that_was_taken_for_dead_says_who_is_with_it(start: Start, bus: Bus) -> None:
    """Frozen for a while, its people were out; with its next beat they are in again, but whose name is gone."""
    here, there = start(), start()
    await here.come(ALICE, "Alice")
    await there.come(BOB, "Bob")
    tab = await there.come(passer_by("before"), "Charlie")
    await all_see([here, there], "Alice", "Bob", "Charlie")
    async with frozen(there):
        await all_see([here], "Alice")
        await here.come(passer_by("after"), "Charlie")
    await all_see([here, there], "Alice", "Bob", "Charlie")
    assert there.ousted == [tab]
    assert here.ear.told(Left) == ["Charlie", "Bob"] or here.ear.told(Left) == ["Bob", "Charlie"]


@asynccontextmanager
async def frozen(node: Node) -> AsyncIterator[None]:
    """The process receives nothing and sends no heartbeat."""
    follower = node.replica._follower
    assert follower
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    node.ear.bus.hubs.remove(node.ear)
    yield
    node.ear.bus.hubs.append(node.ear)
    node.replica._follower = None
    node.presence.follow()


# --- Redis is away ---


async def test_while_redis_is_unavailable_people_come_and_go(start: Start, store: Redis) -> None:
    """Each process knows its own; when Redis is there again, everybody knows all. Nobody leaves who is there."""
    here, there = start(), start()
    await here.come(ALICE, "Alice")
    tab = await there.come(BOB, "Bob")
    await all_see([here, there], "Alice", "Bob")
    store.stop()
    await here.come(passer_by(1), "Charlie")
    await there.come(passer_by(2), "Dora")
    there.leave(tab)
    await until_soon(lambda: "Charlie" in here.names and "Bob" not in there.names)
    store.start()
    await all_see([here, there], "Alice", "Charlie", "Dora")
    for node, left in ((here, ["Bob"]), (there, ["Bob"])):
        assert node.ear.told(Left) == left


@pytest.mark.parametrize("stale", [True, False], ids=["before the others", "with the others"])
async def test_the_first_process_for_which_redis_is_back_announces_nobody(
    start: Start, store: Redis, monkeypatch: pytest.MonkeyPatch, *, stale: bool
) -> None:
    """Redis does not have the joins and leaves of other processes yet: until it has, the published state holds."""
    here, there = start(), start()
    await here.come(ALICE, "Alice")
    tab = await there.come(BOB, "Bob")
    await all_see([here, there], "Alice", "Bob")
    store.refuse_writes()
    await there.come(passer_by(2), "Dora")
    there.leave(tab)
    await until_soon(lambda: here.names == ["Alice", "Dora"])
    await until_soon(lambda: here.replica.registry.is_unavailable)
    # From here on nothing goes by time.
    monkeypatch.setattr(registry, "BEAT_INTERVAL", 60)
    monkeypatch.setattr(registry, "DEAD_AFTER", 60)
    before = len(here.ear.said)
    async with frozen(there) if stale else AsyncExitStack():
        store.take_writes()
        await until_true(partial(_beats, here))
        assert here.names == ["Alice", "Dora"]
    there.replica.beat_now()
    await until_true(partial(_beats, there))
    await until_true(partial(_beats, here))
    await all_see([here, there], "Alice", "Dora")
    assert [said for said in here.ear.said[before:] if isinstance(said, (Joined, Left))] == []


async def _beats(node: Node) -> bool:
    """Send a heartbeat. True if Redis answers."""
    with suppress(pipeline.RegistryUnavailable):
        await node.replica._beat()
    return not node.replica.registry.is_unavailable


async def test_two_who_took_one_name_meanwhile_are_one_in_the_end(start: Start, store: Redis) -> None:
    """The processes could not ask Redis: one of the users is removed when they can."""
    here, there = start(), start()
    await here.come(ALICE, "Alice")
    await there.come(BOB, "Bob")
    await all_see([here, there], "Alice", "Bob")
    store.stop()
    tabs = [await here.come(passer_by(1), "Eve"), await there.come(passer_by(2), "Eve")]
    store.start()
    await until_soon(lambda: here.ousted or there.ousted)
    await all_see([here, there], "Alice", "Bob", "Eve")
    assert [*here.ousted, *there.ousted] in ([tabs[0]], [tabs[1]])


async def test_a_redis_that_lost_everything_is_filled_again(start: Start, store: Redis, bus: Bus) -> None:
    """Emptied while nobody saw it: nobody is told to have left or come, and in a moment all is there again."""
    nodes = [start() for _ in range(3)]
    for node, who, name in zip(nodes, (ALICE, BOB, passer_by(1)), ("Alice", "Bob", "Charlie"), strict=True):
        await node.come(who, name)
    await all_see(nodes, "Alice", "Bob", "Charlie")
    before = [list(node.ear.said) for node in nodes]
    store.empty()
    await until_soon(lambda: all(node.replica.resyncs > 1 for node in nodes))
    await asyncio.sleep(5 * registry.BEAT_INTERVAL)
    await all_see(nodes, "Alice", "Bob", "Charlie")
    for node, said in zip(nodes, before, strict=True):
        told = [each for each in node.ear.said[len(said) :] if isinstance(each, (Joined, Left))]
        assert told == []
    # And it is followed again.
    await nodes[0].come(passer_by(2), "Dora")
    await all_see(nodes, "Alice", "Bob", "Charlie", "Dora")


async def test_the_people_of_a_process_that_redis_had_forgotten_are_out(start: Start, store: Redis) -> None:
    """It was emptied, somebody came in, and the process died before its next beat."""
    here, there = start(), start()
    await here.come(ALICE, "Alice")
    await there.come(passer_by(1), "Charlie")
    await all_see([here, there], "Alice", "Charlie")
    async with frozen(there):
        store.empty()
        await there.come(BOB, "Bob")
        await until_soon(lambda: "Bob" in here.names)
    await there.die()
    await all_see([here], "Alice")


async def test_a_process_that_lets_somebody_in_before_it_beats_again_says_who_else_is_there(start: Start) -> None:
    """It had been taken for dead: that it is known by its newcomer hides not that its others were forgotten."""
    here, there = start(), start()
    await here.come(ALICE, "Alice")
    await there.come(BOB, "Bob")
    await all_see([here, there], "Alice", "Bob")
    async with frozen(there):
        await until_soon(lambda: here.names == ["Alice"])
        await there.come(passer_by(1), "Charlie")
        # Its follower restates by that; the one below is new, and restates anyhow.
        assert not (await there.replica.registry.beat([])).known
    await all_see([here, there], "Alice", "Bob", "Charlie")


async def test_a_frozen_redis_holds_up_one_join(
    start: Start, store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first waits for as long as Redis may take, and is in; those after it are in at once."""
    here = start()
    await here.come(ALICE, "Alice")
    keeper = here.replica.registry

    async def never(*_: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(keeper.pipeline, "_run", never)
    monkeypatch.setattr(keeper, "_run_beat", never)
    await here.come(BOB, "Bob")
    assert keeper.is_unavailable
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    for number in range(20):
        began = loop.time()
        await here.come(passer_by(number), f"u{number}")
        waits.append(loop.time() - began)
    assert keeper.is_unavailable
    assert min(waits) < pipeline.ANSWER_TIMEOUT / 2
    assert len(here.names) == 22


# --- Reads while people come ---


class Gate:
    """Holds a process's calls and reads of the registry until a test lets them through."""

    def __init__(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[asyncio.Event] = []
        # How much is asked, and not answered yet.
        self._asked = 0
        for verb in ("enter", "read", "beat"):
            monkeypatch.setattr(
                node.replica.registry, verb, self._slow(getattr(node.replica.registry, verb), verb)
            )

    def _slow(self, plain: Callable[..., Awaitable[Any]], verb: str) -> Callable[..., Awaitable[Any]]:
        async def slow(*arguments: Any) -> Any:
            await self.reach()
            self._asked += 1
            answer = await plain(*arguments)
            self._asked -= 1
            if verb == "read":
                await self.reach()
            return answer

        return slow

    async def reach(self) -> None:
        self.waiting.append(gate := asyncio.Event())
        await gate.wait()

    async def settled(self) -> None:
        """Everything that is let through has come as far as it can."""
        quiet = 0
        while quiet < 20:
            await asyncio.sleep(0)
            quiet = 0 if self._asked else quiet + 1

    async def let_through(self, choices: Sequence[int]) -> list[int]:
        """All that waits, by these choices and then by the oldest. How many could be chosen of, each time."""
        possible, left = [], iter(choices)
        await self.settled()
        while self.waiting:
            possible.append(len(self.waiting))
            self.waiting.pop(next(left, 0)).set()
            await self.settled()
        return possible


async def every_order(scene: Callable[[Sequence[int]], Awaitable[list[int]]]) -> int:
    """Play the scene once for each order in which its gates can be opened. How many there were."""
    choices: list[int] | None = []
    for played in count():
        if choices is None:
            return played
        possible = await scene(choices)
        choices += [0] * (len(possible) - len(choices))
        choices = next(
            (
                [*choices[:turn], choices[turn] + 1]
                for turn in reversed(range(len(choices)))
                if choices[turn] + 1 < possible[turn]
            ),
            None,
        )
    raise AssertionError


@pytest.mark.parametrize("ends", [True, False], ids=["of a process that ends", "in their grace"])
@pytest.mark.parametrize("reads", ["first", "again"])
@pytest.mark.parametrize("who", [(ALICE, BOB), (BOB, passer_by(1)), (passer_by(1), passer_by(2))])
async def test_who_comes_back_to_a_new_process_is_not_announced(  # noqa: PLR0917 what pytest gives
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    who: Sequence[Identity],
    ends: bool,
    reads: str,
) -> None:
    """Two users join during its first or a later read of the room; in any order of the requests to Redis."""
    settings.CHAT = {"GRACE": 60, "USER_LIST_INTERVAL": 0}
    # A Redis that answers slowly on a busy machine is not unavailable.
    monkeypatch.setattr(registry, "DEAD_AFTER", 60)
    monkeypatch.setattr(pipeline, "ANSWER_TIMEOUT", 60)
    witness, new = start(), start()
    await new.replica._beat()
    new.replica._started.set()
    monkeypatch.setattr(new.replica, "follow", lambda: None)
    gate, rooms = Gate(new, monkeypatch), count()
    back = [each if each.lasting else passer_by(f"back {each.key}") for each in who]

    async def resync(room: str) -> None:
        await gate.reach()
        new.presence.receive(room, (witness.replica.node, 0, "restated"))

    async def scene(choices: Sequence[int]) -> list[int]:
        room, old = f"r{next(rooms)}", start()
        await witness.come(CHARLIE, "Charlie", room)
        tabs = [await old.come(each, f"P{number}", room) for number, each in enumerate(who)]
        await until_soon(lambda: len(far(witness, room)) == 2)
        if reads == "again":
            dora = asyncio.create_task(new.come(passer_by(f"Dora {room}"), "Dora", room))
            await gate.let_through([])
            await dora
        if ends:
            await old.presence.close()
        else:
            for tab in tabs:
                old.leave(tab, at_once=False, room=room)
            await until_soon(lambda: sum(each.in_grace or each.lasting for each in far(witness, room)) == 2)
        for node in (witness, new):
            node.ear.said.clear()
        coming = [new.come(each, f"P{number}", room) for number, each in enumerate(back)]
        work = asyncio.gather(*coming, new.replica._beat() if reads == "first" else resync(room))
        try:
            possible = await gate.let_through(choices)
        finally:
            await work
        for node in (witness, new):
            assert node.ear.told(Joined) + node.ear.told(Left) == [], choices
            names = sorted(node.presence.user_list(room).users)
            assert names == ["Charlie", *(["Dora"] if reads == "again" else []), "P0", "P1"]
        return possible

    assert await every_order(scene) > 10


def far(node: Node, room: str) -> list[RegistryEntry]:
    """The people in the room in other processes, as this one knows them."""
    return [entry for person in node.presence.people(room) for _, entry in person.remote.values()]


async def test_who_comes_while_the_room_is_read_is_shown_all(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their first list has everybody; one who gives up takes the read from nobody."""
    old, new = start(), start()
    await old.come(ALICE, "Alice")
    await new.come(BOB, "Bob", "tea")
    gate = Gate(new, monkeypatch)
    first, second = (asyncio.create_task(new.come(passer_by(number), f"P{number}")) for number in range(2))
    await gate.settled()
    while len(gate.waiting) > 1 or not new.presence._rooms[ROOM].versions:
        gate.waiting.pop(0).set()
        await gate.settled()
    first.cancel()
    await gate.settled()
    assert not second.done()
    await gate.let_through([])
    await second
    assert new.names == ["Alice", "P1"]
    assert new.ear.told(Joined) == ["Bob", "P1"]


async def test_the_last_who_goes_takes_nothing_from_one_who_comes(start: Start) -> None:
    """Events between their claim and their join are received, though nobody else is in the room here."""
    here, there = start(), start()
    tab = await here.come(ALICE, "Alice")
    async with here.presence.joining(JoinRequest(ROOM, BOB, "Bob", "tab")) as claim:
        here.leave(tab)
        here.ear.is_open = lambda _: True
        await there.come(CHARLIE, "Charlie")
        await until_soon(lambda: "Charlie" in here.names)
        here.presence.enter(claim)
    here.presence.announce(claim)
    await all_see([here, there], "Bob", "Charlie")
    assert here.ear.told(Joined) == ["Alice", "Charlie", "Bob"]


async def test_one_who_comes_into_a_room_in_which_only_a_grace_is_left_is_shown_all(start: Start) -> None:
    """Events elsewhere meanwhile were not received, so the room is read again."""
    here, there = start(), start()
    await there.come(CHARLIE, "Charlie")
    tab = await here.come(ALICE, "Alice")
    await here.come(BOB, "Bob", "tea")
    here.leave(tab, at_once=False)
    for _ in range(3):
        await here.replica._beat()
    await there.come(passer_by(1), "Dora")
    await here.come(ALICE, "Alice")
    assert here.names == ["Alice", "Charlie", "Dora"]
    assert here.ear.told(Joined)[1:] == ["Bob"]


async def test_a_room_that_opened_while_a_redis_was_away_announces_nobody_who_was_there(
    start: Start, store: Redis, settings: Settings
) -> None:
    """Nor one that opened when it had lost everything: the others say only bit by bit who was with them."""
    settings.CHAT = {"GRACE": 60, "USER_LIST_INTERVAL": 0}
    old, new = start(), start()
    tabs = [await old.come(each, name) for each, name in ((ALICE, "Alice"), (BOB, "Bob"))]
    await new.come(CHARLIE, "Charlie", "tea")
    store.stop()
    await until_soon(lambda: old.replica.registry.is_unavailable and new.replica.registry.is_unavailable)
    await new.come(CHARLIE, "Charlie")
    async with frozen(old):
        store.start()
        await until_soon(lambda: versions_of(new).complete_to and not new.replica.registry.is_unavailable)
        await new.come(passer_by(1), "Dora")
    await all_see([old, new], "Alice", "Bob", "Charlie", "Dora")
    assert set(new.ear.told(Joined)) == {"Charlie", "Dora"}
    # And it is followed again.
    await until_soon(lambda: versions_of(new).is_complete)
    old.leave(tabs[0])
    await all_see([old, new], "Bob", "Charlie", "Dora")
    assert new.ear.told(Left) == ["Alice"]


# --- Counts, and what is left ---


async def test_every_process_counts_the_rooms_of_all(start: Start) -> None:
    """For the first page: also rooms in which nobody of its own is."""
    here, there = start(), start()
    here.presence.follow()
    await there.come(ALICE, "Alice", "tea")
    await there.come(BOB, "Bob", "tea")
    await until_soon(lambda: here.presence.counts() == {"tea": 2})


async def test_when_all_are_gone_redis_keeps_nothing_of_them(start: Start) -> None:
    """No key of a room or a person is left."""
    nodes = [start(), start()]
    for number in range(20):
        node = nodes[number % 2]
        node.leave(await node.come(passer_by(number), f"u{number}", f"r{number % 5}"), room=f"r{number % 5}")
    keeper = nodes[0].replica.registry

    async def is_clean() -> bool:
        names = {name.decode().rpartition(":chat:")[2] for name in await keeper._redis.keys("*")}
        return names <= {"nodes", "life"}

    await until_true(is_clean)
    await until(lambda: all(not node.presence._rooms for node in nodes))


class Life:
    """People who come, go and move; processes that freeze; a Redis that stops and is emptied."""

    def __init__(self, nodes: Sequence[Node], store: Redis, chance: random.Random) -> None:
        self.nodes, self.store, self.chance = nodes, store, chance
        self.tabs: list[tuple[Node, str]] = []

    async def go_on(self, acts: int) -> None:
        possible = [self.come] * 12 + [self.go] * 9 + [self.restart, self.empty, self.freeze]
        for _ in range(acts):
            await self.chance.choice(possible)()
            await asyncio.sleep(self.chance.choice([0, 0.005, 0.05]))

    async def come(self) -> None:
        node, number = self.chance.choice(self.nodes), self.chance.randrange(12)
        account = Identity(f"account:{number}", f"u{number}", lasting=True)
        who = self.chance.choice([passer_by(self.chance.random()), account])
        with suppress(Invalid):
            self.tabs.append((node, await node.come(who, f"u{number}")))

    async def go(self) -> None:
        if self.tabs:
            node, tab = self.tabs.pop(self.chance.randrange(len(self.tabs)))
            node.leave(tab, at_once=self.chance.random() < 0.5)

    async def restart(self) -> None:
        self.store.stop()
        for _ in range(4):
            await self.chance.choice([self.come, self.go])()
        self.store.start()

    async def empty(self) -> None:
        self.store.empty()

    async def freeze(self) -> None:
        async with frozen(self.chance.choice(self.nodes)):
            await asyncio.sleep(self.chance.choice([0.1, 0.9]))

    def truth(self) -> list[str]:
        here = {
            (person.identity.key, person.name)
            for node in self.nodes
            for person in node.presence.people(ROOM)
            if person.sockets
        }
        return sorted(name for _, name in here)

    def is_agreed(self) -> bool:
        return all(node.names == self.truth() == node.ear.shown() for node in self.nodes)


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_all_agree_in_the_end(start: Start, store: Redis, bus: Bus, seed: int) -> None:
    """Every process has the same people, those who are there; and what it told of them makes the same list."""
    bus.random.seed(seed)
    nodes = [start() for _ in range(3)]
    for number, node in enumerate(nodes):
        await node.come(passer_by(f"host {number}"), f"host {number}")
    await all_see(nodes, "host 0", "host 1", "host 2")
    told = [len(node.ear.said) for node in nodes]
    bus.lost = 0.2
    life = Life(nodes, store, random.Random(seed))
    await life.go_on(60)
    try:
        await until_soon(life.is_agreed)
    except TimeoutError:
        pytest.fail(f"{life.truth()}: {[(node.names, node.ear.shown()) for node in nodes]}")
    for node, before in zip(nodes, told, strict=True):
        assert present(node.ear.said[before:]) == set(node.names)


def present(said: Sequence[AnyOutgoing]) -> set[str]:
    """The users beside the hosts, for a client that received only joins and leaves. A name may occur twice."""
    count = Counter(["host 0", "host 1", "host 2"])
    for each in said:
        if isinstance(each, (Joined, Left)):
            count[each.username] += 1 if isinstance(each, Joined) else -1
    return {name for name, number in count.items() if number > 0}


async def test_a_claim_is_of_one_room(start: Start) -> None:
    """The same name in another room is another's to have."""
    here, there = start(), start()
    await here.come(passer_by(1), "Eve")
    await there.come(passer_by(2), "Eve", "tea")
    assert isinstance(Claim(JoinRequest(ROOM, BOB, "Bob", "x"), "bob"), Claim)
    assert here.presence.user_list(ROOM).count == there.presence.user_list("tea").count == 1
