"""The users in one room: those connected to this process, and those known to be in other processes.

A user is *local* while this process has one of their sockets, or their grace runs here. A user is *remote* in each
other process that has registered them.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from chat.auth import Identity
from chat.presence.entries import RegistryEntry
from chat.presence.versions import VersionSet
from chat.protocol import name_key


class ShownName(NamedTuple):
    """A user as join and leave events name them."""

    name: str
    # The key of the user's Identity; "" if only the name is known.
    author: str = ""


class PresenceDiff(NamedTuple):
    """Joins and leaves that the room has to be sent."""

    joins: Sequence[ShownName] = ()
    leaves: Sequence[ShownName] = ()


@dataclass(eq=False, slots=True)
class Occupant:
    """A user in a room."""

    name: str
    identity: Identity
    since: float = field(default_factory=time.time)
    # Ids and addresses of the user's sockets in this process, one per tab. Empty during the grace.
    sockets: dict[str, str] = field(default_factory=dict)
    # Timer that ends the grace; None while a socket is open.
    grace_timer: asyncio.TimerHandle | None = None
    # Other processes that have the user, each with the version that registered them (chat.presence.registry).
    remote: dict[str, tuple[int, RegistryEntry]] = field(default_factory=dict)

    @property
    def shown(self) -> ShownName:
        return ShownName(self.name, self.identity.key)

    @property
    def is_local(self) -> bool:
        """True if this process has a socket of the user, or their grace runs here."""
        return bool(self.sockets) or self.grace_timer is not None

    @property
    def is_connected(self) -> bool:
        """True if the user has a socket in any process, as far as is known here."""
        return bool(self.sockets) or any(not entry.in_grace for _, entry in self.remote.values())

    def cancel_grace(self) -> None:
        """Stop the timer: the user came back, or another process has them now."""
        if self.grace_timer:
            self.grace_timer.cancel()
            self.grace_timer = None

    @property
    def addresses(self) -> frozenset[str]:
        remote = (address for _, entry in self.remote.values() for address in entry.addresses)
        return frozenset(filter(None, (*self.sockets.values(), *remote)))

    @property
    def entry(self) -> RegistryEntry:
        """The user's entry for other processes."""
        identity = self.identity
        addresses = tuple(sorted(set(filter(None, self.sockets.values()))))
        return RegistryEntry(
            identity.key, self.name, identity.lasting, identity.staff, self.since, not self.sockets, addresses
        )

    @classmethod
    def from_entry(cls, entry: RegistryEntry) -> Self:
        return cls(entry.name, entry.identity, entry.since)


@dataclass(eq=False, slots=True)
class RoomPresence:
    """The users of one room, in the order in which they joined."""

    # Accounts by the key of their identity, guests by the key of their name. So a name that looks the same is in
    # the room only once, except that each account keeps its own name.
    people: dict[str, Occupant] = field(default_factory=dict)
    # Accounts, by the keys of their names.
    accounts: dict[str, set[str]] = field(default_factory=dict)
    # The key in ``people`` of each socket of this process.
    keys: dict[str, str] = field(default_factory=dict)
    # How many sockets are joining under each key and wait for the registry.
    joining: dict[str, int] = field(default_factory=dict)
    # Timer that sends the next list; None while the clients' list is up to date.
    list_timer: asyncio.TimerHandle | None = None
    # Earliest time of the next list (loop time).
    next_list_at: float = 0.0
    # Versions received of the room's users in other processes; None before the registry was asked.
    versions: VersionSet | None = None

    @property
    def local(self) -> Iterator[tuple[str, Occupant]]:
        return ((key, occupant) for key, occupant in self.people.items() if occupant.is_local)

    @property
    def is_followed(self) -> bool:
        """True if a socket of this process keeps the room open in the hub: only then do its events arrive here."""
        return bool(self.keys) or bool(self.joining)

    @property
    def needs_read(self) -> bool:
        """True if the room is followed and nobody has read its users in other processes."""
        return self.is_followed and self.versions is None

    @property
    def is_needed(self) -> bool:
        """True if a user is in the room in this process, or is joining."""
        return self.is_followed or any(True for _ in self.local)

    def people_named(self, key: str) -> list[Occupant]:
        """The users in the room whose name has this key."""
        keys = [key, *self.accounts.get(key, ())]
        return [occupant for each in keys if (occupant := self.people.get(each))]

    def add(self, key: str, occupant: Occupant) -> Occupant:
        self.people[key] = occupant
        if occupant.identity.account is not None:
            self.accounts.setdefault(name_key(occupant.name), set()).add(key)
        return occupant

    def _remove(self, key: str) -> Occupant:
        occupant = self.people.pop(key)
        if occupant.identity.account is not None:
            alike = self.accounts[name_key(occupant.name)]
            alike.discard(key)
            if not alike:
                del self.accounts[name_key(occupant.name)]
        return occupant

    def rename(self, key: str, name: str, since: float) -> PresenceDiff:
        """Give a user another name. The room receives a leave and a join, unless the two look the same."""
        occupant = self.people[key]
        before, occupant.since = occupant.name, since
        if name_key(before) == name_key(name):
            occupant.name = name
            return PresenceDiff()
        self._remove(key)
        occupant.name = name
        self.add(key, occupant)
        return PresenceDiff([occupant.shown], [ShownName(before, occupant.identity.key)])

    def end_local(self, key: str) -> Occupant | None:
        """Note that a user left this process. Returns the user if no process has them any more."""
        occupant = self.people[key]
        occupant.grace_timer = None
        return self._remove_if_gone(key, occupant)

    def _remove_if_gone(self, key: str, occupant: Occupant) -> Occupant | None:
        if occupant.is_local or occupant.remote:
            return None
        return self._remove(key)

    # --- Other processes ---

    def add_remote(self, node: str, version: int, key: str, entry: RegistryEntry) -> PresenceDiff:
        """Note that a user is in another process: new in the room, under a new name, or neither."""
        occupant, diff = self.people.get(key), PresenceDiff()
        if occupant is None:
            occupant = self.add(key, Occupant.from_entry(entry))
            diff = PresenceDiff([occupant.shown])
        elif not occupant.is_local and occupant.identity.key != entry.identity_key:
            # Another guest took the name over. The event that the first one left has not arrived yet.
            occupant.name, occupant.identity = entry.name, entry.identity
        elif (
            occupant.identity.account is not None and occupant.name != entry.name and occupant.since < entry.since
        ):
            # The account was renamed. A process to which it has not reconnected still has the former name.
            diff = self.rename(key, entry.name, entry.since)
        occupant.remote[node] = (version, entry)
        return diff

    def hand_over(self, key: str, nodes: Sequence[str], *, ours: str) -> None:
        """Remove a guest's grace in these processes: another guest took the name over. Sends nothing."""
        occupant = self.people.get(key)
        if occupant is None:
            return
        for node in nodes:
            occupant.remote.pop(node, None)
        if ours in nodes:
            occupant.cancel_grace()

    def remove_remote(self, node: str, version: int, key: str) -> Occupant | None:
        """Note that a user left another process. Returns the user if no process has them any more."""
        occupant = self.people.get(key)
        if occupant is None or node not in occupant.remote or occupant.remote[node][0] > version:
            return None
        del occupant.remote[node]
        return self._remove_if_gone(key, occupant)

    def keys_on(self, node: str) -> list[str]:
        """The keys of the users in another process."""
        return [key for key, occupant in self.people.items() if node in occupant.remote]

    def remote_places(self) -> Iterator[tuple[str, str]]:
        """(node, key) of every user in every other process."""
        for key, occupant in list(self.people.items()):
            for node in list(occupant.remote):
                yield node, key
