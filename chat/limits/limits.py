"""Rate limits of sockets, people and addresses (token buckets), and limits on open sockets.

    limits = current(Limits)
    refusal = limits.admit(address)            # a Refusal, or None
    allowance = limits.allowance(address)      # one for each socket; no await between this and ``admit``
    allowance.assign_to("account:1")           # False: this person has too many sockets
    wait = allowance.take(COSTS.get(type(command), COST))    # milliseconds; 0: allowed, and paid
    allowance.close()

A command is paid from three buckets, the socket's, the person's and the address's, or from none of them.

``take`` must return at once, so everything is in this process's memory. If several processes serve a site, each
reports now and then what clients took from it, and the others charge that too (``report`` and ``receive``, see
chat.limits.sharing).
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
from chat.limits.sharing import LimitsReport, RemoteSockets, unreported

PRIVATE_SHARE = 8
"""A process reports sockets of a holder only above an eighth of the limit. With N processes a client that spreads
its sockets gets up to that much more from each. A client with a few tabs costs nothing."""
SNAPSHOT_ROWS = 50
"""Rows in a snapshot."""


class Refusal(StrEnum):
    """The reason to refuse a new socket. The value is a sentence for the client."""

    FULL = "The server has as many connections as it accepts."
    ADDRESS = "There are too many connections from your address."


class HolderUsage(NamedTuple):
    """A row of the snapshot: one person or address."""

    # "person" or "address".
    kind: str
    key: str
    # Tokens left, and at most.
    tokens: float
    burst: float
    sockets: int


class Limits:
    """The limits of one event loop's sockets, people and addresses. Times are loop time."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        # Open sockets.
        self.sockets = 0
        self.people = Holders(lambda: Bucket(chat_settings().PERSON_RATE, chat_settings().PERSON_BURST))
        self.addresses = Holders(lambda: Bucket(chat_settings().ADDRESS_RATE, chat_settings().ADDRESS_BURST))
        # Counts connections as they are made, not while they last. So these holders have no sockets.
        self._connects = Holders(lambda: Bucket(chat_settings().CONNECT_RATE, chat_settings().CONNECT_BURST))
        # Requests are not shared: each process protects its own CPU. During a rolling deploy, a process of the
        # previous version would not understand a report of them.
        self._requests = Holders(lambda: Bucket(chat_settings().REQUEST_RATE, chat_settings().REQUEST_BURST))
        # Holders that are shared with other processes, by their name in reports.
        self._shared = {"person": self.people, "address": self.addresses, "connect": self._connects}
        # Open sockets in other processes.
        self._remote_sockets = RemoteSockets(self.loop.time)
        # True if the last report had socket counts.
        self._reported_sockets = False

    async def close(self) -> None:
        """Do nothing: no task runs and no resource is held."""

    def connect(self, address: str) -> float:
        """Count one connection. Returns 0.0 if it may be accepted, else the seconds to wait."""
        if not address or not chat_settings().LIMITS:
            return 0.0
        now = self.loop.time()
        return self._connects.find(limit_key(address), now).bucket.take(1, now)

    def request(self, address: str, cost: float) -> float:
        """Pay for a request. Returns 0.0 if it may be answered, else the seconds to wait.

        A proxy of ours that names no client is not limited: everybody behind it would be.
        """
        settings = chat_settings()
        if not address or not settings.LIMITS or is_proxy(address, settings.PROXIES):
            return 0.0
        now = self.loop.time()
        return self._requests.find(limit_key(address), now).bucket.take(cost, now)

    def admit(self, address: str) -> Refusal | None:
        """None if the address may open one more socket. The socket counts only once it has an ``allowance``."""
        settings = chat_settings()
        if not settings.LIMITS:
            return None
        if self.sockets >= settings.SOCKETS:
            return Refusal.FULL
        if address and self._open_sockets("address", limit_key(address)) >= settings.SOCKETS_PER_ADDRESS:
            return Refusal.ADDRESS
        return None

    def has_room_for(self, person: str) -> bool:
        """True if this person may open one more socket."""
        settings = chat_settings()
        return not settings.LIMITS or self._open_sockets("person", person) < settings.SOCKETS_PER_PERSON

    def _open_sockets(self, kind: str, key: str) -> int:
        """Open sockets in this process, and in others as last reported."""
        return self._shared[kind].sockets(key) + self._remote_sockets.sockets(kind, key)

    def allowance(self, address: str) -> "Allowance":
        """The budget of one new socket. An unknown address ("") is not limited."""
        return Allowance(self, address)

    # --- Other processes ---

    def report(self) -> LimitsReport:
        """Tokens that clients took since the last report, for other processes; empty if no client took much."""
        settings = chat_settings()
        if not settings.LIMITS:
            return ()
        now = self.loop.time()
        taken = [(kind, *each) for kind, holders in self._shared.items() for each in unreported(holders, now)]
        most = {"person": settings.SOCKETS_PER_PERSON, "address": settings.SOCKETS_PER_ADDRESS}
        counts = [
            (kind, holder.key, holder.sockets)
            for kind, limit in most.items()
            for holder in self._shared[kind].connected()
            if holder.sockets > limit // PRIVATE_SHARE
        ]
        had_counts, self._reported_sockets = self._reported_sockets, bool(counts)
        return (tuple(taken), tuple(counts)) if taken or counts or had_counts else ()

    def receive(self, origin: str, report: LimitsReport) -> None:
        """Charge what another process reported. ``origin`` is that process's name."""
        taken, counts = report
        now = self.loop.time()
        for kind, key, cost in taken:
            self._shared[kind].find(key, now).bucket.charge(cost, now)
        self._remote_sockets.receive(origin, counts)

    def snapshot(self, most: int = SNAPSHOT_ROWS) -> list[HolderUsage]:
        """The people and addresses with the emptiest buckets first. Safe to call from any thread."""
        now = self.loop.time()
        rows = (
            HolderUsage(kind, holder.key, holder.bucket.tokens(now), holder.bucket.burst, holder.sockets)
            for kind, holder in chain(
                (("person", holder) for holder in self.people.all()),
                (("address", holder) for holder in self.addresses.all()),
            )
        )
        return heapq.nsmallest(most, rows, key=lambda row: row.tokens / row.burst)


class Allowance:
    """The tokens of one socket: from its own bucket, its user's and its address's."""

    __slots__ = ("_address", "_buckets", "_limited", "_limits", "_loop", "_person", "_socket")

    def __init__(self, limits: Limits, address: str) -> None:
        settings = chat_settings()
        self._limits = limits
        self._loop = limits.loop
        self._limited = settings.LIMITS
        self._socket = Bucket(settings.SOCKET_RATE, settings.SOCKET_BURST)
        # None if the address is unknown, and after ``close``.
        self._address = limits.addresses.add_socket(limit_key(address), limits.loop.time()) if address else None
        # None before ``assign_to``, and after ``close``.
        self._person: Holder | None = None
        self._buckets: tuple[Bucket, ...] | None = None
        self._limits.sockets += 1
        self._gather()

    def take(self, cost: float) -> int:
        """Pay from every bucket and return 0, or pay nothing and return the milliseconds to wait."""
        if not self._limited or self._buckets is None:
            return 0
        return math.ceil(take_all(self._buckets, cost, self._loop.time()) * 1_000)

    def assign_to(self, key: str) -> bool:
        """Set the person of the socket; a later call changes it. False if they have too many sockets."""
        if self._buckets is None or (self._person and self._person.key == key):
            return True
        if self._limited and not self._limits.has_room_for(key):
            return False
        people = self._limits.people
        now = self._loop.time()
        if self._person:
            people.remove_socket(self._person, now)
        self._person = people.add_socket(key, now)
        self._gather()
        return True

    def close(self) -> None:
        """Release the socket. A second call does nothing."""
        if self._buckets is None:
            return
        self._buckets = None
        now = self._loop.time()
        self._limits.sockets -= 1
        if self._person:
            self._limits.people.remove_socket(self._person, now)
        if self._address:
            self._limits.addresses.remove_socket(self._address, now)
        self._person = self._address = None

    def _gather(self) -> None:
        holders = [holder for holder in (self._person, self._address) if holder]
        self._buckets = (self._socket, *(holder.bucket for holder in holders))
