"""Lua scripts in Redis: calls of one loop iteration travel together, and an outage fails them at once."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from chat.loops import end_tasks

ANSWER_TIMEOUT = 1.0
"""Seconds that a call waits for Redis. One join waits that long; from then on Redis counts as unavailable."""
PIPELINE_LIMIT = 200
"""Most scripts in one pipeline."""

logger = logging.getLogger("chat.presence")


class RegistryUnavailable(Exception):  # noqa: N818 the name states the condition
    """Redis does not answer."""


class ScriptPipeline:
    """Sends scripts in the order in which they were called. ``redis`` is a client of redis-py."""

    def __init__(self, redis: Any, prefix: str) -> None:
        from redis.exceptions import NoScriptError  # noqa: PLC0415 an extra that only several processes need

        self._no_script = NoScriptError
        self._redis = redis
        self._prefix = prefix
        self._queue: deque[tuple[str, Sequence[Any], asyncio.Future[Any]]] = deque()
        # Task that sends the queue to Redis; None while the queue is empty.
        self._sender: asyncio.Task[None] | None = None
        # True from a failed call until a heartbeat succeeds.
        self.is_unavailable = False
        # The SHA1 digests by which Redis knows the scripts.
        self._digests: dict[str, str] = {}

    def call(self, script: str, *arguments: Any) -> asyncio.Future[Any]:
        """Queue a script. The future raises RegistryUnavailable if Redis does not answer."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        # Not every caller awaits its answer.
        answer.add_done_callback(_mark_retrieved)
        if self.is_unavailable:
            answer.set_exception(RegistryUnavailable())
            return answer
        self._queue.append((script, arguments, answer))
        if self._sender is None:
            self._sender = loop.create_task(self._send_queue())
        return answer

    async def close(self) -> None:
        if self._sender:
            await end_tasks(self._sender)
        self._fail_queue()

    async def digest(self, script: str) -> str:
        """The script's digest for EVALSHA. Loads the script into Redis on first use."""
        if script not in self._digests:
            self._digests[script] = await self._redis.script_load(script)
        return self._digests[script]

    def scripts_are_lost(self, results: Sequence[Any]) -> bool:
        """True after a restart of Redis, which forgets the scripts: they have to be loaded again."""
        if any(isinstance(result, self._no_script) for result in results):
            self._digests.clear()
            return True
        return False

    def mark_available(self) -> None:
        if self.is_unavailable:
            logger.warning("Redis answers again")
        self.is_unavailable = False

    def mark_unavailable(self) -> None:
        """Fail the queue. Logs one line per outage, because from here on only heartbeats are sent."""
        if not self.is_unavailable:
            logger.warning("Redis does not answer: this process does not know who is connected to the others")
        self.is_unavailable = True
        self._fail_queue()

    async def _send_queue(self) -> None:
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(PIPELINE_LIMIT, len(self._queue)))]
                await self._send_batch(batch)
        finally:
            self._sender = None

    async def _send_batch(self, batch: list[tuple[str, Sequence[Any], asyncio.Future[Any]]]) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                found = await self._run([(script, arguments) for script, arguments, _ in batch])
        except Exception:  # noqa: BLE001 redis-py's, the system's and Python's errors share no base
            self._queue.extendleft(reversed(batch))
            self.mark_unavailable()
            return
        for (_, _, answer), result in zip(batch, found, strict=True):
            if not answer.done():
                if isinstance(result, Exception):
                    answer.set_exception(RegistryUnavailable(repr(result)))
                else:
                    answer.set_result(result)

    async def _run(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        for _ in range(2):
            pipe = self._redis.pipeline(transaction=False)
            for script, arguments in calls:
                pipe.evalsha(await self.digest(script), 0, self._prefix, *arguments)
            found: list[Any] = await pipe.execute(raise_on_error=False)
            if not self.scripts_are_lost(found):
                return found
        raise RegistryUnavailable

    def _fail_queue(self) -> None:
        while self._queue:
            _, _, answer = self._queue.popleft()
            if not answer.done():
                answer.set_exception(RegistryUnavailable())


def _mark_retrieved(answer: asyncio.Future[Any]) -> None:
    """Keep asyncio from logging an exception that nobody awaits."""
    if not answer.cancelled():
        answer.exception()
