"""Compares the hub's positions with the log's once a second: the layer may lose events, or another program writes.

One query asks for all open rooms. It finds changes that were not delivered, rules that changed, pruned messages,
and rooms that were deleted or restored.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import count

from chat.hub.open_rooms import OpenRooms
from chat.hub.room import OpenRoom
from chat.log import RoomCounters, Source
from chat.protocol import ErrorCode, Invalid

RECONCILE = 1.0
"""Seconds between two comparisons."""
HEAL = 15
"""Comparisons between two searches for messages that something else than the log wrote."""


class Reconciler:
    """One per hub."""

    def __init__(self, rooms: OpenRooms) -> None:
        self._rooms = rooms
        # Set: compare now.
        self._now = asyncio.Event()
        # How many comparisons have ended.
        self.rounds = 0
        # Each room's position at the last comparison.
        self._before: dict[OpenRoom, int] = {}

    def soon(self) -> None:
        """Compare without waiting for the second to end."""
        self._now.set()

    async def run(self) -> None:
        """Compare, until cancelled."""
        for rounds in count(1):
            with suppress(TimeoutError):
                async with asyncio.timeout(RECONCILE):
                    await self._now.wait()
            self._now.clear()
            with suppress(Invalid):
                if rounds % HEAL == 0:
                    for source, rooms in _by_source(self._rooms.all()).items():
                        await source.heal([room.log for room in rooms])
                await self.compare()
            self.rounds = rounds

    async def compare(self, *, patient: bool = True) -> None:
        """Compare once. Raises Invalid (busy).

        ``patient``: a room whose position moved since the last comparison is still receiving, and only one that
        did not move lost something. Otherwise everything that is missing here is read from the log.
        """
        now = {room: room.position for room in self._rooms.all()}
        returned = {room: room.returned for room in now}
        positions: dict[OpenRoom, RoomCounters] = {}
        for source, rooms in _by_source(now).items():
            found = await source.positions([room.log for room in rooms])
            positions |= {room: found[room.log.pk] for room in rooms if room.log.pk in found}
        for room, position in now.items():
            there = positions.get(room)
            if there is None or there.epoch != room.log.epoch or there.seq < position:
                await self.start_over(room)
            else:
                lost = position < there.seq and (not patient or self._before.get(room) == position)
                _compare(room, there, returned[room], lost=lost)
        self._before = now

    async def start_over(self, room: OpenRoom) -> None:
        """The room's row is gone or is another: the database was restored, or the staff deleted the room."""
        try:
            log = await room.open_again()
        except Invalid as refusal:
            if refusal.code == ErrorCode.NO_ROOM:
                room.remove_everybody()
            return
        if log.epoch != room.log.epoch or log.seq < room.position:
            room.start_over(log)
            # Until the new row's rules are loaded, no comparison may find the old ones right.
            room.invalidate()
            room.reload()


def _by_source(rooms: Iterable[OpenRoom]) -> dict[Source, list[OpenRoom]]:
    """The rooms of each log."""
    found: dict[Source, list[OpenRoom]] = {}
    for room in rooms:
        found.setdefault(room.source, []).append(room)
    return found


def _compare(room: OpenRoom, there: RoomCounters, returned: int, *, lost: bool) -> None:
    if not room.is_up_to_date(there.rules):
        room.reload()
    room.compared(returned, there.seq)
    room.pruned(there.pruned)
    if lost:
        room.catch_up()
