"""Messages from one client that wait for its application, with backpressure."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

INBOX = 32
"""Messages that may wait before the connection is no longer read. Reading resumes at a quarter of that."""
INBOX_OF = "chatsite.inbox"
"""Key in ``scope["extensions"]`` under which the server hands the inbox to ``with_inbox``."""

Receive = Callable[[], Awaitable[dict[str, Any]]]


class Inbox:
    """ASGI messages for one application, in order. It takes the place of the queue that Daphne makes.

    At INBOX messages it stops reading the connection, so that TCP slows the client down.
    """

    __slots__ = ("_messages", "_paused", "_transport", "_waiter")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._messages: deque[dict[str, Any]] = deque()
        # Resolved when a message comes; None while the application is not waiting in ``receive``.
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False

    def put_nowait(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif len(self._messages) >= INBOX and not self._paused:
            self._paused = True
            self._transport.pauseProducing()

    async def receive(self) -> dict[str, Any]:
        """The ASGI ``receive`` of the application."""
        while not self._messages:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._messages.popleft()
        if self._paused and len(self._messages) <= INBOX // 4:
            self._paused = False
            self._transport.resumeProducing()
        return message


def with_inbox(application: Any) -> Any:
    """Wrap an ASGI application so that it receives from its inbox, if the scope has one."""

    async def receiving(scope: dict[str, Any], receive: Receive, send: Any) -> None:
        inbox = scope.get("extensions", {}).pop(INBOX_OF, None)
        await application(scope, inbox.receive if inbox else receive, send)

    return receiving
