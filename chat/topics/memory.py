"""The log of the topics that are kept in memory: each process has all of them, and numbers them for itself.

Every hub receives every publication. Each carries a version, and the newest version of a key wins everywhere. So
all processes come to the same state, in whichever order publications arrive.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

from chat.log import Change, LogSlice, RoomCounters, RoomLog, Source
from chat.models import new_epoch
from chat.protocol import Publication
from chat.topics.declare import Memory, Topic, find
from chat.topics.entries import Item, change_of, changes_of

EVENT = "memory"
"""The event between hubs: a publication of a topic in memory."""
QUESTION = "topics.memory"
"""The question to other processes: what they have of a topic (chat.hub.cluster_query)."""
TOPICS = 10_000
"""Most topics that a process keeps. The longest unused are forgotten first."""

Version: TypeAlias = tuple[int, str]
"""Microseconds since 1970, never twice in one process; and the process's name."""
Packed: TypeAlias = tuple[Any, ...]
"""A publication as the layer carries it: the fields of ``Item``, without its numbers, and its version."""


@dataclass(slots=True)
class State:
    """A topic's state in this process."""

    row: RoomLog
    topic: Topic
    keep: Memory
    seq: int = 0
    # Each key's entry and version, by the number of its last change.
    keys: OrderedDict[str, tuple[Item, Version]] = field(default_factory=OrderedDict)
    stream: deque[tuple[Item, Version]] = field(default_factory=deque)
    # The highest number that was forgotten.
    floor: int = 0
    # True: the other processes were asked for what they have.
    asked: bool = False
    rules: int = 0

    def apply(self, packed: Packed) -> Change | None:
        """Take a publication. None: it is known already, or older than the key's value."""
        event, key, data, gone, author, username, timestamp, *version = packed
        stamp: Version = (version[0], version[1])
        before = self.keys.get(key) if key else None
        if before and before[1] >= stamp:
            return None
        if not key and any(known == stamp for _, known in self.stream):
            return None
        if (gone and (before is None or before[0].gone)) or (key and before is None and not self._has_room()):
            return None
        self.seq += 1
        number = before[0].number if before else self.seq
        item = Item(number, self.seq, event, key, data, gone, author, username, timestamp)
        if key:
            self.keys[key] = (item, stamp)
            self.keys.move_to_end(key)
        else:
            self.stream.append((item, stamp))
            if len(self.stream) > self.keep.depth:
                self.floor = self.stream.popleft()[0].seq
        known = before[0].data if before and not before[0].gone and before[0].event == event else None
        return change_of(self.topic, item, live=True, before=known)

    def _has_room(self) -> bool:
        """Is there room for one more key? Removed keys make room."""
        while len(self.keys) >= self.keep.keys:
            removed = next((key for key, (item, _) in self.keys.items() if item.gone), None)
            if removed is None:
                return False
            self.floor = max(self.floor, self.keys.pop(removed)[0].seq)
        return True

    def items(self, after: int = 0) -> list[Item]:
        """The entries whose last change came after this number, in its order."""
        found = [item for item, _ in self.stream if item.seq > after]
        for item, _ in reversed(self.keys.values()):
            if item.seq <= after:
                break
            found.append(item)
        return sorted(found, key=lambda item: item.seq)

    def packed(self) -> list[Packed]:
        """All publications, for another process."""
        return [pack(item, version) for item, version in [*self.stream, *self.keys.values()]]


def pack(item: Item, version: Version) -> Packed:
    return (item.event, item.key, item.data, item.gone, item.author, item.username, item.timestamp, *version)


class MemoryLog(Source):
    """One per event loop."""

    def __init__(self) -> None:
        # Publishes to all hubs, with this one; and asks them. Connected in chat.runtime.
        self.publish_to_all: Callable[[str, Packed], None] = _nothing
        self.ask_all: Callable[[str], Awaitable[Sequence[Sequence[Packed]]]] = _nobody
        # Called with a change, in this process.
        self.on_change: Callable[[str, Change], None] = _nothing
        # True for the names of topics with subscribers here, which are not forgotten.
        self.is_open: Callable[[str], bool] = bool
        self._states: OrderedDict[str, State] = OrderedDict()
        self._keys = count(1)
        self._last = 0

    def version(self, name: str) -> Version:
        """A version for a publication of this process, above all that it has seen."""
        self._last = max(self._last + 1, time.time_ns() // 1_000)
        return (self._last, name)

    def receive(self, name: str, packed: Packed) -> None:
        """A publication, from this process or another one."""
        state = self._state(name)
        if state is None:
            return
        self._last = max(self._last, packed[-2])
        change = state.apply(tuple(packed))
        if change:
            self.on_change(name, change)

    def answer(self, name: str) -> list[Packed]:
        """The topic's publications in this process."""
        state = self._states.get(name)
        return state.packed() if state else []

    def _state(self, name: str) -> State | None:
        state = self._states.get(name)
        if state is None:
            topic = find(name)
            if topic is None or not isinstance(topic.keep, Memory):
                return None
            row = RoomLog(next(self._keys), name, new_epoch(), 0)
            state = self._states[name] = State(row, topic, topic.keep)
            self._forget_unused()
        self._states.move_to_end(name)
        return state

    def _forget_unused(self) -> None:
        if len(self._states) > TOPICS:
            unused = next((name for name in self._states if not self.is_open(name)), None)
            if unused is not None:
                del self._states[unused]

    # --- As a log ---

    async def open(self, name: str, *, make: bool = True, owner: int | str | None = None) -> RoomLog:  # noqa: ARG002 as in TopicLog
        state = self._state(name)
        if state is None:
            raise RuntimeError(f"{name!r} is not kept in memory")
        if not state.asked:
            state.asked = True
            for theirs in await self.ask_all(name):
                for packed in theirs:
                    self.receive(name, packed)
        state.row = RoomLog(state.row.pk, name, state.row.epoch, state.seq)
        return state.row

    async def positions(self, rooms: list[RoomLog]) -> dict[int, RoomCounters]:
        states = [state for room in rooms if (state := self._states.get(room.slug))]
        return {s.row.pk: RoomCounters(s.row.epoch, s.seq, s.floor, s.rules) for s in states}

    async def heal(self, rooms: list[RoomLog]) -> None:
        """Nothing else writes these."""

    async def since(self, room: RoomLog, position: int, limit: int) -> LogSlice:
        state = self._states[room.slug]
        items = state.items(position)
        changes = changes_of(state.topic, items[:limit], position)
        return LogSlice(room.slug, position, changes, whole=len(items) <= limit, last=state.seq)

    async def close(self) -> None:
        """Nothing runs for it."""

    async def entries(
        self, room: RoomLog, *, before: int | None, after: int | None, limit: int
    ) -> tuple[list[Publication], bool]:
        state = self._states[room.slug]
        items = sorted((item for item in state.items() if not item.gone), key=lambda item: item.number)
        if after is not None:
            found = [item for item in items if item.number > after]
            page = found[:limit]
        else:
            found = [item for item in items if before is None or item.number < before]
            page = found[-limit:]
        return [item.publication(room.slug) for item in page], len(found) > limit

    async def before_last(self, room: RoomLog, number: int) -> int | None:
        items = self._states[room.slug].items()[-number:]
        return items[0].seq - 1 if items else None


def _nothing(*_: Any) -> None:
    pass


async def _nobody(name: str) -> Sequence[Sequence[Packed]]:  # noqa: ARG001 replaced in chat.runtime
    return []
