"""The sockets of one process and the rooms they are in. The only place that speaks to the channel layer.

The hub, not each socket, is the member of a room's channel group: one subscription per room and process, one
copy of each message through the layer, and a fan-out here that writes the same text to every socket. Measured
on channels 4.3.2, a group of 4,000 consumers on the in-memory layer takes 8 s for one broadcast.

The layer is a hint, the log is the truth. Numbered frames are delivered in order, old ones are dropped, a gap
is read from the log; once a second the hub compares its positions with the log's, so whatever the layer lost, and
whatever another process wrote, arrives then. While the layer is away all goes on within this process, and who is
here is told that the others may be late.

A room's frames that become ready within one tick leave in one write for each socket. The first after quiet goes
out at once: a tick is a bound on writes, not a delay. A big room takes half of the loop's time for them at most.

A socket that reads too slowly falls behind: it gets nothing more until its lane has drained, and is then caught up
from the log. Nobody waits for it, and what is kept for it is a position. Who comes back is caught up the same way.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count, islice
from typing import Any

from chat.conf import chat_settings
from chat.hub.bus import Bus, Event, LayerState
from chat.hub.cluster import ClusterEvents, people_part
from chat.hub.degraded_notice import DegradedNotice
from chat.hub.open_rooms import OpenRooms
from chat.hub.policy_loader import PolicyLoader
from chat.hub.reconcile import RECONCILE, Reconciler
from chat.hub.room import OpenRoom
from chat.hub.sockets import PLAIN, Socket
from chat.hub.stall_detector import StallDetector
from chat.log import Change, Log, RoomLog
from chat.loops import current
from chat.metrics.counters import counters
from chat.protocol import CloseCode

RENEW = 60
"""Seconds between two renewals of the group memberships. Layers end them: the in-memory one after 24 hours, or
at once when a message waited for 60 s in a process that hung."""


class Hub:
    """One per event loop: ``of_this_loop(Hub)``."""

    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}
        # The truth of what is delivered.
        self.log = current(Log)
        self.log.on_committed = self._publish
        # Called with what some process says of who is in a room (chat.presence).
        self.on_presence: Callable[[str, Any], None] = _nothing
        # Called when the layer is there again.
        self.on_return: list[Callable[[], None]] = []
        # Set by a server that is stopping: it takes nobody any more.
        self.draining = False
        self._bus = Bus(self._deliver, self._hear, self._is_subscribed, self._returned)
        self.cluster = ClusterEvents(self._bus, self._disconnect_all)
        self.degraded = DegradedNotice()
        self._open_rooms = OpenRooms(self.log, self._bus, self._start)
        self._rooms = self._open_rooms.rooms
        self.rules = PolicyLoader(self._rooms)
        self._comparison = Reconciler(self.log, self._rooms, self.rules)
        self.stalls = StallDetector(self._learn)
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    @property
    def is_alone(self) -> bool:
        """Is the channel layer away? Then what is said in other processes comes a little late."""
        return self._bus.is_away

    @property
    def layer(self) -> LayerState:
        return self._bus.state

    def follow(self) -> None:
        """Be one of the hubs from now on, and find out how the layer is: before the first socket too."""
        if not self._tasks:
            self._begin()

    # --- Sockets come and go ---

    def add(self, socket: Socket) -> None:
        self.sockets[socket.id] = socket
        socket.transport.on_full = partial(self._fall_behind, socket)
        socket.transport.on_drained = partial(self._catch_up, socket)

    def remove(self, socket: Socket) -> None:
        """The socket is gone: out of every room, and forgotten."""
        self.sockets.pop(socket.id, None)
        for slug in list(socket.rooms):
            self.exit(slug, socket)

    def next_sockets(self, number: int) -> list[Socket]:
        """So many sockets, those first that came, or were told here, longest ago."""
        found = list(islice(self.sockets.values(), number))
        for socket in found:
            self.sockets[socket.id] = self.sockets.pop(socket.id)
        return found

    def _disconnect_all(self, ids: Sequence[str]) -> None:
        for socket_id in ids:
            self.disconnect(socket_id, CloseCode.FORBIDDEN)

    def disconnect_everywhere(self, ids: Sequence[str]) -> None:
        """Close these sockets, by the staff (4403), in whichever process they are."""
        self._bus.tell(("disconnect", tuple(ids)))

    async def ask_all(self, topic: str, question: Any) -> list[Any]:
        """What every process answers to a question, ours first (chat.hub.cluster_query)."""
        await self._start()
        return await self.cluster.queries.ask(topic, question)

    def disconnect(self, socket_id: str, code: CloseCode) -> bool:
        """Close a socket of ours. False where it is not (or no longer) here."""
        socket = self.sockets.get(socket_id)
        if socket:
            socket.transport.close(code)
        return socket is not None

    # --- Rooms open and close ---

    async def open(self, slug: str, *, make: bool = True, owner: int | str | None = None) -> OpenRoom:
        """Subscribe to a room and hold it open; every ``open`` needs its ``release``.

        Where there is none it is made, for its owner. Raises Invalid: no_room where there is none and not
        ``make``, busy where the database doesn't answer.
        """
        return await self._open_rooms.open(slug, make=make, owner=owner)

    def release(self, room: OpenRoom) -> None:
        """Let go of a room."""
        self._open_rooms.release(room)

    def enter(self, room: OpenRoom, socket: Socket, since: int | None = None) -> None:
        """Give a socket what came after ``since``, and then what is written in the room.

        A socket that is in the room already goes back to ``since``. Otherwise it takes over the caller's hold.
        """
        if room.has(socket):
            self.release(room)
        socket.rooms.setdefault(room.slug, PLAIN)
        room.enter(socket, since)

    def exit(self, slug: str, socket: Socket) -> None:
        socket.rooms.pop(slug, None)
        room = self._rooms.get(slug)
        if room and room.exit(socket):
            self.release(room)

    def room(self, slug: str) -> OpenRoom | None:
        """The room, where somebody here is in it."""
        return self._rooms.get(slug)

    def rooms(self) -> dict[str, OpenRoom]:
        """The open rooms."""
        return dict(self._rooms)

    def audience(self, slug: str) -> int:
        """How many sockets here are in the room."""
        room = self._rooms.get(slug)
        return room.audience if room else 0

    # --- Rules ---

    def policy_changed(self, slug: str) -> None:
        """Have every process load the room's rules anew."""
        self._bus.publish(slug, ("rules",))

    def all_policies_changed(self) -> None:
        """Have the rules of all rooms that are open here loaded anew; other processes find out by comparing."""
        for slug in self._rooms:
            self.policy_changed(slug)

    def people_changed(self, people: Sequence[str] = (), sessions: Sequence[str] = ()) -> None:
        """Have every process look at these people's sockets again, and end those of these sessions."""
        self._bus.tell(people_part(people, sessions))

    async def reload(self, slug: str) -> None:
        """Have the room's rules here as the database has them now."""
        if room := self._rooms.get(slug):
            await asyncio.shield(self.rules.reload(room))

    # --- Slow readers ---

    def _fall_behind(self, socket: Socket) -> None:
        """Too much waits for the socket: write it no more until that is gone."""
        for slug in socket.rooms:
            self._rooms[slug].fall_behind(socket)
        socket.falls += 1
        counters.falls += 1
        self._watch(socket)

    def _watch(self, socket: Socket) -> None:
        """Look again after a while: a slow socket has read something by then, a stuck one is closed."""
        self._loop.call_later(chat_settings().STUCK, self._judge, socket, socket.falls, socket.transport.unread)

    def _judge(self, socket: Socket, falls: int, before: int) -> None:
        if not socket.transport.full or socket.falls > falls or socket.id not in self.sockets:
            # It has drained since, or is gone.
            return
        if socket.transport.unread >= before:
            socket.transport.close(CloseCode.TOO_SLOW)
        else:
            self._watch(socket)

    def _catch_up(self, socket: Socket) -> None:
        """The socket's lane has drained: go on in each room where it was left, until the lane is full again."""
        for slug in list(socket.rooms):
            self._rooms[slug].go_on(socket)

    # --- Through the layer ---

    def _publish(self, log: RoomLog, changes: list[Change]) -> None:
        """The log has committed something: tell everybody in the room, in every process."""
        self._bus.publish_changes(log.slug, log.epoch, changes)

    def publish_soon(self, slug: str, frame: str) -> None:
        """Send everybody in the room a frame without a number. Who is behind does not get it."""
        self._bus.publish(slug, ("frame", frame))

    def publish_to(self, slug: str, person: str, frame: str, *, but: str) -> None:
        """Send it to a person's sockets in the room, in every process, except the one with the id ``but``.

        The person is a chat.auth.Identity.key.
        """
        self._bus.publish(slug, ("to", person, frame, but))

    def publish_presence(self, slug: str, news: Sequence[Any]) -> None:
        """Tell every process, this one too, who came and went: in order with all else that is published here."""
        self._bus.publish(slug, ("presence", *news))

    def publish_speaker(self, slug: str, person: str) -> None:
        """Tell every process that somebody spoke in a room in slow mode, just now."""
        self._bus.publish(slug, ("spoke", person))

    def write_here(self, slug: str, frame: str, *, latest: str | None = None) -> None:
        """Send a frame to the room's sockets of this process.

        Who is behind does not get it, unless it is the newest of the kind ``latest`` when they have caught up.
        """
        room = self._rooms.get(slug)
        if room:
            if latest:
                room.latest[latest] = frame
            room.write((frame,))

    def _deliver(self, slug: str, part: Event) -> None:
        room = self._rooms.get(slug)
        if room is None:
            return
        match part:
            case "changes", epoch, changes:
                if epoch == room.log.epoch:
                    room.deliver(changes)
            case "frame", frame:
                room.write((frame,))
            case "to", person, frame, but:
                room.say_to(person, frame, but=but)
            case "presence", *news:
                self.on_presence(slug, news)
            case ("rules",):
                self.rules.reload(room)
            case "spoke", person:
                room.spoke[person] = self._loop.time()
            case _:
                raise ValueError(f"no news of a room: {part[0]!r}")

    def _hear(self, origin: str, part: Event) -> None:
        self.cluster.hear(origin, part)

    def _is_subscribed(self, slug: str) -> bool:
        """Does the layer bring us what is said in the room? So it does, for us, in one where nobody here is."""
        room = self._rooms.get(slug)
        return room is None or bool(room.subscribed)

    async def _start(self) -> None:
        self.follow()
        await self._bus.started()

    def _begin(self) -> None:
        self._tasks = [
            self._loop.create_task(work)
            for work in (
                self._bus.receive(),
                self._comparison.run(),
                self._renew(),
                self.stalls.watch(),
            )
        ]

    def _returned(self) -> None:
        """The layer is there again: it may have lost anything, memberships too."""
        for room in self._rooms.values():
            if room.subscribed:
                room.subscribed = False
        self._comparison.soon()
        for each in self.on_return:
            each()

    async def _learn(self) -> None:
        """Have all that the log has of the open rooms: what was said, and who may do what."""
        if self._rooms:
            await self._comparison.look(patient=False)
            for room in list(self._rooms.values()):
                await room.caught_up()

    async def _renew(self) -> None:
        for rounds in count(1):
            if rounds % RENEW == 0:
                await self._bus.join_people()
            await self._bus.beat(*self.cluster.news())
            self.degraded.look(self.sockets.values(), self._rooms.values(), away=self.is_alone)
            await asyncio.sleep(RECONCILE)
            for room in list(self._rooms.values()):
                if rounds % RENEW == 0 or room.subscribed is False:
                    async with room.turn:
                        if room.holders:
                            room.subscribed = await self._bus.subscribe(room.slug)

    async def close(self) -> None:
        """Leave the layer and end the hub's tasks. The sockets are their server's to close."""
        await self._open_rooms.close()
        loading = [room.loading for room in self._rooms.values() if room.loading]
        tasks = [*self._tasks, *loading]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []
        await self._bus.close()


def _nothing(*_: Any) -> None:
    pass
