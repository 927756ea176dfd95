"""Doubles for time, network and database: they go on, fail and come back on command."""

import asyncio
import random
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from django.db import OperationalError
from helpers import PATIENCE

from chat import loops, runtime
from chat.hub import Hub, Socket
from chat.hub.bus import ALL_HUBS
from chat.log import LogSlice, RoomCounters, RoomLog
from chat.log.writes import unavailable
from chat.message_log import MessageLog
from chat.protocol import AnyOutgoing, decode_outgoing
from chat.transport import AsgiTransport

TURNS = 300
"""Turns of the loop that most waits of tests need."""
REST = 0.001
"""Seconds between two later looks: what is waited for comes from a thread or by a timer."""


async def until(condition: Callable[[], object]) -> None:
    """Let others run until the condition holds."""
    async with asyncio.timeout(PATIENCE):
        for turn in count():
            if condition():
                return
            await asyncio.sleep(0)
            if turn > TURNS:
                # The loop's own time may stand still.
                time.sleep(REST)  # noqa: ASYNC251 nothing else runs in it


async def until_true(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 there is no one event for it
            await asyncio.sleep(0.01)


def returns_at_once(work: Coroutine[Any, Any, object]) -> bool:
    """Does it end without letting others run?"""
    try:
        work.send(None)
    except StopIteration:
        return True
    work.close()
    return False


class Clock:
    """The running loop's time, which the test can move: timers that are due then fire at once, in their order."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._ahead = 0.0
        self._now: Callable[[], float] = loop.time
        self._real = loop.time
        # The loop asks its own ``time`` for what is due.
        loop.time = lambda: self._now() + self._ahead  # type: ignore[method-assign]

    def stop(self) -> None:
        """From here on time goes on by ``skip`` only."""
        now = self._now()
        self._now = lambda: now

    def start(self) -> None:
        """Time goes on by itself again, from where it stood: what waits for it at the end of a test must not wait
        for ever.
        """
        self._ahead -= self._real() - self._now()
        self._now = self._real

    def work(self, seconds: float) -> None:
        """Time goes on while the loop is busy."""
        self._ahead += seconds

    async def skip(self, seconds: float) -> None:
        """Move the time on, and let what is due then run."""
        # Tasks that are new set their timers first, by the old time.
        for _ in range(3):
            await asyncio.sleep(0)
        self.work(seconds)
        fired = asyncio.Event()
        # A timer for now is the last of those that are due.
        asyncio.get_running_loop().call_later(0, fired.set)
        await fired.wait()


class Outage:
    """A database that is away as told."""

    def __init__(self) -> None:
        # Statements with this in them fail; none, where it is None.
        self.of: str | None = None
        # How many did.
        self.struck = 0

    @contextmanager
    def begin(self, of: str = "") -> Iterator[None]:
        """From here on the statements with ``of`` in them fail."""
        self.of = of
        try:
            yield
        finally:
            self.of = None

    def strike(self, sql: str) -> None:
        if self.of is not None and self.of in sql:
            self.struck += 1
            raise OperationalError("the database is away")


class Ear:
    """The far end of a transport: receives what is sent; ``open`` is cleared while it does not read."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.closed: dict[str, Any] | None = None
        self.open = asyncio.Event()
        self.open.set()
        # It stops reading after this many frames.
        self.enough: int | None = None
        # Raised by the next sends, where it is set.
        self.error: Exception | None = None
        self.sends = 0

    async def send(self, message: dict[str, Any]) -> None:
        self.sends += 1
        await self.open.wait()
        if self.error:
            raise self.error
        assert self.closed is None, "nothing may follow a close"
        if message["type"] == "websocket.close":
            self.closed = message
        else:
            self.frames.append(message["text"])
            if len(self.frames) == self.enough:
                self.open.clear()

    @property
    def code(self) -> int | None:
        return self.closed["code"] if self.closed else None

    def heard(self) -> list[AnyOutgoing]:
        return [decode_outgoing(frame) for frame in self.frames]


def ear_and_socket() -> tuple[Ear, Socket]:
    """A socket as the hub knows it, and who listens at its far end."""
    ear = Ear()
    return ear, Socket(AsgiTransport(ear.send), address="192.0.2.1")


class SlowLog(MessageLog):
    """A log whose stretches are counted, held up, or refused as told. For ``run_with(SlowLog())``."""

    def __init__(self) -> None:
        super().__init__()
        # Where each stretch that was asked for begins, and how many comparisons with the hub there were.
        self.asked: list[int] = []
        self.compared = 0
        # Cleared, what was read is not told yet.
        self.telling = asyncio.Event()
        self.telling.set()
        # Set, the database does not answer.
        self.away = False
        # What happens after each of the next reads, before what was read is told.
        self.meanwhile: deque[Callable[[], Awaitable[object]]] = deque()

    async def since(self, room: RoomLog, position: int, limit: int) -> LogSlice:
        self.asked.append(position)
        if self.away:
            raise unavailable()
        stretch = await super().since(room, position, limit)
        if self.meanwhile:
            await self.meanwhile.popleft()()
        await self.telling.wait()
        return stretch

    async def positions(self, rooms: list[RoomLog]) -> dict[int, RoomCounters]:
        try:
            found = await super().positions(rooms)
            await self.telling.wait()
            return found
        finally:
            self.compared += 1


def run_with(log: MessageLog) -> None:
    """Build the running loop's objects on this log."""
    loops.install(runtime.build(log))


Wire = dict[str, Any]


class FakeLayer:
    """A channel layer that is slow, lossy, out of order or away, as told."""

    def __init__(self, seed: int = 0) -> None:
        self.groups: defaultdict[str, set[str]] = defaultdict(set)
        # The members of the group of all hubs.
        self.hubs: set[str] = set()
        self.queues: defaultdict[str, asyncio.Queue[Wire]] = defaultdict(asyncio.Queue)
        # Its calls, in order, and the messages that it was given.
        self.calls: list[tuple[str, str]] = []
        self.sent: list[tuple[str, Wire]] = []
        # Raised by every call, while it is set.
        self.error: Exception | None = None
        # Cleared, every call waits.
        self.open = asyncio.Event()
        self.open.set()
        # At random, each call suspends up to so many times: concurrent calls end in any order.
        self.slowness = 0
        # The parts of the group messages that are lost, doubled, and held back behind later ones.
        self.lost = self.doubled = self.delayed = 0.0
        self._held: list[tuple[str, Wire]] = []
        self.random = random.Random(seed)

    async def new_channel(self, prefix: str = "specific") -> str:
        return f"{prefix}.fake!{self.random.getrandbits(32):08x}"

    async def receive(self, channel: str) -> Wire:
        return await self.queues[channel].get()

    async def group_add(self, group: str, channel: str) -> None:
        await self._suffer("add", group)
        (self.hubs if group == ALL_HUBS else self.groups[group]).add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._suffer("discard", group)
        if group == ALL_HUBS:
            self.hubs.discard(channel)
            return
        self.groups[group].discard(channel)
        if not self.groups[group]:
            del self.groups[group]

    async def group_send(self, group: str, message: Wire) -> None:
        await self._suffer("send", group)
        self.sent.append((group, message))
        copies = 0 if self._happens(self.lost) else 2 if self._happens(self.doubled) else 1
        for _ in range(copies):
            if self._happens(self.delayed):
                self._held.append((group, message))
            else:
                self.carry(group, message)
        if self._held and self._happens(0.5):
            self.carry(*self._held.pop(self.random.randrange(len(self._held))))

    def carry(self, group: str, message: Wire) -> None:
        """Bring a message to the group's members, as another process's copy of it comes too."""
        for channel in sorted(self.hubs if group == ALL_HUBS else self.groups.get(group, ())):
            self.queues[channel].put_nowait(message)

    def release_held(self) -> None:
        """Bring what was held back, now."""
        while self._held:
            self.carry(*self._held.pop())

    async def _suffer(self, what: str, group: str) -> None:
        if group != ALL_HUBS:
            self.calls.append((what, group))
        await self.open.wait()
        for _ in range(self.random.randint(0, self.slowness)):
            await asyncio.sleep(0)
        if self.error:
            raise self.error

    def _happens(self, part: float) -> bool:
        return self.random.random() < part


def message_log(hub: Hub) -> MessageLog:
    """The log of a hub's chat rooms."""
    (log,) = [kind.source for kind in hub._rooms._kinds if isinstance(kind.source, MessageLog)]
    return log


def another_process(kind: type[MessageLog] = MessageLog) -> Hub:
    """The hub of another process on the same layer and the same database, with a log of its own."""
    other: Hub = runtime.build(kind())[Hub]
    return other
