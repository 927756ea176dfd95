"""The headers of a WebSocket handshake."""

from collections.abc import Awaitable, Callable
from typing import Any

from django.http import parse_cookie

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def headers(scope: Scope, name: bytes) -> list[str]:
    """The values of all lines of a header, in order."""
    return [value.decode("latin-1") for key, value in scope.get("headers", []) if key == name]


def cookies(scope: Scope) -> dict[str, str]:
    return parse_cookie("; ".join(headers(scope, b"cookie")))
