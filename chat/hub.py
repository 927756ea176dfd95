"""The sockets of one process and the rooms they are in. The only place that speaks to the channel layer.

The hub, not each socket, is the member of a room's channel group: one subscription per room and process, one
copy of each message through the layer, and a fan-out here that writes the same text to every socket. Measured
on channels 4.3.2, a group of 4,000 consumers on the in-memory layer takes 8 s for one broadcast.

The layer is a hint, the log is the truth. Numbered frames are delivered in order, old ones are dropped, a gap
is read from the log; once a second the hub compares its positions with the log's, so whatever the layer lost
arrives then.

A room's frames that become ready within one tick leave in one write for each socket. The first after quiet goes
out at once: a tick is a bound on writes, not a delay.

A socket that reads too slowly falls behind: it gets nothing more until its lane has drained, and is then caught up
from the log. Nobody waits for it, and what is kept for it is a position.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from channels.layers import get_channel_layer
from msgspec import UNSET

from chat import protocol
from chat.conf import chat_settings
from chat.lanes import Batch, Lane
from chat.log import Log
from chat.loops import of_this_loop
from chat.protocol import CloseCode, Ref, Welcome

logger = logging.getLogger("chat.hub")

RECONCILE = 1.0
"""Seconds between two comparisons of the hub's positions with the log's."""
RENEW = 60
"""Comparisons between two renewals of the group memberships. Layers end them: the in-memory one after 24 hours, or
at once when a message waited for 60 s in a process that hung."""
TICK = 0.005
"""Seconds between two writes of one room to its sockets. Measured with 1,000 sockets and 64 messages in flight: it
makes some 20 deliveries of one system call."""
CHUNK = 65_536
"""Characters that a socket which is caught up gets in one write."""
LEAD = 128
"""Messages by which a room's log may be ahead of its delivery before who posts has to wait. Under LOG_MESSAGES, so
that what waits in the layer can always be read from the log."""
TURN = 256
"""Messages from the layer after which the sockets' own tasks have a turn. Acks wait a moment for their message to
leave with it (chat.lanes): with 64, of 500 messages in flight many acks left alone, for 12 % more CPU each."""
RETRY = 0.5
"""Seconds before the layer is tried again after it failed."""


@dataclass(eq=False, slots=True)
class Socket:
    """One open socket, as others see it."""

    lane: Lane
    # The peer's address, as the server tells it; "" where it doesn't (a Unix socket, a test).
    address: str
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    since: float = field(default_factory=time.time)
    # The name it speaks under, from its first join on; None before.
    username: str | None = None
    # Whose refs its messages have, beside the name.
    author: str = ""
    # The rooms it is in.
    rooms: set[str] = field(default_factory=set)
    # How many times it fell behind.
    falls: int = 0


@dataclass(eq=False, slots=True)
class OpenRoom:
    """A room that somebody here is in, or is just coming into."""

    slug: str
    # Which life of the room's log its numbers are of.
    epoch: str
    # The number of the last change that is on its way to the sockets here: written, or in ``ready``.
    position: int
    # The number of the last change that is written to all of ``sockets``.
    written: int
    # Who gets what is written.
    sockets: set[Socket] = field(default_factory=set)
    # Who does not at the moment, each with the number of the last change that they were given.
    behind: dict[Socket, int] = field(default_factory=dict)
    # The newest frame of each kind of which only the newest counts: for those who were behind when it came.
    latest: dict[str, str] = field(default_factory=dict)
    # Frames that wait for the next tick.
    ready: list[str] = field(default_factory=list)
    # When that is, in the loop's time, and what will write them; None while nothing waits.
    next_at: float = 0.0
    tick: asyncio.TimerHandle | None = None
    # How many hold the room open: its sockets and those that are coming in.
    holders: int = 0
    # Did the layer take us into the room's group? None until it was asked.
    subscribed: bool | None = None
    # Held while the group is joined or left, so that the two never cross.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def audience(self) -> int:
        """How many sockets are in the room, those that are behind too."""
        return len(self.sockets) + len(self.behind)


class Hub:
    """One per event loop: ``of_this_loop(Hub)``."""

    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}
        self._rooms: dict[str, OpenRoom] = {}
        # The truth of what is delivered.
        self.log = of_this_loop(Log)
        self._layer = get_channel_layer()
        if self._layer is None:
            raise RuntimeError("CHANNEL_LAYERS has no default layer; chat.checks says what to set.")
        # Our name in the layer, made by it.
        self._channel = ""
        # Messages that wait for their turn to be published, each with who waits for it, and the task that does it.
        self._outgoing: deque[tuple[dict[str, Any], asyncio.Future[None] | None]] = deque()
        self._publisher: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        # Those that leave the groups of rooms that nobody is in any more.
        self._shutting: set[asyncio.Task[None]] = set()
        self._started = asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    # --- Sockets come and go ---

    def add(self, socket: Socket) -> None:
        self.sockets[socket.id] = socket
        socket.lane.on_full = partial(self._fall_behind, socket)
        socket.lane.on_drained = partial(self._catch_up, socket)

    def remove(self, socket: Socket) -> None:
        """The socket is gone: out of every room, and forgotten."""
        self.sockets.pop(socket.id, None)
        for slug in list(socket.rooms):
            self.exit(slug, socket)

    async def open(self, slug: str) -> OpenRoom:
        """Subscribe to a room and hold it open; every ``open`` needs its ``release``."""
        room = self._rooms.get(slug)
        if room is None:
            log = self.log.open(slug)
            room = self._rooms[slug] = OpenRoom(slug, log.epoch, position=log.seq, written=log.seq)
        room.holders += 1
        try:
            await self._start()
            async with room.turn:
                # Only the first asks: while the layer is away, the others need not wait for it one after another.
                if room.subscribed is None:
                    room.subscribed = False
                    await self._subscribe(room)
        except BaseException:
            self.release(room)
            raise
        return room

    async def _subscribe(self, room: OpenRoom) -> None:
        """Join the room's group. Where the layer is away, the room works within this process until a renewal."""
        room.subscribed = await self._name_us() and await self._guarded(
            self._layer.group_add(group_name(room.slug), self._channel)
        )

    def release(self, room: OpenRoom) -> None:
        """Let go of a room. The layer hears of it in the background: who leaves does not wait for it."""
        room.holders -= 1
        if room.holders == 0:
            task = asyncio.get_running_loop().create_task(self._shut(room))
            self._shutting.add(task)
            task.add_done_callback(self._shutting.discard)

    async def _shut(self, room: OpenRoom) -> None:
        async with room.turn:
            if room.holders:
                return
            if room.subscribed is not None:
                await self._guarded(self._layer.group_discard(group_name(room.slug), self._channel))
                room.subscribed = None
            # Somebody may have come while the layer was busy: they wait for this turn, with the same room.
            if self._rooms.get(room.slug) is room and room.holders == 0:
                del self._rooms[room.slug]
                self.log.release(room.slug)
                if room.tick:
                    room.tick.cancel()

    def can_resume(self, room: OpenRoom, since: int | None, epoch: str | None) -> bool:
        """Can everything after ``since`` be told? Not without the epoch that it is of: it may be another's."""
        return None not in (since, epoch) and self.log.since(room.slug, since or 0, epoch) is not None

    def welcome(self, room: OpenRoom, socket: Socket, *, resumed: bool, ref: Ref | None = None) -> None:
        """Tell a socket where in the room's log it is."""
        welcome = Welcome(
            room=room.slug,
            username=socket.username or "",
            seq=room.written,
            epoch=room.epoch,
            resumed=resumed,
            timestamp=protocol.now(),
            ref=ref or UNSET,
        )
        socket.lane.say(protocol.encode(welcome))

    def enter(self, room: OpenRoom, socket: Socket, since: int | None = None) -> None:
        """Give a socket what came after ``since``, and then what is written in the room.

        A socket that is in the room already goes back to ``since``. Otherwise it takes over the caller's hold.
        """
        if room.slug in socket.rooms:
            self.release(room)
        socket.rooms.add(room.slug)
        room.sockets.discard(socket)
        room.behind[socket] = room.written if since is None else since
        if not socket.lane.full:
            self._go_on(room, socket, late=False)

    def exit(self, slug: str, socket: Socket) -> None:
        socket.rooms.discard(slug)
        room = self._rooms.get(slug)
        if room and (socket in room.sockets or socket in room.behind):
            room.sockets.discard(socket)
            room.behind.pop(socket, None)
            self.release(room)

    def audience(self, slug: str) -> int:
        """How many sockets here are in the room."""
        room = self._rooms.get(slug)
        return room.audience if room else 0

    def rooms(self) -> dict[str, int]:
        """The open rooms, each with how many sockets are in it."""
        return {slug: room.audience for slug, room in list(self._rooms.items())}

    def disconnect(self, socket_id: str, code: CloseCode) -> bool:
        """Close a socket of ours. False where it is not (or no longer) here."""
        socket = self.sockets.get(socket_id)
        if socket:
            socket.lane.close(code)
        return socket is not None

    # --- Slow readers ---

    def _fall_behind(self, socket: Socket) -> None:
        """Too much waits for the socket: write it no more until that is gone."""
        for slug in socket.rooms:
            room = self._rooms[slug]
            if socket in room.sockets:
                room.sockets.discard(socket)
                room.behind[socket] = room.written
        socket.falls += 1
        self._watch(socket)

    def _watch(self, socket: Socket) -> None:
        """Look again after a while: a slow socket has read something by then, a stuck one is closed."""
        self._loop.call_later(chat_settings().STUCK, self._judge, socket, socket.falls, socket.lane.unread)

    def _judge(self, socket: Socket, falls: int, before: int) -> None:
        if not socket.lane.full or socket.falls > falls or socket.id not in self.sockets:
            # It has drained since, or is gone.
            return
        if socket.lane.unread >= before:
            socket.lane.close(CloseCode.TOO_SLOW)
        else:
            self._watch(socket)

    def _catch_up(self, socket: Socket) -> None:
        """The socket's lane has drained: go on in each room where it was left, until the lane is full again."""
        for slug in list(socket.rooms):
            room = self._rooms[slug]
            if socket in room.behind and not socket.lane.full:
                self._go_on(room, socket, late=True)

    def _go_on(self, room: OpenRoom, socket: Socket, *, late: bool) -> None:
        """Write what the socket misses in the room, as far as its lane takes it; with the last it is live.

        One that comes ``late`` also gets what it may have missed of the kinds of which only the newest counts.
        """
        missed = self.log.since(room.slug, room.behind[socket])
        if missed is None:
            self.welcome(room, socket, resumed=False)
            missed = []
        chunk, size = [], 0
        for entry in missed:
            if entry.seq > room.written:
                break
            chunk.append(entry.frame)
            size += len(entry.frame)
            if size >= CHUNK:
                room.behind[socket] = entry.seq
                socket.lane.write(Batch(chunk))
                if socket.lane.full:
                    return
                chunk, size = [], 0
        del room.behind[socket]
        room.sockets.add(socket)
        if late:
            chunk += room.latest.values()
        if chunk:
            socket.lane.write(Batch(chunk))

    # --- Frames out to the layer ---

    async def publish(self, slug: str, frame: str, seq: int | None = None) -> None:
        """Send a frame to everybody in the room, in every process, after those given before it.

        With ``seq`` it keeps the room's order.
        """
        message = _delivery(slug, frame, seq, None if seq is None else self.log.open(slug).epoch)
        if self._publisher is None:
            await self._send(message)
        else:
            done = asyncio.get_running_loop().create_future()
            self._outgoing.append((message, done))
            await done
        room = self._rooms.get(slug)
        while seq is not None and room and seq - room.position > LEAD:
            # Who speaks faster than the hub delivers waits here, not in the layer.
            await asyncio.sleep(TICK)
            room = self._rooms.get(slug)

    def publish_soon(self, slug: str, frame: str, *, latest: str | None = None) -> None:
        """As ``publish``, for a frame without a number; returns at once.

        Who is behind does not get it, unless it is the newest of the kind ``latest`` when they have caught up.
        """
        self._outgoing.append((_delivery(slug, frame, latest=latest), None))
        if self._publisher is None:
            self._publisher = asyncio.get_running_loop().create_task(self._publish_waiting())

    async def _publish_waiting(self) -> None:
        try:
            while self._outgoing:
                message, done = self._outgoing.popleft()
                await self._send(message)
                if done and not done.done():
                    done.set_result(None)
        finally:
            self._publisher = None

    async def _send(self, message: dict[str, Any]) -> None:
        carried = await self._guarded(self._layer.group_send(group_name(message["room"]), message))
        room = self._rooms.get(message["room"])
        if room and not (carried and room.subscribed):
            # The layer is away, or does not know us yet: those in this process hear it all the same.
            self._deliver(message)

    async def _guarded(self, call: Any) -> bool:
        """Await a call to the layer. A layer may fail in ways of its own; that must not reach a socket."""
        try:
            await call
        except Exception:
            # Each layer raises its own library's errors, and they share no base.
            logger.warning("the channel layer failed", exc_info=True)
            return False
        return True

    # --- Frames in from the layer ---

    async def _start(self) -> None:
        async with self._started:
            if not self._tasks:
                await self._name_us()
                create = asyncio.get_running_loop().create_task
                self._tasks = [create(self._receive()), create(self._reconcile()), create(self._renew())]

    async def _name_us(self) -> bool:
        """Have a channel of our own in the layer, if it is there."""

        async def ask() -> None:
            self._channel = await self._layer.new_channel("chat.hub")

        return bool(self._channel) or await self._guarded(ask())

    async def _receive(self) -> None:
        while not self._channel:  # noqa: ASYNC110 until a renewal finds the layer there
            await asyncio.sleep(RETRY)
        for received in count(1):
            try:
                message = await self._layer.receive(self._channel)
                self._deliver(message)
            except Exception:
                # The layer, or a message that is not ours: neither may end the deliveries.
                logger.exception("a message from the channel layer was not delivered")
                await asyncio.sleep(RETRY)
            # A layer in memory does not suspend while messages wait.
            if received % TURN == 0:
                await asyncio.sleep(0)

    def _deliver(self, message: dict[str, Any]) -> None:
        room = self._rooms.get(message["room"])
        if room is None:
            return
        seq = message["seq"]
        if seq is None:
            if message["latest"]:
                room.latest[message["latest"]] = message["frame"]
        else:
            if message["epoch"] != room.epoch or seq <= room.position:
                return
            if seq > room.position + 1:
                self._read_gap(room, seq - 1)
            room.position = seq
        self._write(room, (message["frame"],))

    def _read_gap(self, room: OpenRoom, last: int) -> None:
        """Deliver from the log what the layer did not bring, up to the number ``last``."""
        missed = self.log.since(room.slug, room.position)
        if missed is None:
            self._start_over(room, last)
            return
        room.position = last
        self._write(room, [entry.frame for entry in missed if entry.seq <= last])

    def _start_over(self, room: OpenRoom, last: int) -> None:
        """The log no longer has what the room's sockets lack: tell them so, and go on after ``last``."""
        logger.error("room %s: the log no longer has what follows %d", room.slug, room.position)
        if room.tick:
            room.tick.cancel()
        self._flush(room)
        room.position = room.written = last
        for socket in tuple(room.sockets):
            self.welcome(room, socket, resumed=False)

    def _write(self, room: OpenRoom, frames: Sequence[str]) -> None:
        """Write to the room's sockets: now after quiet, else with the next tick."""
        room.ready.extend(frames)
        if room.tick is None:
            if self._loop.time() >= room.next_at:
                self._flush(room)
            else:
                room.tick = self._loop.call_at(room.next_at, self._flush, room)

    def _flush(self, room: OpenRoom) -> None:
        batch, room.ready, room.tick = Batch(room.ready), [], None
        room.written = room.position
        # A copy: a socket whose lane becomes full leaves the set.
        for socket in tuple(room.sockets):
            socket.lane.write(batch)
        # Counted from the end: in a big room the writes alone take longer than a tick, and what comes meanwhile
        # would otherwise leave one by one.
        room.next_at = self._loop.time() + TICK

    async def _reconcile(self) -> None:
        before: dict[OpenRoom, int] = {}
        while True:
            await asyncio.sleep(RECONCILE)
            for room in list(self._rooms.values()):
                last = self.log.open(room.slug).seq
                # Where something came since the last time, more is on its way: only what stands still is lost.
                if before.get(room) == room.position < last:
                    self._read_gap(room, last)
            before = {room: room.position for room in self._rooms.values()}

    async def _renew(self) -> None:
        for rounds in count(1):
            await asyncio.sleep(RECONCILE)
            for room in list(self._rooms.values()):
                if rounds % RENEW == 0 or room.subscribed is False:
                    async with room.turn:
                        if room.holders:
                            await self._subscribe(room)

    async def close(self) -> None:
        """Leave the layer and end the hub's tasks. The sockets are their server's to close."""
        for room in list(self._rooms.values()):
            room.holders = 1
            self.release(room)
        if self._shutting:
            await asyncio.wait(self._shutting, timeout=RECONCILE)
        tasks = [*self._tasks, *self._shutting, *([self._publisher] if self._publisher else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []
        for _, done in self._outgoing:
            if done:
                done.cancel()
        self._outgoing.clear()


def _delivery(
    slug: str, frame: str, seq: int | None = None, epoch: str | None = None, *, latest: str | None = None
) -> dict[str, Any]:
    """The one type of message that we put on the layer: text for a room, numbered or not."""
    return {"type": "hub.deliver", "room": slug, "frame": frame, "seq": seq, "epoch": epoch, "latest": latest}


def group_name(slug: str) -> str:
    """A room's channel group. A slug has only characters that layers take, and fits their 99."""
    return f"chat.room.{slug}"
