"""A PostgreSQL that ends, or is away: nothing acknowledged is lost, and nobody has to go."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from databases import manage
from helpers import over_socket
from programs import PostgreSQL, postgresql
from servers import Server, Start, get
from talking import Talker, heard, talkers

from chat.protocol import CloseCode, ErrorCode

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def kept() -> Iterator[PostgreSQL]:
    """A PostgreSQL that has what it acknowledged, however it ends."""
    with postgresql(synchronous_commit="on") as kept:
        manage(kept.url, "migrate", "--verbosity", "0")
        yield kept


@pytest.mark.parametrize("away", [False, True])
async def test_a_postgresql_that_ends_and_comes_back(kept: PostgreSQL, start: Start, away: bool) -> None:
    """A crash, and a while without it: senders are asked to retry, all stay, and all acknowledged messages arrive
    once and in order. Pages and new clients get an error too, and are served afterwards.
    """
    room = f"away-{away}".lower()
    server = start("daphne", DATABASE_URL=kept.url)
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(over_socket(server.ws, "Listener"))
        await listener.join(room)
        people = await talkers(server, stack, room)
        kept.end(signal.SIGQUIT)
        if away:
            await without_it(server, people)
        await asyncio.to_thread(kept.start)
        await asyncio.gather(*(talker.until_acknowledged() for talker in people))
        assert get(server, "/").status == 200
        again = await stack.enter_async_context(over_socket(server.ws, "Again"))
        await again.join(room)
        await heard(listener, people)
    assert {refusal.code for talker in people for refusal in talker.refused} <= {ErrorCode.BUSY}
    assert "Traceback" not in server.said()


async def without_it(server: Server, people: list[Talker]) -> None:
    """Everybody is answered, nothing is acknowledged, and nobody is closed."""
    await asyncio.gather(*(talker.until_refused() for talker in people))
    before = [len(talker.acks) for talker in people]
    page = get(server, "/")
    assert (page.status, page.headers["Retry-After"]) == (503, "5")
    cookie = {"additional_headers": {"Cookie": "sessionid=" + "s" * 32}, "origin": server.http}
    async with over_socket(server.ws, "Comer", **cookie) as comer:
        assert await comer.closed() == CloseCode.INTERNAL
    await asyncio.gather(*(talker.until_refused() for talker in people))
    assert [len(talker.acks) for talker in people] == before
