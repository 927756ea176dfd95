"""The users of all processes, in the Redis that the processes share: the source of truth for presence.

A process follows the registry as it follows the log. Each change of a room has a version, and the process that
makes it publishes the change through the channel layer. Every BEAT_INTERVAL the versions are compared, so a change
that the layer lost is read. A process without heartbeats is dead, and one of the others evicts its users.

While Redis is unavailable, or after it lost everything, each process goes on with what it knows. When Redis is
back, each process registers its own users again.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from channels.layers import channel_layers

from chat.presence import pipeline
from chat.presence.entries import Place, RegistryEntry
from chat.presence.pipeline import RegistryUnavailable, ScriptPipeline

BEAT_INTERVAL = 1.0
"""Seconds between two heartbeats of a process, and between two comparisons of versions."""
DEAD_AFTER = 6.0
"""Seconds without a heartbeat after which a process counts as dead. Its users are evicted 2 s later at most."""
COUNTS_LIMIT = 1_000
"""Most rooms whose number of users is read, the fullest first."""

logger = logging.getLogger("chat.presence")

_decode_entry = msgspec.json.Decoder(RegistryEntry).decode


def _script(name: str) -> str:
    """The Lua of one script, after the functions that all scripts share."""
    folder = Path(__file__).parent / "scripts"
    return "".join((folder / f"{each}.lua").read_text(encoding="utf-8") for each in ("common", name))


ENTER, EXIT, READ, RESYNC = _script("enter"), _script("exit"), _script("read"), _script("resync")
BEAT, EVICT, STOP = _script("beat"), _script("evict"), _script("stop")
ANYWHERE = _script("anywhere")


class Pulse(NamedTuple):
    """The result of a heartbeat."""

    # True if Redis had this process with all its users.
    known: bool
    # A random word. A different one than before means that Redis lost everything.
    life: str
    dead: list[str]
    # The versions of the rooms that were asked for.
    versions: dict[str, int]
    # How many users are in each room.
    counts: dict[str, int]


class Registry:
    """One process's client of the registry."""

    def __init__(self, host: dict[str, Any], prefix: str) -> None:
        from channels_redis.utils import create_pool  # noqa: PLC0415 an extra that only several processes need
        from redis import asyncio as redis  # noqa: PLC0415 as above
        from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415 as above

        self._broken = RedisConnectionError
        self._redis = redis.Redis(connection_pool=create_pool(host))
        # The braces keep all keys on one node of a Redis cluster.
        self._prefix = f"{{{prefix}}}:chat:"
        self.pipeline = ScriptPipeline(self._redis, self._prefix)
        self.node = f"{machine()}.{os.getpid()}.{secrets.token_hex(4)}"
        self._warned_of_foreign = False

    @property
    def is_unavailable(self) -> bool:
        """True from a failed call until a heartbeat succeeds."""
        return self.pipeline.is_unavailable

    # --- Users ---

    async def enter(self, slug: str, key: str, entry: RegistryEntry) -> tuple[int, list[str]] | None:
        """Register a user: the version, and the processes that the name was taken from.

        None if another user has the name. Raises RegistryUnavailable.
        """
        answer = await self.pipeline.call(ENTER, self.node, slug, key, msgspec.json.encode(entry))
        return (answer[0], [_text(node) for node in answer[1:]]) if answer else None

    def exit(self, slug: str, key: str, *, last: bool) -> Awaitable[int]:
        """Remove a user: the version, or 0 if they were not registered. Raises RegistryUnavailable.

        ``last``: this process has nobody else in the room. The call is queued at once, not when it is awaited. So
        a join that follows reaches Redis after it.
        """
        return self.pipeline.call(EXIT, self.node, slug, key, int(last))

    async def read(self, slug: str) -> tuple[str, int, list[Place]]:
        """The life, the room's version, and everybody in the room. Raises RegistryUnavailable."""
        life, version, found = await self.pipeline.call(READ, slug)
        return _text(life), int(version), list(self._places(_pairs(found)))

    async def is_anywhere(self, key: str) -> bool:
        """True if this account is in any room. Raises RegistryUnavailable."""
        return bool(await self.pipeline.call(ANYWHERE, key))

    def _places(self, found: Iterable[tuple[Any, Any]]) -> Iterator[Place]:
        """Skips what no process of this site wrote, and logs it once."""
        for name, entry in found:
            try:
                node, key = _text(name).split(" ", 1)
                yield node, key, _decode_entry(entry)
            except ValueError as error:
                if not self._warned_of_foreign:
                    logger.warning("Redis has an entry that no process of this site wrote: %s", error)
                self._warned_of_foreign = True

    async def resync(self, slug: str, people: Iterable[tuple[str, RegistryEntry]]) -> tuple[int, list[str]]:
        """Register exactly these users of this process: the version, and the keys whose name another user has.

        Raises RegistryUnavailable.
        """
        arguments = [part for key, entry in people for part in (key, msgspec.json.encode(entry))]
        version, *refused = await self.pipeline.call(RESYNC, self.node, slug, *arguments)
        return version, [_text(key) for key in refused]

    # --- Processes ---

    async def beat(self, rooms: Sequence[str]) -> Pulse:
        """Send a heartbeat and read what changed. Raises RegistryUnavailable.

        The only call that is sent while Redis is unavailable.
        """
        try:
            pulse = await self._beat_twice(rooms)
        except Exception as error:
            self.pipeline.mark_unavailable()
            raise RegistryUnavailable from error
        self.pipeline.mark_available()
        return pulse

    async def _beat_twice(self, rooms: Sequence[str]) -> Pulse:
        """Try again on a new connection: those of a restarted Redis are dead, and the first call finds out."""
        try:
            return await self._beat(rooms)
        except self._broken:
            return await self._beat(rooms)

    async def _beat(self, rooms: Sequence[str]) -> Pulse:
        arguments = [self.node, _ms(DEAD_AFTER), secrets.token_hex(4)]
        async with asyncio.timeout(pipeline.ANSWER_TIMEOUT):
            (known, life, *dead), versions, counts = await self._run_beat(arguments, list(rooms))
        return Pulse(
            bool(known),
            _text(life),
            [_text(node) for node in dead],
            {slug: int(version or 0) for slug, version in zip(rooms, versions, strict=True)},
            {_text(slug): int(people) for slug, people in counts},
        )

    async def _run_beat(self, arguments: list[Any], rooms: list[str]) -> Any:
        for _ in range(2):
            pipe = self._redis.pipeline(transaction=False)
            pipe.evalsha(await self.pipeline.digest(BEAT), 0, self._prefix, *arguments)
            # HMGET takes at least one field.
            pipe.hmget(f"{self._prefix}versions", rooms or [""])
            pipe.zrevrange(f"{self._prefix}counts", 0, COUNTS_LIMIT - 1, withscores=True)
            found = await pipe.execute(raise_on_error=False)
            if not self.pipeline.scripts_are_lost(found):
                return _raised(found[0]), found[1] if rooms else [], found[2]
        raise RegistryUnavailable

    async def evict(self, node: str) -> dict[str, int]:
        """Remove the users of a dead process: the changed rooms and their versions. Raises RegistryUnavailable.

        Empty if another process was first.
        """
        changed = await self.pipeline.call(EVICT, node, _ms(DEAD_AFTER))
        return {_text(slug): int(version) for slug, version in _pairs(changed)}

    async def mark_stopped(self, node: str, grace: float) -> None:
        """Note that a process ends, or has died: its users have ``grace`` seconds to reconnect to another.

        Raises RegistryUnavailable.
        """
        await self.pipeline.call(STOP, node, _ms(DEAD_AFTER), _ms(grace))

    async def nodes(self, start: str) -> list[str]:
        """The processes whose name begins with ``start``. Raises RegistryUnavailable."""
        try:
            async with asyncio.timeout(pipeline.ANSWER_TIMEOUT):
                found = [_text(node) for node in await self._redis.zrange(f"{self._prefix}nodes", 0, -1)]
        except Exception as error:
            self.pipeline.mark_unavailable()
            raise RegistryUnavailable from error
        return [node for node in found if node.startswith(start)]

    async def close(self) -> None:
        await self.pipeline.close()
        await self._redis.aclose(close_connection_pool=True)


def shared() -> Registry | None:
    """The registry in the channel layer's Redis; None if the layer serves one process only."""
    layer = channel_layers.configs.get("default", {})
    if not is_shared(layer):
        return None
    from channels_redis.utils import decode_hosts  # noqa: PLC0415 as above

    given = layer.get("CONFIG", {})
    return Registry(decode_hosts(given.get("hosts"))[0], given.get("prefix", "asgi"))


def is_shared(layer: Mapping[str, Any]) -> bool:
    """True if the registry can use the Redis of this layer, an item of CHANNEL_LAYERS."""
    return str(layer.get("BACKEND", "")).startswith("channels_redis.")


def machine() -> str:
    """This machine's name, as the first part of a process's name."""
    return socket.gethostname().replace(" ", "-")


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()


def _pairs(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _raised(found: Any) -> Any:
    if isinstance(found, Exception):
        raise found
    return found
