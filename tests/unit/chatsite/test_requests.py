"""The door of HTTP: what an address may ask for, whose turn it is, and what strangers leave behind."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import Event
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client
from django.urls import path
from django.utils import timezone
from doubles import Clock, until
from helpers import Enter
from pytest_django import Settings

from chat import models
from chat.conf import chat_settings
from chat.database import writing
from chat.limits import Row, newcomers
from chat.limits.costs import FILE, FORM, PAGE
from chat.limits.newcomers import Newcomers
from chat.limits.requests import RequestLimit
from chat.loops import close_this_loop, of_this_loop
from chat.protocol import Error, ErrorCode, UserList, Welcome
from chat.tally import Reason, tally
from chatsite import session_cleanup
from chatsite.handlers.fair_queue import FairQueue, QueueFull
from chatsite.handlers.pages import PageHandler

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(autouse=True)
def _limits(settings: Settings) -> None:
    settings.CHAT = {**settings.CHAT, "LIMITS": True}
    newcomers.clear()


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


class Asking:
    """One who asks an ASGI application."""

    def __init__(self, application: Any, **what: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.task = asyncio.ensure_future(application(scope(**what), self.inbox.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self.inbox.put_nowait({"type": "http.disconnect"})

    async def answer(self) -> Answer:
        await self.task
        headers = {name.decode().lower(): value.decode() for name, value in self.sent[0]["headers"]}
        return self.sent[0]["status"], headers, b"".join(message.get("body", b"") for message in self.sent[1:])


async def fine(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})


# --- Requests of one address ---


def door(cheap: Callable[[Any], bool] = lambda _: False) -> RequestLimit:
    return RequestLimit(fine, cheap=cheap)


async def status(application: Any, **what: Any) -> int:
    return (await Asking(application, **what).answer())[0]


async def allowed(application: Any, **what: Any) -> int:
    """How many of these requests one after another are let in, until one is not."""
    for count in range(10_000):
        if await status(application, **what) != 200:
            return count
    raise AssertionError("there is no end")


async def test_who_asks_too_much_is_told_when_to_come_again(settings: Settings, clock: Clock) -> None:
    """With 429, on a connection that ends; others are let in, and so are they when the time has passed."""
    clock.stop()
    settings.CHAT = {**settings.CHAT, "REQUEST_RATE": 10, "REQUEST_BURST": 50}
    before = tally.connects_refused[Reason.REQUESTS]
    assert await allowed(door()) == 50 / PAGE
    code, headers, body = await Asking(door()).answer()
    assert (code, headers["retry-after"], headers["connection"]) == (429, "1", "close")
    assert b"1 s" in body
    assert tally.connects_refused[Reason.REQUESTS] == before + 2
    assert await status(door(), address="192.0.2.2") == 200
    await clock.skip(1)
    assert await status(door()) == 200
    await close_this_loop()


@pytest.mark.parametrize(
    ("method", "cheap", "cost"),
    [
        ("GET", False, PAGE),
        ("HEAD", False, PAGE),
        ("POST", False, FORM),
        ("FOO", False, FORM),
        ("GET", True, FILE),
    ],
)
async def test_a_request_costs_what_it_costs_the_server(
    settings: Settings, clock: Clock, method: str, cheap: bool, cost: float
) -> None:
    """A form more than a page, and a page twenty times as much as a file."""
    clock.stop()
    settings.CHAT = {**settings.CHAT, "REQUEST_RATE": 1, "REQUEST_BURST": 100}
    assert await allowed(door(lambda _: cheap), method=method) == 100 / cost
    await close_this_loop()


async def test_an_office_behind_one_address_opens_the_chat_at_once(clock: Clock) -> None:
    """Forty people, each with the first page, their name, the room, ninety modules and who they are."""
    clock.stop()
    application = door(lambda asked: asked["path"].startswith("/static/"))
    for _ in range(40):
        assert await status(application) == 200
        assert await status(application, method="POST") == 200
        assert await status(application, path="/room/lobby/") == 200
        for number in range(90):
            assert await status(application, path=f"/static/{number}.js") == 200
    await close_this_loop()


@pytest.mark.parametrize(
    "addresses", [["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"], ["192.0.2.1", "::ffff:192.0.2.1"]]
)
async def test_a_network_is_one_that_asks(settings: Settings, clock: Clock, addresses: list[str]) -> None:
    """A /64 may do no more than one address, as with sockets."""
    clock.stop()
    settings.CHAT = {**settings.CHAT, "REQUEST_RATE": 1, "REQUEST_BURST": PAGE * len(addresses)}
    for address in addresses:
        assert await status(door(), address=address) == 200
    assert await status(door(), address=addresses[0]) == 429
    await close_this_loop()


async def test_behind_a_proxy_its_clients_are_counted(settings: Settings, clock: Clock) -> None:
    """Each by the address that the proxy tells; the proxy's own questions are not."""
    clock.stop()
    settings.CHAT = {**settings.CHAT, "REQUEST_RATE": 1, "REQUEST_BURST": 20, "PROXIES": ["10.0.0.1"]}
    assert await allowed(door(), address="10.0.0.1", x_forwarded_for="203.0.113.1") == 2
    assert await allowed(door(), address="10.0.0.1", x_forwarded_for="203.0.113.2") == 2
    for _ in range(10):
        assert await status(door(), address="10.0.0.1") == 200
    await close_this_loop()


async def test_without_limits_all_may_ask(settings: Settings) -> None:
    settings.CHAT = {**settings.CHAT, "LIMITS": False, "REQUEST_RATE": 0.01, "REQUEST_BURST": 20}
    for _ in range(20):
        assert await status(door()) == 200
    await close_this_loop()


def test_a_form_can_always_be_paid(settings: Settings) -> None:
    """A burst of less than a form's price would refuse nobody: who has a full bucket may spend it."""
    settings.CHAT = {**settings.CHAT, "REQUEST_BURST": 5}
    with pytest.raises(ImproperlyConfigured, match="REQUEST_BURST"):
        chat_settings()


# --- Turns ---


async def test_so_many_have_a_turn_at_once() -> None:
    """The next when one ends, in the order of their coming."""
    turns = FairQueue(2, waiting=10)
    first, second, third, fourth = (turns.enter("a") for _ in range(4))
    assert (first.done(), second.done(), third.done(), fourth.done()) == (True, True, False, False)
    turns.end()
    assert (third.done(), fourth.done()) == (True, False)
    turns.end()
    assert fourth.done()
    turns.end()
    turns.end()
    assert turns.enter("a").done()


async def test_a_crowd_of_one_address_does_not_stand_before_another() -> None:
    """Addresses take turns: who comes first of theirs waits for one of each other address at most."""
    turns = FairQueue(1, waiting=1_000)
    turns.enter("flood")
    flood = [turns.enter("flood") for _ in range(100)]
    mine, other = turns.enter("mine"), turns.enter("other")
    turns.end()
    assert flood[0].done()
    turns.end()
    assert mine.done()
    turns.end()
    assert other.done()
    assert not flood[1].done()


async def test_who_has_left_the_queue_gets_no_turn() -> None:
    turns = FairQueue(1, waiting=10)
    turns.enter("a")
    gone, here = turns.enter("a"), turns.enter("b")
    gone.cancel()
    turns.end()
    assert here.done()


async def test_the_queue_has_an_end() -> None:
    """A request outside the queue costs nothing; there is space again when somebody had their turn."""
    turns = FairQueue(1, waiting=2)
    for _ in range(3):
        turns.enter("a")
    with pytest.raises(QueueFull):
        turns.enter("b")
    turns.end()
    turns.enter("b")


# --- Pages ---


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
    crowd = [Asking(pages, path="/slow") for _ in range(4)]
    await until(lambda: views.begun == 2)
    code, headers, _ = await Asking(pages, path="/slow").answer()
    assert (code, headers["retry-after"]) == (503, "2")
    crowd[2].leave()
    await crowd[2].task
    views.goes_on.set()
    for each in (crowd[0], crowd[1], crowd[3]):
        assert await each.answer() == (200, {"content-type": "text/html; charset=utf-8"}, b"done")
    assert views.begun == 3
    assert not crowd[2].sent
    await close_this_loop()


async def test_a_page_that_comes_in_parts_is_sent_in_parts(views: Views) -> None:
    """With its headers; made by one thread."""
    asking = Asking(PageHandler(), path="/parts")
    code, headers, body = await asking.answer()
    assert (code, headers["x-kind"], body) == (200, "parts", "abä".encode())
    assert len(asking.sent) == 5
    await close_this_loop()


async def test_a_page_that_fails_is_an_error_and_the_next_is_made(
    views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsite.handlers.pages.THREADS", 1)
    pages = PageHandler()
    for _ in range(3):
        assert (await Asking(pages, path="/fails").answer())[0] == 500
    asking = Asking(pages, path="/cookies", x_asked="yes")
    code, _, body = await asking.answer()
    assert (code, body) == (200, b"yes")
    cookies = [value for name, value in asking.sent[0]["headers"] if name == b"Set-Cookie"]
    assert cookies == [b"one=1; Path=/", b"two=2; Path=/"]
    await close_this_loop()


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "FOO"])
@pytest.mark.parametrize(
    ("page", "takes"),
    [
        ("/", "GET, HEAD, POST"),
        ("/invite/x/", "GET, HEAD, POST"),
        ("/rooms/", "POST"),
        ("/direct/", "POST"),
        ("/room/tea/", "GET, HEAD"),
        ("/whoami", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ],
)
def test_a_page_knows_its_methods_in_any_project(settings: Settings, method: str, page: str, takes: str) -> None:
    """Before the token, without a middleware of ours."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.startswith("chatsite.")]
    response = Client(enforce_csrf_checks=True).generic(method, page)
    assert (response.status_code, response["Allow"]) == (405, takes)


@pytest.mark.django_db
@pytest.mark.parametrize("with_middleware", [True, False])
def test_a_form_needs_its_token_in_any_project(settings: Settings, with_middleware: bool) -> None:
    """The page asks for it, whoever else does."""
    if not with_middleware:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "csrf" not in name]
    for page in ("/", "/rooms/", "/direct/", "/invite/x/"):
        assert Client(enforce_csrf_checks=True).post(page).status_code == 403
    client = Client(enforce_csrf_checks=True)
    token = client.get("/").context["csrf_token"]
    given = {"username": "Alice", "room": "tea", "csrfmiddlewaretoken": str(token)}
    assert client.post("/", given).status_code == 302


# --- Rows of strangers ---


def test_each_address_gets_so_many_rows() -> None:
    """The number holds for either kind; in time there are more."""
    now = [0.0]
    rows = Newcomers(lambda: now[0])
    for row, most, rate in ((Row.SESSION, 100, 1.0), (Row.ROOM, 30, 0.2)):
        assert [rows.take(row, "192.0.2.1") for _ in range(most)] == [0.0] * most
        assert rows.take(row, "192.0.2.1") == pytest.approx(1 / rate)
        assert not rows.take(row, "192.0.2.2")
        assert not rows.take(row, "")
    now[0] += 1
    assert not rows.take(Row.SESSION, "192.0.2.1")
    assert rows.take(Row.ROOM, "192.0.2.1")


@pytest.mark.django_db
def test_a_look_makes_no_session(client: Client) -> None:
    """Nor does a wrong form, or a room's page of who has no name."""
    for page in ("/", "/?room=tea", "/room/tea/", "/login/", "/whoami", "/admin/login/", "/invite/x/"):
        client.get(page)
    client.post("/", {"username": "", "room": "tea"})
    client.post("/rooms/", {"title": "x"})
    assert not Session.objects.exists()
    assert not models.Room.objects.exists()


@pytest.mark.django_db
def test_so_many_guests_come_from_one_address(settings: Settings) -> None:
    """The next is told when to come again, with the form as it was; a cookie that was made up is none."""
    settings.CHAT = {**settings.CHAT, "GUEST_BURST": 3, "GUEST_RATE": 0.01}
    for number in range(3):
        assert Client().post("/", {"username": f"Guest {number}", "room": "tea"}).status_code == 302
    forged = Client()
    forged.cookies["sessionid"] = "x" * 32
    for client in (Client(), forged):
        response = client.post("/", {"username": "Alice", "room": "tea"})
        assert (response.status_code, response["Retry-After"]) == (429, "100")
        assert b"Too many people" in response.content
        assert b'value="Alice"' in response.content
    assert Session.objects.count() == 3
    elsewhere = Client(REMOTE_ADDR="192.0.2.2")
    assert elsewhere.post("/", {"username": "Bob", "room": "tea"}).status_code == 302


@pytest.mark.django_db
def test_who_has_a_session_takes_no_other(settings: Settings) -> None:
    """They may go from room to room, and change their name, as often as they like."""
    settings.CHAT = {**settings.CHAT, "GUEST_BURST": 1, "GUEST_RATE": 0.01}
    client = Client()
    for number in range(5):
        assert client.post("/", {"username": f"Alice {number}", "room": f"room{number}"}).status_code == 302


async def test_so_many_rooms_are_made_from_one_address(person: Enter, settings: Settings) -> None:
    """By entering them; rooms that are there are entered by everybody."""
    settings.CHAT = {**settings.CHAT, "ROOM_BURST": 2, "ROOM_RATE": 0.01}
    alice = await person("Alice", client=("192.0.2.1", 1))
    for room in ("one", "two"):
        await alice.send("join", username="Alice", room=room)
        await alice.expect(Welcome, room=room)
    await alice.send("join", username="Alice", room="three")
    refused = await alice.expect(Error)
    assert refused.code == ErrorCode.TOO_MANY
    assert refused.retry_after == pytest.approx(100_000, rel=0.1)
    bob = await person("Bob", client=("192.0.2.1", 1))
    for room in ("one", "lobby"):
        await bob.send("join", username="Bob", room=room)
        await bob.expect(Welcome, room=room)
    charlie = await person("Charlie", client=("192.0.2.3", 1))
    await charlie.send("join", username="Charlie", room="three")
    await charlie.expect(Welcome, room="three")
    await alice.send("join", username="Alice", room="three")
    await alice.expect(Welcome, room="three")


async def test_a_crowd_comes_into_a_new_room_as_one(person: Enter, settings: Settings) -> None:
    """Somebody makes it, and the others are not refused for it."""
    settings.CHAT = {**settings.CHAT, "ROOM_BURST": 1, "ROOM_RATE": 0.01}
    crowd = [await person(f"Guest {number}", client=("192.0.2.1", 1)) for number in range(8)]
    for each in crowd:
        await each.send("join", username=each.name, room="tea")
    for each in crowd:
        await each.expect(Welcome, room="tea")
    await crowd[0].expect(UserList, room="tea", count=8)


# --- Sessions that have expired ---


def session(key: str, days: float) -> Session:
    found: Session = Session.objects.create(
        session_key=key, session_data="", expire_date=timezone.now() + timedelta(days=days)
    )
    return found


async def test_expired_sessions_are_removed_a_few_at_a_time(
    rooms: None, monkeypatch: pytest.MonkeyPatch, transactions: list[str]
) -> None:
    """All of them, and nobody else's; other writes come in between."""
    monkeypatch.setattr(session_cleanup, "BATCH", 4)

    def make() -> None:
        for number in range(10):
            session(f"expired{number}", -number - 0.1)
        session("alive", 1)

    await writing(make)
    transactions.clear()
    assert await session_cleanup.remove_expired() == 10
    # The last finds none.
    assert len(transactions) == 4
    assert await writing(lambda: [found.pk for found in Session.objects.all()]) == ["alive"]
    assert await session_cleanup.remove_expired() == 0


async def test_a_round_has_an_end(rooms: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows are removed in parts, one each hour."""
    monkeypatch.setattr(session_cleanup, "BATCH", 2)
    monkeypatch.setattr(session_cleanup, "ROUND_LIMIT", 4)
    await writing(lambda: [session(f"expired{number}", -1) for number in range(7)])
    assert await session_cleanup.remove_expired() == 4


async def test_they_are_removed_now_and_then_as_long_as_pages_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Each process at a moment of its own."""
    rounds: list[float] = []
    loop = asyncio.get_running_loop()

    async def remove() -> int:
        rounds.append(loop.time())
        return 0

    monkeypatch.setattr(session_cleanup, "remove_expired", remove)
    start = loop.time()
    of_this_loop(session_cleanup.SessionCleanup)
    for _ in range(3):
        heard = len(rounds)
        await clock.skip(1.5 * session_cleanup.INTERVAL)
        await until(partial(_grew, rounds, heard))
    assert rounds[0] - start >= 0.5 * session_cleanup.INTERVAL
    await close_this_loop()


def _grew(what: list[float], before: int) -> bool:
    return len(what) > before


async def test_sessions_that_are_no_rows_are_left_to_their_keeper(settings: Settings) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    assert of_this_loop(session_cleanup.SessionCleanup)._task is None
    await close_this_loop()
