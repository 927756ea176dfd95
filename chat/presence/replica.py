"""The people of other processes: a copy of what the registry has, kept in step.

What changes is told through the channel layer, with the version that the registry gave it. Every BEAT the versions
are compared, and what is not known is read; so is everything when another life of the registry begins.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from typing import Any

from chat.conf import chat_settings
from chat.presence import registry
from chat.presence.registry import Pulse, Registry, RegistryUnavailable
from chat.presence.state import (
    Claim,
    Entry,
    JoinRequest,
    Names,
    Person,
    RoomPresence,
    VersionSet,
    since_of,
    sorted_by_arrival,
)

logger = logging.getLogger("chat.presence")

LATEST = 1 << 62
"""A version after all others."""


class Replica:
    """One per Presence, whose rooms they are."""

    def __init__(
        self,
        store: Registry,
        rooms: dict[str, RoomPresence],
        *,
        tell: Callable[..., None],
        say: Callable[..., None],
        lose: Callable[[str, str], None],
    ) -> None:
        self.registry = store
        self._rooms = rooms
        # Tells all processes something of a room; tells our sockets there who came and went; takes a name from
        # somebody of ours.
        self._tell, self._say, self._lose = tell, say, lose
        self._loop = asyncio.get_running_loop()
        # How many people are in which room, of all processes.
        self.counts: dict[str, int] = {}
        self._follower: asyncio.Task[None] | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._closing = False
        # Set, the registry is looked at now.
        self._look = asyncio.Event()
        # Set when the registry was asked for the first time: from then on others know of this process.
        self._begun = asyncio.Event()
        # May the registry lack something of ours? How often all was said anew.
        self._dirty = True
        self.restated = 0
        # The known life of the registry. Until when others may still restate their people (loop time), after
        # another life began, or the registry was away for us or for them; else 0.0.
        self._life = ""
        self._patient_until = 0.0
        # Before that, in the loop's time, nobody is buried: who was cut off with us has not beaten either.
        self._bury_from = 0.0

    @property
    def node(self) -> str:
        return self.registry.node

    # --- People of ours ---

    async def claim(self, room: RoomPresence, key: str, comer: JoinRequest) -> Claim | None:
        """Have a name there. None where somebody else has it. While Redis is away, what is known here decides."""
        self.follow()
        await self._begun.wait()
        person, restated = room.people.get(key), self.restated
        since = since_of(person, comer)
        entry = Person(comer.name, comer.identity, since, {comer.socket: comer.address}).entry
        answer = await self._ask_for(comer.slug, key, entry)
        if answer is None or (not answer[0] and _is_another(person, comer)):
            return None
        await self._learn(comer.slug, room)
        return Claim(comer, key, *answer, restated=restated)

    async def _ask_for(self, slug: str, key: str, entry: Entry) -> tuple[int, list[str]] | None:
        """The version with them, and where they were taken from; None where somebody else has the name."""
        try:
            return await self.registry.enter(slug, key, entry)
        except RegistryUnavailable:
            self._dirty = True
            return 0, []

    def confirm(self, claim: Claim) -> None:
        """They came in. What was said anew while they waited was without them."""
        if claim.restated not in (None, self.restated):
            self.say_again(claim.comer.slug, claim.key)

    def went(self, slug: str, key: str, name: str = "", *, told: bool = False) -> None:
        """Somebody is not in this process any more; ``told``: nor in another, so our room hears it."""
        room = self._rooms.get(slug)
        # Asked for now: who comes in after that comes in after that.
        version = self.registry.exit(slug, key, last=room is None or not room.is_wanted)
        self._spawn(self._tell_that_went, slug, key, name, version, told)

    async def _tell_that_went(self, slug: str, key: str, name: str, version: Awaitable[int], told: bool) -> None:  # noqa: FBT001 as it is told
        try:
            number = await version
        except RegistryUnavailable:
            number, self._dirty = 0, True
        if number or told:
            self._tell(slug, number, "gone", key, name, told)

    def say_again(self, slug: str, key: str) -> None:
        """Tell the registry, and all processes, how somebody is here now."""
        self._spawn(self._update, slug, key)

    async def _update(self, slug: str, key: str) -> None:
        room = self._rooms.get(slug)
        person = room.people.get(key) if room else None
        if person and person.is_ours:
            entry = person.entry
            answer = await self._ask_for(slug, key, entry)
            if answer and answer[0]:
                self._tell(slug, answer[0], "came", key, tuple(entry), tuple(answer[1]), False)  # noqa: FBT003 as it is told

    # --- What others tell ---

    def hear(self, slug: str, room: RoomPresence, node: str, version: int, what: str, *rest: Any) -> None:
        if room.known is None or (version and not room.known.note(version)):
            return
        match what, rest:
            case "came", (key, entry, took, first):
                self._note_unregistered(version)
                room.known.left.discard((node, key))
                room.give_way(key, took, ours=self.node)
                names = room.came(node, version, key, Entry(*entry))
                # Until all were read, only their own process knows whether they were there before.
                self._say(slug, room, *(names if first or room.known.complete else Names()))
                if names.gone and room.people[key].is_ours:
                    # The account was renamed, and our entry for it has the former name.
                    self.say_again(slug, key)
            case "gone", (key, _, _):
                # Without a version it comes from one that could not ask: it is the newest all the same.
                if self._note_unregistered(version):
                    room.known.left.add((node, key))
                gone = room.went(node, version or LATEST, key)
                self._say(slug, room, [], [gone.seen] if gone else [])
            case "buried", (dead,):
                out = [room.went(dead, version, key) for key in room.of_node(dead)]
                self._say(slug, room, [], [person.seen for person in out if person])
            case "restated", _:
                self._spawn(self._read_again, slug, room)

    # --- Following the registry ---

    def follow(self) -> None:
        if self._follower is None:
            self._follower = self._loop.create_task(self._follow())

    def look_now(self) -> None:
        self._look.set()

    async def _follow(self) -> None:
        # A cancel may be lost in redis-py, while it connects.
        while not self._closing:
            await self._guarded(self._look_around)
            self._begun.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(registry.BEAT):
                    await self._look.wait()
            self._look.clear()

    async def _look_around(self) -> None:
        before = {slug: room.known.version if room.known else 0 for slug, room in self._rooms.items()}
        was_away = self.registry.is_away
        pulse = await self.registry.beat([*before])
        if was_away:
            self._bury_from = self._loop.time() + registry.DEAD
            self._be_patient()
        self.counts = pulse.counts
        self._note_life(pulse.life)
        if self._dirty or not pulse.known:
            await self._restate_all(before)
        if self._loop.time() >= self._bury_from:
            await self._each(self._bury(node) for node in pulse.dead if node != self.node)
        await self._each(self._read_again(*found) for found in self._behind(before, pulse))
        await self._each(self._learn(slug, room) for slug, room in [*self._rooms.items()] if room.is_unknown)

    def _note_life(self, life: str) -> None:
        if self._life not in ("", life):
            self._be_patient()
        self._life = life

    def _note_unregistered(self, version: int) -> bool:
        """Is this a change that its process could not register? The registry has it when that process restates."""
        if not version:
            self._be_patient()
        return not version

    def _be_patient(self) -> None:
        """The registry may lack people of others: each process restates its own at its next beat."""
        self._patient_until = self._loop.time() + 2 * registry.BEAT

    def _behind(self, before: dict[str, int], pulse: Pulse) -> Iterator[tuple[str, RoomPresence]]:
        """The rooms that have to be read again."""
        # What was kept although it was not there: the others have had the time to say it anew.
        over = 0 < self._patient_until <= self._loop.time()
        if over:
            self._patient_until = 0.0
        for slug, version in pulse.versions.items():
            room = self._rooms.get(slug)
            known = room.known if room else None
            if room and known and (over or version < before[slug] or known.is_behind(version)):
                yield slug, room

    async def _learn(self, slug: str, room: RoomPresence) -> None:
        """Return when the room was read, or can't be: the first who needs it reads for all who come meanwhile."""
        known = room.known
        if known is None:
            known = room.known = VersionSet()
            known.reading = self._spawn(self._read_first, slug, room, known)
        if known.reading:
            # Not the task itself: a client that gives up must not take the read from those who wait too.
            await asyncio.wait([known.reading])

    async def _read_first(self, slug: str, room: RoomPresence, known: VersionSet) -> None:
        try:
            await self._read(slug, room, known)
        except BaseException:
            if room.known is known:
                room.known = None
            raise
        finally:
            known.reading = None

    async def _read_again(self, slug: str, room: RoomPresence) -> None:
        if room.known:
            await self._read(slug, room, room.known)

    async def _read(self, slug: str, room: RoomPresence, known: VersionSet) -> None:
        """Take over who is in the room elsewhere, as the registry has it."""
        life, version, places = await self.registry.read(slug)
        self._note_life(life)
        if room.known is not known:
            # Nobody of ours was there in between, and what was told then was not heard.
            return
        there = {(node, key) for node, key, _ in places}
        if any((self.node, key) not in there for key, person in room.ours if person.sockets):
            # It lost them, and nothing else.
            self._dirty = True
        if not self._patient_until:
            known.left.clear()
        elsewhere = [
            (node, key, entry)
            for node, key, entry in sorted_by_arrival(places)
            if node != self.node and (node, key) not in known.left
        ]
        names = [room.came(node, version, key, entry) for node, key, entry in elsewhere]
        lost = [] if self._patient_until else [place for place in room.places() if place not in there]
        left = [person.seen for node, key in lost if (person := room.went(node, version, key))]
        known.read(version)
        # Who was here before anybody of ours is in the list, and nobody is told that they came.
        if known.complete:
            came = [name for each in names for name in each.came]
            gone = [name for each in names for name in each.gone]
            self._say(slug, room, came, [*gone, *left])
        else:
            self._say(slug, room)
        # A registry that lost everything lacks the people of processes that have not restated theirs yet.
        known.complete = known.complete or not self._patient_until

    async def _restate_all(self, slugs: Iterable[str]) -> None:
        self._dirty = False
        self.restated += 1
        try:
            await self._each(self._restate(slug) for slug in slugs)
        except BaseException:
            self._dirty = True
            raise

    async def _restate(self, slug: str) -> None:
        """Say who of this process is in the room. Who came under somebody's name while Redis was away is out."""
        room = self._rooms.get(slug)
        if room is None:
            return
        version, refused = await self.registry.resync(slug, [(key, person.entry) for key, person in room.ours])
        self._tell(slug, version, "restated")
        for key in refused:
            self._lose(slug, key)
        await self._read_again(slug, room)

    async def _bury(self, node: str) -> None:
        changed = await self.registry.evict(node)
        if changed:
            logger.warning("the process %s is gone: its people are out of %d rooms", node, len(changed))
        for slug, version in changed.items():
            self._tell(slug, version, "buried", node)

    def report_death(self, pid: int) -> None:
        self.follow()
        self._spawn(self._report_death, pid)

    async def _report_death(self, pid: int) -> None:
        for node in await self.registry.nodes(f"{registry.machine()}.{pid}."):
            await self.registry.stopped(node, chat_settings().GRACE)

    # --- Work ---

    async def _each(self, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        """All at once, so that it travels together; the first error when all have ended."""
        for found in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(found, BaseException):
                raise found

    async def _guarded(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Have it done. What fails is said anew when Redis is there again."""
        try:
            await work(*arguments)
        except RegistryUnavailable:
            self._dirty = True
        except Exception:
            self._dirty = True
            logger.exception("who is here elsewhere could not be found out")

    def _spawn(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> asyncio.Task[None]:
        task = self._loop.create_task(self._guarded(work, *arguments))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def close(self) -> None:
        """Who was here has the grace to come back to another process."""
        self._closing = True
        tasks = [*self._work, *([self._follower] if self._follower else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=registry.PATIENCE)
        if self._follower:
            with suppress(RegistryUnavailable):
                await self.registry.stopped(self.node, chat_settings().GRACE)
        await self.registry.close()


def _is_another(person: Person | None, comer: JoinRequest) -> bool:
    """Is there somebody else of that name, as far as is known?"""
    return person is not None and person.is_open and person.identity.key != comer.identity.key
