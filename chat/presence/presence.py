"""Who is here, in one process or in several.

A person is in a room once, however many sockets they have there: ``join`` is announced with the first, ``leave``
with the last, after a grace that a reconnect cancels. The list of names is state, not messages: it goes out at
once after quiet and then at a bounded rate, so that N joins cost traffic in proportion to N.

Where processes share a Redis, each keeps there who is with it and holds a copy of who is with the others
(chat.presence.replica). Each process tells its own sockets what changed in its copy, so joins, leaves and lists
always fit together. A name is had by asking Redis, in one step; all else happens in memory, and goes on while
Redis is away.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

from msgspec import UNSET, UnsetType

from chat import protocol
from chat.auth import Identity
from chat.conf import chat_settings
from chat.hub import Hub
from chat.loops import current
from chat.models import author_key
from chat.presence import registry
from chat.presence.replica import Replica
from chat.presence.state import Claim, Entry, JoinRequest, Person, RoomPresence, Seen, since_of
from chat.protocol import ErrorCode, Invalid, Joined, Left, UserList, quoted

COMING = 0.5
"""Seconds by which a grace is longer that would end while the person comes in again."""


class Presence:
    """One per event loop: ``of_this_loop(Presence)``."""

    def __init__(self) -> None:
        self._rooms: dict[str, RoomPresence] = {}
        self._hub = current(Hub)
        self._hub.on_presence = self.hear
        self._hub.on_return.append(self._look_now)
        self._loop = asyncio.get_running_loop()
        # Called with a room and sockets there whose name somebody else has now.
        self.on_name_lost: Callable[[str, list[str]], None] = _nothing
        # The people of other processes; None where this process is the only one.
        shared = registry.shared()
        self.others = self._with_others(shared) if shared else None

    def _with_others(self, shared: registry.Registry) -> Replica:
        return Replica(shared, self._rooms, tell=self._tell, say=self._say, lose=self._lose_name)

    @property
    def _node(self) -> str:
        return self.others.node if self.others else ""

    # --- Coming and going ---

    @asynccontextmanager
    async def coming(self, comer: JoinRequest) -> AsyncIterator[Claim]:
        """The name is theirs, for ``enter``; who does not enter lets go of it.

        Raises Invalid (name_taken) where somebody else has it. In one process nothing is waited for.
        """
        room = self._rooms.setdefault(comer.slug, RoomPresence())
        key = self._key(room, comer.identity, comer.name)
        room.coming[key] = room.coming.get(key, 0) + 1
        try:
            claim = await self._claim(room, key, comer)
            yield claim
            if self.others:
                self.others.confirm(claim)
        finally:
            room.coming[key] -= 1
            if not room.coming[key]:
                del room.coming[key]
                self._let_go(comer.slug, room, key)
            self._forget_others(room)

    async def _claim(self, room: RoomPresence, key: str, comer: JoinRequest) -> Claim:
        person = room.people.get(key)
        if self.others is None or (person and person.sockets):
            return Claim(comer, key)
        claim = await self.others.claim(room, key, comer)
        if claim is None:
            raise _taken(comer.name)
        return claim

    def _let_go(self, slug: str, room: RoomPresence, key: str) -> None:
        """Somebody who had the name for a moment has come in, or did not."""
        person = room.people.get(key)
        if person is None or not person.is_ours:
            if self.others:
                self.others.went(slug, key)
            if not room.is_wanted:
                self._changed(slug, room)

    def enter(self, claim: Claim) -> None:
        """The socket comes in. Announces nothing: ``announce`` does, when the socket is there to hear it."""
        comer, room = claim.comer, self._rooms[claim.comer.slug]
        person = room.people.get(claim.key)
        # A person whose ghost gave way in another process has not left the room.
        claim.first = person is None and not claim.took
        if person is None:
            person = room.add(claim.key, Person(comer.name, comer.identity))
        for node in claim.took:
            person.elsewhere.pop(node, None)
        # A guest who comes back may write the name in another way.
        if person.name != comer.name and (comer.identity.account is not None or not person.is_open):
            claim.renamed = room.rename(claim.key, comer.name, since_of(person, comer))
            self._changed(comer.slug, room)
        person.identity = comer.identity
        person.sockets[comer.socket] = comer.address
        room.keys[comer.socket] = claim.key
        person.stay()

    def announce(self, claim: Claim) -> None:
        """Tell all processes that somebody came in; where it is a person's first socket, the room hears it."""
        slug = claim.comer.slug
        if claim.renamed:
            self._say(slug, self._rooms[slug], *claim.renamed)
            if self.others and not claim.version:
                self.others.say_again(slug, claim.key)
        if claim.first or claim.version:
            entry = self._rooms[slug].people[claim.key].entry
            self._tell(slug, claim.version, "came", claim.key, tuple(entry), tuple(claim.took), claim.first)

    def exit(self, slug: str, socket_id: str, *, at_once: bool = False) -> None:
        """A socket left the room. With the person's last one they leave: now, or after the grace."""
        room = self._rooms.get(slug)
        key = room.keys.pop(socket_id, None) if room else None
        if room is None or key is None:
            return
        self._forget_others(room)
        person = room.people[key]
        del person.sockets[socket_id]
        if person.sockets:
            return
        grace = 0 if at_once else chat_settings().GRACE
        if grace:
            person.leaving = self._loop.call_later(grace, self._gone, slug, key)
            if self.others and not person.identity.lasting:
                # In another process too somebody who says this name is taken for them.
                self.others.say_again(slug, key)
        else:
            self._gone(slug, key)

    def _forget_others(self, room: RoomPresence) -> None:
        """With the last socket the hub closes the room: its events elsewhere are not received any more."""
        if not room.is_followed:
            room.known = None

    def _gone(self, slug: str, key: str) -> None:
        room = self._rooms[slug]
        if key in room.coming:
            # One of theirs comes in, and Redis may have given it the name: what is taken out now would be that.
            room.people[key].leaving = self._loop.call_later(COMING, self._gone, slug, key)
            return
        name = room.people[key].name
        told = room.end_ours(key) is not None
        if self.others:
            self.others.went(slug, key, name, told=told)
        else:
            self._tell(slug, 0, "gone", key, name, told)
        if not room.is_wanted:
            self._changed(slug, room)

    # --- What is known ---

    def user_list(self, slug: str) -> UserList:
        """The people in the room, at most CHAT["USER_LIST_NAMES"] and the latest first, and how many in all.

        If there are more, accounts come before guests: no crowd of guests pushes them off the list.
        """
        people = self._rooms[slug].people if slug in self._rooms else {}
        limit = chat_settings().USER_LIST_NAMES
        latest: Iterable[Person] = reversed(people.values())
        if len(people) > limit:
            latest = sorted(latest, key=lambda person: person.identity.account is None)
        names = [person.name for person in islice(latest, limit)]
        return UserList(room=slug, users=names, count=len(people), timestamp=protocol.now())

    def counts(self) -> dict[str, int]:
        """How many people are in each room, of all processes. Any thread may ask."""
        here = {slug: len(room.people) for slug, room in list(self._rooms.items()) if room.people}
        return {**(self.others.counts if self.others else {}), **here}

    def people(self, slug: str) -> Iterator[Person]:
        room = self._rooms.get(slug)
        yield from list(room.people.values()) if room else ()

    def person(self, slug: str, name: str) -> Person | None:
        """Who is in the room under this name; where nobody is, who has one that looks the same."""
        room = self._rooms.get(slug)
        alike = room.named(protocol.name_key(name)) if room else []
        return next((person for person in alike if person.name == name), alike[0] if alike else None)

    def sockets(self, slug: str, name: str) -> set[str]:
        """The ids of the sockets of this process that ``name`` is in the room with."""
        person = self.person(slug, name)
        return set(person.sockets) if person else set()

    def _key(self, room: RoomPresence, identity: Identity, name: str) -> str:
        """Under which key somebody is in the room, or would be. Raises Invalid (name_taken)."""
        if identity.account is not None:
            return identity.key
        key = protocol.name_key(name)
        if not all(_same(person, identity) for person in room.named(key)):
            raise _taken(name)
        return key

    def _lose_name(self, slug: str, key: str) -> None:
        """Somebody else came in under the name elsewhere, while the processes did not hear each other."""
        person = self._rooms[slug].people.get(key)
        if person and person.sockets:
            self.on_name_lost(slug, list(person.sockets))
        elif person and person.leaving:
            person.stay()
            self._gone(slug, key)

    # --- What is told ---

    def _tell(self, slug: str, version: int, what: str, *rest: Any) -> None:
        self._hub.publish_presence(slug, (self._node, version, what, *rest))

    def hear(self, slug: str, news: Sequence[Any]) -> None:
        """What a process, perhaps this one, says of a room: in order with all else that is said there."""
        node, version, what, *rest = news
        room = self._rooms.get(slug)
        if room is None:
            return
        if node != self._node or what == "buried":
            if self.others:
                self.others.hear(slug, room, node, version, what, *rest)
            return
        # It changed when it was told; this is the moment at which the room hears it.
        if room.known and version:
            room.known.note(version)
        match what, rest:
            case "came", (_, entry, _, told):
                self._say(slug, room, [Entry(*entry).seen] if told else [], [])
            case "gone", (key, name, told):
                # A guest's key tells no more than the name.
                self._say(slug, room, [], [Seen(name, key)] if told else [])

    def _say(self, slug: str, room: RoomPresence, came: Sequence[Seen] = (), gone: Sequence[Seen] = ()) -> None:
        """Tell our sockets who came and went; of a room with more people than names are told of, only the list."""
        if self._rooms.get(slug) is not room:
            # It was read from the registry for a room that was forgotten meanwhile, and perhaps opened anew.
            return
        limit, now = chat_settings().USER_LIST_NAMES, protocol.now()
        if len(room.people) <= limit:
            for one in came:
                self._write(slug, Joined(room=slug, username=one.name, timestamp=now, by=_key_of(one)))
        if len(room.people) < limit:
            for one in gone:
                self._write(slug, Left(room=slug, username=one.name, timestamp=now, by=_key_of(one)))
        self._changed(slug, room)

    def _write(self, slug: str, event: Joined | Left) -> None:
        self._hub.write_here(slug, protocol.encode(event))

    def _changed(self, slug: str, room: RoomPresence) -> None:
        if room.pending is None and self._rooms.get(slug) is room:
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

    # --- Beginning and end ---

    def follow(self) -> None:
        """Be one of the processes that know of each other, from now on."""
        if self.others:
            self.others.follow()

    def process_died(self, pid: int) -> None:
        """A process of this machine has ended: its people have the grace to be somewhere else."""
        if self.others:
            self.others.report_death(pid)

    def _look_now(self) -> None:
        """The layer is there again: what it brought us of ourselves may be lost, too."""
        if self.others:
            self.others.look_now()
        for slug, room in self._rooms.items():
            self._changed(slug, room)

    async def close(self) -> None:
        """This process has nobody any more; who was here has the grace to come back to another."""
        for room in self._rooms.values():
            if room.pending:
                room.pending.cancel()
            for person in room.people.values():
                person.stay()
        self._rooms.clear()
        if self.others:
            await self.others.close()


def _key_of(seen: Seen) -> str | UnsetType:
    return author_key(seen.author) or UNSET


def _taken(name: str) -> Invalid:
    return Invalid(
        ErrorCode.NAME_TAKEN, f"username: {quoted(name)} is taken in this room, choose another", field="username"
    )


def _same(person: Person, identity: Identity) -> bool:
    """Is ``identity`` the person, so that a further socket is theirs?

    A guest without a session can prove nothing, so two open sockets of that kind are two people; but when the
    one is gone and only its grace is left, the other is taken for its reconnect.
    """
    if person.identity.key == identity.key:
        return True
    # Of one who is in another process Redis knows whether they are gone.
    return not person.sockets and not (person.identity.lasting or identity.lasting)


def _nothing(*_: Any) -> None:
    pass
