"""Short plain-text responses without Django."""

from typing import Any

TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
HEADERS = ((b"Cache-Control", b"no-store"), (b"X-Content-Type-Options", b"nosniff"))


async def respond(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a plain-text response that no cache keeps."""
    length = (b"Content-Length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [TEXT, length, *HEADERS, *headers]})
    await send({"type": "http.response.body", "body": body})
