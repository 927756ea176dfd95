"""Who is here, in one process or in several.

A person is in a room once, however many sockets they have there: ``join`` is announced with the first, ``leave``
with the last, after a grace that a reconnect cancels. The list of names is state, not messages: it goes out at
once after quiet and then at a bounded rate, so that N joins cost traffic in proportion to N.

Where processes share a Redis, each keeps there who is with it (chat.presence.registry) and holds a copy of who is
with the others. Each process tells its own sockets what changed in its copy, so joins, leaves and lists always fit
together. A name is had by asking Redis, in one step; all else happens in memory, and goes on while Redis is away.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from chat import protocol
from chat.auth import Identity
from chat.conf import chat_settings
from chat.hub import Hub
from chat.loops import of_this_loop
from chat.presence import registry
from chat.presence.people import Entry, Known, Person, RoomPresence, sorted_by_arrival
from chat.presence.registry import Away, Pulse, Registry
from chat.protocol import ErrorCode, Invalid, Joined, Left, UserList

__all__ = ["Away", "Claim", "Comer", "Entry", "Person", "Presence", "RoomPresence"]

logger = logging.getLogger("chat.presence")


class Comer(NamedTuple):
    """A socket that comes into a room."""

    slug: str
    identity: Identity
    name: str
    # The socket's id, and where it comes from.
    socket: str
    address: str = ""


@dataclass(slots=True)
class Claim:
    """A name in a room that somebody may come in under."""

    comer: Comer
    key: str
    # The registry's version of the room with them; 0 where it was not asked.
    version: int = 0
    # Processes where a ghost had the name.
    took: Sequence[str] = ()
    # Are they the person's first socket? Known when they have entered.
    first: bool = False


class Presence:
    """One per event loop: ``of_this_loop(Presence)``."""

    def __init__(self) -> None:
        self._rooms: dict[str, RoomPresence] = {}
        self._hub = of_this_loop(Hub)
        self._hub.on_presence = self.hear
        self._hub.on_return.append(self._look_now)
        self._loop = asyncio.get_running_loop()
        # Called with a room and sockets there whose name somebody else has now.
        self.on_ousted: Callable[[str, list[str]], None] = _nothing
        # None where this process is the only one.
        self._registry: Registry | None = registry.shared()
        self._follower: asyncio.Task[None] | None = None
        self._work: set[asyncio.Task[None]] = set()
        # Set, the registry is looked at now.
        self._look = asyncio.Event()
        # Set when the registry was asked for the first time: from then on others know of this process.
        self._begun = asyncio.Event()
        # May the registry lack something of ours? How often all was said anew.
        self._dirty = True
        self._restated = 0
        # Which life of the registry is known; after another one begins, until when others may still say anew who
        # is with them.
        self._life = ""
        self._patient_until = 0.0
        # How many people are in which room, of all processes.
        self._counts: dict[str, int] = {}

    @property
    def _node(self) -> str:
        return self._registry.node if self._registry else ""

    # --- Coming and going ---

    @asynccontextmanager
    async def coming(self, comer: Comer) -> AsyncIterator[Claim]:
        """The name is theirs, for ``enter``; who does not enter lets go of it.

        Raises Invalid (name_taken) where somebody else has it. Without a registry nothing is waited for.
        """
        slug, identity = comer.slug, comer.identity
        room = self._rooms.setdefault(slug, RoomPresence())
        keys = [self._key(room, identity, comer.name)]
        if identity.account is not None and self._registry:
            # Somebody elsewhere may have it: theirs is theirs all the same.
            keys.append(identity.key)
        for key in dict.fromkeys(keys):
            with self._held(slug, room, key):
                restated = self._restated
                if claim := await self._claim(room, key, comer):
                    yield claim
                    if restated != self._restated:
                        # What was said anew meanwhile was without them.
                        self._say_again(slug, key)
                    return
        raise _taken(comer.name)

    @contextmanager
    def _held(self, slug: str, room: RoomPresence, key: str) -> Iterator[None]:
        room.coming[key] = room.coming.get(key, 0) + 1
        try:
            yield
        finally:
            room.coming[key] -= 1
            if not room.coming[key]:
                del room.coming[key]
                self._let_go(slug, room, key)

    async def _claim(self, room: RoomPresence, key: str, comer: Comer) -> Claim | None:
        person = room.people.get(key)
        if self._registry is None or (person and person.sockets):
            return Claim(comer, key)
        self.follow()
        await self._begun.wait()
        since = person.since if person else time.time()
        entry = Person(comer.name, comer.identity, since, {comer.socket: comer.address}).entry
        answer = await self._ask_for(comer.slug, key, entry)
        if answer and room.known is None:
            with suppress(Away):
                await self._read(comer.slug, room)
        return answer and Claim(comer, key, *answer)

    async def _ask_for(self, slug: str, key: str, entry: Entry) -> tuple[int, list[str]] | None:
        """The version with them, and where they were taken from; None where somebody else has the name."""
        assert self._registry  # noqa: S101 for the type checker: who asks has looked
        try:
            return await self._registry.enter(slug, key, entry)
        except Away:
            self._dirty = True
            return 0, []

    def _let_go(self, slug: str, room: RoomPresence, key: str) -> None:
        """Somebody who had the name for a moment did not come in, or has come."""
        person = room.people.get(key)
        if person and person.is_ours:
            return
        if self._registry:
            self._spawn(self._take_out(slug, key, "", told=False))
        if not room.is_wanted:
            self._changed(slug, room)

    def enter(self, claim: Claim) -> None:
        """The socket comes in. Announces nothing: ``announce`` does, when the socket is there to hear it."""
        comer, room = claim.comer, self._rooms[claim.comer.slug]
        person = room.people.get(claim.key)
        claim.first = person is None
        if person is None:
            person = room.people[claim.key] = Person(comer.name, comer.identity)
        if person.name != comer.name and not person.is_open:
            # A guest who comes back may write the name in another way.
            person.name = comer.name
            self._changed(comer.slug, room)
        person.identity = comer.identity
        person.sockets[comer.socket] = comer.address
        room.keys[comer.socket] = claim.key
        if person.leaving:
            person.leaving.cancel()
            person.leaving = None
        for node in claim.took:
            person.elsewhere.pop(node, None)

    def announce(self, claim: Claim) -> None:
        """Tell all processes that somebody came in; where it is a person's first socket, the room hears it."""
        if claim.first or claim.version:
            entry = self._rooms[claim.comer.slug].people[claim.key].entry
            self._tell_that_came(claim.comer.slug, claim.key, entry, claim.version, claim.took, told=claim.first)

    def _tell_that_came(
        self, slug: str, key: str, entry: Entry, version: int, took: Sequence[str], *, told: bool
    ) -> None:
        self._tell(slug, version, "came", key, tuple(entry), tuple(took), told)

    def exit(self, slug: str, socket_id: str, *, at_once: bool = False) -> None:
        """A socket left the room. With the person's last one they leave: now, or after the grace."""
        room = self._rooms.get(slug)
        key = room.keys.pop(socket_id, None) if room else None
        if room is None or key is None:
            return
        person = room.people[key]
        del person.sockets[socket_id]
        if not room.keys:
            # The hub closes the room: what is said in it elsewhere is not heard any more.
            room.known = None
        if person.sockets:
            return
        grace = 0 if at_once else chat_settings().GRACE
        if grace:
            person.leaving = self._loop.call_later(grace, self._gone, slug, key)
            if not person.identity.lasting:
                # In another process too somebody who says this name is taken for them.
                self._say_again(slug, key)
        else:
            self._gone(slug, key)

    def _gone(self, slug: str, key: str) -> None:
        room = self._rooms[slug]
        name = room.people[key].name
        told = room.end_ours(key) is not None
        if self._registry:
            self._spawn(self._take_out(slug, key, name, told=told))
        else:
            self._tell(slug, 0, "gone", key, name, told)
        if not room.is_wanted:
            self._changed(slug, room)

    async def _take_out(self, slug: str, key: str, name: str, *, told: bool) -> None:
        assert self._registry  # noqa: S101 as above
        room, version = self._rooms.get(slug), 0
        last = room is None or not room.is_wanted
        try:
            version = await self._registry.exit(slug, key, last=last)
        except Away:
            self._dirty = True
        if version or told:
            self._tell(slug, version, "gone", key, name, told)

    def _say_again(self, slug: str, key: str) -> None:
        """Tell the registry, and all processes, how somebody is here now."""
        if self._registry:
            self._spawn(self._update(slug, key))

    async def _update(self, slug: str, key: str) -> None:
        room = self._rooms.get(slug)
        person = room.people.get(key) if room else None
        if person and person.is_ours:
            entry = person.entry
            answer = await self._ask_for(slug, key, entry)
            if answer and answer[0]:
                self._tell_that_came(slug, key, entry, *answer, told=False)

    # --- What is known ---

    def user_list(self, slug: str) -> UserList:
        """Who is in the room: at most CHAT["USER_LIST_NAMES"], those who came last first, and how many in all."""
        people = self._rooms[slug].people if slug in self._rooms else {}
        latest = islice(reversed(people.values()), chat_settings().USER_LIST_NAMES)
        names = [person.name for person in latest]
        return UserList(room=slug, users=names, count=len(people), timestamp=protocol.now())

    def counts(self) -> dict[str, int]:
        """How many people are in each room, of all processes. Any thread may ask."""
        here = {slug: len(room.people) for slug, room in list(self._rooms.items()) if room.people}
        return {**self._counts, **here}

    def people(self, slug: str) -> Iterator[Person]:
        room = self._rooms.get(slug)
        yield from list(room.people.values()) if room else ()

    def person(self, slug: str, name: str) -> Person | None:
        """Who is in the room under this name; where nobody is, who has one that looks the same."""
        room = self._rooms.get(slug)
        if room is None:
            return None
        alike = room.people.get(protocol.name_key(name))
        if alike is None or alike.name == name:
            return alike
        return next((person for person in room.people.values() if person.name == name), alike)

    def sockets(self, slug: str, name: str) -> set[str]:
        """The ids of the sockets of this process that ``name`` is in the room with."""
        person = self.person(slug, name)
        return set(person.sockets) if person else set()

    def _key(self, room: RoomPresence, identity: Identity, name: str) -> str:
        """Under which key somebody is in the room, or would be. Raises Invalid (name_taken)."""
        key = protocol.name_key(name)
        person = room.people.get(key)
        if person and identity.account is not None and person.identity.key != identity.key:
            key = identity.key
            person = room.people.get(key)
        if person and not _same(person, identity):
            raise _taken(name)
        return key

    # --- What is told ---

    def _tell(self, slug: str, version: int, what: str, *rest: Any) -> None:
        self._hub.publish_presence(slug, (self._node, version, what, *rest))

    def hear(self, slug: str, news: Sequence[Any]) -> None:
        """What a process, perhaps this one, says of a room: in order with all else that is said there."""
        node, version, what, *rest = news
        room = self._rooms.get(slug)
        if room is None:
            return
        if node == self._node:
            self._hear_ourselves(slug, room, version, what, *rest)
        elif room.known and (not version or room.known.note(version)):
            self._hear_another(slug, room, node, version, what, *rest)

    def _hear_ourselves(self, slug: str, room: RoomPresence, version: int, what: str, *rest: Any) -> None:
        """It changed here when it was told; this is the moment at which the room hears it."""
        if room.known and version:
            room.known.note(version)
        match what, rest:
            case "came", (_, entry, _, told):
                self._say(slug, room, [entry[1]] if told else [], [])
            case "gone", (_, name, told):
                self._say(slug, room, [], [name] if told else [])
            case "buried", (dead,):
                self._hear_of_death(slug, room, version, dead)

    def _hear_another(self, slug: str, room: RoomPresence, node: str, version: int, what: str, *rest: Any) -> None:
        match what, rest:
            case "came", (key, entry, took, _):
                for other in took:
                    self._give_way(room, version, other, key)
                entry = Entry(*entry)
                self._say(slug, room, [entry.name] if room.came(node, version, key, entry) else [], [])
            case "gone", (key, _, _):
                gone = room.went(node, version, key)
                self._say(slug, room, [], [gone.name] if gone else [])
            case "buried", (dead,):
                self._hear_of_death(slug, room, version, dead)
            case "restated", _:
                self._spawn(self._read(slug, room))

    def _give_way(self, room: RoomPresence, version: int, node: str, key: str) -> None:
        """Somebody took over what was left of one who only said a name: nobody hears of that."""
        person = room.people.get(key)
        if person and node == self._node and person.leaving:
            person.leaving.cancel()
            person.leaving = None
        elif person and person.elsewhere.get(node, (version,))[0] < version:
            del person.elsewhere[node]

    def _hear_of_death(self, slug: str, room: RoomPresence, version: int, dead: str) -> None:
        gone = [room.went(dead, version, key) for key in room.of_node(dead)]
        self._say(slug, room, [], [person.name for person in gone if person])

    def _say(self, slug: str, room: RoomPresence, came: Sequence[str], gone: Sequence[str]) -> None:
        """Tell our sockets who came and went; of a room with more people than names are told of, only the list."""
        limit, now = chat_settings().USER_LIST_NAMES, protocol.now()
        if len(room.people) <= limit:
            for name in came:
                self._hub.write_here(slug, protocol.encode(Joined(room=slug, username=name, timestamp=now)))
        if len(room.people) < limit:
            for name in gone:
                self._hub.write_here(slug, protocol.encode(Left(room=slug, username=name, timestamp=now)))
        self._changed(slug, room)

    def _changed(self, slug: str, room: RoomPresence) -> None:
        if room.pending is None:
            room.pending = self._loop.call_at(max(room.next_at, self._loop.time()), self._send_list, slug, room)

    def _send_list(self, slug: str, room: RoomPresence) -> None:
        room.pending = None
        if not room.is_wanted:
            del self._rooms[slug]
            return
        frame = protocol.encode(self.user_list(slug))
        self._hub.write_here(slug, frame, latest="userList")
        chat = chat_settings()
        cost = len(frame.encode()) * self._hub.audience(slug)
        room.next_at = self._loop.time() + max(chat.USER_LIST_INTERVAL, cost / chat.USER_LIST_BANDWIDTH)

    # --- The registry ---

    def follow(self) -> None:
        """Be one of the processes that the registry knows, from now on."""
        if self._registry and self._follower is None:
            self._follower = self._loop.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await self._guarded(self._look_around())
            self._begun.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(registry.BEAT):
                    await self._look.wait()
            self._look.clear()

    def _look_now(self) -> None:
        self._look.set()
        for slug, room in self._rooms.items():
            self._changed(slug, room)

    async def _look_around(self) -> None:
        assert self._registry  # noqa: S101 as above
        before = {slug: room.known.version if room.known else 0 for slug, room in self._rooms.items()}
        pulse = await self._registry.beat([*before])
        self._counts = pulse.counts
        if self._life not in ("", pulse.life):
            self._patient_until = self._loop.time() + 2 * registry.BEAT
        self._life = pulse.life
        if self._dirty or not pulse.known:
            self._dirty = False
            self._restated += 1
            await self._each(self._restate(slug) for slug in before)
        await self._each(self._bury(node) for node in pulse.dead if node != self._node)
        await self._each(self._read(*found) for found in self._behind(before, pulse))

    def _behind(self, before: dict[str, int], pulse: Pulse) -> Iterator[tuple[str, RoomPresence]]:
        for slug, version in pulse.versions.items():
            room = self._rooms.get(slug)
            if room and (room.known is None or version < before[slug] or room.known.is_behind(version)):
                yield slug, room

    async def _each(self, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        """All at once, so that it travels together; the first error when all have ended."""
        for found in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(found, BaseException):
                raise found

    async def _restate(self, slug: str) -> None:
        """Say who of this process is in the room. Who came under somebody's name while Redis was away is out."""
        assert self._registry  # noqa: S101 as above
        room = self._rooms.get(slug)
        if room is None:
            return
        version, refused = await self._registry.restate(slug, [(key, person.entry) for key, person in room.ours])
        self._tell(slug, version, "restated")
        for key in refused:
            person = room.people.get(key)
            if person and person.sockets:
                self.on_ousted(slug, list(person.sockets))
            elif person and person.leaving:
                person.leaving.cancel()
                self._gone(slug, key)
        if room.known:
            await self._read(slug, room)

    async def _bury(self, node: str) -> None:
        assert self._registry  # noqa: S101 as above
        changed = await self._registry.bury(node)
        if changed:
            logger.warning("the process %s is gone: its people are out of %d rooms", node, len(changed))
        for slug, version in changed.items():
            self._tell(slug, version, "buried", node)

    async def _read(self, slug: str, room: RoomPresence) -> None:
        """Take over who is in the room elsewhere, as the registry has it."""
        assert self._registry  # noqa: S101 as above
        first = room.known is None
        room.known = room.known or Known(0)
        version, places = await self._registry.read(slug)
        there = {(node, key) for node, key, _ in places}
        if any((self._node, key) not in there for key, person in room.ours if person.sockets):
            # It lost them, and nothing else.
            self._dirty = True
        came, gone = [], []
        for node, key, entry in sorted_by_arrival(places):
            if node != self._node and room.came(node, version, key, entry):
                came.append(entry.name)
        if self._loop.time() >= self._patient_until:
            lost = [room.went(node, version, key) for node, key in room.places() if (node, key) not in there]
            gone = [person.name for person in lost if person]
        room.known.read(version)
        if first:
            # They were here before anybody of ours: the list says so.
            self._changed(slug, room)
        elif came or gone:
            self._say(slug, room, came, gone)

    def process_died(self, pid: int) -> None:
        """A process of this machine has ended: its people have the grace to be somewhere else."""
        if self._registry:
            self.follow()
            self._spawn(self._report_death(pid))

    async def _report_death(self, pid: int) -> None:
        assert self._registry  # noqa: S101 as above
        for node in await self._registry.nodes(f"{registry.machine()}.{pid}."):
            await self._registry.stopped(node, chat_settings().GRACE)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Have it done. What fails is said anew when Redis is there again."""
        try:
            await work
        except Away:
            self._dirty = True
        except Exception:
            self._dirty = True
            logger.exception("who is here elsewhere could not be found out")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(self._guarded(work))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def close(self) -> None:
        """This process has nobody any more; who was here has the grace to come back to another."""
        for room in self._rooms.values():
            timers = [room.pending, *(person.leaving for person in room.people.values())]
            for timer in timers:
                if timer:
                    timer.cancel()
        self._rooms.clear()
        tasks = [*self._work, *([self._follower] if self._follower else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._registry:
            with suppress(Away):
                await self._registry.stopped(self._node, chat_settings().GRACE)
            await self._registry.close()


def _taken(name: str) -> Invalid:
    return Invalid(
        ErrorCode.NAME_TAKEN, f"username: {name!r} is taken in this room, choose another", field="username"
    )


def _same(person: Person, identity: Identity) -> bool:
    """Is ``identity`` the person, so that a further socket is theirs?

    A guest without a session can prove nothing, so two open sockets of that kind are two people; but when the
    one is gone and only its grace is left, the other is taken for its reconnect.
    """
    if person.identity.key == identity.key:
        return True
    return not person.is_open and not (person.identity.lasting or identity.lasting)


def _nothing(*_: Any) -> None:
    pass
