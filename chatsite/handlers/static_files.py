"""Static files without Django: they need neither a session nor the database."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from chatsite.handlers.responses import respond

CHUNK = 1 << 16
"""Bytes of a file for each read and send."""
REQUEST_HEADERS = {
    b"accept-encoding": "HTTP_ACCEPT_ENCODING",
    b"if-modified-since": "HTTP_IF_MODIFIED_SINCE",
    b"if-none-match": "HTTP_IF_NONE_MATCH",
    b"range": "HTTP_RANGE",
}
"""Request headers that WhiteNoise reads, with its names for them."""

Scope = dict[str, Any]


class StaticFilesHandler(WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise ships no types
    """WhiteNoise as an ASGI application in front of another. It also serves files collected after its start.

    During a rolling restart, a page from a new process may request its files from an old one. New files have new
    names, because a name has the hash of the content.
    """

    def __init__(self, application: Any) -> None:
        super().__init__()
        self._next = application
        self._security = _security()
        if not self.autorefresh:
            # `find_file` searches these folders. WhiteNoise itself calls it only during development.
            self.directories.append((f"{Path(self.static_root).absolute()}{os.sep}", self.static_prefix))

    def is_cheap(self, scope: Scope) -> bool:
        """True if the request is answered without Django."""
        return bool(scope["path"].startswith(self.static_prefix) or self._next.is_cheap(scope))

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if not scope["path"].startswith(self.static_prefix):
            await self._next(scope, receive, send)
            return
        file = self.file(scope["path"])
        if file is None:
            await respond(send, 404, b"There is no such file.\n")
        else:
            await self._send(file, scope, send)

    def file(self, path: str) -> StaticFile | None:
        """The file of this path, or None if there is none or it is private."""
        if is_private(path.removeprefix(self.static_prefix)):
            return None
        known = None if self.autorefresh else self.files.get(path)
        return known or self.find_file(path)

    async def _send(self, file: StaticFile, scope: Scope, send: Any) -> None:
        wanted = {
            REQUEST_HEADERS[name]: value.decode("latin-1")
            for name, value in scope["headers"]
            if name in REQUEST_HEADERS
        }
        response = file.get_response(scope["method"], wanted)
        headers = [
            (name.encode("ascii"), value.encode("latin-1")) for name, value in (*response.headers, *self._security)
        ]
        await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
        if response.file is not None:
            with response.file:
                while data := response.file.read(CHUNK):
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body"})


def is_private(name: str) -> bool:
    """True for hidden files and for the manifest, which names files of a version that is not deployed yet."""
    return name.startswith("staticfiles.json") or any(part.startswith(".") for part in name.split("/"))


def _security() -> list[tuple[str, str]]:
    """Security headers, which the middlewares set on pages. Files need them too: an SVG is a document."""
    headers = [
        ("Content-Security-Policy", settings.CONTENT_SECURITY_POLICY),
        ("Permissions-Policy", settings.PERMISSIONS_POLICY),
        ("Referrer-Policy", settings.SECURE_REFERRER_POLICY),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if settings.SECURE_HSTS_SECONDS:
        headers.append(("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}"))
    return headers
