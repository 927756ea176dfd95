"""The sockets of one process and the rooms they are in. The only place that speaks to the channel layer.

The hub, not each socket, is the member of a room's channel group: one subscription per room and process, one
copy of each message through the layer, and a fan-out here that writes the same text to every socket. Measured
on channels 4.3.2, a group of 4,000 consumers on the in-memory layer takes 8 s for one broadcast.

The layer is a hint, the log is the truth. Numbered frames are delivered in order, old ones are dropped, a gap
is read from the log; once a second the hub compares its positions with the log's, so whatever the layer lost
arrives then.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from channels.layers import get_channel_layer

from chat.lanes import PortableLane
from chat.log import Entry, Log
from chat.loops import of_this_loop
from chat.protocol import CloseCode

logger = logging.getLogger("chat.hub")

RECONCILE = 1.0
"""Seconds between two comparisons of the hub's positions with the log's."""
RENEW = 60
"""Comparisons between two renewals of the group memberships. Layers end them: the in-memory one after 24 hours, or
at once when a message waited for 60 s in a process that hung."""
RETRY = 0.5
"""Seconds before the layer is tried again after it failed."""


@dataclass(eq=False, slots=True)
class Socket:
    """One open socket, as others see it."""

    lane: PortableLane
    # The peer's address, as the server tells it; "" where it doesn't (a Unix socket, a test).
    address: str
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    since: float = field(default_factory=time.time)
    # The name it speaks under, from its first join on; None before.
    username: str | None = None
    # The rooms it is in.
    rooms: set[str] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class OpenRoom:
    """A room that somebody here is in, or is just coming into."""

    slug: str
    # Which life of the room's log its numbers are of.
    epoch: str
    # The number of the last change that was delivered to the sockets here.
    position: int
    # Who gets what is delivered.
    sockets: set[Socket] = field(default_factory=set)
    # How many hold the room open: its sockets and those that are coming in.
    holders: int = 0
    # Did the layer take us into the room's group? None until it was asked.
    subscribed: bool | None = None
    # Held while the group is joined or left, so that the two never cross.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Hub:
    """One per event loop: ``of_this_loop(Hub)``."""

    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}
        self._rooms: dict[str, OpenRoom] = {}
        self._log = of_this_loop(Log)
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

    # --- Sockets come and go ---

    def add(self, socket: Socket) -> None:
        self.sockets[socket.id] = socket

    async def remove(self, socket: Socket) -> None:
        """The socket is gone: out of every room, and forgotten."""
        self.sockets.pop(socket.id, None)
        for slug in list(socket.rooms):
            self.exit(slug, socket)

    async def open(self, slug: str) -> OpenRoom:
        """Subscribe to a room and hold it open; every ``open`` needs its ``release``."""
        room = self._rooms.get(slug)
        if room is None:
            log = self._log.open(slug)
            room = self._rooms[slug] = OpenRoom(slug, log.epoch, log.seq)
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
        room.subscribed = await self._guarded(self._layer.group_add(group_name(room.slug), self._channel))

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
                self._log.release(room.slug)

    def catch_up(self, room: OpenRoom, since: int | None, epoch: str | None) -> list[Entry] | None:
        """What was missed after ``since``, up to the hub's position; None where that can't be told whole.

        The caller writes it and calls ``enter`` without awaiting between: nothing comes in between, nothing
        comes twice.
        """
        missed = None if since is None else self._log.since(room.slug, since, epoch)
        return None if missed is None else [entry for entry in missed if entry.seq <= room.position]

    def enter(self, room: OpenRoom, socket: Socket) -> None:
        """From here on the socket gets what is delivered in the room. It takes over the caller's hold."""
        room.sockets.add(socket)
        socket.rooms.add(room.slug)

    def exit(self, slug: str, socket: Socket) -> None:
        socket.rooms.discard(slug)
        room = self._rooms.get(slug)
        if room and socket in room.sockets:
            room.sockets.discard(socket)
            self.release(room)

    def audience(self, slug: str) -> int:
        """How many sockets here are in the room."""
        room = self._rooms.get(slug)
        return len(room.sockets) if room else 0

    def rooms(self) -> dict[str, int]:
        """The open rooms, each with how many sockets are in it."""
        return {slug: len(room.sockets) for slug, room in list(self._rooms.items())}

    def disconnect(self, socket_id: str, code: CloseCode) -> bool:
        """Close a socket of ours. False where it is not (or no longer) here."""
        socket = self.sockets.get(socket_id)
        if socket:
            socket.lane.close(code)
        return socket is not None

    # --- Frames out to the layer ---

    async def publish(self, slug: str, frame: str, seq: int | None = None) -> None:
        """Send a frame to everybody in the room, in every process, after those given before it.

        With ``seq`` it keeps the room's order.
        """
        message = _delivery(slug, frame, seq, None if seq is None else self._log.open(slug).epoch)
        if self._publisher is None:
            await self._send(message)
        else:
            done = asyncio.get_running_loop().create_future()
            self._outgoing.append((message, done))
            await done

    def publish_soon(self, slug: str, frame: str) -> None:
        """As ``publish``, for a frame without a number; returns at once."""
        self._outgoing.append((_delivery(slug, frame), None))
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
                self._channel = await self._layer.new_channel("chat.hub")
                create = asyncio.get_running_loop().create_task
                self._tasks = [create(self._receive()), create(self._reconcile()), create(self._renew())]

    async def _receive(self) -> None:
        while True:
            try:
                message = await self._layer.receive(self._channel)
                self._deliver(message)
            except Exception:
                # The layer, or a message that is not ours: neither may end the deliveries.
                logger.exception("a message from the channel layer was not delivered")
                await asyncio.sleep(RETRY)
            # The in-memory layer does not suspend while messages wait: let the sockets' writers have a turn.
            await asyncio.sleep(0)

    def _deliver(self, message: dict[str, Any]) -> None:
        room = self._rooms.get(message["room"])
        if room is None:
            return
        seq = message["seq"]
        if seq is not None:
            if message["epoch"] != room.epoch or seq <= room.position:
                return
            if seq > room.position + 1:
                self._read_gap(room, seq - 1)
            room.position = seq
        self._write(room, (message["frame"],))

    def _read_gap(self, room: OpenRoom, last: int) -> None:
        """Deliver from the log what the layer did not bring, up to the number ``last``."""
        missed = self._log.since(room.slug, room.position)
        if missed is None:
            logger.error("room %s: the log no longer has what follows %d", room.slug, room.position)
            missed = []
        self._write(room, [entry.frame for entry in missed if entry.seq <= last])
        room.position = last

    def _write(self, room: OpenRoom, frames: Iterable[str]) -> None:
        for socket in room.sockets:
            for frame in frames:
                socket.lane.write(frame)

    async def _reconcile(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE)
            for room in list(self._rooms.values()):
                last = self._log.open(room.slug).seq
                if room.position < last:
                    self._read_gap(room, last)

    async def _renew(self) -> None:
        for rounds in count(1):
            await asyncio.sleep(RECONCILE)
            for room in list(self._rooms.values()):
                if rounds % RENEW == 0 or room.subscribed is False:
                    async with room.turn:
                        if room.holders:
                            await self._subscribe(room)

    async def close(self) -> None:
        """End the hub's tasks. The sockets are their server's to close."""
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


def _delivery(slug: str, frame: str, seq: int | None = None, epoch: str | None = None) -> dict[str, Any]:
    """The one type of message that we put on the layer: text for a room, numbered or not."""
    return {"type": "hub.deliver", "room": slug, "frame": frame, "seq": seq, "epoch": epoch}


def group_name(slug: str) -> str:
    """A room's channel group. A slug has only characters that layers take, and fits their 99."""
    return f"chat.room.{slug}"
