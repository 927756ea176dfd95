"""HTTP requests to an ASGI application, without a server."""

import asyncio
from typing import Any

Answer = tuple[int, dict[str, str], bytes]


def scope(path: str = "/", method: str = "GET", address: str = "192.0.2.1", **headers: str) -> dict[str, Any]:
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http",
        "path": path,
        "method": method,
        "headers": [(b"host", b"testserver"), *given],
        "query_string": b"",
        "client": [address, 1],
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
    }


class Exchange:
    """A request to an ASGI application, and its response."""

    def __init__(self, application: Any, **what: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.task = asyncio.ensure_future(application(scope(**what), self.inbox.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self.inbox.put_nowait({"type": "http.disconnect"})

    async def response(self) -> Answer:
        await self.task
        headers = {name.decode().lower(): value.decode() for name, value in self.sent[0]["headers"]}
        return self.sent[0]["status"], headers, b"".join(message.get("body", b"") for message in self.sent[1:])
