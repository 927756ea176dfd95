"""Reads the users of other processes from the registry, room by room."""

import asyncio
from collections.abc import Callable

from chat.presence import registry
from chat.presence.entries import Place, sorted_by_arrival
from chat.presence.registry import Registry
from chat.presence.state import PresenceDiff, RoomPresence
from chat.presence.versions import VersionSet


class RoomReader:
    """Part of a Replica: applies what the registry has to the rooms.

    ``send`` writes joins and leaves to the room's sockets. ``spawn`` runs a read as a task that logs its errors.
    ``request_resync`` is called if the registry lacks users of this process.
    """

    def __init__(
        self,
        store: Registry,
        *,
        send: Callable[..., None],
        spawn: Callable[..., asyncio.Task[None]],
        request_resync: Callable[[], None],
    ) -> None:
        self._registry = store
        self._send, self._spawn, self._request_resync = send, spawn, request_resync
        self._loop = asyncio.get_running_loop()
        # The registry's life, as last read; "" before the first read.
        self._life = ""
        # Until this loop time other processes may still resync. Set after a new life began, or after the registry
        # was unavailable to this process or to another; else 0.0.
        self._settling_until = 0.0

    def note_life(self, life: str) -> None:
        if self._life not in ("", life):
            self.start_settling()
        self._life = life

    def start_settling(self) -> None:
        """The registry may lack users of other processes: each process resyncs its own at its next heartbeat."""
        self._settling_until = self._loop.time() + 2 * registry.BEAT_INTERVAL

    def end_settling(self) -> bool:
        """True once, when the time in which other processes may resync is over."""
        is_over = 0 < self._settling_until <= self._loop.time()
        if is_over:
            self._settling_until = 0.0
        return is_over

    async def ensure_read(self, slug: str, room: RoomPresence) -> None:
        """Return when the room was read, or can't be. Joins that come meanwhile share the first read."""
        versions = room.versions
        if versions is None:
            versions = room.versions = VersionSet()
            versions.first_read = self._spawn(self._read_first, slug, room, versions)
        if versions.first_read:
            # Not the task itself: a client that disconnects must not cancel the read for the others.
            await asyncio.wait([versions.first_read])

    async def _read_first(self, slug: str, room: RoomPresence, versions: VersionSet) -> None:
        try:
            await self._read(slug, room, versions)
        except BaseException:
            if room.versions is versions:
                room.versions = None
            raise
        finally:
            versions.first_read = None

    async def read_again(self, slug: str, room: RoomPresence) -> None:
        if room.versions:
            await self._read(slug, room, room.versions)

    async def _read(self, slug: str, room: RoomPresence, versions: VersionSet) -> None:
        """Take over the room's users in other processes, as the registry has them."""
        life, version, places = await self._registry.read(slug)
        self.note_life(life)
        if room.versions is not versions:
            # Nobody followed the room for a while, and its events were not received.
            return
        registered = {(node, key) for node, key, _ in places}
        if any((self._registry.node, key) not in registered for key, occupant in room.local if occupant.sockets):
            # The registry lost entries of this process, but not everything.
            self._request_resync()
        diff = self._apply(room, versions, version, places, registered)
        versions.advance_to(version)
        # Users who were in the room before this process followed it are listed, not announced.
        self._send(slug, room, *(diff if versions.is_complete else PresenceDiff()))
        # A registry that lost everything lacks the users of processes that have not made their resync yet.
        versions.is_complete = versions.is_complete or not self._settling_until

    def _apply(
        self,
        room: RoomPresence,
        versions: VersionSet,
        version: int,
        places: list[Place],
        registered: set[tuple[str, str]],
    ) -> PresenceDiff:
        """Add and remove remote users. While others may still resync, users that the registry lacks are kept."""
        if not self._settling_until:
            versions.unregistered_leaves.clear()
        diffs = [
            room.add_remote(node, version, key, entry)
            for node, key, entry in sorted_by_arrival(places)
            if node != self._registry.node and (node, key) not in versions.unregistered_leaves
        ]
        lost = [] if self._settling_until else [place for place in room.remote_places() if place not in registered]
        removed = [room.remove_remote(node, version, key) for node, key in lost]
        joins = [name for diff in diffs for name in diff.joins]
        leaves = [name for diff in diffs for name in diff.leaves]
        return PresenceDiff(joins, [*leaves, *(occupant.shown for occupant in removed if occupant)])
