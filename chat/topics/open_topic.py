"""The topics' kind of open room: conflation, presence, and rights that are asked for again."""

from collections.abc import Callable, Sequence

from chat import protocol
from chat.hub import Event, OpenRoom, Socket
from chat.log import Change, RoomLog, Source
from chat.protocol import Removed, no_topic
from chat.topics.declare import Log as KeepLog
from chat.topics.declare import Topic
from chat.topics.entries import publications
from chat.topics.people import Here, People

EVERYTHING = 1 << 53
"""A topic of keys is resumed from any position: each key comes once at most."""


class OpenTopic(OpenRoom):
    """A topic that sockets of this process are subscribed to, or are subscribing to."""

    def __init__(
        self,
        source: Source,
        log: RoomLog,
        topic: Topic,
        on_rules: Callable[["OpenTopic"], None],
        on_greet: Callable[["OpenTopic", Socket], None],
    ) -> None:
        super().__init__(source, log)
        self.topic = topic
        self.every = topic.every if topic.conflates else 0.0
        self.people = People(log.slug)
        # True: a stream, whose entries are all kept. Otherwise each key's latest.
        self.is_stream = isinstance(topic.keep, KeepLog)
        self._on_rules, self._on_greet = on_rules, on_greet
        self._rules: int | None = None
        # Clients that have less than this number start over: later numbers were pruned.
        self._floor = 0
        # Each entry's latest member of `publications`, by the entry's id. They wait for the tick.
        self._members: dict[int, str] = {}

    # --- Rules ---

    async def load(self) -> None:
        found = (await self.source.positions([self.log])).get(self.log.pk)
        if found is None:
            raise no_topic(self.slug)
        again, self._rules, self._floor = self._rules is not None, found.rules, found.pruned
        if again:
            self._on_rules(self)

    @property
    def rules(self) -> int:
        """The topic's counter of rules, as loaded last."""
        return self._rules or 0

    def is_up_to_date(self, rules: int) -> bool:
        return self._rules == rules

    def invalidate(self) -> None:
        self._rules = -1

    def remove_everybody(self) -> None:
        refusal = no_topic(self.slug)
        for socket in self.everybody:
            send_removed(socket, self.slug, refusal)

    def pruned(self, numbers: int) -> None:
        self._floor = max(self._floor, numbers)
        super().pruned(numbers)

    # --- Positions ---

    def greet(self, socket: Socket) -> None:
        self._on_greet(self, socket)

    @property
    def beginning(self) -> int | None:
        """The position of a client that has nothing: before all keys, or the stream's end."""
        return None if self.is_stream else 0

    def first_position(self) -> int | None:
        return self.beginning

    async def can_resume(self, since: int | None, epoch: str | None, most: int) -> bool:
        """See OpenRoom. Not if entries after ``since`` were pruned."""
        if since is None or not await super().can_resume(since, epoch, most if self.is_stream else EVERYTHING):
            return False
        if since < self._recent.floor:
            found = (await self.source.positions([self.log])).get(self.log.pk)
            self._floor = max(self._floor, found.pruned if found else 0)
        return since >= self._floor

    # --- Changes ---

    def _add(self, change: Change) -> None:
        if self.is_stream:
            super()._add(change)
        else:
            # The source has each key once, and memory would have all its former values.
            self._recent.start_over(change.seq)

    def write_changes(self, changes: Sequence[Change], *, known: bool) -> None:
        if not self.topic.conflates:
            super().write_changes(changes, known=known)
            return
        for change in changes:
            if change.id:
                # The latest change goes to the end.
                self._members.pop(change.id, None)
                self._members[change.id] = change.frame
        self.write(())

    def flush(self) -> None:
        if self._members or (self.topic.conflates and self.position > self.written):
            members, self._members = list(self._members.values()), {}
            self._ready.append(publications(self.slug, members, seq=self.position, follows=self.written))
        super().flush()

    # --- Presence ---

    def receive(self, event: Event) -> None:
        match event:
            case "present", hub, socket, by, username, state:
                self._write_people(self.people.enter(hub, socket, Here(by, username, state)))
            case "absent", hub, socket:
                self._write_people(self.people.leave(hub, socket))
            case _:
                super().receive(event)

    def sweep(self, is_alive: Callable[[str], bool]) -> None:
        """Remove people of processes that are gone."""
        for frame in self.people.sweep(is_alive):
            self._write_people(frame)

    def _write_people(self, frame: str | None) -> None:
        if frame:
            self.write((frame,))


def send_removed(socket: Socket, topic: str, refusal: protocol.Invalid) -> None:
    """Send a socket that its subscription has ended."""
    event = Removed(topic=topic, code=refusal.code, message=refusal.message, timestamp=protocol.now())
    socket.transport.send(protocol.encode(event))
