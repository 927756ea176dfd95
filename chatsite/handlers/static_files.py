"""Static files, past Django: their browsers need neither a session nor the database."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from chatsite.handlers.responses import reply

CHUNK = 1 << 16
"""Bytes of a file that are read and sent at once."""
ASKED = {
    b"accept-encoding": "HTTP_ACCEPT_ENCODING",
    b"if-modified-since": "HTTP_IF_MODIFIED_SINCE",
    b"if-none-match": "HTTP_IF_NONE_MATCH",
    b"range": "HTTP_RANGE",
}
"""The headers that WhiteNoise looks at, by its names for them."""

Scope = dict[str, Any]


class StaticFilesHandler(WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise ships no types
    """WhiteNoise as an ASGI application before another. It also serves what was collected after the start.

    While processes are replaced one after another, the page of a new one may ask an old one for its files. Their
    names are new, for they have the hash of what is in them.
    """

    def __init__(self, application: Any) -> None:
        super().__init__()
        self._next = application
        self._security = _security()
        if not self.autorefresh:
            # `find_file` looks here: WhiteNoise itself asks it only while developing.
            self.directories.append((f"{Path(self.static_root).absolute()}{os.sep}", self.static_prefix))

    def is_cheap(self, scope: Scope) -> bool:
        """Is it answered without Django?"""
        return bool(scope["path"].startswith(self.static_prefix) or self._next.is_cheap(scope))

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if not scope["path"].startswith(self.static_prefix):
            await self._next(scope, receive, send)
            return
        file = self.file(scope["path"])
        if file is None:
            await reply(send, 404, b"There is no such file.\n")
        else:
            await self._send(file, scope, send)

    def file(self, path: str) -> StaticFile | None:
        """The file of this path; None where there is none that anybody may have."""
        if is_private(path.removeprefix(self.static_prefix)):
            return None
        known = None if self.autorefresh else self.files.get(path)
        return known or self.find_file(path)

    async def _send(self, file: StaticFile, scope: Scope, send: Any) -> None:
        asked = {ASKED[name]: value.decode("latin-1") for name, value in scope["headers"] if name in ASKED}
        found = file.get_response(scope["method"], asked)
        headers = [
            (name.encode("ascii"), value.encode("latin-1")) for name, value in (*found.headers, *self._security)
        ]
        await send({"type": "http.response.start", "status": int(found.status), "headers": headers})
        if found.file is not None:
            with found.file:
                while data := found.file.read(CHUNK):
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body"})


def is_private(name: str) -> bool:
    """Is it the list of the files, which names those of a version that is not out yet, or somebody's leftovers?"""
    return name.startswith("staticfiles.json") or any(part.startswith(".") for part in name.split("/"))


def _security() -> list[tuple[str, str]]:
    """Headers that the middlewares set on pages and that files need too: an SVG is a document."""
    said = [
        ("Content-Security-Policy", settings.CONTENT_SECURITY_POLICY),
        ("Permissions-Policy", settings.PERMISSIONS_POLICY),
        ("Referrer-Policy", settings.SECURE_REFERRER_POLICY),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if settings.SECURE_HSTS_SECONDS:
        said.append(("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}"))
    return said
