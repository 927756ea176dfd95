"""This process's sockets and the open rooms that they are in. It knows no chat: chat.actions stands on it.

The hub, not each socket, is the member of a room's channel group: one subscription per room and process, one copy
of each event through the layer. The hub then writes the same text to every socket. Measured on channels 4.3.2: a
group of 4,000 consumers on the in-memory layer takes 8 s for one broadcast.

The layer is a hint, the log is the truth. Numbered changes are delivered in order, old ones are dropped, a gap is
read from the log. Once a second the hub compares its positions with the log's (chat.hub.reconcile), so whatever
the layer lost, and whatever another process wrote, arrives then. While the layer is away everything goes on within
this process, and clients are told that events of other processes may be late.

A room's frames that become ready within one tick leave in one write per socket. The first after quiet leaves at
once: a tick bounds the number of writes, it is no delay. A big room takes half of the loop's time at most.

A slow consumer falls behind: it gets nothing more until its transport has drained, and then catches up from the
log. Nobody waits for it, and all that is kept for it is a position. A client that comes back catches up in the
same way.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count, islice
from typing import Any

from chat.conf import chat_settings
from chat.hub.bus import Bus, Event, LayerState
from chat.hub.cluster import ClusterEvents, people_part
from chat.hub.cluster_query import Answer
from chat.hub.degraded_notice import DegradedNotice
from chat.hub.open_rooms import Kind, OpenRooms
from chat.hub.reconcile import RECONCILE, Reconciler
from chat.hub.room import OpenRoom
from chat.hub.sockets import Socket
from chat.hub.stall_detector import StallDetector
from chat.limits import Limits
from chat.log import Change, RoomLog
from chat.loops import end_tasks
from chat.metrics.counters import counters
from chat.protocol import CloseCode

RENEW = 60
"""Seconds between two renewals of the group memberships. Layers end them: the in-memory one after 24 hours, or
at once when a message waited for 60 s in a process that hung."""


class Hub:
    """One per event loop. A room is of the first of ``kinds`` that accepts its name."""

    def __init__(
        self, kinds: Sequence[Kind[Any]], limits: Limits, *, answers: Mapping[str, Answer] | None = None
    ) -> None:
        self.sockets: dict[str, Socket] = {}
        # Called with what a process publishes about the people in a room (chat.presence).
        self.on_presence: Callable[[str, Any], None] = _nothing
        # Called when the channel layer is there again.
        self.on_layer_back: list[Callable[[], None]] = []
        # True: the server is stopping and takes no more connections.
        self.draining = False
        self._bus = Bus(self._deliver, self._receive, self._is_subscribed, self._layer_back)
        self.cluster = ClusterEvents(self._bus, limits, answers or {}, self._disconnect_all)
        self.degraded = DegradedNotice()
        self._rooms = OpenRooms(kinds, self._bus, self._start)
        self._reconciler = Reconciler(self._rooms)
        self.stalls = StallDetector(self._learn)
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    @property
    def is_alone(self) -> bool:
        """Is the channel layer away? Events of other processes are then a little late."""
        return self._bus.is_away

    @property
    def layer(self) -> LayerState:
        return self._bus.state

    @property
    def name(self) -> str:
        """This hub's name among all hubs; "" before the layer has given it."""
        return self._bus.name

    def is_alive(self, name: str) -> bool:
        """Is the hub with this name alive, as far as is known?"""
        return self._bus.is_alive(name)

    @property
    def comparisons(self) -> int:
        """How often it was compared with the database so far."""
        return self._reconciler.rounds

    def compare_soon(self) -> None:
        """Compare with the database now: something else wrote to it."""
        self._reconciler.soon()

    def follow(self) -> None:
        """Join the other hubs, and find out how the layer is: also before the first socket."""
        if not self._tasks:
            works = (self._bus.receive(), self._reconciler.run(), self._renew(), self.stalls.watch())
            self._tasks = [self._loop.create_task(work) for work in works]

    # --- Sockets ---

    def add(self, socket: Socket) -> None:
        self.sockets[socket.id] = socket
        socket.transport.on_full = partial(self._fall_behind, socket)
        socket.transport.on_drained = partial(self._catch_up, socket)

    def remove(self, socket: Socket) -> None:
        """The socket is closed: take it out of every room, and forget it."""
        self.sockets.pop(socket.id, None)
        for slug in list(socket.rooms):
            self.exit(slug, socket)

    def next_sockets(self, number: int) -> list[Socket]:
        """The ``number`` sockets that were returned here, or came, the longest ago."""
        found = list(islice(self.sockets.values(), number))
        for socket in found:
            self.sockets[socket.id] = self.sockets.pop(socket.id)
        return found

    def disconnect(self, socket_id: str, code: CloseCode) -> bool:
        """Close a socket of this process. False if it is not here (any more)."""
        socket = self.sockets.get(socket_id)
        if socket:
            socket.transport.close(code)
        return socket is not None

    def disconnect_everywhere(self, ids: Sequence[str]) -> None:
        """Close these sockets with 4403, for the staff, in whichever process they are."""
        self._bus.publish_to_all(("disconnect", tuple(ids)))

    def _disconnect_all(self, ids: Sequence[str]) -> None:
        for socket_id in ids:
            self.disconnect(socket_id, CloseCode.FORBIDDEN)

    # --- Rooms ---

    async def open(self, slug: str, *, make: bool = True, owner: int | str | None = None) -> OpenRoom:
        """Subscribe to a room and hold it open. Every ``open`` needs its ``release``.

        ``make``: a room that does not exist is created, for its owner. Raises Invalid: no_room if it does not
        exist otherwise, busy without the database.
        """
        return await self._rooms.open(slug, make=make, owner=owner)

    def release(self, room: OpenRoom) -> None:
        """Give up a hold on a room."""
        self._rooms.release(room)

    def enter(self, room: OpenRoom, socket: Socket, since: int | None = None) -> None:
        """Send a socket the changes after ``since``, then what is written in the room.

        A socket that is in the room goes back to ``since``. Otherwise it takes over the caller's hold.
        """
        if room.has(socket):
            self.release(room)
        socket.rooms.setdefault(room.slug, None)
        room.enter(socket, since)

    def exit(self, slug: str, socket: Socket) -> None:
        socket.rooms.pop(slug, None)
        room = self._rooms.get(slug)
        if room and room.exit(socket):
            self.release(room)

    def room(self, slug: str) -> OpenRoom | None:
        """The room, if it is open in this process."""
        return self._rooms.get(slug)

    def rooms(self) -> dict[str, OpenRoom]:
        """The open rooms."""
        return {room.slug: room for room in self._rooms.all()}

    def audience(self, slug: str) -> int:
        """Number of this process's sockets in the room."""
        room = self._rooms.get(slug)
        return room.audience if room else 0

    # --- Rules ---

    def policy_changed(self, slug: str) -> None:
        """Load the room's rules again in this process, and have the others load them."""
        if room := self._rooms.get(slug):
            room.reload()
        self.publish(slug, ("rules",))

    def all_policies_changed(self) -> None:
        """Have the rules of all rooms that are open here loaded again. Other processes find out by comparing."""
        for room in self._rooms.all():
            self.policy_changed(room.slug)

    def people_changed(self, people: Sequence[str] = (), sessions: Sequence[str] = ()) -> None:
        """Have every process check these people's sockets again, and end those of these sessions."""
        self._bus.publish_to_all(people_part(people, sessions))

    async def policy_loaded(self, slug: str) -> None:
        """Return when the room's rules are here, if a load has begun."""
        if room := self._rooms.get(slug):
            await room.loaded()

    async def reload(self, slug: str) -> None:
        """Have the room's rules here as the database has them now."""
        if room := self._rooms.get(slug):
            await asyncio.shield(room.reload())

    # --- Slow consumers ---

    def _fall_behind(self, socket: Socket) -> None:
        """Too much waits for the socket: write to it no more until that is gone."""
        for slug in socket.rooms:
            self._room_of(slug).fall_behind(socket)
        socket.falls += 1
        counters.falls += 1
        self._watch(socket)

    def _watch(self, socket: Socket) -> None:
        """Check again after STUCK seconds: a slow client has read something by then, a stuck one is closed."""
        self._loop.call_later(
            chat_settings().STUCK, self._check_stuck, socket, socket.falls, socket.transport.unread
        )

    def _check_stuck(self, socket: Socket, falls: int, before: int) -> None:
        if not socket.transport.full or socket.falls > falls or socket.id not in self.sockets:
            # It has drained since, or is closed.
            return
        if socket.transport.unread >= before:
            socket.transport.close(CloseCode.TOO_SLOW)
        else:
            self._watch(socket)

    def _catch_up(self, socket: Socket) -> None:
        """The socket's transport has drained: go on in each room from its position, until it is full again."""
        for slug in list(socket.rooms):
            self._room_of(slug).go_on(socket)

    def _room_of(self, slug: str) -> OpenRoom:
        """A room that a socket is in."""
        room = self._rooms.get(slug)
        if room is None:
            raise KeyError(slug)
        return room

    # --- Out ---

    def publish_changes(self, log: RoomLog, changes: list[Change]) -> None:
        """The log has committed changes: publish them to everybody in the room, in every process."""
        self._bus.publish_changes(log.slug, log.epoch, changes)

    def publish(self, slug: str, event: Event) -> None:
        """Publish an event of the room's kind to every process (``OpenRoom.receive``)."""
        self._bus.publish(slug, event)

    def publish_soon(self, slug: str, frame: str) -> None:
        """Send everybody in the room a frame without a number. Sockets that are behind do not get it."""
        self._bus.publish(slug, ("frame", frame))

    def publish_to(self, slug: str, person: str, frame: str, *, but: str) -> None:
        """Send a frame to one person's sockets in the room, in every process, except the one with the id ``but``.

        ``person``: a chat.auth.Identity.key.
        """
        self._bus.publish(slug, ("to", person, frame, but))

    def publish_presence(self, slug: str, changes: Sequence[Any]) -> None:
        """Publish who joined and left to every process, this one too, in order with all else that is published."""
        self._bus.publish(slug, ("presence", *changes))

    def publish_to_all(self, kind: str, *values: Any) -> None:
        """Publish an event to every hub, this one too (``ClusterEvents.handlers``)."""
        self._bus.publish_to_all((kind, *values))

    def deliver_here(self, name: str, change: Change) -> None:
        """Deliver a change that this process numbered for itself."""
        if room := self._rooms.get(name):
            room.deliver((change,))

    def reload_here(self, name: str) -> None:
        """Load the rules of a room of this process again; without a name those of all."""
        for room in self._rooms.all():
            if name in ("", room.slug):
                room.reload()

    def write_here(self, slug: str, frame: str, *, latest: str | None = None) -> None:
        """Send a frame to the room's sockets of this process.

        Sockets that are behind get it only if it is the newest of the kind ``latest`` when they have caught up.
        """
        room = self._rooms.get(slug)
        if room:
            if latest:
                room.keep_latest(latest, frame)
            room.write((frame,))

    def disconnect_person(self, person: str) -> None:
        """Close this process's sockets of a person (an identity's key) with 4403."""
        for socket in self._sockets_of(person):
            socket.transport.close(CloseCode.FORBIDDEN)

    def write_to_person(self, person: str, frame: str) -> None:
        """Send a frame to this process's sockets of a person, whatever rooms they are in."""
        for socket in self._sockets_of(person):
            socket.transport.send(frame)

    def _sockets_of(self, person: str) -> list[Socket]:
        return [socket for socket in self.sockets.values() if socket.identity.key == person]

    async def ask_all(self, topic: str, question: Any) -> list[Any]:
        """The answers of all processes to a question, ours first (chat.hub.cluster_query)."""
        await self._start()
        return await self.cluster.queries.ask(topic, question)

    # --- In ---

    def _deliver(self, slug: str, event: Event) -> None:
        room = self._rooms.get(slug)
        if room is None:
            return
        match event:
            case "changes", epoch, changes:
                if epoch == room.log.epoch:
                    room.deliver(changes)
            case "frame", frame:
                room.write((frame,))
            case "to", person, frame, but:
                room.send_to(person, frame, but=but)
            case "presence", *changes:
                self.on_presence(slug, changes)
            case ("rules",):
                room.reload()
            case _:
                room.receive(event)

    def _receive(self, origin: str, event: Event) -> None:
        self.cluster.receive(origin, event)

    def _is_subscribed(self, slug: str) -> bool:
        """True if the layer delivers this room to us. Rooms that nobody here is in count as delivered."""
        room = self._rooms.get(slug)
        return room is None or bool(room.subscription.joined)

    async def _start(self) -> None:
        self.follow()
        await self._bus.started()

    def _layer_back(self) -> None:
        """The layer is there again. It may have lost anything, also our group memberships."""
        for room in self._rooms.all():
            room.subscription.lose()
        self._reconciler.soon()
        for callback in self.on_layer_back:
            callback()

    async def _learn(self) -> None:
        """Read everything that the log has of the open rooms: changes and rules."""
        if rooms := self._rooms.all():
            await self._reconciler.compare(patient=False)
            for room in rooms:
                await room.caught_up()

    async def _renew(self) -> None:
        for rounds in count(1):
            due = rounds % RENEW == 0
            if due:
                await self._bus.join_all_hubs()
            await self._bus.beat(*self.cluster.report())
            self.degraded.check(self.sockets.values(), self._rooms.all(), away=self.is_alone)
            await asyncio.sleep(RECONCILE)
            for room in self._rooms.all():
                await room.subscription.renew(self._bus, due=due)

    async def close(self) -> None:
        """Leave the layer and end the hub's tasks. The server closes its sockets itself."""
        await self._rooms.close()
        loading = (task for room in self._rooms.all() for task in room.loading_tasks())
        await end_tasks(*self._tasks, *loading)
        self._tasks = []
        await self._bus.close()


def _nothing(*_: Any) -> None:
    pass
