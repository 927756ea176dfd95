"""Static files of a version that is newer than the process."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from chatsite.handlers.static_files import StaticFilesHandler

# The status, the headers by their names in small letters, and the body.
Answer = tuple[int, dict[str, str], bytes]
Ask = Callable[..., Awaitable[Answer]]


class Elsewhere:
    """The application behind: it is asked for nothing of ours."""

    asked = 0

    def is_cheap(self, scope: dict[str, Any]) -> bool:
        return False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.asked += 1
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"the site's own 404"})


@pytest.fixture
def ask(tmp_path: Path, settings: Settings) -> Ask:
    """Asks a process that started when ``old.js`` was all that had been collected."""
    settings.WHITENOISE_AUTOREFRESH = settings.WHITENOISE_USE_FINDERS = False
    settings.STATIC_ROOT = tmp_path / "staticfiles"
    (settings.STATIC_ROOT / "chat").mkdir(parents=True)
    (settings.STATIC_ROOT / "chat/old.js").write_text("old")
    (settings.STATIC_ROOT / "staticfiles.json").write_text("{}")
    (settings.STATIC_ROOT / "chat/.secret").write_text("secret")
    files = StaticFilesHandler(Elsewhere())

    async def asking(path: str, method: str = "GET", **headers: str) -> Answer:
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await files({"type": "http", "path": path, "method": method, "headers": given}, None, send)
        told = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:])

    return asking


async def test_what_was_collected_later_is_served(ask: Ask, tmp_path: Path) -> None:
    """A page of a newer process asks an older one for its files and gets them."""
    assert (await ask("/static/chat/new.0123456789ab.js"))[0] == 404
    (tmp_path / "staticfiles/chat/new.0123456789ab.js").write_text("new")
    status, headers, body = await ask("/static/chat/new.0123456789ab.js")
    assert (status, body) == (200, b"new")
    assert headers["content-type"].startswith("text/javascript")
    assert (await ask("/static/chat/old.js"))[2] == b"old"


async def test_what_the_browser_has_is_not_sent_again(ask: Ask) -> None:
    """Nor more of it than it asks for, nor anything to a HEAD."""
    _, headers, _ = await ask("/static/chat/old.js")
    assert (await ask("/static/chat/old.js", if_none_match=headers["etag"]))[0] == 304
    status, _, body = await ask("/static/chat/old.js", range="bytes=0-1")
    assert (status, body) == (206, b"ol")
    status, _, body = await ask("/static/chat/old.js", method="HEAD")
    assert (status, body) == (200, b"")
    status, headers, _ = await ask("/static/chat/old.js", method="POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


async def test_a_file_comes_with_the_headers_of_pages(ask: Ask, settings: Settings) -> None:
    """An SVG is a document, and a script is no other site's."""
    _, headers, _ = await ask("/static/chat/old.js")
    assert headers["content-security-policy"] == settings.CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        "/static/staticfiles.json",
        "/static/staticfiles.json.gz",
        "/static/chat/.secret",
        "/static/.git/config",
        "/static/",
        "/static/chat",
        "/static/chat/",
        "/static/../secret",
        "/static/%2e%2e/secret",
        "/secret",
    ],
)
async def test_nothing_else_is(ask: Ask, tmp_path: Path, path: str) -> None:
    """Neither folders nor what is beside them, nor the list of the files, nor what begins with a dot."""
    (tmp_path / "secret").write_text("secret")
    assert (await ask(path))[0] == 404
