"""The operations of a socket on topics: subscribe, unsubscribe, publish, signal, be present, read entries."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from chat import protocol
from chat.conf import chat_settings
from chat.hub import Hub, Socket
from chat.log import Outcome, RoomLog, Source, Written, unavailable
from chat.loops import end_tasks
from chat.protocol import (
    Ack,
    Entries,
    ErrorCode,
    GetEntries,
    Invalid,
    Outgoing,
    Publish,
    SendSignal,
    SetPresence,
    Signal,
    Subscribe,
    Subscribed,
    Unsubscribe,
    given,
    is_topic,
    no_topic,
)
from chat.topics.declare import Memory, Topic, find
from chat.topics.entries import Item
from chat.topics.events import Event
from chat.topics.memory import MemoryLog, pack
from chat.topics.open_topic import OpenTopic, send_removed
from chat.topics.people import QUESTION as PEOPLE_QUESTION
from chat.topics.rights import Rights, RightsReader, Wish, forbidden
from chat.topics.topic_log import GATHER, TopicLog
from chat.topics.writer import Publishing


@dataclass(frozen=True, slots=True)
class Wanted:
    """An operation that waits for the project's permission."""

    wish: Wish
    carry_out: Callable[[], None]
    refuse: Callable[[Invalid], None]


class Subscriptions:
    """One per event loop."""

    def __init__(self, log: TopicLog, memory: MemoryLog, rights: RightsReader) -> None:
        self._log, self._memory, self._rights = log, memory, rights
        self._checks: set[asyncio.Task[None]] = set()
        # How often rights were asked for again. A subscription that is under way meanwhile is checked once more.
        self._rounds = 0
        # Operations that wait for the project's permission, in order, and the task that asks for it.
        self._wanted: list[Wanted] = []
        self._asking: asyncio.Task[None] | None = None
        # Set in chat.runtime, when the hub is there.
        self.hub: Hub

    def accepts(self, name: str) -> bool:
        """Is this the name of a topic in the database?"""
        return is_topic(name) and not self.is_memory(name)

    def is_memory(self, name: str) -> bool:
        topic = find(name) if is_topic(name) else None
        return topic is not None and isinstance(topic.keep, Memory)

    def take(self, write: Publishing) -> None:
        """Publish to all hubs what the outbox has of a topic in memory."""
        # Each process gives it numbers of its own.
        item = Item(
            number=0,
            seq=0,
            event=write.event,
            key=write.key,
            data=write.data,
            gone=write.gone,
            author=write.author,
            username=write.username,
            timestamp=protocol.now(),
        )
        self._memory.publish_to_all(write.topic.name, pack(item, self._memory.version(self.hub.name)))

    def take_all(self, writes: Sequence[Publishing]) -> None:
        for write in writes:
            self.take(write)

    def make_room(self, source: Source, row: RoomLog) -> OpenTopic:
        topic = find(row.slug)
        if topic is None:
            raise no_topic(row.slug)
        return OpenTopic(source, row, topic, self._recheck_room, self.greet)

    # --- Subscribe ---

    async def subscribe(self, socket: Socket, command: Subscribe) -> None:
        """Send the socket `subscribed`, then what it lacks, then live changes.

        Raises Invalid: no_topic, too_many_topics, busy.
        """
        topic = find(command.topic)
        if topic is None:
            raise no_topic(command.topic)
        self._check_number(socket, topic.name)
        identity, rounds = socket.identity, self._rounds
        rights = await self._rights.rights(identity, topic)
        if not rights.subscribe:
            raise no_topic(topic.name)
        room = cast(OpenTopic, await self.hub.open(topic.name))
        try:
            if room.topic.presence and not room.people.asked:
                room.people.asked = True
                await self.ask_for_people(room)
            position, resumed = await self._position(room, command)
            await self.hub.stalls.end()
            # No await from here on.
            self._check_number(socket, topic.name)
            _check_open(socket)
        except BaseException:
            self.hub.release(room)
            raise
        socket.rooms[topic.name] = rights
        self._send_subscribed(socket, room, position, resumed=resumed, ref=command.ref)
        self.hub.enter(room, socket, position)
        self._come(room, socket)
        if socket.identity != identity or self._rounds != rounds or rights.rules != room.rules:
            # The rights are those of another user, or of rules that have changed during the awaits above.
            self._check_soon(socket, topic.name)

    def _check_number(self, socket: Socket, name: str) -> None:
        limit = chat_settings().TOPICS_PER_SOCKET
        if name not in socket.rooms and len(topics_of(socket)) >= limit:
            message = f"topic: one socket may subscribe to at most {limit} topics"
            raise Invalid(ErrorCode.TOO_MANY_TOPICS, message, field="topic")

    async def _position(self, room: OpenTopic, command: Subscribe) -> tuple[int | None, bool]:
        """The position from which the socket goes on (None: from now), and whether that is its own."""
        since = given(command.since)
        log = room.log
        if await room.can_resume(since, given(command.epoch), chat_settings().CATCH_UP) and room.log is log:
            return since, True
        if room.is_stream and command.rewind:
            source: Any = room.source
            return await source.before_last(room.log, command.rewind), False
        return room.beginning, False

    def _send_subscribed(
        self, socket: Socket, room: OpenTopic, position: int | None, *, resumed: bool, ref: str | UnsetType
    ) -> None:
        rights = cast(Rights, socket.rooms[room.slug])
        subscribed = Subscribed(
            topic=room.slug,
            seq=room.written if position is None else position,
            epoch=room.log.epoch,
            resumed=resumed,
            keep=room.topic.keep.word,
            timestamp=protocol.now(),
            may=list(rights.may),
            you=socket.identity.public or UNSET,
            ref=ref,
        )
        socket.transport.send(protocol.encode(subscribed))

    def greet(self, room: OpenTopic, socket: Socket) -> None:
        self._send_subscribed(socket, room, room.beginning, resumed=False, ref=UNSET)

    def unsubscribe(self, socket: Socket, command: Unsubscribe) -> Outgoing:
        self._room(socket, command.topic)
        self.leave(socket, command.topic)
        return Ack(topic=command.topic, timestamp=protocol.now(), ref=command.ref)

    def leave(self, socket: Socket, name: str) -> None:
        """Take the socket out of a topic."""
        room = cast(OpenTopic | None, self.hub.room(name))
        if room and room.topic.presence:
            self.hub.publish(name, ("absent", self.hub.name, socket.id))
        self.hub.exit(name, socket)

    def leave_all(self, socket: Socket) -> None:
        for name in topics_of(socket):
            self.leave(socket, name)

    def _room(self, socket: Socket, name: str) -> OpenTopic:
        room = self.hub.room(name)
        if name not in socket.rooms or not isinstance(room, OpenTopic):
            raise Invalid(ErrorCode.NOT_SUBSCRIBED, f"topic: subscribe to {name!r} first", field="topic")
        return room

    # --- Publish ---

    def publish(self, socket: Socket, command: Publish, done: Callable[[Outcome], None]) -> None:
        """Publish an event; ``done`` gets the outcome, after its commit: also forbidden, ref_reused, busy.

        Raises Invalid: not_subscribed, bad_field, busy.
        """
        room = self._room(socket, command.topic)
        event, name, data = self._event(room.topic, command)
        wish = Wish(socket.identity, room.topic, event)
        write = Publishing(
            room=room.log,
            author=socket.identity.key if socket.identity.lasting else ANONYMOUS,
            username=socket.identity.name or "",
            done=done,
            topic=room.topic,
            event=name,
            data=data,
            key=given(command.key) or "",
            gone=command.gone,
            ref=given(command.ref) or "",
            wish=wish,
        )
        if isinstance(room.topic.keep, Memory):
            self._when_allowed(Wanted(wish, partial(self._take, write), done))
        else:
            self._log.append(write)

    def _take(self, write: Publishing) -> None:
        self.take(write)
        write.done(Written(timestamp=protocol.now()))

    def _when_allowed(self, wanted: "Wanted") -> None:
        """Carry it out when the project has allowed it, in the order of the calls."""
        if len(self._wanted) >= chat_settings().LOG_QUEUE:
            raise unavailable("The server has more to publish than it can; try again.")
        self._wanted.append(wanted)
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask_for_all())

    async def _ask_for_all(self) -> None:
        try:
            while self._wanted:
                if all(wanted.wish.topic.conflates for wanted in self._wanted):
                    await asyncio.sleep(GATHER)
                some, self._wanted = self._wanted, []
                await self._ask_for(some)
        finally:
            self._asking = None

    async def _ask_for(self, some: Sequence["Wanted"]) -> None:
        try:
            answers = await self._rights.allowed([wanted.wish for wanted in some])
        except Invalid as busy:
            for wanted in some:
                wanted.refuse(busy)
            return
        for wanted, answer in zip(some, answers, strict=True):
            if answer:
                wanted.carry_out()
            else:
                wanted.refuse(forbidden(wanted.wish.topic))

    def _event(self, topic: Topic, command: Publish) -> tuple[Event | None, str, str]:
        if not command.gone:
            event, data = topic.codec.decode(given(command.event), _bytes(command.data))
            return event, str(command.event), data
        if command.key is UNSET:
            raise Invalid(ErrorCode.BAD_FIELD, "key: is required to remove one", field="key")
        return None, "", "{}"

    def signal(self, socket: Socket, command: SendSignal, refuse: Callable[[Invalid], None]) -> None:
        """Send an event to the subscribers that are there now. ``refuse`` gets forbidden, busy.

        Raises Invalid: not_subscribed, bad_field.
        """
        room = self._room(socket, command.topic)
        event, data = room.topic.codec.decode(command.event, _bytes(command.data))
        signal = Signal(
            topic=room.slug,
            event=command.event,
            data=Raw(data.encode()),
            key=command.key,
            timestamp=protocol.now(),
            by=socket.identity.public or UNSET,
            username=socket.identity.name or UNSET,
        )
        send = partial(self.hub.publish_soon, room.slug, protocol.encode(signal))
        self._when_allowed(Wanted(Wish(socket.identity, room.topic, event), send, refuse))

    async def entries(self, socket: Socket, command: GetEntries) -> Outgoing:
        """A page of entries. Raises Invalid: not_subscribed, busy."""
        room = self._room(socket, command.topic)
        source: Any = room.source
        found, more = await source.entries(
            room.log, before=given(command.before), after=given(command.after), limit=command.limit
        )
        return Entries(topic=room.slug, entries=found, more=more, timestamp=protocol.now(), ref=command.ref)

    # --- Presence ---

    def present(self, socket: Socket, command: SetPresence) -> None:
        """Set the socket's state. Raises Invalid: not_subscribed, forbidden, bad_field."""
        room = self._room(socket, command.topic)
        if not room.topic.presence:
            raise Invalid(ErrorCode.FORBIDDEN, f"{room.slug} shows nobody's presence.")
        state = _bytes(command.state)
        if len(state) > STATE_LIMIT or not state.lstrip().startswith(b"{"):
            message = f"state: must be a JSON object of at most {STATE_LIMIT} bytes"
            raise Invalid(ErrorCode.BAD_FIELD, message, field="state")
        self._announce(room, socket, msgspec.json.format(state, indent=-1).decode())

    def _come(self, room: OpenTopic, socket: Socket) -> None:
        if room.topic.presence:
            socket.transport.send(room.people.whole())
            self._announce(room, socket, "")

    def _announce(self, room: OpenTopic, socket: Socket, state: str) -> None:
        by = socket.identity.public or f"socket:{socket.id}"
        name = socket.identity.name or ""
        self.hub.publish(room.slug, ("present", self.hub.name, socket.id, by, name, state))

    async def ask_for_people(self, room: OpenTopic) -> None:
        """Learn who is in the topic in the other processes."""
        for theirs in await self.hub.ask_all(PEOPLE_QUESTION, room.slug):
            for event in theirs:
                room.receive(("present", *event))

    def people_here(self, name: str) -> list[tuple[str, ...]]:
        """This process's answer to the question of another."""
        room = self.hub.room(name)
        if not isinstance(room, OpenTopic):
            return []
        hub = self.hub.name
        return [(hub, socket, here.by, here.username, here.state) for socket, here in room.people.of_hub(hub)]

    def layer_returned(self) -> None:
        """Events were lost: publish the people of this process again, and ask for those of the others."""
        for room in self.hub.rooms().values():
            if isinstance(room, OpenTopic) and room.topic.presence:
                room.people.asked = False
                for event in self.people_here(room.slug):
                    self.hub.publish(room.slug, ("present", *event))

    def sweep(self) -> None:
        """Remove people of processes that are gone; each second."""
        for room in self.hub.rooms().values():
            if isinstance(room, OpenTopic) and room.topic.presence:
                room.sweep(self.hub.is_alive)

    # --- Rights that changed ---

    def recheck(self, sockets: Sequence[Socket]) -> None:
        """Ask again whether these sockets may be subscribed to their topics."""
        for socket in sockets:
            for name in topics_of(socket):
                self._check_soon(socket, name)

    def rules_changed(self, name: str) -> None:
        """The project says that the rules of a topic have changed; without a name, of all."""
        self._rounds += 1
        self.hub.reload_here(name)

    def _recheck_room(self, room: OpenTopic) -> None:
        for socket in room.everybody:
            self._check_soon(socket, room.slug)

    def _check_soon(self, socket: Socket, name: str) -> None:
        task = asyncio.get_running_loop().create_task(self._check(socket, name))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _check(self, socket: Socket, name: str) -> None:
        topic = find(name)
        try:
            rights = await self._rights.rights(socket.identity, topic) if topic else Rights(subscribe=False)
        except Invalid:
            # The database is away. The next round asks again.
            return
        if name not in socket.rooms:
            return
        if rights.subscribe:
            socket.rooms[name] = rights
            return
        self.leave(socket, name)
        send_removed(socket, name, no_topic(name))
        socket.on_removed()

    async def close(self) -> None:
        await end_tasks(*self._checks, *([self._asking] if self._asking else []))


ANONYMOUS = "anonymous"
"""The author of publications by clients without an account or a session. Their refs are known again after a
reconnect, which has another identity. Refs from Python have another namespace."""
STATE_LIMIT = 2_048
"""Bytes of a socket's state."""


def topics_of(socket: Socket) -> list[str]:
    """The topics that the socket is subscribed to."""
    return [name for name in socket.rooms if is_topic(name)]


def _bytes(data: Any) -> bytes:
    return b"{}" if data is UNSET else bytes(data)


def _check_open(socket: Socket) -> None:
    """Refuse a socket whose sign-in ended meanwhile. It is closed, so it does not get the answer."""
    if socket.transport.closed_with is not None:
        raise Invalid(ErrorCode.NOT_SUBSCRIBED, "This socket is being closed.")
