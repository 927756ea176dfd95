"""The database ends, is away, or has no space left: nothing acknowledged is lost, and nobody has to go."""

import asyncio
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from databases import manage
from helpers import SocketPersona, over_socket
from servers import Postgresql, Server, Start, get, postgresql
from talking import Talker, heard, messages, talkers

from chat.protocol import Ack, CloseCode, Error, ErrorCode, Message

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def kept() -> Iterator[Postgresql]:
    """A PostgreSQL that has what it acknowledged, however it ends."""
    with postgresql(synchronous_commit="on") as kept:
        manage(kept.url, "migrate", "--verbosity", "0")
        yield kept


@pytest.mark.parametrize("away", [False, True])
async def test_a_postgresql_that_ends_and_comes_back(kept: Postgresql, start: Start, away: bool) -> None:
    """A crash, and a while without it: who speaks is asked to come again, all stay, and all that was acknowledged
    is heard once and in order. Pages and those who come meanwhile are told too, and are served afterwards.
    """
    room = f"away-{away}".lower()
    server = start("daphne", DATABASE_URL=kept.url)
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(over_socket(server.ws, "Listener"))
        await listener.join(room)
        people = await talkers(server, stack, room)
        kept.stop(signal.SIGQUIT)
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


# --- SQLite without space ---


def pages(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])


async def test_a_full_disk_refuses_and_recovers(start: Start, tmp_path: Path) -> None:
    """What has no space is refused for now and not acknowledged; people stay; with space all is as ever."""
    url, cramped = f"sqlite:///{tmp_path / 'cramped.sqlite3'}", tmp_path / "pages"
    manage(url, "migrate", "--verbosity", "0")
    cramped.write_text(f"{pages(tmp_path / 'cramped.sqlite3') + 60}")
    server = start("cramped", DATABASE_URL=url, CRAMPED=str(cramped))
    said = 0
    async with over_socket(server.ws, "Alice") as alice, over_socket(server.ws, "Bob") as bob:
        await alice.join()
        await bob.join()
        while isinstance(answer := await say(alice, f"{said}"), Ack):
            said += 1
        assert answer.code == ErrorCode.BUSY
        assert answer.retry_after
        await bob.silence()
        cramped.write_text("1000000")
        while isinstance(await say(alice, f"{said}"), Error):
            pass
        await bob.expect(Message, id=said + 1)
    assert [message.id for message in messages(bob)] == list(range(1, said + 2))
    assert said > 5
    assert "nothing is wrong" in manage(url, "chat_check")


async def say(persona: SocketPersona, ref: str) -> Ack | Error:
    await persona.send("message", content=ref.ljust(4_000, "x"), ref=ref)
    while not isinstance(answer := await persona.next(), Ack | Error):
        pass
    return answer
