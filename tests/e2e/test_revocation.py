"""A sign-in that ends over HTTP ends its sockets, on a real server, at once; the times are printed (-s)."""

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from browsing import ACCOUNTS, Browser, shell
from helpers import SocketPersona, over_socket
from servers import Server, Start

from chat.protocol import Ack, CloseCode, ErrorCode, Left, Removed

pytestmark = [pytest.mark.e2e, pytest.mark.on_services]

ROOM = "garden"


@pytest.fixture(params=["daphne", pytest.param("uvicorn", marks=pytest.mark.thorough)])
def site(request: pytest.FixtureRequest, start: Start) -> Server:
    """A server with accounts. Within a test no grace ends, and no sign-in is checked again by the clock: a socket
    that ends was told to at once.
    """
    server = start(request.param, CHAT_GRACE="300", CHAT_RECHECK="3600")
    shell(server, ACCOUNTS)
    return server


OpenSocket = Callable[..., Any]


@pytest.fixture
async def socket(site: Server) -> AsyncIterator[OpenSocket]:
    """Open a socket as a page in this browser does, and join."""
    async with AsyncExitStack() as stack:

        async def socket(name: str, browser: Browser) -> SocketPersona:
            opened = over_socket(site.ws, name, additional_headers=browser.headers)
            persona = await stack.enter_async_context(opened)
            await persona.join(ROOM)
            return persona

        yield socket


async def signed_in(site: Server, name: str) -> Browser:
    return await sync_to_async(Browser(site).sign_in)(name)


async def ends(what: str, act: Any, *sockets: SocketPersona) -> None:
    """The act over HTTP ends these sockets by itself: nobody looks at sign-ins again in this test."""
    began = time.perf_counter()
    await sync_to_async(act, thread_sensitive=False)()
    answered = time.perf_counter()
    for one in sockets:
        assert await one.closed() == CloseCode.NOT_SIGNED_IN
    ended = time.perf_counter()
    print(
        f"\n{what}: request {1e3 * (answered - began):.0f} ms, closed {1e3 * (ended - answered):.1f} ms after it"
    )


async def test_signing_out_ends_this_browser_s_socket(site: Server, socket: OpenSocket) -> None:
    """The other browser's stays; when that signs out too, the person has left, at once."""
    one, two, bob_s = [await signed_in(site, name) for name in ("Alice", "Alice", "Bob")]
    first, second, bob = await socket("Alice", one), await socket("Alice", two), await socket("Bob", bob_s)
    await ends("signed out", lambda: one.post("/logout/", form="/"), first)
    await second.say("still here", ROOM)
    await bob.silence()
    assert not bob.count(Left)
    await ends("signed out", lambda: two.post("/logout/", form="/"), second)
    await bob.expect(Left, username="Alice")


async def test_who_is_deactivated_in_the_admin_is_out(site: Server, socket: OpenSocket) -> None:
    """With all browsers; and can't sign in again."""
    one, two, sam = [await signed_in(site, name) for name in ("Alice", "Alice", "Sam")]
    sockets = [await socket("Alice", one), await socket("Alice", two)]
    users = await sync_to_async(sam.get)("/admin/auth/user/")
    found = re.search(r'href="(/admin/auth/user/\d+/change/)[^"]*">Alice<', users)
    assert found
    await ends("deactivated", lambda: sam.post(found[1], is_active=None), *sockets)
    with pytest.raises(AssertionError):
        await signed_in(site, "Alice")


async def test_a_ban_reaches_both_sockets(site: Server, socket: OpenSocket) -> None:
    """When it is acknowledged, nothing of the room reaches them any more; they stay open."""
    alice_s, one, two = [await signed_in(site, name) for name in ("Alice", "Bob", "Bob")]
    alice, first, second = await socket("Alice", alice_s), await socket("Bob", one), await socket("Bob", two)
    began = time.perf_counter()
    await alice.send("ban", room=ROOM, username="Bob", ref="ban")
    await alice.expect(Ack, ref="ban")
    acknowledged = time.perf_counter()
    await alice.say("only us", ROOM)
    for his in (first, second):
        removed = await his.expect(Removed, room=ROOM)
        assert removed.code == ErrorCode.BANNED
        assert [heard for heard in await his.silence() if getattr(heard, "room", None) == ROOM] == []
    both = time.perf_counter()
    print(f"\nban: acknowledged {1e3 * (acknowledged - began):.1f} ms, both told {1e3 * (both - began):.1f} ms")
