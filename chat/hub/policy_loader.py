"""The rules of the open rooms: who may do what, loaded when that is another."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from chat.access import policy
from chat.access.policy import Policy
from chat.hub.room import OpenRoom
from chat.log import RoomLog, read_or_busy
from chat.protocol import ErrorCode, Invalid

NOBODY_S = Policy(kind="private")
"""Of a room that is gone: nobody may be in it."""


async def load(log: RoomLog) -> Policy:
    """As the database has them now. Raises Invalid: no_room, busy."""
    found = await read_or_busy(partial(policy.load, log.pk))
    if found is None:
        raise Invalid(
            ErrorCode.NO_ROOM, f"room: there is no room {log.slug!r}, or you may not enter it", field="room"
        )
    return found


class PolicyLoader:
    """One per hub."""

    def __init__(self, rooms: Mapping[str, OpenRoom]) -> None:
        self._rooms = rooms
        # Called when a room's rules are others.
        self.on_new: Callable[[OpenRoom], None] = _nothing

    def reload(self, room: OpenRoom) -> asyncio.Task[None]:
        """Load the room's rules, soon; one that is asked for meanwhile comes after."""
        room.stale = True
        if room.loading is None:
            room.loading = asyncio.get_running_loop().create_task(self._load(room))
        return room.loading

    def put_out(self, room: OpenRoom) -> None:
        """There is no such room any more."""
        room.policy = NOBODY_S
        self.on_new(room)

    async def _load(self, room: OpenRoom) -> None:
        try:
            while room.stale and self._rooms.get(room.slug) is room:
                room.stale, log = False, room.log
                with suppress(Invalid):
                    # Where the database is away, or the room is gone, the comparison each second comes back.
                    found = await load(log)
                    if log is room.log:
                        room.policy = found
                        self.on_new(room)
        finally:
            room.loading = None


def _nothing(room: OpenRoom) -> None:
    pass
