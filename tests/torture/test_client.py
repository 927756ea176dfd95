"""The torture's own client against a small server in this process: it does what the browser's does."""

from collections.abc import Callable

import pytest

from chat.protocol import Edited, Message
from torture.client import Client, Person, Visitor
from torture.crowd import Crowd, gathered, until
from torture.fake import Fake
from torture.link import Pace
from torture.records import (
    Acked,
    Announced,
    Asked,
    Cut,
    Heard,
    History,
    Leaving,
    Listed,
    Lost,
    Sent,
    Welcomed,
)
from torture.timeline import Timeline
from torture.verdict import judge

PACE = Pace(base=0.01, cap=0.05, stable=0.2, join=0.5, ack=0.5)


def crowd_at(url: str, history: History) -> Crowd:
    return Crowd([url], "lobby", history, seed=1, pace=PACE)


def ann(crowd: Crowd) -> Client:
    return crowd.add(Person("Ann", "Ann", session="Ann"), lives=False)


def bob(crowd: Crowd) -> Client:
    return crowd.add(Person("Bob", "Bob"), lives=False)


def contents(client: Client) -> list[str]:
    return [state.content for state in client.timeline.ordered()]


async def test_what_is_said_is_acknowledged_and_heard() -> None:
    """A message leaves the outbox with its ack, and everybody holds it."""
    fake, history = Fake(), History()
    async with fake.serving() as url, gathered(crowd_at(url, history)) as crowd:
        alice, other = ann(crowd), bob(crowd)
        await until(lambda: alice.joined and other.joined)
        alice.do("message", content="hi")
        assert await crowd.settled(lambda: fake.seq, 5)
        assert contents(alice) == contents(other) == ["hi"]
        assert judge(history.events, fake.log(), crowd.holdings()) == []


async def test_who_was_cut_goes_on_where_they_were() -> None:
    """After a cut the client joins from its position, and receives what it missed once."""
    fake, history = Fake(), History()
    async with fake.serving() as url, gathered(crowd_at(url, history)) as crowd:
        alice, other = ann(crowd), bob(crowd)
        await until(lambda: alice.joined and other.joined)
        alice.do("message", content="one")
        await until(lambda: contents(other) == ["one"])
        assert other.cut()
        alice.do("message", content="two")
        alice.do("edit", id=1, content="one!")
        assert await crowd.settled(lambda: fake.seq, 5)
        assert contents(other) == ["one!", "two"]
        assert [asked.since for asked in history.of(Asked) if asked.who == "Bob"] == [None, 1]
        assert judge(history.events, fake.log(), crowd.holdings()) == []


@pytest.mark.parametrize("farewell", [Visitor.leave, Visitor.close, Visitor.cut])
async def test_who_goes_says_so_before_anybody_can_hear_it(farewell: Callable[[Visitor], object]) -> None:
    """However late a visitor is recorded as gone, the intent is recorded before the others receive the leave."""
    fake, history = Fake(), History()
    async with fake.serving() as url, gathered(crowd_at(url, history)) as crowd:
        alice = ann(crowd)
        crowd.visit(Person("Bob", "Bob"))
        await until(lambda: alice.people == ("Ann", "Bob"))
        (visitor,) = crowd.visitors
        farewell(visitor)
        await until(lambda: alice.people == ("Ann",))
        (heard,) = [event for event in history.of(Announced) if not event.came]
        intents = [event.at for event in history.events if isinstance(event, Leaving | Cut)]
        # The protocol's times are in milliseconds.
        assert intents[0] <= heard.said + 0.001


async def test_a_loss_has_the_time_of_the_server_s_last_word() -> None:
    """A client that was cut off while it did not look knows until when the server spoke to it."""
    fake, history = Fake(), History()
    async with fake.serving() as url, gathered(crowd_at(url, history)) as crowd:
        alice, other = ann(crowd), bob(crowd)
        await until(lambda: alice.people == other.people == ("Ann", "Bob"))
        assert other.cut()
        await until(lambda: history.of(Lost))
        (lost,) = history.of(Lost)
        lists = [event for event in history.of(Listed) if event.who == "Bob" and event.at < lost.at]
        assert lost.alive == max(event.said for event in lists)


async def test_what_was_not_acknowledged_is_sent_again_in_order() -> None:
    """Commands given while the server is away wait, and reach the next one in their order, each once."""
    fake, history = Fake(), History()
    async with fake.serving() as url:
        port = int(url.split(":")[2].split("/")[0])
        crowd = crowd_at(url, history)
        alice = ann(crowd)
        await until(lambda: alice.joined)
    async with gathered(crowd):
        for number in range(5):
            alice.do("message", content=f"{number}")
        alice.do("react", id=1, emoji="👍", on=True)
        await until(lambda: len(history.of(Lost)) > 3)
        async with fake.serving(port):
            assert await crowd.settled(lambda: fake.seq, 5)
            assert contents(alice) == ["0", "1", "2", "3", "4"]
            assert fake.kept[1].reactors == [("👍", "Ann")]
            assert judge(history.events, fake.log(), crowd.holdings()) == []


async def test_a_lost_ack_is_asked_for_again() -> None:
    """A message whose ack was lost with the connection is sent again with the same ref, and kept once."""
    fake, history = Fake(), History()
    async with fake.serving() as url, gathered(crowd_at(url, history)) as crowd:
        alice = ann(crowd)
        await until(lambda: alice.joined)
        fake.cuts = 1
        alice.do("message", content="once")
        await until(lambda: fake.seq == 1)
        assert await crowd.settled(lambda: fake.seq, 5)
        assert len(history.of(Sent)) == 2
        assert len([ack for ack in history.of(Acked) if ack.id == 1]) == 1
        assert contents(alice) == ["once"]


async def test_a_gap_is_found_and_mended() -> None:
    """Where a frame is missing the client asks again from its position, and holds all in the end."""
    fake, history = Fake("skip"), History()
    async with fake.serving() as url, gathered(crowd_at(url, history)) as crowd:
        alice, other = ann(crowd), bob(crowd)
        await until(lambda: alice.joined and other.joined)
        for number in range(60):
            alice.do("message", content=f"{number}")
        await until(lambda: fake.seq == 60)
        fake.lie = None
        alice.do("message", content="the last")
        assert await crowd.settled(lambda: fake.seq, 5)
        assert len(contents(other)) == 61
        assert any(not heard.taken for heard in history.of(Heard))
        assert {problem.kind for problem in judge(history.events, fake.log(), crowd.holdings())} == {"gap"}


async def test_who_has_to_start_over_reads_the_pages_back_to_its_beginning() -> None:
    """After a welcome that does not resume the client forgets all, and fills itself from the history."""
    fake, history = Fake(), History()
    async with fake.serving() as url, gathered(crowd_at(url, history)) as crowd:
        alice, other = ann(crowd), bob(crowd)
        await until(lambda: alice.joined and other.joined)
        for number in range(150):
            alice.do("message", content=f"{number}")
        assert await crowd.settled(lambda: fake.seq, 5)
        fake.forgetful = True
        other.cut()
        await until(lambda: any(not w.resumed and w.last == 150 for w in history.of(Welcomed)))
        assert await crowd.settled(lambda: fake.seq, 5)
        assert contents(other) == [f"{number}" for number in range(150)]
        assert {problem.kind for problem in judge(history.events, fake.log(), crowd.holdings())} == {"reset"}


async def test_a_busy_server_is_asked_later() -> None:
    """A command that met a busy server is sent again after the requested time, before later ones."""
    fake, history = Fake(), History()
    fake.busy = 3
    async with fake.serving() as url, gathered(crowd_at(url, history)) as crowd:
        alice = ann(crowd)
        await until(lambda: alice.joined)
        alice.do("message", content="first")
        alice.do("message", content="second")
        assert await crowd.settled(lambda: fake.seq, 5)
        assert contents(alice) == ["first", "second"]
        assert len(history.of(Sent)) == 5
        assert judge(history.events, fake.log(), crowd.holdings()) == []


def test_a_change_that_overtakes_its_page_is_not_lost() -> None:
    """While pages are on their way a change of a message that is not here yet is kept for it."""
    timeline = Timeline()
    timeline.take(Edited(room="lobby", id=1, seq=3, content="one!", edited=1), filling=True)
    timeline.take(Edited(room="lobby", id=2, seq=2, content="older than the page"), filling=True)
    said = {"room": "lobby", "username": "Ann", "timestamp": 0}
    timeline.take_page(
        [Message(id=1, seq=1, content="one", **said), Message(id=2, seq=4, content="two!", **said)]  # type: ignore[arg-type]  # a dict of both
    )
    assert [state.content for state in timeline.ordered()] == ["one!", "two!"]
