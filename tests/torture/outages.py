"""Faults of a cluster: of the PostgreSQL and the Redis that its nodes share, of their links, of a node."""

import asyncio
from collections.abc import Callable

from programs import Program

from torture.engines import Engines
from torture.faults import Does, Scene, drain, frozen, kill


async def away(program: Program, seconds: float, meanwhile: Callable[[], None] | None = None) -> None:
    """It dies, and comes back after so long."""
    async with program.turn:
        await asyncio.to_thread(program.end, program.STOP)
        if meanwhile:
            meanwhile()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(program.start)


async def still(program: Program, seconds: float) -> None:
    """It stands still for so long."""
    async with program.turn:
        program.freeze(frozen=True)
        await asyncio.sleep(seconds)
        program.freeze(frozen=False)


def of(scene: Scene) -> Engines:
    assert scene.engines
    return scene.engines


# --- Redis ---


async def redis_killed(scene: Scene) -> str:
    """Redis is away for a while, and comes back with what it had."""
    await away(of(scene).redis, scene.a_long_while())
    return ""


async def redis_emptied(scene: Scene) -> str:
    """It comes back with nothing."""
    async with scene.ill(""):
        await away(of(scene).redis, scene.a_while(), of(scene).redis.forget)
    return ""


async def redis_flushed(scene: Scene) -> str:
    """Somebody takes everything out of it."""
    async with scene.ill(""):
        await asyncio.to_thread(of(scene).redis.flush)
    return ""


async def redis_full(scene: Scene) -> str:
    """It has no memory for anything new, and goes on with all else."""
    redis = of(scene).redis
    await asyncio.to_thread(redis.fill, full=True)
    await asyncio.sleep(scene.a_long_while())
    await asyncio.to_thread(redis.fill, full=False)
    return ""


async def redis_read_only(scene: Scene) -> str:
    """It is made a replica for a while, as in a failover."""
    redis = of(scene).redis
    await asyncio.to_thread(redis.follow, another=True)
    await asyncio.sleep(scene.a_long_while())
    await asyncio.to_thread(redis.follow, another=False)
    return ""


async def redis_frozen(scene: Scene) -> str:
    """It answers nobody for a while."""
    await still(of(scene).redis, scene.a_long_while())
    return ""


# --- The link of one node ---


async def link_stalled(scene: Scene) -> str:
    """The traffic between one node and Redis is delayed for a while."""
    site = scene.site
    assert site.cable
    async with scene.ill(site.address):
        await still(site.cable, scene.a_long_while())
    return site.address


async def link_cut(scene: Scene) -> str:
    """One node loses its connections to Redis, again and again."""
    site = scene.site
    assert site.cable
    for _ in range(3):
        await away(site.cable, 0)
        await asyncio.sleep(scene.a_while() / 3)
    return site.address


async def link_gone(scene: Scene) -> str:
    """One node does not reach Redis for a while."""
    site = scene.site
    assert site.cable
    async with scene.ill(site.address):
        await away(site.cable, scene.a_long_while())
    return site.address


# --- PostgreSQL ---


async def postgresql_restarted(scene: Scene) -> str:
    """It ends in the middle of whatever it does, and is there again at once."""
    await away(of(scene).postgresql, 0)
    return ""


async def postgresql_away(scene: Scene) -> str:
    """It is gone for a while."""
    await away(of(scene).postgresql, scene.a_while())
    return ""


# --- A node, and several at once ---


async def node_frozen(scene: Scene) -> str:
    """A node stands still for longer than anybody waits for it."""
    site = scene.site
    await frozen(scene, site, scene.longest)
    return site.address


async def node_dead(scene: Scene) -> str:
    """A node is killed, and is away for a while."""
    site = scene.site
    await site.kill(scene.a_long_while())
    return site.address


async def redis_dies_beside_a_dead_node(scene: Scene) -> str:
    """Which of the two is back first is a matter of chance."""
    await asyncio.gather(scene.site.kill(scene.a_long_while()), away(of(scene).redis, scene.a_long_while()))
    return ""


async def postgresql_restarts_without_redis(scene: Scene) -> str:
    """While the nodes don't receive from each other, the log is away too."""
    lasting = scene.a_while()
    redis = asyncio.create_task(away(of(scene).redis, lasting))
    await asyncio.sleep(lasting / 4)
    await away(of(scene).postgresql, lasting / 4)
    await redis
    return ""


ALL: tuple[Does, ...] = (
    *(redis_killed, redis_emptied, redis_flushed, redis_full, redis_read_only, redis_frozen),
    *(link_stalled, link_cut, link_gone, postgresql_restarted, postgresql_away, node_frozen, node_dead),
    *(redis_dies_beside_a_dead_node, postgresql_restarts_without_redis),
)
SHORT: tuple[Does, ...] = (
    *(kill, drain, redis_killed, redis_emptied, link_stalled, postgresql_restarted, node_frozen),
    redis_dies_beside_a_dead_node,
)
