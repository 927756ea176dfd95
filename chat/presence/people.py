"""Who is in a room: people of this process, and what is known of those in others."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from chat.auth import Identity


class Entry(NamedTuple):
    """Somebody as other processes know them. The scripts in chat.presence.scripts read it by position."""

    identity: str
    name: str
    lasting: bool
    staff: bool
    # Seconds since 1970.
    since: float
    # Is only their grace left?
    leaving: bool
    # Where their sockets come from: who moderates may have to ban a guest by that.
    addresses: tuple[str, ...]

    @property
    def who(self) -> Identity:
        return Identity(
            key=self.identity, name=self.name if self.lasting else None, lasting=self.lasting, staff=self.staff
        )


@dataclass(eq=False, slots=True)
class Person:
    """Somebody in a room."""

    name: str
    identity: Identity
    since: float = field(default_factory=time.time)
    # The ids of the sockets they are here with in this process, one per tab, and where each comes from. Empty
    # during the grace.
    sockets: dict[str, str] = field(default_factory=dict)
    # Ends the grace; None while a socket is here.
    leaving: asyncio.TimerHandle | None = None
    # In which other processes they are, each with the version that said so (chat.presence.registry).
    elsewhere: dict[str, tuple[int, Entry]] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Are they here in this process, with a socket or with what is left of their grace?"""
        return bool(self.sockets) or self.leaving is not None

    @property
    def is_open(self) -> bool:
        """Have they a socket anywhere, as far as is known?"""
        return bool(self.sockets) or any(not entry.leaving for _, entry in self.elsewhere.values())

    @property
    def addresses(self) -> frozenset[str]:
        far = (address for _, entry in self.elsewhere.values() for address in entry.addresses)
        return frozenset(filter(None, (*self.sockets.values(), *far)))

    @property
    def entry(self) -> Entry:
        """What others are told of their place in this process."""
        who = self.identity
        places = tuple(sorted(set(filter(None, self.sockets.values()))))
        return Entry(who.key, self.name, who.lasting, who.staff, self.since, not self.sockets, places)

    @classmethod
    def far(cls, entry: Entry) -> Self:
        return cls(entry.name, entry.who, entry.since)


@dataclass(eq=False, slots=True)
class RoomPresence:
    """The people of one room, those who came last at the end."""

    # By the name's key: what is the same name to people can be in the room once. Accounts keep their names whoever
    # else is there: one whose name looks like another's is found by its identity's key.
    people: dict[str, Person] = field(default_factory=dict)
    # Under which of these keys each of our sockets is here.
    keys: dict[str, str] = field(default_factory=dict)
    # How many are coming in under each key, and wait for the registry.
    coming: dict[str, int] = field(default_factory=dict)
    # Sends the next list; None while the list that everybody has is true.
    pending: asyncio.TimerHandle | None = None
    # The loop's time before which the next list does not go out.
    next_at: float = 0.0
    # What is known of the room elsewhere: None before it was read.
    known: "Known | None" = None

    @property
    def ours(self) -> Iterator[tuple[str, Person]]:
        return ((key, person) for key, person in self.people.items() if person.is_ours)

    @property
    def is_wanted(self) -> bool:
        """Is or comes anybody here in this process?"""
        return bool(self.keys) or bool(self.coming) or any(True for _ in self.ours)

    # --- Other processes ---

    def came(self, node: str, version: int, key: str, entry: Entry) -> bool:
        """Somebody is in another process. Were they nowhere before?"""
        person = self.people.get(key)
        new = person is None
        if person is None:
            person = self.people[key] = Person.far(entry)
        elif not person.is_ours and person.identity.key != entry.identity:
            # Another took the name over; the news that the first one is gone are on their way.
            person.name, person.identity = entry.name, entry.who
        person.elsewhere[node] = (version, entry)
        return new

    def went(self, node: str, version: int, key: str) -> Person | None:
        """Somebody is not in that process any more. Who is nowhere now is out of the room, and returned."""
        person = self.people.get(key)
        if person is None or node not in person.elsewhere or person.elsewhere[node][0] > version:
            return None
        del person.elsewhere[node]
        return self._out(key, person)

    def _out(self, key: str, person: Person) -> Person | None:
        if person.is_ours or person.elsewhere:
            return None
        return self.people.pop(key)

    def end_ours(self, key: str) -> Person | None:
        """Somebody is not in this process any more. Who is nowhere now is out of the room, and returned."""
        person = self.people[key]
        person.leaving = None
        return self._out(key, person)

    def of_node(self, node: str) -> list[str]:
        return [key for key, person in self.people.items() if node in person.elsewhere]

    def places(self) -> Iterator[tuple[str, str]]:
        """Each process that somebody is in elsewhere, with their key."""
        for key, person in list(self.people.items()):
            for node in list(person.elsewhere):
                yield node, key


@dataclass(slots=True)
class Known:
    """Which changes of a room's presence are known here. Their versions come out of order; each comes once."""

    # All up to here are.
    version: int
    # And these.
    ahead: set[int] = field(default_factory=set)
    # The registry's version at the last comparison.
    seen: int = 0

    def note(self, version: int) -> bool:
        """A change is known now. False where it was before."""
        if version <= self.version or version in self.ahead:
            return False
        self.ahead.add(version)
        self._close_up()
        return True

    def read(self, version: int) -> None:
        """All up to ``version`` was read."""
        self.version = max(self.version, version)
        self.ahead = {each for each in self.ahead if each > self.version}
        self._close_up()

    def _close_up(self) -> None:
        while self.version + 1 in self.ahead:
            self.version += 1
            self.ahead.discard(self.version)

    def is_behind(self, version: int) -> bool:
        """Has something been missing since the last comparison? What is younger may be under way."""
        before, self.seen = self.seen, version
        return before > self.version


def sorted_by_arrival(entries: Iterable[tuple[str, str, Entry]]) -> list[tuple[str, str, Entry]]:
    """(node, key, entry) of many, those who came first first."""
    return sorted(entries, key=lambda place: place[2].since)
