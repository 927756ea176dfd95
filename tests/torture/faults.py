"""Faults of the server and of clients. Each fault undoes itself: afterwards all could be well."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from torture.client import Client
from torture.crowd import Crowd
from torture.engines import Engines
from torture.life import new_word
from torture.records import Fault, Ill
from torture.site import Site


@dataclass
class Scene:
    """Where it happens."""

    sites: Sequence[Site]
    crowd: Crowd
    chance: random.Random
    # The services that the servers share, if the run started them.
    engines: Engines | None = None
    # Seconds of those faults that last, and of the one that lasts longer than anybody waits for a server.
    least: float = 1.0
    most: float = 4.0
    longest: float = 20.0

    @property
    def site(self) -> Site:
        """One of the servers."""
        return self.chance.choice(self.sites)

    def some(self) -> list[Client]:
        """Some of the clients, perhaps all."""
        clients = self.crowd.clients
        return self.chance.sample(clients, self.chance.randint(1, len(clients)))

    def a_while(self) -> float:
        return self.chance.uniform(self.least, self.most)

    def a_long_while(self) -> float:
        return self.chance.uniform(self.least, 3 * self.most)

    @asynccontextmanager
    async def ill(self, *whom: str) -> AsyncIterator[None]:
        """Write down that these stand still: servers by their addresses, clients, or "" for all."""
        history = self.crowd.history
        began = history.clock()
        yield
        for each in whom:
            history.add(Ill(at=began, whom=each, lasted=history.clock() - began))


async def kill(scene: Scene) -> str:
    """The server is killed in the middle of whatever it does, and started again."""
    await scene.site.kill(scene.chance.uniform(0, 0.5))
    return ""


async def kill_twice(scene: Scene) -> str:
    """The second time while they come back."""
    site = scene.site
    await site.kill()
    await asyncio.sleep(scene.chance.uniform(0, 0.3))
    await site.kill()
    return ""


async def drain(scene: Scene) -> str:
    """The server is asked to end, as for an update, and started again."""
    await scene.site.drain()
    return ""


async def cut(scene: Scene) -> str:
    """Connections end without a word."""
    return f"{sum(client.cut() for client in scene.some())} connections"


async def cut_again_and_again(scene: Scene) -> str:
    """Some lose their connections faster than they can catch up."""
    count = 0
    for _ in range(10):
        count += sum(client.cut() for client in scene.some())
        await asyncio.sleep(scene.chance.uniform(0.02, 0.3))
    return f"{count} connections"


async def slow(scene: Scene) -> str:
    """Some read nothing for a while, or hardly anything, and meanwhile the others say much."""
    clients, rest = scene.crowd.clients, scene.a_while() / LOUD
    sleepers = scene.some()[: max(1, len(clients) // 4)]
    loud = [client for client in clients if client not in sleepers]
    async with scene.ill(*(client.person.who for client in sleepers)):
        for client in sleepers:
            client.reading.clear()
        for _ in range(LOUD):
            scene.chance.choice(loud).do("message", content=f"{new_word(scene.chance)} {LONG}")
            await asyncio.sleep(rest)
            await wink(scene.chance.choice(sleepers[::2]))
        for client in sleepers:
            client.reading.set()
    return f"{len(sleepers)} clients"


async def wink(client: Client) -> None:
    """Read a frame or so, and sleep on."""
    client.reading.set()
    await asyncio.sleep(0)
    client.reading.clear()


LOUD = 40
LONG = "🌩" * 3_900
"""So many messages of 16 kB each: six times what waits in TCP's buffers, and ten times a socket's outbox."""


async def lock(scene: Scene) -> str:
    """Somebody else holds the database's write lock."""
    with scene.site.database.locked():
        await asyncio.sleep(scene.a_while())
    return ""


async def long_lock(scene: Scene) -> str:
    """Longer than the server waits for it: it refuses what it cannot keep."""
    with scene.site.database.locked():
        await asyncio.sleep(BEYOND)
    return ""


BEYOND = 6.5


async def lock_and_cut(scene: Scene) -> str:
    """A client that waits for a reply loses the connection on which it would come."""
    with scene.site.database.locked():
        await asyncio.sleep(scene.a_while() / 2)
        note = await cut(scene)
        await asyncio.sleep(scene.a_while() / 2)
    return note


async def lock_and_kill(scene: Scene) -> str:
    """The server dies with all that it has not committed yet."""
    with scene.site.database.locked():
        await asyncio.sleep(scene.a_while() / 2)
        killing = asyncio.create_task(scene.site.kill())
        await asyncio.sleep(scene.a_while() / 2)
    await killing
    return ""


async def freeze(scene: Scene) -> str:
    """The server stands still, and goes on as if nothing had been."""
    await frozen(scene, scene.site, scene.a_while())
    return ""


async def frozen(scene: Scene, site: Site, seconds: float) -> None:
    async with site.turn, scene.ill(site.address):
        site.freeze(frozen=True)
        await asyncio.sleep(seconds)
        site.freeze(frozen=False)


Does = Callable[[Scene], Awaitable[str]]

SHORT: tuple[Does, ...] = (kill, cut, lock, slow, drain)
ALL: tuple[Does, ...] = (
    *SHORT,
    *(kill_twice, cut_again_and_again, long_lock, lock_and_cut, lock_and_kill, freeze),
)


async def hang_up(scene: Scene) -> str:
    """A PostgreSQL ends the server's connections, again and again: nobody knows what it still committed."""
    count = 0
    for _ in range(10):
        count += scene.site.database.hang_up()
        await asyncio.sleep(scene.a_while() / 10)
    return f"{count} connections"


async def suffer(scene: Scene, does: Does) -> None:
    """Do it, and write it down."""
    history = scene.crowd.history
    began = history.clock()
    note = await does(scene)
    history.add(Fault(at=began, what=does.__name__, lasted=history.clock() - began, note=note))
