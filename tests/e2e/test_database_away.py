"""The database ends, is away, or has no space left: nothing acknowledged is lost, and nobody has to go."""

import asyncio
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path

import pytest
from databases import manage
from helpers import SocketPersona, over_socket
from servers import PATIENCE, Postgresql, Server, Start, get, postgresql

from chat.protocol import Ack, CloseCode, Error, ErrorCode, Message

pytestmark = pytest.mark.e2e

WRITERS = 4


@pytest.fixture(scope="module")
def kept() -> Iterator[Postgresql]:
    """A PostgreSQL that has what it acknowledged, however it ends."""
    with postgresql(synchronous_commit="on") as kept:
        manage(kept.url, "migrate", "--verbosity", "0")
        yield kept


class Writer:
    """Says one thing after another. What is refused for now is said again, under the same ref, as clients do."""

    def __init__(self, persona: SocketPersona, room: str) -> None:
        self.persona, self._room = persona, room
        self.acks: dict[str, int] = {}
        self.refused: list[Error] = []
        self._enough = asyncio.Event()
        self._task = asyncio.create_task(self._talk())

    async def stop(self) -> None:
        self._enough.set()
        await self._task

    async def _talk(self) -> None:
        while not self._enough.is_set():
            ref = f"{self.persona.name}{len(self.acks)}"
            await self.persona.send("message", room=self._room, content=ref, ref=ref)
            while not isinstance(answer := await self.persona.next(), Ack | Error) or answer.ref != ref:
                pass
            if isinstance(answer, Ack):
                assert isinstance(answer.id, int)
                self.acks[ref] = answer.id
            else:
                self.refused.append(answer)
                assert isinstance(answer.retry_after, int)
                with suppress(TimeoutError):
                    # A tenth of what is asked for: a test has less time than people.
                    await asyncio.wait_for(self._enough.wait(), answer.retry_after / 10_000)

    async def until_acknowledged(self, more: int = 3) -> None:
        """So many more of what it says are kept."""
        enough = len(self.acks) + more
        async with asyncio.timeout(PATIENCE):
            while len(self.acks) < enough and not self._task.done():  # noqa: ASYNC110 it has no event of its own
                await asyncio.sleep(0.01)
        if self._task.done():
            await self._task


async def writers(server: Server, stack: AsyncExitStack, room: str) -> list[Writer]:
    """People who talk until they are stopped; something of each is kept already."""
    found = []
    for number in range(WRITERS):
        persona = await stack.enter_async_context(over_socket(server.ws, f"W{number}"))
        await persona.join(room)
        found.append(Writer(persona, room))
    await asyncio.gather(*(writer.until_acknowledged() for writer in found))
    return found


async def heard(listener: SocketPersona, acks: dict[str, int]) -> None:
    """The listener heard what was acknowledged, each once, in the order of the numbers."""
    while not acks.keys() <= {message.content for message in messages(listener)}:
        await listener.expect(Message)
    ids = [message.id for message in messages(listener)]
    assert ids == sorted(set(ids))
    assert {message.content: message.id for message in messages(listener)} == acks


def messages(persona: SocketPersona) -> list[Message]:
    return [event for event in persona.heard if isinstance(event, Message)]


@pytest.mark.parametrize("down", [0.0, 2.0])
async def test_a_postgresql_that_ends_and_comes_back(kept: Postgresql, start: Start, down: float) -> None:
    """A crash, and a while without it: who speaks is asked to come again, all stay, and all that was acknowledged
    is heard once and in order. Pages and those who come meanwhile are told too, and are served afterwards.
    """
    room = f"crash-{down:.0f}"
    server = start("daphne", DATABASE_URL=kept.url)
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(over_socket(server.ws, "Listener"))
        await listener.join(room)
        people = await writers(server, stack, room)
        kept.stop(signal.SIGQUIT)
        if down:
            await without_it(server, people, down)
        await asyncio.to_thread(kept.start)
        await asyncio.gather(*(writer.until_acknowledged() for writer in people))
        assert get(server, "/").status == 200
        again = await stack.enter_async_context(over_socket(server.ws, "Again"))
        await again.join(room)
        for writer in people:
            await writer.stop()
        acks = {ref: number for writer in people for ref, number in writer.acks.items()}
        await heard(listener, acks)
    assert {refusal.code for writer in people for refusal in writer.refused} <= {ErrorCode.BUSY}
    assert "Traceback" not in server.said()


async def without_it(server: Server, people: list[Writer], seconds: float) -> None:
    """While it is away nothing is acknowledged, everybody is answered, and nobody is closed."""
    before = [(len(writer.acks), len(writer.refused)) for writer in people]
    await asyncio.sleep(seconds)
    for writer, (acks, refusals) in zip(people, before, strict=True):
        # An answer may have been under way.
        assert len(writer.acks) <= acks + 1
        assert len(writer.refused) > refusals
    page = get(server, "/")
    assert (page.status, page.headers["Retry-After"]) == (503, "5")
    cookie = {"additional_headers": {"Cookie": "sessionid=" + "s" * 32}, "origin": server.http}
    async with over_socket(server.ws, "Comer", **cookie) as comer:
        assert await comer.closed() == CloseCode.INTERNAL


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
