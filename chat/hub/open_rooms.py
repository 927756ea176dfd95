"""The rooms that somebody here is in: each is opened once for all who come, and closed after the last."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from chat.hub import policy_loader
from chat.hub.bus import Bus
from chat.hub.room import OpenRoom
from chat.log import Log
from chat.protocol import ErrorCode, Invalid

HELD = 1.0
"""Seconds for which a room stays open after it was opened, also where all who asked for it gave up; and for which
the layer is waited for at the end."""


class OpenRooms:
    """One per hub. ``start`` has the relay receive; it is called before a room's group is joined."""

    def __init__(self, log: Log, bus: Bus, start: Callable[[], Awaitable[None]]) -> None:
        self.rooms: dict[str, OpenRoom] = {}
        self._log, self._bus, self._start = log, bus, start
        self._loop = asyncio.get_running_loop()
        # Rooms that are being opened: whoever comes meanwhile waits for the same one.
        self._opening: dict[str, asyncio.Task[OpenRoom]] = {}
        # Those that leave the groups of rooms that nobody is in any more.
        self._shutting: set[asyncio.Task[None]] = set()

    async def open(self, slug: str, *, make: bool, owner: int | str | None) -> OpenRoom:
        """Subscribe to a room and hold it open; see ``Hub.open``."""
        room = self.rooms.get(slug) or await self._opened(slug, make=make, owner=owner)
        room.holders += 1
        try:
            await self._start()
            async with room.turn:
                # Only the first asks: while the layer is away, the others need not wait for it one after another.
                if room.subscribed is None:
                    room.subscribed = False
                    room.subscribed = await self._bus.subscribe(slug)
        except BaseException:
            self.release(room)
            raise
        return room

    async def _opened(self, slug: str, *, make: bool, owner: int | str | None) -> OpenRoom:
        while True:
            opening = self._opening.get(slug)
            # One that has just ended is forgotten with the next turn of the loop only.
            others = opening is not None and not opening.done()
            if opening is None or not others:
                opening = self._opening[slug] = self._loop.create_task(self._open(slug, make=make, owner=owner))
                opening.add_done_callback(partial(self._forget_opening, slug))
            try:
                # One who gives up must not take the room from those who wait too.
                return await asyncio.shield(opening)
            except Invalid as refusal:
                if not (others and make and refusal.code == ErrorCode.NO_ROOM):
                    raise
            # It was opened for somebody who may not make rooms.
            if room := self.rooms.get(slug):
                return room

    def _forget_opening(self, slug: str, opening: asyncio.Task[OpenRoom]) -> None:
        if self._opening.get(slug) is opening:
            del self._opening[slug]

    async def _open(self, slug: str, *, make: bool, owner: int | str | None) -> OpenRoom:
        log = await self._log.open(slug, make=make, owner=owner)
        room = self.rooms[slug] = OpenRoom(self._log, log, await policy_loader.load(log))
        # Held until whoever asked for it has it.
        room.holders = 1
        self._loop.call_later(HELD, self.release, room)
        return room

    def release(self, room: OpenRoom) -> None:
        """Let go of a room. The layer hears of it in the background: who leaves does not wait for it."""
        room.holders -= 1
        if room.holders == 0:
            task = self._loop.create_task(self._shut(room))
            self._shutting.add(task)
            task.add_done_callback(self._shutting.discard)

    async def _shut(self, room: OpenRoom) -> None:
        async with room.turn:
            if room.holders:
                return
            if room.subscribed is not None:
                await self._bus.unsubscribe(room.slug)
                room.subscribed = None
            # Somebody may have come while the layer was busy: they wait for this turn, with the same room.
            if self.rooms.get(room.slug) is room and room.holders == 0:
                del self.rooms[room.slug]
                room.close()

    async def close(self) -> None:
        """Let go of all of them, in the time that there is."""
        for opening in list(self._opening.values()):
            opening.cancel()
        for room in list(self.rooms.values()):
            room.holders = 1
            self.release(room)
        if self._shutting:
            await asyncio.wait(self._shutting, timeout=HELD)
        shutting = list(self._shutting)
        for task in shutting:
            task.cancel()
        await asyncio.gather(*shutting, return_exceptions=True)
