"""The users of other processes: a copy of the registry, kept up to date.

Each process publishes its changes through the channel layer, with the version that the registry gave them. Every
BEAT_INTERVAL the versions are compared, and rooms with missing versions are read. After the registry lost
everything, which begins another life of it, all rooms are read again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from chat.conf import chat_settings
from chat.presence import pipeline, registry
from chat.presence.claims import Claim, JoinRequest, since_of
from chat.presence.entries import RegistryEntry
from chat.presence.pipeline import RegistryUnavailable
from chat.presence.registry import Pulse, Registry
from chat.presence.room_reader import RoomReader
from chat.presence.state import Occupant, PresenceDiff, RoomPresence

logger = logging.getLogger("chat.presence")

LATEST = 1 << 62
"""A version after all others."""


class Replica:
    """One per Presence, which owns the rooms.

    ``publish`` sends a presence event of a room to all processes. ``send`` writes joins and leaves to the room's
    sockets in this process. ``lose_name`` takes a name from a user of this process.
    """

    def __init__(
        self,
        store: Registry,
        rooms: Mapping[str, RoomPresence],
        *,
        publish: Callable[..., None],
        send: Callable[..., None],
        lose_name: Callable[[str, str], None],
    ) -> None:
        self.registry = store
        self._rooms = rooms
        self._publish, self._send, self._lose_name = publish, send, lose_name
        self._loop = asyncio.get_running_loop()
        # How many users are in each room, over all processes.
        self.counts: dict[str, int] = {}
        self._follower: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        # Set to make the next heartbeat start at once.
        self._wake = asyncio.Event()
        # Set after the first heartbeat: from then on other processes know of this one.
        self._started = asyncio.Event()
        # True if the registry may lack users of this process.
        self._needs_resync = True
        # How many resyncs of all rooms were begun.
        self.resyncs = 0
        self._reader = RoomReader(store, send=send, spawn=self._spawn, request_resync=self._request_resync)
        # Before this loop time nobody is evicted: processes that lost Redis together with this one sent no
        # heartbeats either.
        self._evict_from = 0.0

    @property
    def node(self) -> str:
        return self.registry.node

    # --- Users of this process ---

    async def claim(self, room: RoomPresence, key: str, request: JoinRequest) -> Claim | None:
        """Claim a name in the registry. None if another user has it.

        While Redis is unavailable, what is known in this process decides.
        """
        self.follow()
        await self._started.wait()
        occupant, resyncs = room.people.get(key), self.resyncs
        since = since_of(occupant, request)
        entry = Occupant(request.name, request.identity, since, {request.socket: request.address}).entry
        answer = await self._register(request.slug, key, entry)
        if answer is None or (not answer[0] and _is_held_by_another(occupant, request)):
            return None
        await self._reader.ensure_read(request.slug, room)
        return Claim(request, key, *answer, resyncs=resyncs)

    async def _register(self, slug: str, key: str, entry: RegistryEntry) -> tuple[int, list[str]] | None:
        """The version and the processes the name was taken from; None if another user has the name."""
        try:
            return await self.registry.enter(slug, key, entry)
        except RegistryUnavailable:
            self._needs_resync = True
            return 0, []

    def confirm(self, claim: Claim) -> None:
        """Register the user again if a resync began while they waited: it left them out."""
        if claim.resyncs not in (None, self.resyncs):
            self.republish(claim.request.slug, claim.key)

    def leave(self, slug: str, key: str, name: str = "", *, announce: bool = False) -> None:
        """Remove a user of this process from the registry.

        ``announce``: no other process has the user either, so the room gets a leave.
        """
        room = self._rooms.get(slug)
        # The call is queued here, so a join that follows reaches Redis after it.
        version = self.registry.exit(slug, key, last=room is None or not room.is_needed)
        self._spawn(self._publish_leave, slug, key, name, version, announce)

    async def _publish_leave(
        self,
        slug: str,
        key: str,
        name: str,
        version: Awaitable[int],
        announce: bool,  # noqa: FBT001 as in the event
    ) -> None:
        try:
            number = await version
        except RegistryUnavailable:
            number, self._needs_resync = 0, True
        if number or announce:
            self._publish(slug, number, "gone", key, name, announce)

    def republish(self, slug: str, key: str) -> None:
        """Register a user of this process again, and publish their present entry."""
        self._spawn(self._republish, slug, key)

    async def _republish(self, slug: str, key: str) -> None:
        room = self._rooms.get(slug)
        occupant = room.people.get(key) if room else None
        if occupant and occupant.is_local:
            entry = occupant.entry
            answer = await self._register(slug, key, entry)
            if answer and answer[0]:
                self._publish(slug, answer[0], "came", key, tuple(entry), tuple(answer[1]), False)  # noqa: FBT003 as in the event

    # --- Events of other processes ---

    def receive(self, slug: str, room: RoomPresence, node: str, version: int, event: str, *rest: Any) -> None:
        if room.versions is None or (version and not room.versions.add(version)):
            return
        match event, rest:
            case "came", (key, entry, taken_from, first):
                self._note_unregistered(version)
                room.versions.unregistered_leaves.discard((node, key))
                room.hand_over(key, taken_from, ours=self.node)
                diff = room.add_remote(node, version, key, RegistryEntry(*entry))
                # Until all users were read, only the user's own process knows whether this is a join.
                self._send(slug, room, *(diff if first or room.versions.is_complete else PresenceDiff()))
                if diff.leaves and room.people[key].is_local:
                    # The account was renamed, and this process registered it under the former name.
                    self.republish(slug, key)
            case "gone", (key, _, _):
                # A process that can't reach the registry sends no version. Its event is the newest all the same.
                if self._note_unregistered(version):
                    room.versions.unregistered_leaves.add((node, key))
                left = room.remove_remote(node, version or LATEST, key)
                self._send(slug, room, [], [left.shown] if left else [])
            case "buried", (dead,):
                evicted = [room.remove_remote(dead, version, key) for key in room.keys_on(dead)]
                self._send(slug, room, [], [occupant.shown for occupant in evicted if occupant])
            case "restated", _:
                self._spawn(self._reader.read_again, slug, room)

    # --- Following the registry ---

    def follow(self) -> None:
        """Start the heartbeats."""
        if self._follower is None:
            self._follower = self._loop.create_task(self._follow())

    def beat_now(self) -> None:
        """Send a heartbeat and compare versions now, not after the rest of the interval."""
        self._wake.set()

    async def _follow(self) -> None:
        # redis-py can lose a cancel while it connects, so the loop checks a flag too.
        while not self._closing:
            await self._run_guarded(self._beat)
            self._started.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(registry.BEAT_INTERVAL):
                    await self._wake.wait()
            self._wake.clear()

    async def _beat(self) -> None:
        """Send a heartbeat, compare versions, and bring everything that differs up to date."""
        before = {slug: room.versions.complete_to if room.versions else 0 for slug, room in self._rooms.items()}
        was_unavailable = self.registry.is_unavailable
        pulse = await self.registry.beat([*before])
        if was_unavailable:
            self._evict_from = self._loop.time() + registry.DEAD_AFTER
            self._reader.start_settling()
        self.counts = pulse.counts
        self._reader.note_life(pulse.life)
        if self._needs_resync or not pulse.known:
            await self._resync_all(before)
        if self._loop.time() >= self._evict_from:
            await self._gather(self._evict(node) for node in pulse.dead if node != self.node)
        await self._gather(self._reader.read_again(*found) for found in self._outdated(before, pulse))
        await self._gather(
            self._reader.ensure_read(slug, room) for slug, room in [*self._rooms.items()] if room.needs_read
        )

    def _note_unregistered(self, version: int) -> bool:
        """True for a change without a version: its process will register it with a resync."""
        if not version:
            self._reader.start_settling()
        return not version

    def _outdated(self, before: dict[str, int], pulse: Pulse) -> Iterator[tuple[str, RoomPresence]]:
        """The rooms that have to be read again."""
        # Users that the registry lacked were kept while other processes had the time to resync. That time is over.
        settled = self._reader.end_settling()
        for slug, version in pulse.versions.items():
            room = self._rooms.get(slug)
            versions = room.versions if room else None
            if room and versions and (settled or version < before[slug] or versions.is_behind(version)):
                yield slug, room

    def _request_resync(self) -> None:
        self._needs_resync = True

    async def _resync_all(self, slugs: Iterable[str]) -> None:
        self._needs_resync = False
        self.resyncs += 1
        try:
            await self._gather(self._resync(slug) for slug in slugs)
        except BaseException:
            self._needs_resync = True
            raise

    async def _resync(self, slug: str) -> None:
        """Register this process's users of a room again.

        A user who took somebody's name while Redis was unavailable loses it.
        """
        room = self._rooms.get(slug)
        if room is None:
            return
        entries = [(key, occupant.entry) for key, occupant in room.local]
        version, refused = await self.registry.resync(slug, entries)
        self._publish(slug, version, "restated")
        for key in refused:
            self._lose_name(slug, key)
        await self._reader.read_again(slug, room)

    async def _evict(self, node: str) -> None:
        changed = await self.registry.evict(node)
        if changed:
            logger.warning("the process %s is dead: its users were removed from %d rooms", node, len(changed))
        for slug, version in changed.items():
            self._publish(slug, version, "buried", node)

    def report_death(self, pid: int) -> None:
        """A process of this machine has ended: its users have the grace to reconnect to another process."""
        self.follow()
        self._spawn(self._report_death, pid)

    async def _report_death(self, pid: int) -> None:
        for node in await self.registry.nodes(f"{registry.machine()}.{pid}."):
            await self.registry.mark_stopped(node, chat_settings().GRACE)

    # --- Tasks ---

    async def _gather(self, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Run all at once, so that they share a pipeline. Raises the first error after all have ended."""
        for found in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(found, BaseException):
                raise found

    async def _run_guarded(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Run ``work``. After a failure everything is registered again when Redis is back."""
        try:
            await work(*arguments)
        except RegistryUnavailable:
            self._needs_resync = True
        except Exception:
            self._needs_resync = True
            logger.exception("the presence of other processes could not be read")

    def _spawn(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> asyncio.Task[None]:
        task = self._loop.create_task(self._run_guarded(work, *arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Stop. The users of this process have the grace to reconnect to another process."""
        self._closing = True
        tasks = [*self._tasks, *([self._follower] if self._follower else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=pipeline.ANSWER_TIMEOUT)
        if self._follower:
            with suppress(RegistryUnavailable):
                await self.registry.mark_stopped(self.node, chat_settings().GRACE)
        await self.registry.close()


def _is_held_by_another(occupant: Occupant | None, request: JoinRequest) -> bool:
    """True if another user has the name, as far as is known in this process."""
    return occupant is not None and occupant.is_connected and occupant.identity.key != request.identity.key
