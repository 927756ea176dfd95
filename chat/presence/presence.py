"""Presence: the users in each room, in one process or in several.

A user is in a room once, however many sockets they have there. The room gets ``join`` with the first socket and
``leave`` with the last, after a grace that a reconnect cancels. The list of names is state, not messages. It is
sent at once after a quiet time and then at a bounded rate, so that N joins cost traffic in proportion to N.

If processes share a Redis, each registers its own users there and keeps a copy of the others' users
(chat.presence.replica). Each process sends its own sockets what changed in its copy, so joins, leaves and lists
are always consistent. Only a claim to a name waits for Redis: one script, in one step. All else happens in memory,
and goes on while Redis is unavailable.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from types import MappingProxyType
from typing import Any

from msgspec import UNSET, UnsetType

from chat import protocol
from chat.auth import Identity
from chat.conf import chat_settings
from chat.hub import Hub
from chat.models import author_key
from chat.presence import registry
from chat.presence.claims import Claim, JoinRequest, since_of
from chat.presence.entries import RegistryEntry
from chat.presence.replica import Replica
from chat.presence.state import Occupant, RoomPresence, ShownName
from chat.protocol import ErrorCode, Invalid, Joined, Left, UserList, quoted

JOIN_EXTENSION = 0.5
"""Seconds that are added to a grace that would end while the user is joining again."""


class Presence:
    """One per event loop. ``store``: where processes share presence, or None."""

    def __init__(self, hub: Hub, store: registry.Registry | None) -> None:
        self._rooms: dict[str, RoomPresence] = {}
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        # Called with a room and the sockets there whose name another user has now.
        self.on_name_lost: Callable[[str, list[str]], None] = _nothing
        # Called when a user joins or leaves a room in this process: slug, name, the identity's key.
        self.on_joined: Callable[[str, str, str], None] = _nothing
        self.on_left: Callable[[str, str, str], None] = _nothing
        # The users of other processes; None if this process is the only one.
        self.replica = self._make_replica(store) if store else None

    def _make_replica(self, store: registry.Registry) -> Replica:
        return Replica(
            store,
            MappingProxyType(self._rooms),
            publish=self._publish,
            send=self._send_diff,
            lose_name=self._lose_name,
        )

    @property
    def _node(self) -> str:
        return self.replica.node if self.replica else ""

    # --- Joining and leaving ---

    @asynccontextmanager
    async def joining(self, request: JoinRequest) -> AsyncIterator[Claim]:
        """Claim the name for the body, which calls ``enter``. If the body does not, the name is released.

        Raises Invalid (name_taken) if another user has the name. Waits only if processes share a registry.
        """
        room = self._rooms.setdefault(request.slug, RoomPresence())
        key = self._key(room, request.identity, request.name)
        room.joining[key] = room.joining.get(key, 0) + 1
        try:
            claim = await self._claim(room, key, request)
            yield claim
            if self.replica:
                self.replica.confirm(claim)
        finally:
            room.joining[key] -= 1
            if not room.joining[key]:
                del room.joining[key]
                self._release_name(request.slug, room, key)
            self._stop_following(room)

    async def _claim(self, room: RoomPresence, key: str, request: JoinRequest) -> Claim:
        occupant = room.people.get(key)
        if self.replica is None or (occupant and occupant.sockets):
            return Claim(request, key)
        claim = await self.replica.claim(room, key, request)
        if claim is None:
            raise _name_taken(request.name)
        return claim

    def _release_name(self, slug: str, room: RoomPresence, key: str) -> None:
        """Take a claimed name out of the registry, unless the user has entered."""
        occupant = room.people.get(key)
        if occupant is None or not occupant.is_local:
            if self.replica:
                self.replica.leave(slug, key)
            if not room.is_needed:
                self._schedule_list(slug, room)

    def enter(self, claim: Claim) -> None:
        """Add the socket to the room. Sends nothing: ``announce`` does, once the socket can receive it."""
        request, room = claim.request, self._rooms[claim.request.slug]
        occupant = room.people.get(claim.key)
        # A guest whose name was taken over from another process, where only the grace was left, did not leave.
        claim.first = occupant is None and not claim.taken_from
        if occupant is None:
            occupant = room.add(claim.key, Occupant(request.name, request.identity))
        for node in claim.taken_from:
            occupant.remote.pop(node, None)
        # A guest who comes back may spell the name in another way.
        if occupant.name != request.name and (request.identity.account is not None or not occupant.is_connected):
            claim.renamed = room.rename(claim.key, request.name, since_of(occupant, request))
            self._schedule_list(request.slug, room)
        occupant.identity = request.identity
        occupant.sockets[request.socket] = request.address
        room.keys[request.socket] = claim.key
        occupant.cancel_grace()

    def announce(self, claim: Claim) -> None:
        """Publish the join to all processes. The room gets a join only with the user's first socket."""
        slug = claim.request.slug
        if claim.renamed:
            self._send_diff(slug, self._rooms[slug], *claim.renamed)
            if self.replica and not claim.version:
                self.replica.republish(slug, claim.key)
        if claim.first or claim.version:
            entry = self._rooms[slug].people[claim.key].entry
            self._publish(
                slug, claim.version, "came", claim.key, tuple(entry), tuple(claim.taken_from), claim.first
            )
            if claim.first:
                self.on_joined(slug, entry.name, entry.identity_key)

    def exit(self, slug: str, socket_id: str, *, at_once: bool = False) -> None:
        """Remove a socket from a room. After the last one the user leaves: now, or when the grace ends."""
        room = self._rooms.get(slug)
        key = room.keys.pop(socket_id, None) if room else None
        if room is None or key is None:
            return
        self._stop_following(room)
        occupant = room.people[key]
        del occupant.sockets[socket_id]
        if occupant.sockets:
            return
        grace = 0 if at_once else chat_settings().GRACE
        if grace:
            occupant.grace_timer = self._loop.call_later(grace, self._end_local, slug, key)
            if self.replica and not occupant.identity.lasting:
                # In other processes too, the next guest to give this name counts as their reconnect.
                self.replica.republish(slug, key)
        else:
            self._end_local(slug, key)

    def _stop_following(self, room: RoomPresence) -> None:
        """With the last socket the hub closes the room, so events of other processes don't arrive any more."""
        if not room.is_followed:
            room.versions = None

    def _end_local(self, slug: str, key: str) -> None:
        """The user leaves this process. The room gets a leave if no other process has them."""
        room = self._rooms[slug]
        if key in room.joining:
            # The user is joining again, and Redis may have registered them: an exit now would undo that.
            room.people[key].grace_timer = self._loop.call_later(JOIN_EXTENSION, self._end_local, slug, key)
            return
        occupant = room.people[key]
        name = occupant.name
        announce = room.end_local(key) is not None
        if announce:
            self.on_left(slug, name, occupant.identity.key)
        if self.replica:
            self.replica.leave(slug, key, name, announce=announce)
        else:
            self._publish(slug, 0, "gone", key, name, announce)
        if not room.is_needed:
            self._schedule_list(slug, room)

    # --- Queries ---

    def user_list(self, slug: str) -> UserList:
        """The latest CHAT["USER_LIST_NAMES"] users of the room, latest first, and the number of all users.

        If there are more users, accounts come before guests: a crowd of guests can't push them off the list.
        """
        people = self._rooms[slug].people if slug in self._rooms else {}
        limit = chat_settings().USER_LIST_NAMES
        latest: Iterable[Occupant] = reversed(people.values())
        if len(people) > limit:
            latest = sorted(latest, key=lambda occupant: occupant.identity.account is None)
        names = [occupant.name for occupant in islice(latest, limit)]
        return UserList(room=slug, users=names, count=len(people), timestamp=protocol.now())

    def counts(self) -> dict[str, int]:
        """How many users are in each room, over all processes. Safe to call from any thread."""
        here = {slug: len(room.people) for slug, room in list(self._rooms.items()) if room.people}
        return {**(self.replica.counts if self.replica else {}), **here}

    def people(self, slug: str) -> Iterator[Occupant]:
        room = self._rooms.get(slug)
        yield from list(room.people.values()) if room else ()

    def is_anywhere(self, key: str) -> bool:
        """True if this account is in any room of this process. Safe to call from any thread."""
        return any(key in room.people for room in list(self._rooms.values()))

    def person(self, slug: str, name: str) -> Occupant | None:
        """The user in the room with this name, else one whose name looks the same."""
        room = self._rooms.get(slug)
        alike = room.people_named(protocol.name_key(name)) if room else []
        return next((occupant for occupant in alike if occupant.name == name), alike[0] if alike else None)

    def sockets(self, slug: str, name: str) -> set[str]:
        """The ids of the user's sockets in the room, in this process."""
        occupant = self.person(slug, name)
        return set(occupant.sockets) if occupant else set()

    def _key(self, room: RoomPresence, identity: Identity, name: str) -> str:
        """The key of this user in ``room.people``. Raises Invalid (name_taken)."""
        if identity.account is not None:
            return identity.key
        key = protocol.name_key(name)
        if not all(_is_same_user(occupant, identity) for occupant in room.people_named(key)):
            raise _name_taken(name)
        return key

    def _lose_name(self, slug: str, key: str) -> None:
        """Another user took the name in another process, while the processes could not reach each other."""
        occupant = self._rooms[slug].people.get(key)
        if occupant and occupant.sockets:
            self.on_name_lost(slug, list(occupant.sockets))
        elif occupant and occupant.grace_timer:
            occupant.cancel_grace()
            self._end_local(slug, key)

    # --- Events ---

    def _publish(self, slug: str, version: int, event: str, *rest: Any) -> None:
        self._hub.publish_presence(slug, (self._node, version, event, *rest))

    def receive(self, slug: str, message: Sequence[Any]) -> None:
        """Apply a presence event of any process, this one too. Called in order with all events of the room."""
        node, version, event, *rest = message
        room = self._rooms.get(slug)
        if room is None:
            return
        if node != self._node or event == "buried":
            if self.replica:
                self.replica.receive(slug, room, node, version, event, *rest)
            return
        # The state changed when the event was published. Now its turn among the room's events has come.
        if room.versions and version:
            room.versions.add(version)
        match event, rest:
            case "came", (_, fields, _, first):
                entry = RegistryEntry(*fields)
                self._send_diff(slug, room, [ShownName(entry.name, entry.identity_key)] if first else [], [])
            case "gone", (key, name, announce):
                # A guest's key gives away no more than the name.
                self._send_diff(slug, room, [], [ShownName(name, key)] if announce else [])

    def _send_diff(
        self,
        slug: str,
        room: RoomPresence,
        joins: Sequence[ShownName] = (),
        leaves: Sequence[ShownName] = (),
    ) -> None:
        """Send joins and leaves to our sockets. A room with more than USER_LIST_NAMES users only gets the list."""
        if self._rooms.get(slug) is not room:
            # The diff was read from the registry for a room that was closed meanwhile, and perhaps opened again.
            return
        limit, now = chat_settings().USER_LIST_NAMES, protocol.now()
        if len(room.people) <= limit:
            for each in joins:
                self._send(slug, Joined(room=slug, username=each.name, timestamp=now, by=_public_key(each)))
        if len(room.people) < limit:
            for each in leaves:
                self._send(slug, Left(room=slug, username=each.name, timestamp=now, by=_public_key(each)))
        self._schedule_list(slug, room)

    def _send(self, slug: str, event: Joined | Left) -> None:
        self._hub.write_here(slug, protocol.encode(event))

    def _schedule_list(self, slug: str, room: RoomPresence) -> None:
        if room.list_timer is None and self._rooms.get(slug) is room:
            at = max(room.next_list_at, self._loop.time())
            room.list_timer = self._loop.call_at(at, self._send_list, slug, room)

    def _send_list(self, slug: str, room: RoomPresence) -> None:
        room.list_timer = None
        if not room.is_needed:
            del self._rooms[slug]
            return
        frame = protocol.encode(self.user_list(slug))
        self._hub.write_here(slug, frame, latest="userList")
        chat = chat_settings()
        cost = len(frame.encode()) * self._hub.audience(slug)
        room.next_list_at = self._loop.time() + max(chat.USER_LIST_INTERVAL, cost / chat.USER_LIST_BANDWIDTH)

    # --- Start and end ---

    def follow(self) -> None:
        """Start to exchange presence with other processes."""
        if self.replica:
            self.replica.follow()

    def process_died(self, pid: int) -> None:
        """Report that a process of this machine has ended: its users have the grace to reconnect to another."""
        if self.replica:
            self.replica.report_death(pid)

    def layer_returned(self) -> None:
        """Catch up after the channel layer was unavailable: this process's own events may be lost too."""
        if self.replica:
            self.replica.beat_now()
        for slug, room in self._rooms.items():
            self._schedule_list(slug, room)

    async def close(self) -> None:
        """Forget all rooms. Their users have the grace to reconnect to another process."""
        for room in self._rooms.values():
            if room.list_timer:
                room.list_timer.cancel()
            for occupant in room.people.values():
                occupant.cancel_grace()
        self._rooms.clear()
        if self.replica:
            await self.replica.close()


def _public_key(shown: ShownName) -> str | UnsetType:
    return author_key(shown.author) or UNSET


def _name_taken(name: str) -> Invalid:
    return Invalid(
        ErrorCode.NAME_TAKEN, f"username: {quoted(name)} is taken in this room, choose another", field="username"
    )


def _is_same_user(occupant: Occupant, identity: Identity) -> bool:
    """True if a socket of ``identity`` belongs to the user.

    A guest without a session can prove nothing, so two of their open sockets are two users. When one is gone and
    only its grace is left, the other counts as its reconnect.
    """
    if occupant.identity.key == identity.key:
        return True
    # A user in another process is judged by Redis, which knows whether only their grace is left.
    return not occupant.sockets and not (occupant.identity.lasting or identity.lasting)


def _nothing(*_: Any) -> None:
    pass
