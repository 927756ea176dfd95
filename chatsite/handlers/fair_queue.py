"""Turns: a few run at once, and the others wait in a queue in which each address is one."""

import asyncio
from collections import deque


class QueueFull(Exception):  # noqa: N818 it says how the queue is
    """There are as many in the queue as it takes."""


class FairQueue:
    """So many at once; who has to wait gets their turn as those before them end, one address after another.

    However many wait of one address, another's first is behind one of it at most.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free = at_once
        # How many may wait, and how many do.
        self._most = waiting
        self._count = 0
        # Waiting turns, by address; the address whose turn is next is first.
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    def ask(self, address: str) -> "asyncio.Future[None]":
        """Done when it is the turn, of which the end must be told (``end``). Raises QueueFull.

        A caller that waits no more cancels it.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._free:
            self._free -= 1
            turn.set_result(None)
            return turn
        if self._count >= self._most:
            raise QueueFull
        self._count += 1
        self._queues.setdefault(address, deque()).append(turn)
        return turn

    def end(self) -> None:
        """A turn has ended: the next one's begins."""
        while self._queues:
            address = next(iter(self._queues))
            queue = self._queues.pop(address)
            turn = queue.popleft()
            self._count -= 1
            if queue:
                # Behind all others.
                self._queues[address] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
