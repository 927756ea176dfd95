"""Keeps a client connected, as chat/static/chat/client/connection.js does: another link when one is lost."""

import asyncio
import random
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import ValidationError
from websockets.exceptions import WebSocketException

from chat.protocol import AnyOutgoing, CloseCode
from torture.link import ABNORMAL, Backoff, Link, LinkLost, Pace, opened


class Connection:
    """One link after the other, until cancelled. A subclass says what happens on them."""

    def __init__(self, urls: Sequence[str], headers: Mapping[str, str], pace: Pace, chance: random.Random) -> None:
        # Servers of one chat: each link goes to one of them, as behind a load balancer.
        self.urls = urls
        self.headers, self.pace, self.chance = headers, pace, chance
        # Cleared by who wants a slow reader.
        self.reading = asyncio.Event()
        self.reading.set()
        self.link: Link | None = None
        # Which link this is, and the address of the server that it goes to.
        self.number = 0
        self.node = ""
        self._backoff = Backoff(pace, chance)
        # The loop's time at which the server wants us back.
        self._slot: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def on_open(self, link: Link) -> None:
        raise NotImplementedError

    def on_frame(self, frame: AnyOutgoing) -> None:
        raise NotImplementedError

    def on_cut(self) -> None:
        raise NotImplementedError

    def on_loss(self, code: int) -> None:
        raise NotImplementedError

    def on_nonsense(self, says: str) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        code = ABNORMAL
        while code < CloseCode.BAD_INPUT:
            self.number += 1
            code = await self._one_link()
            self.on_loss(code)
            await asyncio.sleep(self._delay())

    def cut(self) -> bool:
        """Lose the link without a word, if there is one."""
        if self.link:
            self.on_cut()
            self.link.cut()
        return self.link is not None

    def come_back_in(self, seconds: float) -> None:
        """The server asks for it: others have the other moments."""
        self._slot = asyncio.get_running_loop().time() + seconds

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start what ends with the link."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _one_link(self) -> int:
        """From the handshake to the end; returns the code of the close."""
        url = self.chance.choice(self.urls)
        self.node = urlsplit(url).netloc
        try:
            async with opened(url, self.headers, self.pace, self.reading) as link:
                await self._use(link)
        except LinkLost as lost:
            return lost.code
        except ValidationError as error:
            self.on_nonsense(f"a frame that the protocol doesn't have: {error}")
        except (OSError, WebSocketException):
            # No handshake: nobody listens, or what listens is not ready. A page learns no more than that either.
            pass
        return ABNORMAL

    async def _use(self, link: Link) -> None:
        stable = asyncio.get_running_loop().call_later(self.pace.stable, self._backoff.reset)
        self.link = link
        try:
            self.on_open(link)
            while True:
                self.on_frame(await link.next())
        finally:
            self.link = None
            stable.cancel()
            await self._end_tasks()

    async def _end_tasks(self) -> None:
        ending = list(self._tasks)
        for task in ending:
            task.cancel()
        for outcome in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def _delay(self) -> float:
        slot, self._slot = self._slot, None
        if slot is None:
            return self._backoff.next()
        return max(0.0, slot - asyncio.get_running_loop().time())
