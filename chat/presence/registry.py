"""The people of all processes, in the Redis that these share: the truth of who is where.

It is followed as the log is. Each change of a room has a version; it is told to the other processes by the channel
layer, and every BEAT the versions are compared, so what the layer lost is read. A process that stops beating is
dead: one of the others takes its people out. Redis may be away, or lose everything: then each process goes on with
what it knows, and says anew who is with it when Redis is there again.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections import deque
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from channels.layers import channel_layers

from chat.presence import scripts
from chat.presence.state import Entry

BEAT = 1.0
"""Seconds between two signs of life of a process, and between two comparisons."""
DEAD = 6.0
"""Seconds after its last sign after which a process counts as dead; its people are out 2 s later at most."""
PATIENCE = 1.0
"""Seconds that Redis may take. A join waits so long once; then Redis is away."""
TOGETHER = 200
"""Scripts of one pipeline."""
COUNTED = 1_000
"""Rooms whose counts are known, the fullest first."""

logger = logging.getLogger("chat.presence")

_entry = msgspec.json.Decoder(Entry)


class RegistryUnavailable(Exception):  # noqa: N818 it names what is the case
    """Redis does not answer."""


class Pulse(NamedTuple):
    """What a beat finds."""

    # Did Redis know this process?
    known: bool
    # Another word than before: Redis lost everything.
    life: str
    dead: list[str]
    # The versions of the rooms that were asked for, and how many people are in which room.
    versions: dict[str, int]
    counts: dict[str, int]


class Registry:
    """One process's way to Redis. What is asked at once travels together, in its order."""

    def __init__(self, host: dict[str, Any], prefix: str) -> None:
        from channels_redis.utils import create_pool  # noqa: PLC0415 an extra that only several processes need
        from redis import asyncio as redis  # noqa: PLC0415 as above
        from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415 as above
        from redis.exceptions import NoScriptError  # noqa: PLC0415 as above

        self._no_script, self._broken = NoScriptError, RedisConnectionError
        self._redis = redis.Redis(connection_pool=create_pool(host))
        # In braces: in a cluster all of it would be on one node.
        self._prefix = f"{{{prefix}}}:chat:"
        self.node = f"{machine()}.{os.getpid()}.{secrets.token_hex(4)}"
        self._waiting: deque[tuple[str, Sequence[Any], asyncio.Future[Any]]] = deque()
        # Asks Redis what waits; None while nothing does.
        self._asking: asyncio.Task[None] | None = None
        # Did it fail, and has not answered a beat since?
        self.is_away = False
        self._digests: dict[str, str] = {}
        self._told_of_strange = False

    # --- People ---

    async def enter(self, slug: str, key: str, entry: Entry) -> tuple[int, list[str]] | None:
        """Put somebody there. The version, and processes they were taken from; None where the name is taken."""
        answer = await self._ask(scripts.ENTER, self.node, slug, key, msgspec.json.encode(entry))
        return (answer[0], [_text(node) for node in answer[1:]]) if answer else None

    def exit(self, slug: str, key: str, *, last: bool) -> Awaitable[int]:
        """Take somebody out; ``last``: nobody of this process is in the room any more. The version, 0 for none.

        Asked when it is called, not when it is awaited: who comes in after that comes in after that.
        """
        return self._ask(scripts.EXIT, self.node, slug, key, int(last))

    async def read(self, slug: str) -> tuple[str, int, list[tuple[str, str, Entry]]]:
        """The life, the version, and (node, key, entry) of all who are in the room."""
        life, version, found = await self._ask(scripts.READ, slug)
        return _text(life), int(version), list(self._places(_pairs(found)))

    def _places(self, found: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, str, Entry]]:
        """What is not ours is passed over, and told of once."""
        for name, entry in found:
            try:
                node, key = _text(name).split(" ", 1)
                yield node, key, _entry.decode(entry)
            except ValueError as error:
                if not self._told_of_strange:
                    logger.warning("there is something in Redis that no process of this site wrote: %s", error)
                self._told_of_strange = True

    async def resync(self, slug: str, people: Iterable[tuple[str, Entry]]) -> tuple[int, list[str]]:
        """Say who of this process is in the room: exactly these. The version, and the keys that others have."""
        said = [part for key, entry in people for part in (key, msgspec.json.encode(entry))]
        version, *refused = await self._ask(scripts.RESYNC, self.node, slug, *said)
        return version, [_text(key) for key in refused]

    # --- Processes ---

    async def beat(self, rooms: Sequence[str]) -> Pulse:
        """Say that this process lives, and look around. Raises Away; asked while Redis is away too."""
        try:
            pulse = await self._beat_twice(rooms)
        except Exception as error:
            self._lost()
            raise RegistryUnavailable from error
        if self.is_away:
            logger.warning("Redis answers again")
        self.is_away = False
        return pulse

    async def _beat_twice(self, rooms: Sequence[str]) -> Pulse:
        """The connections of a Redis that was started anew are dead, and the first to ask finds out."""
        try:
            return await self._beat(rooms)
        except self._broken:
            return await self._beat(rooms)

    async def _beat(self, rooms: Sequence[str]) -> Pulse:
        asked = ([self.node, _ms(DEAD), secrets.token_hex(4)], list(rooms))
        async with asyncio.timeout(PATIENCE):
            (known, life, *dead), versions, counts = await self._run_beat(*asked)
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
            pipe.evalsha(await self._digest(scripts.BEAT), 0, self._prefix, *arguments)
            # Without a room there is nothing to ask for, and HMGET takes no less than one.
            pipe.hmget(f"{self._prefix}versions", rooms or [""])
            pipe.zrevrange(f"{self._prefix}counts", 0, COUNTED - 1, withscores=True)
            found = await pipe.execute(raise_on_error=False)
            if not self._forgot(found):
                return _raised(found[0]), found[1] if rooms else [], found[2]
        raise RegistryUnavailable

    async def evict(self, node: str) -> dict[str, int]:
        """Take the people of a dead process out: in which rooms, and their versions. Empty where another did."""
        changed = await self._ask(scripts.EVICT, node, _ms(DEAD))
        return {_text(slug): int(version) for slug, version in _pairs(changed)}

    async def stopped(self, node: str, grace: float) -> None:
        """A process ends, or is known to have: its people have a grace to be somewhere else."""
        await self._ask(scripts.STOP, node, _ms(DEAD), _ms(grace))

    async def nodes(self, start: str) -> list[str]:
        """The processes whose name begins so."""
        try:
            async with asyncio.timeout(PATIENCE):
                found = [_text(node) for node in await self._redis.zrange(f"{self._prefix}nodes", 0, -1)]
        except Exception as error:
            self._lost()
            raise RegistryUnavailable from error
        return [node for node in found if node.startswith(start)]

    async def close(self) -> None:
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._fail()
        await self._redis.aclose(close_connection_pool=True)

    # --- Asking ---

    def _ask(self, script: str, *arguments: Any) -> asyncio.Future[Any]:
        """The answer is Away where there is none."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        # Not everybody waits for theirs.
        answer.add_done_callback(_looked_at)
        if self.is_away:
            answer.set_exception(RegistryUnavailable())
            return answer
        self._waiting.append((script, arguments, answer))
        if self._asking is None:
            self._asking = loop.create_task(self._ask_all())
        return answer

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                together = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
                await self._ask_together(together)
        finally:
            self._asking = None

    async def _ask_together(self, together: list[tuple[str, Sequence[Any], asyncio.Future[Any]]]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._run([(script, arguments) for script, arguments, _ in together])
        except Exception:  # noqa: BLE001 redis-py's, the system's and Python's errors share no base
            self._waiting.extendleft(reversed(together))
            self._lost()
            return
        for (_, _, answer), one in zip(together, found, strict=True):
            if not answer.done():
                if isinstance(one, Exception):
                    answer.set_exception(RegistryUnavailable(repr(one)))
                else:
                    answer.set_result(one)

    async def _run(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        for _ in range(2):
            pipe = self._redis.pipeline(transaction=False)
            for script, arguments in calls:
                pipe.evalsha(await self._digest(script), 0, self._prefix, *arguments)
            found: list[Any] = await pipe.execute(raise_on_error=False)
            if not self._forgot(found):
                return found
        raise RegistryUnavailable

    async def _digest(self, script: str) -> str:
        if script not in self._digests:
            self._digests[script] = await self._redis.script_load(scripts.COMMON + script)
        return self._digests[script]

    def _forgot(self, found: Sequence[Any]) -> bool:
        """Redis was started anew: it has no script of ours any more."""
        if any(isinstance(one, self._no_script) for one in found):
            self._digests.clear()
            return True
        return False

    def _lost(self) -> None:
        """One line for each time: while it is away it is asked for a beat only."""
        if not self.is_away:
            logger.warning("Redis does not answer: who is with other processes is not known")
        self.is_away = True
        self._fail()

    def _fail(self) -> None:
        while self._waiting:
            _, _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(RegistryUnavailable())


def _looked_at(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()


def shared() -> Registry | None:
    """The registry in the Redis that is the channel layer; None where the layer is of one process."""
    layer = channel_layers.configs.get("default", {})
    if not is_shared(layer):
        return None
    from channels_redis.utils import decode_hosts  # noqa: PLC0415 as above

    given = layer.get("CONFIG", {})
    return Registry(decode_hosts(given.get("hosts"))[0], given.get("prefix", "asgi"))


def is_shared(layer: Mapping[str, Any]) -> bool:
    """Is a layer, as CHANNEL_LAYERS has it, one whose Redis we can use?"""
    return str(layer.get("BACKEND", "")).startswith("channels_redis.")


def machine() -> str:
    """This machine's name, as a part of a process's."""
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
