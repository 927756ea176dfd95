"""Django's pages on their threads."""

from threading import Event

import pytest
from asgi import Exchange
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from doubles import until
from pytest_django import Settings

from chat.limits import creation_limits
from chat.loops import close_current
from chatsite.handlers.pages import PageHandler


@pytest.fixture(autouse=True)
def _limits(settings: Settings) -> None:
    settings.CHAT = {**settings.CHAT, "LIMITS": True}
    creation_limits.clear()


class Views:
    """A URLconf of pages that the test holds up."""

    def __init__(self) -> None:
        self.goes_on = Event()
        self.begun = 0
        self.urlpatterns = [
            path("slow", self.slow),
            path("parts", self.parts),
            path("fails", self.fails),
            path("cookies", self.cookies),
        ]

    def slow(self, _: HttpRequest) -> HttpResponse:
        self.begun += 1
        self.goes_on.wait(20)
        return HttpResponse("done")

    def parts(self, _: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(iter(["a", "b", "ä"]), headers={"X-Kind": "parts"})

    def fails(self, _: HttpRequest) -> HttpResponse:
        raise RuntimeError("as the test wants it")

    def cookies(self, request: HttpRequest) -> HttpResponse:
        response = HttpResponse(request.headers.get("x-asked", ""))
        response.set_cookie("one", "1")
        response.set_cookie("two", "2")
        return response


@pytest.fixture
def views(settings: Settings) -> Views:
    found = Views()
    settings.ROOT_URLCONF, settings.MIDDLEWARE = found, []
    return found


async def test_few_pages_are_made_at_once(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait; who is gone by then has none made; past the queue's end they are told to come again."""
    monkeypatch.setattr("chatsite.handlers.pages.THREADS", 2)
    monkeypatch.setattr("chatsite.handlers.pages.WAITING", 2)
    pages = PageHandler()
    crowd = [Exchange(pages, path="/slow") for _ in range(4)]
    await until(lambda: views.begun == 2)
    code, headers, _ = await Exchange(pages, path="/slow").response()
    assert (code, headers["retry-after"]) == (503, "2")
    crowd[2].leave()
    await crowd[2].task
    views.goes_on.set()
    for each in (crowd[0], crowd[1], crowd[3]):
        assert await each.response() == (200, {"content-type": "text/html; charset=utf-8"}, b"done")
    assert views.begun == 3
    assert not crowd[2].sent
    await close_current()


async def test_a_page_that_comes_in_parts_is_sent_in_parts(views: Views) -> None:
    """With its headers; made by one thread."""
    asking = Exchange(PageHandler(), path="/parts")
    code, headers, body = await asking.response()
    assert (code, headers["x-kind"], body) == (200, "parts", "abä".encode())
    assert len(asking.sent) == 5
    await close_current()


async def test_a_page_that_fails_is_an_error_and_the_next_is_made(
    views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsite.handlers.pages.THREADS", 1)
    pages = PageHandler()
    for _ in range(3):
        assert (await Exchange(pages, path="/fails").response())[0] == 500
    asking = Exchange(pages, path="/cookies", x_asked="yes")
    code, _, body = await asking.response()
    assert (code, body) == (200, b"yes")
    cookies = [value for name, value in asking.sent[0]["headers"] if name == b"Set-Cookie"]
    assert cookies == [b"one=1; Path=/", b"two=2; Path=/"]
    await close_current()
