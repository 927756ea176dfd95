"""Who is in a room: people of this process, and what is known of those in others."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from chat.auth import Identity
from chat.protocol import name_key


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
    def seen(self) -> "Seen":
        return Seen(self.name, self.identity)

    @property
    def who(self) -> Identity:
        return Identity(
            key=self.identity, name=self.name if self.lasting else None, lasting=self.lasting, staff=self.staff
        )


class JoinRequest(NamedTuple):
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

    comer: JoinRequest
    key: str
    # The registry's version of the room with them; 0 where it was not asked.
    version: int = 0
    # Processes where a ghost had the name.
    took: Sequence[str] = ()
    # How often all was said anew when it was asked; None where it was not.
    restated: int | None = None
    # Are they the person's first socket? Known when they have entered.
    first: bool = False
    # Events to send to the room about the person's new name; None if they were not renamed.
    renamed: "Names | None" = None


class Seen(NamedTuple):
    """A person as the room's events name them."""

    name: str
    # The person's key (chat.auth.Identity.key); "" if only the name is known.
    author: str = ""


class Names(NamedTuple):
    """The people whose join or leave the room must be sent."""

    came: Sequence[Seen] = ()
    gone: Sequence[Seen] = ()


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
    def seen(self) -> Seen:
        return Seen(self.name, self.identity.key)

    @property
    def is_ours(self) -> bool:
        """Are they here in this process, with a socket or with what is left of their grace?"""
        return bool(self.sockets) or self.leaving is not None

    @property
    def is_open(self) -> bool:
        """Have they a socket anywhere, as far as is known?"""
        return bool(self.sockets) or any(not entry.leaving for _, entry in self.elsewhere.values())

    def stay(self) -> None:
        """The grace is over: they came back, or it is not for us to end it."""
        if self.leaving:
            self.leaving.cancel()
            self.leaving = None

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

    # Accounts by their identity's key, others by the name's: what is the same name to people can be in the room
    # once, but accounts keep their names whoever else is there.
    people: dict[str, Person] = field(default_factory=dict)
    # The accounts, by the keys of their names.
    accounts: dict[str, set[str]] = field(default_factory=dict)
    # Under which of these keys each of our sockets is here.
    keys: dict[str, str] = field(default_factory=dict)
    # How many are coming in under each key, and wait for the registry.
    coming: dict[str, int] = field(default_factory=dict)
    # Sends the next list; None while the list that everybody has is true.
    pending: asyncio.TimerHandle | None = None
    # The loop's time before which the next list does not go out.
    next_at: float = 0.0
    # People of the room in other processes; None before anybody asked.
    known: "VersionSet | None" = None

    @property
    def ours(self) -> Iterator[tuple[str, Person]]:
        return ((key, person) for key, person in self.people.items() if person.is_ours)

    @property
    def is_followed(self) -> bool:
        """Does a socket of this process hold the room open in the hub? Only then do its events arrive here."""
        return bool(self.keys) or bool(self.coming)

    @property
    def is_unknown(self) -> bool:
        """Does somebody here need to know who is in the room elsewhere, and nobody has asked?"""
        return self.is_followed and self.known is None

    @property
    def is_wanted(self) -> bool:
        """Is or comes anybody here in this process?"""
        return self.is_followed or any(True for _ in self.ours)

    def named(self, key: str) -> list[Person]:
        """Who is here under a name with this key."""
        keys = [key, *self.accounts.get(key, ())]
        return [person for each in keys if (person := self.people.get(each))]

    def add(self, key: str, person: Person) -> Person:
        self.people[key] = person
        if person.identity.account is not None:
            self.accounts.setdefault(name_key(person.name), set()).add(key)
        return person

    def _remove(self, key: str) -> Person:
        person = self.people.pop(key)
        if person.identity.account is not None:
            alike = self.accounts[name_key(person.name)]
            alike.discard(key)
            if not alike:
                del self.accounts[name_key(person.name)]
        return person

    def rename(self, key: str, name: str, since: float) -> Names:
        """Give a person another name. The room receives a leave and a join, unless the two look the same."""
        person = self.people[key]
        before, person.since = person.name, since
        if name_key(before) == name_key(name):
            person.name = name
            return Names()
        self._remove(key)
        person.name = name
        self.add(key, person)
        return Names([person.seen], [Seen(before, person.identity.key)])

    # --- Other processes ---

    def came(self, node: str, version: int, key: str, entry: Entry) -> Names:
        """Somebody is in another process: new in the room, or under a new name, or neither."""
        person, names = self.people.get(key), Names()
        if person is None:
            person, names = self.add(key, Person.far(entry)), Names([entry.seen])
        elif not person.is_ours and person.identity.key != entry.identity:
            # Another took the name over; the news that the first one is gone are on their way.
            person.name, person.identity = entry.name, entry.who
        elif person.identity.account is not None and person.name != entry.name and person.since < entry.since:
            # The account was renamed. A process from which it has not come back yet still has the former name.
            names = self.rename(key, entry.name, entry.since)
        person.elsewhere[node] = (version, entry)
        return names

    def give_way(self, key: str, took: Sequence[str], *, ours: str) -> None:
        """Somebody took over what was left, in these processes, of one who only said the name: nobody hears it."""
        person = self.people.get(key)
        if person is None:
            return
        for node in took:
            person.elsewhere.pop(node, None)
        if ours in took:
            person.stay()

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
        return self._remove(key)

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
class VersionSet:
    """Which changes of a room's presence are known here. Their versions come out of order; each comes once."""

    # All up to here are.
    version: int = 0
    # And these.
    ahead: set[int] = field(default_factory=set)
    # The registry's version at the last comparison.
    seen: int = 0
    # People who left a process, as (node, key), which could not tell the registry: it still has them.
    left: set[tuple[str, str]] = field(default_factory=set)
    # The first read of the room, while it is under way: everybody who comes in meanwhile waits for it.
    reading: asyncio.Task[None] | None = None
    # Was everybody read who was there before us? Until then a newly read person is no reason to announce a join.
    complete: bool = False

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


def since_of(person: Person | None, comer: JoinRequest) -> float:
    """Since when the joining person is in the room under this name. The later of an account's two names counts."""
    if person is None:
        return time.time()
    return person.since if person.name == comer.name else max(time.time(), person.since + 0.001)


def sorted_by_arrival(entries: Iterable[tuple[str, str, Entry]]) -> list[tuple[str, str, Entry]]:
    """(node, key, entry) of many, those who came first first."""
    return sorted(entries, key=lambda place: place[2].since)
