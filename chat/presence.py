"""Who is here: the memory form, for one process.

A person is in a room once, however many sockets they have there: ``join`` is announced with the first, ``leave``
with the last, after a grace that a reconnect cancels. The list of names is state, not messages: it goes out at
once after quiet and then at a bounded rate, so that N joins cost traffic in proportion to N.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from chat import protocol
from chat.auth import Identity
from chat.conf import chat_settings
from chat.hub import Hub
from chat.loops import of_this_loop
from chat.protocol import ErrorCode, Invalid, Joined, Left, UserList


@dataclass(eq=False, slots=True)
class Person:
    """Somebody in a room."""

    name: str
    identity: Identity
    since: float = field(default_factory=time.time)
    # The ids of the sockets they are here with: one per tab. Empty during the grace.
    sockets: set[str] = field(default_factory=set)
    # Ends the grace; None while a socket is here.
    leaving: asyncio.TimerHandle | None = None


@dataclass(eq=False, slots=True)
class RoomPresence:
    """The people of one room, those who came last at the end."""

    # By the name's key: what is the same name to people can be in the room once. Accounts keep their names whoever
    # else is there: one whose name looks like another's is found by its identity's key.
    people: dict[str, Person] = field(default_factory=dict)
    # Under which of these keys each socket is here.
    keys: dict[str, str] = field(default_factory=dict)
    # Sends the next list; None while the list that everybody has is true.
    pending: asyncio.TimerHandle | None = None
    # The loop's time before which the next list does not go out.
    next_at: float = 0.0


class Presence:
    """One per event loop: ``of_this_loop(Presence)``."""

    def __init__(self) -> None:
        self._rooms: dict[str, RoomPresence] = {}
        self._hub = of_this_loop(Hub)
        self._loop = asyncio.get_running_loop()

    def enter(self, slug: str, identity: Identity, name: str, socket_id: str) -> bool:
        """A socket comes into the room under ``name``. True where that is the person's first.

        Raises ``Invalid`` (name_taken) where somebody else has the name. Announces nothing: ``announce`` does,
        when the socket is there to hear it.
        """
        room = self._rooms.setdefault(slug, RoomPresence())
        key = protocol.name_key(name)
        person = room.people.get(key)
        if person and identity.account is not None and person.identity != identity:
            key = identity.key
            person = room.people.get(key)
        if person and not _same(person, identity):
            message = f"username: {name!r} is taken in this room, choose another"
            raise Invalid(ErrorCode.NAME_TAKEN, message, field="username")
        if person is None:
            person = room.people[key] = Person(name, identity)
        first = not person.sockets and person.leaving is None
        if person.name != name and not person.sockets:
            # A guest who comes back may write the name in another way.
            person.name = name
            self._changed(slug, room)
        person.identity = identity
        person.sockets.add(socket_id)
        room.keys[socket_id] = key
        if person.leaving:
            person.leaving.cancel()
            person.leaving = None
        return first

    def announce(self, slug: str, name: str) -> None:
        """Tell the room that ``name`` came."""
        room = self._rooms[slug]
        if len(room.people) <= chat_settings().USER_LIST_NAMES:
            event = Joined(room=slug, username=name, timestamp=protocol.now())
            self._hub.publish_soon(slug, protocol.encode(event))
        self._changed(slug, room)

    def exit(self, slug: str, socket_id: str, *, at_once: bool = False) -> None:
        """A socket left the room. With the person's last one they leave: now, or after the grace."""
        room = self._rooms.get(slug)
        key = room.keys.pop(socket_id, None) if room else None
        if room is None or key is None:
            return
        person = room.people[key]
        person.sockets.discard(socket_id)
        if person.sockets:
            return
        grace = 0 if at_once else chat_settings().GRACE
        if grace:
            person.leaving = self._loop.call_later(grace, self._gone, slug, key)
        else:
            self._gone(slug, key)

    def user_list(self, slug: str) -> UserList:
        """Who is in the room: at most CHAT["USER_LIST_NAMES"], those who came last first, and how many in all."""
        people = self._rooms[slug].people if slug in self._rooms else {}
        latest = islice(reversed(people.values()), chat_settings().USER_LIST_NAMES)
        names = [person.name for person in latest]
        return UserList(room=slug, users=names, count=len(people), timestamp=protocol.now())

    def counts(self) -> dict[str, int]:
        """How many people are in each room."""
        return {slug: len(room.people) for slug, room in list(self._rooms.items()) if room.people}

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
        """The ids of the sockets that ``name`` is in the room with."""
        person = self.person(slug, name)
        return set(person.sockets) if person else set()

    def _gone(self, slug: str, key: str) -> None:
        room = self._rooms[slug]
        person = room.people.pop(key)
        if len(room.people) < chat_settings().USER_LIST_NAMES:
            event = Left(room=slug, username=person.name, timestamp=protocol.now())
            self._hub.publish_soon(slug, protocol.encode(event))
        self._changed(slug, room)

    def _changed(self, slug: str, room: RoomPresence) -> None:
        if room.pending is None:
            room.pending = self._loop.call_at(max(room.next_at, self._loop.time()), self._send_list, slug, room)

    def _send_list(self, slug: str, room: RoomPresence) -> None:
        room.pending = None
        if not room.people:
            del self._rooms[slug]
            return
        frame = protocol.encode(self.user_list(slug))
        self._hub.publish_soon(slug, frame, latest="userList")
        chat = chat_settings()
        cost = len(frame.encode()) * self._hub.audience(slug)
        room.next_at = self._loop.time() + max(chat.USER_LIST_INTERVAL, cost / chat.USER_LIST_BANDWIDTH)

    async def close(self) -> None:
        for room in self._rooms.values():
            timers = [room.pending, *(person.leaving for person in room.people.values())]
            for timer in timers:
                if timer:
                    timer.cancel()
        self._rooms.clear()


def _same(person: Person, identity: Identity) -> bool:
    """Is ``identity`` the person, so that a further socket is theirs?

    A guest without a session can prove nothing, so two open sockets of that kind are two people; but when the
    one is gone and only its grace is left, the other is taken for its reconnect.
    """
    if person.identity == identity:
        return True
    return not person.sockets and not (person.identity.lasting or identity.lasting)
