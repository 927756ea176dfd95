"""How many requests an address may make."""

from collections.abc import Callable
from typing import Any

import pytest
from asgi import Exchange
from django.core.exceptions import ImproperlyConfigured
from doubles import Clock
from pytest_django import Settings

from chat.conf import chat_settings
from chat.limits import creation_limits
from chat.limits.costs import FILE, FORM, PAGE
from chat.limits.requests import RequestLimit
from chat.loops import close_current
from chat.metrics.counters import RefusalReason, counters


@pytest.fixture(autouse=True)
def _limits(settings: Settings) -> None:
    settings.CHAT = {**settings.CHAT, "LIMITS": True}
    creation_limits.clear()


async def fine(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})


def door(cheap: Callable[[Any], bool] = lambda _: False) -> RequestLimit:
    return RequestLimit(fine, cheap=cheap)


async def status(application: Any, **what: Any) -> int:
    return (await Exchange(application, **what).response())[0]


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
    before = counters.connects_refused[RefusalReason.REQUESTS]
    assert await allowed(door()) == 50 / PAGE
    code, headers, body = await Exchange(door()).response()
    assert (code, headers["retry-after"], headers["connection"]) == (429, "1", "close")
    assert b"1 s" in body
    assert counters.connects_refused[RefusalReason.REQUESTS] == before + 2
    assert await status(door(), address="192.0.2.2") == 200
    await clock.skip(1)
    assert await status(door()) == 200
    await close_current()


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
    await close_current()


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
    await close_current()


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
    await close_current()


async def test_behind_a_proxy_its_clients_are_counted(settings: Settings, clock: Clock) -> None:
    """Each by the address that the proxy tells; the proxy's own questions are not."""
    clock.stop()
    settings.CHAT = {**settings.CHAT, "REQUEST_RATE": 1, "REQUEST_BURST": 20, "PROXIES": ["10.0.0.1"]}
    assert await allowed(door(), address="10.0.0.1", x_forwarded_for="203.0.113.1") == 2
    assert await allowed(door(), address="10.0.0.1", x_forwarded_for="203.0.113.2") == 2
    for _ in range(10):
        assert await status(door(), address="10.0.0.1") == 200
    await close_current()


async def test_without_limits_all_may_ask(settings: Settings) -> None:
    settings.CHAT = {**settings.CHAT, "LIMITS": False, "REQUEST_RATE": 0.01, "REQUEST_BURST": 20}
    for _ in range(20):
        assert await status(door()) == 200
    await close_current()


def test_a_form_can_always_be_paid(settings: Settings) -> None:
    """A burst of less than a form's price would refuse nobody: who has a full bucket may spend it."""
    settings.CHAT = {**settings.CHAT, "REQUEST_BURST": 5}
    with pytest.raises(ImproperlyConfigured, match="REQUEST_BURST"):
        chat_settings()
