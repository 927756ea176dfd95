"""The open rooms of this process: each is opened once for all who join it, and closed after the last hold."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from chat.hub.bus import Bus
from chat.hub.room import OpenRoom
from chat.log import RoomLog, Source
from chat.loops import end_tasks
from chat.protocol import ErrorCode, Invalid

HELD = 1.0
"""Seconds that a room stays open after it was opened, even if all who asked for it gave up. Also the most seconds
that the layer is waited for at the end."""

S = TypeVar("S", bound=Source)


@dataclass(frozen=True, slots=True)
class Kind(Generic[S]):
    """A kind of rooms: the source of their changes, and a function that makes an open room of it."""

    source: S
    make_room: Callable[[S, RoomLog], OpenRoom]
    # True for the names of this kind.
    accepts: Callable[[str], bool] = bool


class OpenRooms:
    """One per hub. ``start`` has the bus receive; it is awaited before a room's group is joined."""

    def __init__(self, kinds: Sequence[Kind[Any]], bus: Bus, start: Callable[[], Awaitable[None]]) -> None:
        self._kinds, self._bus, self._start = kinds, bus, start
        self._loop = asyncio.get_running_loop()
        self._rooms: dict[str, OpenRoom] = {}
        # The open room with a slug, or None. Bound once: a message asks three times.
        self.get: Callable[[str], OpenRoom | None] = self._rooms.get
        # Rooms that are being opened: everybody who asks meanwhile waits for the same one.
        self._opening: dict[str, asyncio.Task[OpenRoom]] = {}
        # Tasks that leave the groups of rooms that nobody holds any more.
        self._closing: set[asyncio.Task[None]] = set()

    def all(self) -> list[OpenRoom]:
        return list(self._rooms.values())

    @property
    def is_busy(self) -> bool:
        """Is a room being opened or closed?"""
        return bool(self._opening or self._closing)

    async def open(self, slug: str, *, make: bool, owner: int | str | None) -> OpenRoom:
        """Subscribe to a room and hold it open; see ``Hub.open``."""
        room = self._rooms.get(slug) or await self._opened(slug, make=make, owner=owner)
        room.subscription.hold()
        try:
            await self._start()
            await room.subscription.join(self._bus)
        except BaseException:
            self.release(room)
            raise
        return room

    async def _opened(self, slug: str, *, make: bool, owner: int | str | None) -> OpenRoom:
        while True:
            opening = self._opening.get(slug)
            # A task that has just ended is forgotten with the next turn of the loop only.
            others = opening is not None and not opening.done()
            if opening is None or not others:
                opening = self._opening[slug] = self._loop.create_task(self._open(slug, make=make, owner=owner))
                opening.add_done_callback(partial(self._forget_opening, slug))
            try:
                # A caller that gives up must not take the room from the others.
                return await asyncio.shield(opening)
            except Invalid as refusal:
                if not (others and make and refusal.code == ErrorCode.NO_ROOM):
                    raise
            # It was opened for a user who may not make rooms.
            if room := self._rooms.get(slug):
                return room

    def _forget_opening(self, slug: str, opening: asyncio.Task[OpenRoom]) -> None:
        if self._opening.get(slug) is opening:
            del self._opening[slug]

    async def _open(self, slug: str, *, make: bool, owner: int | str | None) -> OpenRoom:
        kind = next(kind for kind in self._kinds if kind.accepts(slug))
        room = kind.make_room(kind.source, await kind.source.open(slug, make=make, owner=owner))
        await room.load()
        self._rooms[slug] = room
        # Held until the caller has it.
        room.subscription.hold()
        self._loop.call_later(HELD, self.release, room)
        return room

    def release(self, room: OpenRoom) -> None:
        """Give up a hold. The layer is told in the background: a user who leaves does not wait for it."""
        if room.subscription.release():
            task = self._loop.create_task(self._close(room))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, room: OpenRoom) -> None:
        left = await room.subscription.leave(self._bus)
        if left and self._rooms.get(room.slug) is room:
            del self._rooms[room.slug]
            room.close()

    async def close(self) -> None:
        """Close all rooms, in HELD seconds at most."""
        for opening in list(self._opening.values()):
            opening.cancel()
        for room in self.all():
            room.subscription.hold_only()
            self.release(room)
        if self._closing:
            await asyncio.wait(self._closing, timeout=HELD)
        await end_tasks(*self._closing)
