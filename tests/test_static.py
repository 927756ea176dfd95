"""Static files of a version that is newer than the process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from chatsite.middleware import StaticFiles

Ask = Callable[[str], HttpResponseBase]


def nowhere(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the site's own 404", status=404)


@pytest.fixture
def ask(tmp_path: Path, settings: Settings) -> Ask:
    """Asks a process that started when ``old.js`` was all that had been collected."""
    settings.WHITENOISE_AUTOREFRESH = settings.WHITENOISE_USE_FINDERS = False
    settings.STATIC_ROOT = tmp_path / "staticfiles"
    (settings.STATIC_ROOT / "chat").mkdir(parents=True)
    (settings.STATIC_ROOT / "chat/old.js").write_text("old")
    middleware = StaticFiles(nowhere)
    return lambda path: middleware(RequestFactory().get(path))


def body(response: HttpResponseBase) -> bytes:
    assert isinstance(response, StreamingHttpResponse)
    whole = b"".join(response)
    response.close()
    return whole


def test_what_was_collected_later_is_served(ask: Ask, tmp_path: Path) -> None:
    """A page of a newer process asks an older one for its files and gets them."""
    assert ask("/static/chat/new.0123456789ab.js").status_code == 404
    (tmp_path / "staticfiles/chat/new.0123456789ab.js").write_text("new")
    found = ask("/static/chat/new.0123456789ab.js")
    assert found.status_code == 200
    assert found.headers["Content-Type"].startswith("text/javascript")
    assert body(found) == b"new"
    assert body(ask("/static/chat/old.js")) == b"old"


@pytest.mark.parametrize(
    "path", ["/static/", "/static/chat", "/static/chat/", "/static/../secret", "/static/%2e%2e/secret", "/secret"]
)
def test_nothing_else_is(ask: Ask, tmp_path: Path, path: str) -> None:
    """Neither folders nor what is beside them."""
    (tmp_path / "secret").write_text("secret")
    assert ask(path).status_code == 404
