"""Clients and their users, all in one room: they come, live, calm down, and what they hold is compared."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from torture.client import Client, Person, Visitor
from torture.life import Habits, Life
from torture.link import PACE, Pace
from torture.records import History, Holding
from torture.timeline import Place

LOOK = 0.05
"""Seconds between two looks at whether all is quiet."""


class Crowd:
    """Everybody in the room."""

    def __init__(
        self,
        urls: Sequence[str],
        room: str,
        history: History,
        seed: int,
        *,
        pace: Pace = PACE,
        habits: Habits | None = None,
    ) -> None:
        self.urls, self.room, self.history, self.seed = urls, room, history, seed
        self.pace, self.habits = pace, habits or Habits()
        self.clients: list[Client] = []
        # Those who go again, the first who came first, and what keeps each here.
        self.visitors: dict[Visitor, asyncio.Task[None]] = {}
        self._there: list[asyncio.Task[None]] = []
        self._lives: list[asyncio.Task[None]] = []

    def add(self, person: Person, place: Place | None = None, *, lives: bool = True) -> Client:
        """Bring somebody in. Without a life of their own they do what they are told."""
        chance = random.Random(f"{self.seed} {person.who}")
        client = Client(person, self.urls, self.room, self.history, chance, pace=self.pace, place=place)
        self.clients.append(client)
        self._there.append(asyncio.create_task(client.run()))
        if lives:
            self._lives.append(asyncio.create_task(Life(client, chance, self.habits).live()))
        return client

    def visit(self, person: Person) -> None:
        """Bring somebody in who says nothing, and will go for good."""
        chance = random.Random(f"{self.seed} {person.who}")
        visitor = Visitor(person, self.urls, self.room, self.history, chance, pace=self.pace)
        self.visitors[visitor] = asyncio.create_task(visitor.run())

    async def send_home(self, farewell: Callable[[Visitor], object], number: int | None = None) -> None:
        """Have so many visitors go, in some way; all, where it is None."""
        going = list(islice(self.visitors.items(), number))
        for visitor, _ in going:
            farewell(visitor)
            del self.visitors[visitor]
        # Their last commands must reach the socket.
        await asyncio.sleep(LOOK)
        await cancel([task for _, task in going])

    async def calm(self) -> None:
        """No client starts anything new. Waiting commands are still sent."""
        await cancel(self._lives)

    async def settled(self, seq: Callable[[], int], patience: float) -> bool:
        """Has everybody the answers to all, and come to the log's end? Waits for it."""
        try:
            await until(lambda: self._quiet() and self._is_at(seq()), patience)
        except TimeoutError:
            return False
        return True

    async def agreed(self, patience: float) -> bool:
        """Is everybody shown who is here, and told that nothing is late? Waits for it."""
        try:
            await until(self._is_shown_right, patience)
        except TimeoutError:
            return False
        return True

    def _is_shown_right(self) -> bool:
        right = sorted({client.person.author for client in self.clients})
        return all(client.joined and not client.late and sorted(client.people) == right for client in self.clients)

    def _quiet(self) -> bool:
        for task in self._there:
            if task.done():
                # It should never end by itself: if it failed this raises.
                task.result()
        return all(client.idle for client in self.clients)

    def _is_at(self, seq: int) -> bool:
        return all(client.place.last == seq for client in self.clients)

    def holdings(self) -> list[Holding]:
        return [client.holding() for client in self.clients]

    async def close(self) -> None:
        await cancel([*self._lives, *self._there, *self.visitors.values()])


async def cancel(tasks: list[asyncio.Task[None]]) -> None:
    """End these tasks. Raises the first error that one of them died of."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    tasks.clear()


@asynccontextmanager
async def gathered(crowd: Crowd) -> AsyncIterator[Crowd]:
    """The crowd, sent home at the end."""
    try:
        yield crowd
    finally:
        await crowd.close()


async def until(true: Callable[[], object], patience: float = 10.0) -> None:
    """Wait for something that must come."""
    async with asyncio.timeout(patience):
        while not true():  # noqa: ASYNC110 there is no one event for it
            await asyncio.sleep(LOOK)
