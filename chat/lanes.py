"""How bytes leave for one socket. The only place that calls an ASGI ``send``.

The portable lane works on any ASGI server: a queue bounded in bytes, and one writer task that lives only while
something waits, so that an idle socket costs no task and a slow one blocks nobody.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from chat.conf import chat_settings
from chat.protocol import CloseCode

FAREWELL = 5.0
"""Seconds that ``flushed`` waits for a peer that does not read."""

Send = Callable[[dict[str, Any]], Awaitable[None]]


class PortableLane:
    """One socket's way out over ASGI ``send``.

    ``write`` and ``close`` return at once and keep their order. After ``close``, or once the peer is gone, what
    is written goes nowhere.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        # ASGI messages that wait, each with its bytes of text, and how many bytes that is in all.
        self._queue: deque[tuple[dict[str, Any], int]] = deque()
        self.waiting = 0
        # The writer, while there is something to write.
        self._writer: asyncio.Task[None] | None = None
        # The code of our close, from the moment it is asked for; None while the socket is open to writes.
        self.closed_with: CloseCode | None = None
        self._limit = chat_settings().OUTBOX

    def write(self, frame: str) -> None:
        """Send one text frame. A socket that lets more than CHAT["OUTBOX"] bytes wait is closed instead."""
        if self.closed_with is not None:
            return
        size = len(frame) if frame.isascii() else len(frame.encode())
        self.waiting += size
        if self.waiting > self._limit:
            self._drop_queue()
            self.close(CloseCode.TOO_SLOW)
            return
        self._put({"type": "websocket.send", "text": frame}, size)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Send what waits, then close. Only the first call counts."""
        if self.closed_with is None:
            self.closed_with = code
            self._put({"type": "websocket.close", "code": int(code), "reason": reason or code.meaning})

    def abandon(self) -> None:
        """The peer is gone: nothing more can reach it."""
        self.closed_with = self.closed_with or CloseCode.NORMAL
        self._drop_queue()
        if self._writer:
            self._writer.cancel()

    async def flushed(self) -> None:
        """Wait until nothing waits, but not for ever."""
        if self._writer:
            await asyncio.wait([self._writer], timeout=FAREWELL)

    def _put(self, message: dict[str, Any], size: int = 0) -> None:
        self._queue.append((message, size))
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    def _drop_queue(self) -> None:
        self._queue.clear()
        self.waiting = 0

    async def _write(self) -> None:
        try:
            while self._queue:
                message, size = self._queue.popleft()
                await self._send(message)
                # The queue may have been dropped in the meantime.
                self.waiting = max(0, self.waiting - size)
        except (OSError, RuntimeError):
            # How servers say that the peer is gone; the receive loop learns of it by itself.
            self.closed_with = self.closed_with or CloseCode.NORMAL
            self._drop_queue()
        finally:
            self._writer = None
