"""For any order of events: no user receives from a room without access, and no member misses an event.

Two processes, whose database is one and whose layer loses messages, stand in one event loop: each has its own hub,
and its own of all else that belongs to a loop. As in tests/unit/consumers/test_streams.py nothing depends on
threads or on real time, so an example that fails does so again.
"""

import asyncio
import random
from collections import UserDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.db.models import F
from django.test import override_settings
from doubles import Clock, FakeLayer
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from logs import examples

from chat import actions, database, loops, models
from chat.access import policy
from chat.access.permissions import check_entering
from chat.auth import Identity, account
from chat.consumers import ChatConsumer
from chat.hub import RECONCILE, TICK
from chat.protocol import Ack, AnyOutgoing, Error, Invalid, Late, Message, Removed, Welcome, decode_outgoing

T = TypeVar("T")

PROCESS: ContextVar[int] = ContextVar("process", default=0)
"""The processes. The third has no sockets: it is a command, or a server of pages only."""
PROCESSES, PAGES = (0, 1), 2

SOCKETS = [
    *[("Alice", 0), ("Alice", 1), ("Carol", 1)],
    *[("Bob", 0), ("Bob", 1), ("Dave", 0), ("Dave", 1), ("Charlie", 0)],
]
"""Alice owns the room and Carol moderates it; Bob and Dave are members at first, and Charlie is not."""
NAMES = ["Alice", "Bob", "Carol", "Charlie", "Dave"]
AT_RISK = ["Bob", "Carol", "Charlie", "Dave"]

slugs = (f"s{number}" for number in count())


class Kept(UserDict[Any, Any]):
    """The loop's objects, for the process under test."""

    def __init__(self) -> None:
        self._each: defaultdict[int, dict[Any, Any]] = defaultdict(dict)

    @property
    def data(self) -> dict[Any, Any]:  # type: ignore[override]  # it is another for each process
        return self._each[PROCESS.get()]


def at_once(call: Callable[[], T], process: int | None = None) -> T:
    """The result of a call on a database thread of the process. The loop waits meanwhile."""
    context = copy_context()
    if process is not None:
        context.run(PROCESS.set, process)
    return database._writer.submit(context.run, database._guarded, call).result()


async def spin(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


class Truth:
    """The database's state, after each command."""

    def __init__(self, slug: str, people: dict[str, Identity]) -> None:
        self.slug = slug
        self.people = people
        # Number of queries so far.
        self.step = 0
        # The users who may be in the room, after each change of its policy.
        self.allowed: list[frozenset[str]] = []
        # When each message was committed, by its number.
        self.said: dict[int, int] = {}
        # By process and person: the query since which the process surely knows that they may not be in the room.
        self.barred: dict[tuple[int, str], int] = {}
        self._rules = -1
        self._seq = 0
        at_once(self.look)

    def look(self) -> None:
        self.step += 1
        rules, seq = models.Room.objects.values_list("rules", "seq").get(slug=self.slug)
        for number in range(self._seq + 1, seq + 1):
            self.said[number] = self.step
        self._seq = seq
        if rules != self._rules:
            self._rules = rules
            self.allowed.append(frozenset(filter(self._may, self.people)))
            for key in [key for key in self.barred if key[1] in self.allowed[-1]]:
                del self.barred[key]

    def _may(self, name: str) -> bool:
        try:
            room = models.Room.objects.get(slug=self.slug)
            check_entering(policy.build_policy(room), self.people[name], "", self.slug)
        except Invalid:
            return False
        return True

    def ask(self, call: Callable[[], T]) -> T:
        try:
            return call()
        finally:
            self.look()

    def bar(self, process: int, name: str) -> None:
        if name not in self.allowed[-1]:
            self.barred.setdefault((process, name), self.step)


class Turns:
    """The database's threads, as turns of the loop. The writes of one process stay in order."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._writing: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.truth: Truth | None = None

    async def reading(self, call: Callable[[], T]) -> T:
        await spin(self._chance.randint(0, 4))
        answer = at_once(partial(self.truth.ask, call) if self.truth else call)
        await spin(self._chance.randint(0, 4))
        return answer

    async def writing(self, call: Callable[[], T]) -> T:
        async with self._writing[PROCESS.get()]:
            return await self.reading(call)


@dataclass
class Sent:
    """A command, and the state when it was sent."""

    what: str
    # The target of the action.
    whom: str
    # Number of policy changes, and of queries, at that moment.
    rules: int
    step: int
    # The position that a join gave.
    since: int = 0


class Client:
    """One socket; each frame that it receives is checked against the truth."""

    def __init__(self, story: "Story", name: str, process: int) -> None:
        self.story, self.name, self.process = story, name, process
        self.communicator = WebsocketCommunicator(self._application, "/ws")
        self.communicator.scope["who"] = name
        # Has it got `welcome`, and not yet `removed`?
        self.inside = False
        # The last message's number and epoch; and how often the policy had changed when it joined.
        self.seq = 0
        self.epoch: str | None = None
        self.since = 0
        self.sent: dict[str, Sent] = {}

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        PROCESS.set(self.process)
        await ChatConsumer.as_asgi()(scope, receive, send)

    async def send(self, what: str, whom: str = "", **fields: Any) -> str:
        truth, ref = self.story.truth, str(next(self.story.refs))
        self.sent[ref] = Sent(what, whom, len(truth.allowed), truth.step, fields.get("since", 0))
        frame = {"type": what, "room": self.story.slug, "ref": ref, **fields}
        await self.communicator.send_json_to(frame | ({"username": whom} if whom else {}))
        return ref

    def follow(self) -> None:
        while not self.communicator.output_queue.empty():
            output = self.communicator.output_queue.get_nowait()
            assert output["type"] == "websocket.send", output
            self._hear(decode_outgoing(output["text"]))

    def _hear(self, said: AnyOutgoing) -> None:
        match said:
            case Error(ref=ref):
                self.sent.pop(str(ref), None)
            case Ack(ref=ref):
                self._acknowledged(self.sent.pop(str(ref)))
            case Welcome():
                self._come_in(said)
            case Removed():
                assert any(self.name not in allowed for allowed in self.story.truth.allowed[self.since :]), said
                self.inside = False
            case Late():
                # The frame is about the server, not about a room.
                pass
            case _:
                assert self.inside, f"{self.name} hears {said}"
        if isinstance(said, Message):
            assert said.seq == self.seq + 1, f"{self.name} misses what is before {said}"
            self.seq = said.seq
            barred = self._barred()
            assert barred is None or self.story.truth.said[said.seq] <= barred, f"{self.name} hears {said}"

    def _come_in(self, welcome: Welcome) -> None:
        sent, barred = self.sent.pop(str(welcome.ref)), self._barred()
        assert barred is None or sent.step <= barred, f"{self.name} comes in"
        # A socket that joins again goes back to its `since`, also if more came meanwhile.
        self.seq = sent.since if welcome.resumed else welcome.seq
        self.inside, self.epoch, self.since = True, welcome.epoch, sent.rules - 1

    def _acknowledged(self, sent: Sent) -> None:
        truth, barred = self.story.truth, self._barred()
        if sent.what == "leave":
            self.inside = False
        elif sent.what == "message":
            assert barred is None or sent.step <= barred, f"{self.name} speaks"
        elif len(truth.allowed) == sent.rules + 1:
            # It is the only change of the policy since, and this process made it.
            truth.bar(self.process, sent.whom)

    def _barred(self) -> int | None:
        return self.story.truth.barred.get((self.process, self.name))


@dataclass
class Act:
    """Random actions, with random actors and targets."""

    what: str
    who: int
    whom: int


class Story:
    """A public or private room, and the events in it."""

    def __init__(self, seed: int, turns: Turns, layer: FakeLayer, clock: Clock) -> None:
        self.chance = random.Random(seed)
        self.turns, self.layer, self.clock = turns, layer, clock
        self.private = self.chance.random() < 0.7
        self.slug = at_once(self._make)
        self.other = at_once(lambda: models.Room.objects.create(slug=next(slugs)))
        self.people = {name: at_once(partial(identity, name)) for name in NAMES}
        self.truth = turns.truth = Truth(self.slug, self.people)
        self.refs = count()
        self.clients = [Client(self, name, process) for name, process in SOCKETS]

    def _make(self) -> str:
        alice = identity("Alice")
        kind, slug = ("private", None) if self.private else ("public", next(slugs))
        slug = actions.create(alice, title="Plans", kind=kind, slug=slug)
        room = models.Room.objects.get(slug=slug)
        room.memberships.create(user_id=identity("Carol").account, role="moderator")
        if self.private:
            for name in ("Bob", "Dave"):
                room.memberships.create(user_id=identity(name).account)
        return slug

    async def play(self, acts: list[Act]) -> None:
        await self.weather(self.clients[0], "")
        for client in self.clients:
            await client.communicator.connect()
            await client.send("join")
        for act in acts:
            await getattr(self, act.what)(self.clients[act.who % len(SOCKETS)], AT_RISK[act.whom % len(AT_RISK)])
            await spin(self.chance.randint(0, 12))
            self.follow()
        await self.end_well()

    def follow(self) -> None:
        for client in self.clients:
            client.follow()

    # --- People ---

    async def join(self, client: Client, whom: str) -> None:
        await client.send("join")

    async def come_back(self, client: Client, whom: str) -> None:
        """Join with `since`, as after a lost connection."""
        if client.epoch and not client.inside:
            await client.send("join", since=client.seq, epoch=client.epoch)

    async def leave(self, client: Client, whom: str) -> None:
        await client.send("leave")

    async def post(self, client: Client, whom: str) -> None:
        await client.send("message", content="hi")

    async def look(self, client: Client, whom: str) -> None:
        """Events that only users in the room receive."""
        await client.send(self.chance.choice(["typing", "history", "members"]))

    async def shut_out(self, client: Client, whom: str) -> None:
        """Often a message follows at once."""
        await self._shut_out(client, whom)
        if self.chance.random() < 0.7:
            await self._speak_without()

    async def _shut_out(self, client: Client, whom: str) -> None:
        verb = self.chance.choice(["ban", "kick", "role"])
        await client.send(verb, whom, **({"role": "none"} if verb == "role" else {}))

    async def _speak_without(self) -> None:
        await spin(60)
        self.follow()
        for _ in range(3):
            await self.chance.choice(self.clients[:3]).send("message", content="without you")

    async def shut_out_at_the_door(self, client: Client, whom: str) -> None:
        """Kick a person while they join again, if they may."""
        theirs = [one for one in self.clients if one.name == whom]
        for one in theirs:
            await one.send("leave")
        await spin(30)
        await self._shut_out(client, whom)
        for one in theirs:
            await spin(self.chance.randint(0, 12))
            await one.send("join")
        await self._speak_without()

    async def let_in(self, client: Client, whom: str) -> None:
        verb = self.chance.choice(["ban", "invite"])
        await client.send(verb, whom, **({"on": False} if verb == "ban" else {}))

    # --- The staff, and programs ---

    async def save_rows(self, client: Client, whom: str) -> None:
        """Change a row in the admin of this process, or of another: with or without a signal here."""
        change = self.chance.choice([self._ban, self._lift, self._appoint, self._end, self._move, self._move_ban])
        process = self.chance.choice([*PROCESSES, PAGES])
        at_once(partial(self.truth.ask, partial(change, self._room(), self.people[whom])), process)

    def _room(self) -> models.Room:
        return at_once(lambda: models.Room.objects.get(slug=self.slug))

    def _ban(self, room: models.Room, who: Identity) -> None:
        room.restrictions.create(kind="ban", person=who.key, username=who.name or "")

    def _lift(self, room: models.Room, who: Identity) -> None:
        room.restrictions.filter(person=who.key).delete()

    def _appoint(self, room: models.Room, who: Identity) -> None:
        if not room.memberships.filter(user=who.account).exists():
            room.memberships.create(user_id=who.account)

    def _end(self, room: models.Room, who: Identity) -> None:
        room.memberships.filter(user=who.account).delete()

    def _move(self, room: models.Room, who: Identity) -> None:
        for membership in room.memberships.filter(user=who.account):
            self.other.memberships.filter(user=who.account).delete()
            membership.room = self.other
            membership.save()

    def _move_ban(self, room: models.Room, who: Identity) -> None:
        there, here = (
            (room, self.other) if room.restrictions.filter(person=who.key).exists() else (self.other, room)
        )
        for restriction in there.restrictions.filter(person=who.key):
            restriction.room = here
            restriction.save()

    async def write_sql(self, client: Client, whom: str) -> None:
        """Change a row in SQL, without signals, and increment `rules`."""
        at_once(partial(self.truth.ask, partial(self._write_sql, self._room(), self.people[whom])), PAGES)

    def _write_sql(self, room: models.Room, who: Identity) -> None:
        bans = room.restrictions.filter(person=who.key)
        if bans.exists():
            bans._raw_delete(bans.db)
        else:
            models.Restriction.objects.bulk_create([models.Restriction(room=room, kind="ban", person=who.key)])
        models.Room.objects.filter(pk=room.pk).update(rules=F("rules") + 1)

    # --- Time, and faults ---

    async def wait(self, client: Client, whom: str) -> None:
        await spin(40)

    async def a_tick(self, client: Client, whom: str) -> None:
        await self.clock.skip(TICK)

    async def a_second(self, client: Client, whom: str) -> None:
        """Let each process compare once: it then knows all changes so far."""
        self.follow()
        before = len(self.truth.allowed)
        await self.clock.skip(RECONCILE)
        await spin(150)
        self.follow()
        if len(self.truth.allowed) == before:
            for process in PROCESSES:
                for name in NAMES:
                    self.truth.bar(process, name)

    async def weather(self, client: Client, whom: str) -> None:
        """Set how many messages the layer loses, doubles and delays."""
        self.layer.lost = self.chance.choice([0, 0.3, 1])
        self.layer.doubled = self.layer.delayed = self.chance.choice([0, 0.5])
        self.layer.slowness = self.chance.randint(0, 4)
        self.layer.error = self.chance.choice([None, None, ConnectionError("no layer")])

    # --- The end ---

    async def end_well(self) -> None:
        """Without faults, after a while, exactly the allowed people are in the room, and have every message."""
        self.layer.lost = self.layer.doubled = self.layer.delayed = 0
        self.layer.error = None
        for _ in range(3):
            await self.a_second(self.clients[0], "")
        allowed = self.truth.allowed[-1]
        assert all(client.name in allowed for client in self.clients if client.inside)
        for client in self.clients:
            where: dict[str, Any] = {"since": client.seq, "epoch": client.epoch} if client.epoch else {}
            await client.send("join", **where)
        for _ in range(3):
            await self.a_second(self.clients[0], "")
        assert {client.name for client in self.clients if client.inside} == allowed
        last = at_once(lambda: models.Room.objects.get(slug=self.slug).seq)
        assert {client.seq for client in self.clients if client.inside} == {last}
        assert not any(client.sent for client in self.clients if client.inside and self._waits(client))

    def _waits(self, client: Client) -> bool:
        return any(sent.what not in {"typing", "history", "members"} for sent in client.sent.values())

    async def close(self) -> None:
        for client in self.clients:
            await client.communicator.disconnect()
        for process in PROCESSES:
            PROCESS.set(process)
            await loops.close_current()


def identity(name: str) -> Identity:
    return account(User.objects.get_or_create(username=name)[0])


async def identify(scope: Any) -> Identity:
    """The socket's user, without the session in which they would be signed in."""
    return at_once(partial(identity, scope["who"]))


SMALL = {"RING": 3, "LIMITS": False, "GRACE": 0.0, "JOIN_TIMEOUT": 300.0, "RECHECK": 3_600.0}


@contextmanager
def conditions(turns: Turns, layer: FakeLayer) -> Iterator[None]:
    """Two processes in one loop; nothing waits for a thread."""
    with override_settings(CHAT=SMALL), pytest.MonkeyPatch.context() as patched:
        patched.setattr(loops, "_objects", Kept())
        patched.setattr("chat.log.database_calls.run_read", turns.reading)
        patched.setattr("chat.log.database_calls.run_write", turns.writing)
        patched.setattr("chat.log.log.run_write", turns.writing)
        patched.setattr("chat.auth.usernames.run_read", turns.reading)
        patched.setattr("chat.consumers.consumer.identify", identify)
        patched.setattr("chat.hub.bus.get_channel_layer", lambda: layer)
        yield


async def tell(seed: int, acts: list[Act]) -> None:
    turns, layer = Turns(random.Random(seed)), FakeLayer(seed)
    with conditions(turns, layer):
        clock = Clock()
        clock.stop()
        story = Story(seed, turns, layer, clock)
        try:
            await story.play(acts)
        finally:
            clock.start()
            turns.truth = None
            await story.close()


ACTS = [
    *["join", "join", "come_back", "leave", "look", "look", *["post"] * 6],
    *[
        "shut_out",
        "shut_out",
        *["shut_out_at_the_door"] * 2,
        "let_in",
        "let_in",
        "save_rows",
        "save_rows",
        "write_sql",
    ],
    *["wait", "wait", "a_tick", "a_second", "a_second", "weather"],
]


# Hypothesis makes a failing case smaller first, which takes minutes.
@pytest.mark.usefixtures("rooms")
@pytest.mark.timeout(600)
@given(
    seed=st.integers(0, 2**32),
    acts=st.lists(
        st.builds(Act, st.sampled_from(ACTS), st.integers(0, 23), st.integers(0, 3)), min_size=30, max_size=80
    ),
)
@hypothesis_settings(
    max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nobody_receives_from_a_room_that_is_not_theirs(seed: int, acts: list[Act]) -> None:
    """An acknowledged change holds in its process at once, and in another one from the next comparison on."""
    asyncio.run(tell(seed, acts))
