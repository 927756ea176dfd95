"""Carries a client's commands to the server, as chat/static/chat/client/sender.js does."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from torture.link import Backoff, Link, LinkLost, Pace


@dataclass(eq=False)
class Entry:
    """A command that waits for its answer."""

    ref: str
    command: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.command["type"])


class Courier:
    """Sends one command at a time: if the next one were sent before the reply, a ``busy`` would let it overtake.

    A command that was under way when a connection was lost is sent again on the next.
    """

    def __init__(self, pace: Pace, chance: random.Random, sent: Callable[[Entry], None]) -> None:
        self.entries: deque[Entry] = deque()
        self.pace = pace
        self.chance = chance
        # Told of each time that an entry is handed to a socket.
        self.sent = sent
        # Something is new: an entry, an answer, a busy.
        self._news = asyncio.Event()
        # Seconds that the server asks for before it wants the present entry again.
        self._hold: float | None = None

    def add(self, entry: Entry, *, first: bool = False) -> None:
        (self.entries.appendleft if first else self.entries.append)(entry)
        self._news.set()

    def answered(self, ref: str) -> Entry | None:
        """Take out the entry that has its answer. None where it had one before."""
        entry = next((entry for entry in self.entries if entry.ref == ref), None)
        if entry:
            self.entries.remove(entry)
            self._news.set()
        return entry

    def busy(self, ref: str, hold: float) -> None:
        if self.entries and self.entries[0].ref == ref:
            self._hold = hold
            self._news.set()

    def withdraw(self, refs: Collection[str]) -> None:
        """Give up what has one of these refs."""
        self.entries = deque(entry for entry in self.entries if entry.ref not in refs)
        self._news.set()

    async def carry(self, link: Link) -> None:
        """Until cancelled, or until the link is lost: its reader learns that too."""
        with suppress(LinkLost):
            while True:
                self._news.clear()
                if self.entries:
                    await self._deliver(link, self.entries[0])
                else:
                    await self._news.wait()

    async def _deliver(self, link: Link, entry: Entry) -> None:
        patience = self.pace.ack
        while self.entries and self.entries[0] is entry:
            self._hold = None
            self._news.clear()
            self.sent(entry)
            await link.send(msgspec.json.encode(entry.command).decode())
            await self._wait_for_news(patience, entry)
            if self._hold is not None:
                await self._wait_for_news(self._hold, entry)
            else:
                patience = min(2 * patience, self.pace.ack_cap)

    async def _wait_for_news(self, seconds: float, entry: Entry) -> None:
        """Until this entry is answered or refused for now, but no longer than that."""
        held = self._hold
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.entries and self.entries[0] is entry and self._hold == held:
                    self._news.clear()
                    await self._news.wait()


def busy_for(retry_after: int | None, backoff: Backoff) -> float:
    """Seconds until a command that met a busy server is sent again."""
    return backoff.next() if retry_after is None else retry_after / 1_000
