"""The hub's positions beside the log's, once a second: what the layer lost, and what came past it."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count

from chat import protocol
from chat.hub.policy_loader import PolicyLoader
from chat.hub.room import OpenRoom
from chat.log import Log, RoomCounters
from chat.protocol import ErrorCode, Invalid

RECONCILE = 1.0
"""Seconds between two comparisons."""
HEAL = 15
"""Comparisons between two looks for messages that something else than the log wrote."""


class Reconciler:
    """One per hub, of its open rooms. One query for all of them."""

    def __init__(self, log: Log, rooms: Mapping[str, OpenRoom], rules: PolicyLoader) -> None:
        self._log, self._rooms, self._rules = log, rooms, rules
        # Set, they are compared now.
        self._now = asyncio.Event()
        # Where each was at the last one.
        self._before: dict[OpenRoom, int] = {}

    def soon(self) -> None:
        """Do not wait for the second to end."""
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
                    await self._log.heal([room.log for room in self._rooms.values()])
                await self.look()

    async def look(self, *, patient: bool = True) -> None:
        """Compare. Raises Invalid (busy).

        Where something came since the last time, more is on its way, and only what stands still is lost. Not
        ``patient``, all that is not here yet is read from the log.
        """
        now = {room: room.position for room in self._rooms.values()}
        returned = {room: room.returned for room in now}
        positions = await self._log.positions([room.log for room in now])
        for room, position in now.items():
            there = positions.get(room.log.pk)
            if there is None or there.epoch != room.log.epoch or there.seq < position:
                await self.start_over(room)
            else:
                lost = position < there.seq and (not patient or self._before.get(room) == position)
                self._compare(room, there, returned[room], lost=lost)
        self._before = now

    def _compare(self, room: OpenRoom, there: RoomCounters, returned: int, *, lost: bool) -> None:
        if there.rules != room.policy.rules:
            self._rules.reload(room)
        room.compared(returned, there.seq)
        room.pruned(there.pruned)
        if lost:
            room.catch_up()

    async def start_over(self, room: OpenRoom) -> None:
        """The room's row is gone or is another: the database was restored, or the staff deleted the room."""
        try:
            # One that is not public comes back for nobody.
            log = await self._log.open(room.slug, make=not protocol.is_hidden(room.slug))
        except Invalid as refusal:
            if refusal.code == ErrorCode.NO_ROOM:
                self._rules.put_out(room)
            return
        if log.epoch != room.log.epoch or log.seq < room.position:
            room.start_over(log)
            # Another life's: until its own are loaded, no comparison may find them right.
            room.policy = replace(room.policy, rules=-1)
            self._rules.reload(room)
