"""Limits HTTP requests by address and cost."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from chat.limits import Limits, scope_address
from chat.limits.costs import request_cost
from chat.loops import current
from chat.metrics.counters import RefusalReason, counters

Scope: TypeAlias = dict[str, Any]
Application: TypeAlias = Callable[[Scope, Any, Any], Awaitable[None]]


class RequestLimit:
    """ASGI middleware: each request is paid from its address's bucket, or answered with 429.

    ``cheap``: true for requests that ``application`` answers without rendering a page. Every request of a
    connection is counted. A refusal closes the connection, so the next request needs a new one (``CONNECT_RATE``).
    """

    def __init__(self, application: Application, *, cheap: Callable[[Scope], bool] = lambda _: False) -> None:
        self._application = application
        self._cheap = cheap

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        cost = request_cost(scope["method"], cheap=self._cheap(scope))
        wait = current(Limits).request(scope_address(scope), cost)
        if wait:
            counters.connects_refused[RefusalReason.REQUESTS] += 1
            await _refuse(send, math.ceil(wait))
        else:
            await self._application(scope, receive, send)


async def _refuse(send: Any, seconds: int) -> None:
    body = f"Too many requests came from your address. Try again in {seconds} s.\n".encode()
    headers = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Retry-After", b"%d" % seconds),
        (b"Cache-Control", b"no-store"),
        (b"Connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": body})
