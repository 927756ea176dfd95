"""A queue that is fair to addresses: a few callers run at once, and the others wait by address, round robin."""

import asyncio
from collections import deque


class QueueFull(Exception):  # noqa: N818 as asyncio.QueueFull
    """The queue has as many waiting callers as it takes."""


class FairQueue:
    """Lets ``at_once`` callers run. The others wait, at most ``waiting`` of them, one address after another.

    However many callers of one address wait, the first of another address is behind one of them at most.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free = at_once
        self._limit = waiting
        self._waiting = 0
        # Waiting callers by address. The first address is next.
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    def enter(self, address: str) -> "asyncio.Future[None]":
        """A future that is done when the caller may run. Raises QueueFull.

        The caller calls ``end`` after it has run, or cancels the future to leave the queue.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._free:
            self._free -= 1
            turn.set_result(None)
            return turn
        if self._waiting >= self._limit:
            raise QueueFull
        self._waiting += 1
        self._queues.setdefault(address, deque()).append(turn)
        return turn

    def end(self) -> None:
        """A caller has run: let the next one run."""
        while self._queues:
            address = next(iter(self._queues))
            queue = self._queues.pop(address)
            turn = queue.popleft()
            self._waiting -= 1
            if queue:
                # The address goes behind all others.
                self._queues[address] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
