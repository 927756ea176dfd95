"""Any order of events: commits here and elsewhere, hints lost and late, readers slow, cut off and back again.

Nothing here depends on threads or on real time: the database answers on the loop, after as many turns as chance
says, and the clock is moved. So an example that fails does so again.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar

import pytest
from django.db import OperationalError
from django.test import override_settings
from doubles import Clock, FakeLayer, another_process, message_log
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from logs import Visitor, changes_of, edit, erase, everything, examples, hide, post, react

from chat import database, loops, models
from chat.actions.chat_room import ChatRoom
from chat.conf import chat_settings
from chat.hub import RECONCILE, TICK, Hub, OpenRoom, catch_up
from chat.hub.bus import Bus
from chat.hub.catch_up import RETRY
from chat.hub.stall_detector import LONGEST
from chat.log import RoomLog, Write, Written
from chat.message_log import Writer, maintenance, queries
from chat.protocol import AnyOutgoing, Invalid, Welcome

T = TypeVar("T")

slugs = (f"r{number}" for number in count())


class Turns:
    """The database's threads, as turns of the loop."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        # The part of the questions that the database does not answer.
        self.away = 0.0

    async def __call__(self, call: Callable[[], T]) -> T:
        await spin(self.chance.randint(0, 4))
        if self.chance.random() < self.away:
            raise OperationalError("away")
        answer = at_once(call)
        await spin(self.chance.randint(0, 4))
        return answer


def at_once(call: Callable[[], T]) -> T:
    """The result of a call on a database thread. The loop waits meanwhile."""
    return database._writer.submit(database._guarded, call).result()


async def spin(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


class Client(Visitor):
    """A client as the protocol's document wants it: it asks for history where its welcome says so."""

    def __init__(self, story: "Story", before: "Client | None" = None) -> None:
        super().__init__(before.seq if before else 0, before.messages if before else None)
        self.story = story
        # The process that it is connected to.
        self.hub = story.chance.choice(story.hubs)
        self.hub.add(self.socket)
        self.epoch: str | None = before.epoch if before else None
        self.needs_page: bool = before.needs_page if before else True
        self._early = before._early if before else []
        self.joining: asyncio.Task[None] | None = None

    def join(self) -> None:
        self.joining = self.story.task(self._join())

    async def _join(self) -> None:
        room = await self.story.patiently(self.hub.open, self.story.slug)
        since, log = (self.seq if self.epoch is not None else None), room.log
        resumed = await self.story.patiently(room.can_resume, since, self.epoch, chat_settings().CATCH_UP)
        await self.hub.stalls.end()
        resumed = resumed and room.log is log
        room.welcome(self.socket, resumed=resumed)
        self.hub.enter(room, self.socket, since if resumed else None)
        self.joining = None

    def receive(self, said: AnyOutgoing) -> None:
        if isinstance(said, Welcome):
            self.epoch = said.epoch
            if not said.resumed:
                self.needs_page = True
                self.start_over(said.seq)
            if self.needs_page:
                self.story.task(self._ask(said.epoch))
        super().receive(said)

    async def _ask(self, epoch: str) -> None:
        room = self.hub.room(self.story.slug)
        if room is None or self.socket not in {*room.sockets, *room.behind}:
            return
        page, _ = await self.story.patiently(latest, room)
        if epoch == self.epoch == room.log.epoch:
            self.show(page)
            self.needs_page = False


async def latest(room: OpenRoom) -> Any:
    assert isinstance(room, ChatRoom)
    return await room.history(before=None, after=None, limit=100)


@dataclass
class Act:
    """Random events, with their clients and amounts."""

    what: str
    who: int
    much: int


WRITES: list[Callable[[RoomLog, int, int], Write]] = [
    *[lambda room, number, last: post(room, f"said after {last}")] * 4,
    lambda room, number, last: post(room, "said once", ref=f"{number}"),
    lambda room, number, last: edit(room, number, f"text after {last}"),
    lambda room, number, last: edit(room, number, f"text after {last}"),
    lambda room, number, last: erase(room, number),
    lambda room, number, last: hide(room, number),
    lambda room, number, last: hide(room, number, hidden=False),
    lambda room, number, last: react(room, number),
    lambda room, number, last: react(room, number, on=False),
]


class Story:
    """A room in two processes, a third that only writes into it, and those who come and go."""

    def __init__(self, seed: int, turns: Turns, layer: FakeLayer, clock: Clock) -> None:
        self.chance = random.Random(seed)
        self.turns, self.layer, self.clock = turns, layer, clock
        self.slug = next(slugs)
        self.hubs = [loops.current(Hub), another_process()]
        self.clients: list[Client] = []
        self.away: list[Client] = []
        self.tasks: set[asyncio.Task[None]] = set()
        # The third process.
        self.writer = Writer()
        self.bus = Bus(lambda *_: None, lambda *_: None, lambda _: True, lambda: None)

    def task(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def patiently(self, ask: Callable[..., Any], *arguments: object) -> Any:
        """A client's answer to `busy`: it retries."""
        while True:
            try:
                return await ask(*arguments)
            except Invalid:
                await asyncio.sleep(RETRY)

    async def play(self, acts: list[Act]) -> None:
        for act in acts:
            await getattr(self, act.what)(act.who, act.much)
            await spin(self.chance.randint(0, 6))
            self.follow()
        await self.end_well()

    def follow(self) -> None:
        for client in self.clients:
            client.follow()

    # --- What happens ---

    def writes(self, room: RoomLog, last: int, much: int) -> list[Write]:
        """Messages, and changes of those that were said lately or are said now."""
        return [self.chance.choice(WRITES)(room, last + self.chance.randint(-8, 2), last) for _ in range(much)]

    async def write_here(self, who: int, much: int) -> None:
        hub = self.chance.choice(self.hubs)
        room = hub.room(self.slug)
        for write in self.writes(room.log, room.position, much) if room else ():
            message_log(hub).append(write)

    async def write_elsewhere(self, who: int, much: int) -> None:
        """The third process writes; the layer may bring its hints."""
        room = at_once(partial(queries.open_room, self.slug))
        outcomes = at_once(partial(self.writer.write, self.writes(room, room.seq, much)))
        changes = changes_of(outcome for outcome in outcomes if isinstance(outcome, Written))
        self.bus.publish_changes(room.slug, room.epoch, changes)

    async def come(self, who: int, much: int) -> None:
        client = Client(self)
        self.clients.append(client)
        client.join()

    async def cut(self, who: int, much: int) -> None:
        """A client's connection is cut after some frames; it comes back on another one."""
        if gone := await self.leave(who, much):
            self.back(gone)

    async def leave(self, who: int, much: int) -> Client | None:
        """A client's connection is cut, and it stays away."""
        client = self.client(who)
        if client:
            client.ear.enough = len(client.ear.frames) + much
            client.ear.open.set()
            await spin(much)
            client.follow()
            client.hub.remove(client.socket)
            self.clients.remove(client)
            self.away.append(client)
        return client

    async def come_back(self, who: int, much: int) -> None:
        if self.away:
            self.back(self.away[who % len(self.away)])

    def back(self, client: Client) -> None:
        self.away.remove(client)
        again = Client(self, client)
        self.clients.append(again)
        again.join()

    async def join_again(self, who: int, much: int) -> None:
        if client := self.client(who):
            client.join()

    async def stop_reading(self, who: int, much: int) -> None:
        if client := self.client(who):
            client.ear.open.clear()

    async def go_on_reading(self, who: int, much: int) -> None:
        if client := self.client(who):
            client.ear.open.set()

    def client(self, who: int) -> Client | None:
        there = [client for client in self.clients if client.joining is None]
        return there[who % len(there)] if there else None

    async def wait(self, who: int, much: int) -> None:
        await spin(10 * much)

    async def a_tick(self, who: int, much: int) -> None:
        await self.clock.skip(TICK)

    async def a_second(self, who: int, much: int) -> None:
        await self.clock.skip(RECONCILE)

    async def stand_still(self, who: int, much: int) -> None:
        """Both processes; what was to be done meanwhile is done when they know what they missed."""
        self.clock.work(LONGEST + 0.1)
        for hub in self.hubs:
            hub.stalls.waking()

    async def weather(self, who: int, much: int) -> None:
        """The layer and the database are as bad as that."""
        self.layer.lost = self.chance.choice([0, 0.3, 1])
        self.layer.doubled = self.layer.delayed = self.chance.choice([0, 0.5])
        self.layer.slowness = much
        self.layer.error = self.chance.choice([None, None, None, ConnectionError("no layer")])
        self.turns.away = self.chance.choice([0, 0, 0, 0, 0.3, 1])

    async def replace_the_room(self, who: int, much: int) -> None:
        """Its row is deleted; the next client that needs it creates it again."""
        if who == 9:
            at_once(models.Room.objects.filter(slug=self.slug).delete)

    async def prune(self, who: int, much: int) -> None:
        """The oldest messages go."""
        oldest = models.Message.objects.filter(room__slug=self.slug, number__lte=2 * much)
        at_once(lambda: list(maintenance.prune(oldest)))

    # --- The end ---

    async def end_well(self) -> None:
        """The weather is fine, everybody reads, and time goes by: all know all."""
        self.layer.lost = self.layer.doubled = self.layer.delayed = self.turns.away = 0
        self.layer.error = None
        while self.away:
            self.back(self.away[0])
        self.layer.release_held()
        for _ in range(8):
            for client in self.clients:
                client.ear.enough = None
                client.ear.open.set()
            await self.clock.skip(RECONCILE)
            await spin(100)
            self.follow()
        assert self.tasks == set()
        room = at_once(partial(queries.open_room, self.slug))
        truth = at_once(partial(everything, room))
        for client in self.clients:
            assert (client.seq, client.epoch) == (room.seq, room.epoch)
            # Nobody is told of what is pruned: who has it keeps it.
            assert {number: client.messages[number] for number in client.messages.keys() & truth} == truth
        for hub in self.hubs:
            opened = hub.room(self.slug)
            here = {client.socket for client in self.clients if client.hub is hub}
            assert (opened.sockets if opened else set()) == here
            assert opened is None or not (opened.behind or opened._gap or opened._catch_up._reading)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.bus.close()
        await self.hubs[1].close()
        await message_log(self.hubs[1]).close()
        for client in self.clients:
            client.socket.transport.detach()
        await loops.close_current()


@contextmanager
def conditions(turns: Turns, layer: FakeLayer) -> Iterator[None]:
    """Everything is small, and nothing waits for a thread."""
    with (
        override_settings(CHAT={"RING": 3, "CATCH_UP": 30, "OUTBOX": 1_024}),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr("chat.log.database_calls.run_read", turns)
        patched.setattr("chat.log.log.run_write", turns)
        patched.setattr("chat.hub.bus.get_channel_layer", lambda: layer)
        patched.setattr(catch_up, "STRETCH", 3)
        patched.setattr(catch_up, "CHUNK", 400)
        yield


async def tell(seed: int, acts: list[Act]) -> None:
    turns, layer = Turns(random.Random(seed)), FakeLayer(seed)
    with conditions(turns, layer):
        clock = Clock()
        clock.stop()
        story = Story(seed, turns, layer, clock)
        try:
            await story.play([Act("come", 0, 1), *acts])
        finally:
            clock.start()
            await story.close()


ACTS = [
    *["write_here", "write_elsewhere"] * 4,
    *["come", "cut", "cut", "leave", "leave", "come_back", "come_back", "join_again"],
    *["stop_reading", "go_on_reading", "wait", "wait"],
    *["a_tick", "a_second", "stand_still", "weather", "prune", "replace_the_room"],
]


# A failure is made small first, and that takes minutes.
@pytest.mark.timeout(600)
@given(
    seed=st.integers(0, 2**32),
    acts=st.lists(
        st.builds(Act, st.sampled_from(ACTS), st.integers(1, 9), st.integers(1, 4)), min_size=30, max_size=80
    ),
)
@hypothesis_settings(
    max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_stream_is_whole_and_ends_with_what_is_there(rooms: None, seed: int, acts: list[Act]) -> None:
    """No client ever finds a gap, and when all is quiet each holds exactly what the database has."""
    asyncio.run(tell(seed, acts))
