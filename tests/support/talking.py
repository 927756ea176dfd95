"""Two who are in a room; and people who talk without a pause, whatever becomes of the server's database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from helpers import SocketPersona, over_socket
from servers import PATIENCE, Server

from chat.protocol import Ack, Error, Joined, Message

TALKERS = 4


@asynccontextmanager
async def alice_and_bob(*servers: Server) -> AsyncIterator[tuple[SocketPersona, SocketPersona]]:
    """Alice on the first server and Bob on the last, in the lobby."""
    async with over_socket(servers[0].ws, "Alice") as alice, over_socket(servers[-1].ws, "Bob") as bob:
        await alice.join()
        await bob.join()
        await alice.expect(Joined, username="Bob")
        yield alice, bob


class Talker:
    """Sends one message after another. A message that is refused for now is sent again, with the same ref, as
    clients do.
    """

    def __init__(self, persona: SocketPersona, room: str) -> None:
        self.persona, self._room = persona, room
        self.acks: dict[str, int] = {}
        self.refused: list[Error] = []
        self._enough = asyncio.Event()
        self._task = asyncio.create_task(self._talk())

    async def stop(self) -> None:
        """Say no more; what was begun is kept by then."""
        self._enough.set()
        await self._task

    async def until_acknowledged(self, more: int = 3) -> None:
        """So many more of what it says are kept."""
        enough = len(self.acks) + more
        await self._until(lambda: len(self.acks) >= enough)

    async def until_refused(self, more: int = 3) -> None:
        """It is refused so many times more."""
        enough = len(self.refused) + more
        await self._until(lambda: len(self.refused) >= enough)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition() and not self._task.done():  # noqa: ASYNC110 as for doubles.until
                await asyncio.sleep(0.01)
        if self._task.done():
            await self._task

    async def _talk(self) -> None:
        while not self._enough.is_set():
            ref = f"{self.persona.name}-{len(self.acks)}"
            self.acks[ref] = await self._kept(ref)
            # The machine has others to serve.
            await asyncio.sleep(0.01)

    async def _kept(self, ref: str) -> int:
        """The id under which it is kept, after as many tries as that takes."""
        while True:
            await self.persona.send("message", room=self._room, content=ref, ref=ref)
            while not isinstance(answer := await self.persona.next(), Ack | Error) or answer.ref != ref:
                pass
            if isinstance(answer, Ack):
                assert isinstance(answer.id, int)
                return answer.id
            self.refused.append(answer)
            assert isinstance(answer.retry_after, int)
            # A tenth of what is asked for: a test has less time than people.
            await asyncio.sleep(answer.retry_after / 10_000)


async def talkers(server: Server, stack: AsyncExitStack, room: str) -> list[Talker]:
    """People who talk until they are stopped; something of each is kept already."""
    found = []
    for number in range(TALKERS):
        persona = await stack.enter_async_context(over_socket(server.ws, f"Talker{number}"))
        await persona.join(room)
        found.append(Talker(persona, room))
    await asyncio.gather(*(talker.until_acknowledged() for talker in found))
    return found


async def heard(listener: SocketPersona, people: list[Talker]) -> None:
    """They stop. The listener received every acknowledged message once, in the order of the numbers."""
    await asyncio.gather(*(talker.stop() for talker in people))
    acks = {ref: number for talker in people for ref, number in talker.acks.items()}
    while not acks.keys() <= {message.content for message in messages(listener)}:
        await listener.expect(Message)
    ids = [message.id for message in messages(listener)]
    assert ids == sorted(set(ids))
    assert {message.content: message.id for message in messages(listener)} == acks


def messages(persona: SocketPersona) -> list[Message]:
    return [event for event in persona.heard if isinstance(event, Message)]
