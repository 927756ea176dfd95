"""Answers of few words, past Django."""

from typing import Any

TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
USUAL = ((b"Cache-Control", b"no-store"), (b"X-Content-Type-Options", b"nosniff"))


async def reply(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """A response of plain text, which nobody keeps."""
    length = (b"Content-Length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [TEXT, length, *USUAL, *headers]})
    await send({"type": "http.response.body", "body": body})
