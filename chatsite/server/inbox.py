"""What came in for an application, and when no more of it is read."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

INBOX = 32
"""Frames that may wait for a socket's consumer before its connection is no longer read; at a quarter it is."""
INBOX_OF = "chatsite.inbox"
"""The extension under which a socket's inbox travels from the server to its application."""

Receive = Callable[[], Awaitable[dict[str, Any]]]


class Inbox:
    """What came in for one application: ASGI messages, in order; in place of the queue that Daphne makes.

    Past INBOX messages the connection is not read any more, so that TCP holds the peer back.
    """

    __slots__ = ("_held", "_messages", "_transport", "_waiter")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._messages: deque[dict[str, Any]] = deque()
        # The application that waits in ``receive``; None while it doesn't.
        self._waiter: asyncio.Future[None] | None = None
        # Is the connection not read?
        self._held = False

    def put_nowait(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif len(self._messages) >= INBOX and not self._held:
            self._held = True
            self._transport.pauseProducing()

    async def receive(self) -> dict[str, Any]:
        """The application's ``receive``."""
        while not self._messages:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._messages.popleft()
        if self._held and len(self._messages) <= INBOX // 4:
            self._held = False
            self._transport.resumeProducing()
        return message


def with_inbox(application: Any) -> Any:
    """The application, which receives from its inbox where it has one."""

    async def receiving(scope: dict[str, Any], receive: Receive, send: Any) -> None:
        inbox = scope.get("extensions", {}).pop(INBOX_OF, None)
        await application(scope, inbox.receive if inbox else receive, send)

    return receiving
