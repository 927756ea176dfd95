"""How much anybody may ask for: token buckets of sockets, people and addresses, and counts of open sockets.

    limits = of_this_loop(Limits)
    refusal = limits.admit(address)            # a Refusal, or None
    allowance = limits.allowance(address)      # one for each socket; no await between this and ``admit``
    allowance.belongs_to("account:1")          # False: this person has too many sockets
    wait = allowance.take(cost_of(command))    # milliseconds; 0: allowed, and paid
    allowance.close()

A command is paid from three buckets, the socket's, the person's and the address's, or from none of them.

``take`` must answer at once, so all is in this process's memory. Where several processes serve a site, each tells
the others now and then what was taken from it, and they pay that too (``news``, ``hear``: chat.limits.sharing).
"""

import asyncio
import heapq
import math
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from chat.conf import chat_settings
from chat.limits.addresses import is_proxy, limit_key
from chat.limits.buckets import Bucket, Holder, Holders, take_all
from chat.limits.sharing import Elsewhere, News, spent

SHARE = 8
"""The part of a limit on open sockets, as one over this, that a process keeps to itself: with N processes somebody
who spreads their sockets gets that much more from each, and who has a few tabs costs nothing."""
SHOWN = 50
"""How many rows a snapshot has."""


class Refusal(StrEnum):
    """Why a new socket is not taken; the value is a sentence for who asked."""

    FULL = "The server has as many connections as it takes."
    ADDRESS = "There are too many connections from your address."


class HolderUsage(NamedTuple):
    """How somebody stands: a row of the snapshot."""

    # "person" or "address".
    kind: str
    key: str
    # Left now, and at most.
    tokens: float
    burst: float
    sockets: int


class Limits:
    """What one event loop's sockets, people and addresses may do. Times are the loop's."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        # Open sockets.
        self.sockets = 0
        self.people = Holders(lambda: Bucket(chat_settings().PERSON_RATE, chat_settings().PERSON_BURST))
        self.addresses = Holders(lambda: Bucket(chat_settings().ADDRESS_RATE, chat_settings().ADDRESS_BURST))
        # Its holders have no sockets here: connections are counted as they come, not while they last.
        self._connects = Holders(lambda: Bucket(chat_settings().CONNECT_RATE, chat_settings().CONNECT_BURST))
        # Requests are the process's own business: each protects its own CPU, and an older process, while one is
        # replaced, would not know what it is told of them.
        self._requests = Holders(lambda: Bucket(chat_settings().REQUEST_RATE, chat_settings().REQUEST_BURST))
        # What is shared with other processes, by a name that they have for it.
        self._shared = {"person": self.people, "address": self.addresses, "connect": self._connects}
        # Open sockets in other processes.
        self._elsewhere = Elsewhere(self.loop.time)
        # Did the last news have any of ours?
        self._told_of_sockets = False

    async def close(self) -> None:
        """Nothing runs and nothing is held: there is nothing to end."""

    def connect(self, address: str) -> float:
        """Take one connection from an address. The seconds to wait; 0.0 where it may come in."""
        if not address or not chat_settings().LIMITS:
            return 0.0
        now = self.loop.time()
        return self._connects.find(limit_key(address), now).bucket.take(1, now)

    def request(self, address: str, cost: float) -> float:
        """Pay for a request of an address. The seconds to wait; 0.0 where it may come in.

        A proxy of ours that does not say for whom it asks is not limited: everybody would be.
        """
        settings = chat_settings()
        if not address or not settings.LIMITS or is_proxy(address, settings.PROXIES):
            return 0.0
        now = self.loop.time()
        return self._requests.find(limit_key(address), now).bucket.take(cost, now)

    def admit(self, address: str) -> Refusal | None:
        """May one more socket come from this address? It counts only with its ``allowance``."""
        settings = chat_settings()
        if not settings.LIMITS:
            return None
        if self.sockets >= settings.SOCKETS:
            return Refusal.FULL
        if address and self._open("address", limit_key(address)) >= settings.SOCKETS_PER_ADDRESS:
            return Refusal.ADDRESS
        return None

    def has_room_for(self, person: str) -> bool:
        """May this person open one more socket?"""
        settings = chat_settings()
        return not settings.LIMITS or self._open("person", person) < settings.SOCKETS_PER_PERSON

    def _open(self, kind: str, key: str) -> int:
        """Open sockets, here and as far as is known elsewhere."""
        return self._shared[kind].sockets(key) + self._elsewhere.sockets(kind, key)

    def allowance(self, address: str) -> "Allowance":
        """What one new socket may spend. ``address`` may be empty: nobody knows it, and it is not limited."""
        return Allowance(self, address)

    # --- Other processes ---

    def news(self) -> News:
        """What others have to know since the last time; empty where nobody took much."""
        settings = chat_settings()
        if not settings.LIMITS:
            return ()
        now = self.loop.time()
        taken = [(kind, *each) for kind, holders in self._shared.items() for each in spent(holders, now)]
        most = {"person": settings.SOCKETS_PER_PERSON, "address": settings.SOCKETS_PER_ADDRESS}
        counts = [
            (kind, holder.key, holder.sockets)
            for kind, limit in most.items()
            for holder in self._shared[kind].open()
            if holder.sockets > limit // SHARE
        ]
        told, self._told_of_sockets = self._told_of_sockets, bool(counts)
        return (tuple(taken), tuple(counts)) if taken or counts or told else ()

    def hear(self, origin: str, news: News) -> None:
        """What another process said, by its name."""
        taken, counts = news
        now = self.loop.time()
        for kind, key, cost in taken:
            self._shared[kind].find(key, now).bucket.owe(cost, now)
        self._elsewhere.hear(origin, counts)

    def snapshot(self, most: int = SHOWN) -> list[HolderUsage]:
        """The emptiest buckets first. Any thread may ask."""
        now = self.loop.time()
        standings = (
            HolderUsage(kind, holder.key, holder.bucket.tokens(now), holder.bucket.burst, holder.sockets)
            for kind, holder in chain(
                (("person", holder) for holder in self.people.all()),
                (("address", holder) for holder in self.addresses.all()),
            )
        )
        return heapq.nsmallest(most, standings, key=lambda standing: standing.tokens / standing.burst)


class Allowance:
    """What one socket may spend, from its own bucket, its person's and its address's."""

    __slots__ = ("_address", "_buckets", "_limited", "_limits", "_loop", "_person", "_socket")

    def __init__(self, limits: Limits, address: str) -> None:
        settings = chat_settings()
        self._limits = limits
        self._loop = limits.loop
        self._limited = settings.LIMITS
        self._socket = Bucket(settings.SOCKET_RATE, settings.SOCKET_BURST)
        # None where the address is not known, and after the end.
        self._address = limits.addresses.enter(limit_key(address), limits.loop.time()) if address else None
        # None before it is known whose socket it is, and after the end.
        self._person: Holder | None = None
        self._buckets: tuple[Bucket, ...] | None = None
        self._limits.sockets += 1
        self._gather()

    def take(self, cost: float) -> int:
        """Pay for something from every bucket. 0 where that went, else nothing is paid: milliseconds to wait."""
        if not self._limited or self._buckets is None:
            return 0
        return math.ceil(take_all(self._buckets, cost, self._loop.time()) * 1_000)

    def belongs_to(self, key: str) -> bool:
        """Say whose socket it is, as often as that changes. False, and nothing changes: they have too many."""
        if self._buckets is None or (self._person and self._person.key == key):
            return True
        if self._limited and not self._limits.has_room_for(key):
            return False
        people = self._limits.people
        now = self._loop.time()
        if self._person:
            people.leave(self._person, now)
        self._person = people.enter(key, now)
        self._gather()
        return True

    def close(self) -> None:
        """The socket is gone. Once more does nothing."""
        if self._buckets is None:
            return
        self._buckets = None
        now = self._loop.time()
        self._limits.sockets -= 1
        if self._person:
            self._limits.people.leave(self._person, now)
        if self._address:
            self._limits.addresses.leave(self._address, now)
        self._person = self._address = None

    def _gather(self) -> None:
        holders = [holder for holder in (self._person, self._address) if holder]
        self._buckets = (self._socket, *(holder.bucket for holder in holders))
