"""Clients and verdict together: an honest server passes, and one that lies does not."""

import pytest

from torture.client import Client, Person
from torture.crowd import Crowd, gathered, until
from torture.fake import LIES, Fake
from torture.life import Habits
from torture.link import Pace
from torture.records import History
from torture.verdict import judge

FOUND = {
    "lose": "lost",
    "double": "twice",
    "renumber": "lost",
    "skip": "gap",
    "repeat": "heard again",
    "swap": "gap",
    "hide": "missing",
    "keep": "kept",
    "forget": "forgotten",
    "miscount": "numbers",
    "cut page": "page",
    "linger": "shown and gone",
    "overlook": "here and not shown",
}
PACE = Pace(base=0.01, cap=0.05, stable=0.2, join=0.5, ack=0.5)
BRISK = Habits(pause=(0.002, 0.02))


async def live_at(fake: Fake) -> set[str]:
    """Some people live at a fake for a while, with connections that break; what the verdict finds."""
    history = History()
    async with (
        fake.serving() as url,
        gathered(Crowd([url], "lobby", history, 7, pace=PACE, habits=BRISK)) as crowd,
    ):
        for name in ("Ann", "Bob", "Cleo"):
            crowd.add(Person(name, name, session=name))
        crowd.visit(Person("Dan", "Dan"))
        for number in range(1, 4):
            await until(lambda least=number * 25: fake.seq > least)  # type: ignore[misc]  # a default is no argument
            crowd.clients[number % 3].cut()
        await crowd.send_home(lambda visitor: visitor.cut())
        await crowd.calm()
        for client in crowd.clients:
            do_what_is_rare(client)
        await crowd.settled(lambda: fake.seq, 1)
        await crowd.agreed(1)
        return {problem.kind for problem in judge(history.events, fake.log(), crowd.holdings())}


def do_what_is_rare(client: Client) -> None:
    """Cases that chance may have left out."""
    client.again(client.said[0])
    client.do("history", limit=10)
    own = [state for state in client.timeline.states.values() if state.username == client.person.author]
    client.do("delete", id=next(state.id for state in own if not state.deleted))


async def test_an_honest_server_has_no_problems() -> None:
    """Clients and verdict agree about a server that does what it should, through cuts and restarts."""
    assert await live_at(Fake()) == set()


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_found(lie: str) -> None:
    """A server that acknowledges and forgets, says things twice, leaves them out or swaps them does not pass."""
    assert FOUND[lie] in await live_at(Fake(lie))
