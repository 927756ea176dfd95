"""An acknowledged message is kept, once and in order; only the author is told of a failure."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import connection
from doubles import Outage, until, until_true
from helpers import PATIENCE, Enter
from helpers import CommunicatorPersona as Persona
from members import browser, member
from pytest_django import Settings

from chat import models
from chat.database import run_write
from chat.hub import Hub
from chat.loops import current
from chat.protocol import (
    LOBBY,
    Ack,
    CloseCode,
    Deleted,
    Edited,
    Error,
    ErrorCode,
    Left,
    Message,
    Pong,
    Reacted,
    TypingNow,
)


@contextmanager
def slow_commits() -> Iterator[Callable[[], None]]:
    """The one thread that writes is held up, until the end or until what this yields is called."""
    go_on = threading.Event()
    held = asyncio.ensure_future(run_write(partial(go_on.wait, PATIENCE)))
    try:
        yield go_on.set
    finally:
        go_on.set()
        held.add_done_callback(lambda _: None)


async def test_an_ack_comes_after_the_commit(alice: Persona, bob: Persona) -> None:
    """Before that there is no reply, and no client receives it; then the database has it."""
    await alice.join()
    await bob.join()
    with slow_commits() as go_on:
        await alice.send("message", content="hi", ref="a1")
        for persona in (alice, bob):
            await persona.silence()
            assert persona.count(Ack) == persona.count(Message) == 0
        assert not await models.Message.objects.aexists()
        go_on()
        await alice.expect(Ack, ref="a1", id=1)
        assert (await models.Message.objects.aget(number=1)).content == "hi"
        await bob.expect(Message, content="hi")


async def test_a_socket_may_say_much_without_waiting(alice: Persona, bob: Persona) -> None:
    """A hundred messages at once keep their order, in the acks and for their receivers."""
    await alice.join()
    await bob.join()
    for number in range(100):
        await alice.send("message", content=f"{number}", ref=f"r{number}")
    acks = [await alice.expect(Ack) for _ in range(100)]
    assert [(ack.ref, ack.id, ack.seq) for ack in acks] == [(f"r{n}", n + 1, n + 1) for n in range(100)]
    heard = [await bob.expect(Message) for _ in range(100)]
    assert [(said.content, said.id) for said in heard] == [(f"{n}", n + 1) for n in range(100)]


async def test_changes_in_one_breath_keep_their_order(person: Enter, bob: Persona) -> None:
    """Messages, edits, emoji and deletions of one socket are carried out as they were sent."""
    alice = await member(person, "Alice")
    await alice.join()
    await bob.join()
    await alice.say("zero")
    commands: list[tuple[str, dict[str, Any]]] = [
        ("edit", {"id": 1, "content": "one"}),
        ("message", {"content": "two"}),
        ("react", {"id": 3, "emoji": "\N{CAT FACE}"}),
        ("edit", {"id": 3, "content": "TWO"}),
        ("delete", {"id": 1}),
        ("edit", {"id": 1, "content": "too late"}),
        ("message", {"content": "three"}),
    ]
    for number, (verb, fields) in enumerate(commands):
        await alice.send(verb, ref=f"{number}", **fields)
    await alice.expect(Ack, ref="6")
    answers = [(said.ref, isinstance(said, Ack)) for said in alice.heard if isinstance(said, (Ack, Error))]
    assert answers[1:] == [(f"{n}", n != 5) for n in range(7)]
    await bob.expect(Message, content="three")
    events = [said for said in bob.heard if isinstance(said, (Message, Edited, Deleted, Reacted))]
    assert [type(said) for said in events] == [Message, Edited, Message, Reacted, Edited, Deleted, Message]
    assert [said.seq for said in events] == [1, 2, 3, 4, 5, 6, 7]


async def test_other_commands_do_not_wait_for_the_database(alice: Persona) -> None:
    """A ping behind a message is answered at once."""
    await alice.join()
    with slow_commits():
        await alice.send("message", content="hi")
        await alice.send("ping", ref="p")
        await alice.expect(Pong, ref="p")
        assert alice.count(Ack) == 0


async def test_what_one_socket_has_waiting_is_bounded(alice: Persona, bob: Persona, settings: Settings) -> None:
    """Past CHAT["PIPELINE"] it is not listened to until some is kept; nobody else waits for that."""
    settings.CHAT = {"PIPELINE": 3}
    await alice.join()
    await bob.join()
    with slow_commits() as go_on:
        for number in range(10):
            await alice.send("message", content=f"{number}")
        await alice.send("ping", ref="last")
        # Three wait to be kept, one to be listened to.
        await until(lambda: alice.communicator.input_queue.qsize() == 7)
        await bob.silence()
        assert alice.communicator.input_queue.qsize() == 7
        go_on()
        await alice.expect(Pong, ref="last")
    assert [(await bob.expect(Message)).content for _ in range(10)] == [f"{number}" for number in range(10)]


async def test_who_goes_has_said_it(alice: Persona, bob: Persona) -> None:
    """A message whose author is gone before the commit is kept and told all the same."""
    await alice.join()
    await bob.join()
    with slow_commits() as go_on:
        await alice.send("message", content="my last words")
        await alice.silence()
        await alice.vanish()
        go_on()
        await bob.expect(Message, content="my last words", username="Alice")


async def test_the_same_ref_in_one_breath_is_one_message(alice: Persona, bob: Persona) -> None:
    """A client that is not sure may send it twice: equal acks, and one message."""
    await alice.join()
    await bob.join()
    with slow_commits() as go_on:
        for ref in ("r1", "r1", "r2", "r1"):
            await alice.send("message", content=ref, ref=ref)
        go_on()
        first, second, other, third = [await alice.expect(Ack) for _ in range(4)]
    assert first == second == third
    assert (first.id, other.id) == (1, 2)
    await bob.expect(Message, content="r2")
    assert bob.count(Message) == 2


async def test_the_same_ref_has_the_same_answer_for_ever(person: Enter, bob: Persona) -> None:
    """In any state of the message, and on any socket of its author."""
    alice = await member(person, "Alice")
    await alice.join()
    await bob.join()
    first = await alice.say("helo", ref="r1")
    for verb, fields in (("edit", {"content": "hello"}), ("delete", {})):
        await alice.send(verb, id=first.id, ref=verb, **fields)
        await alice.expect(Ack, ref=verb)
        assert await alice.say("helo", ref="r1") == first
    again = await member(person, "Alice")
    await again.join()
    assert await again.say("helo", ref="r1") == first
    await again.say("last")
    await bob.expect(Message, content="last")
    assert bob.count(Message) == 2


async def test_refs_are_each_author_s_own(alice: Persona, bob: Persona) -> None:
    """Bob's r1 is not Alice's, and in another room it is another message."""
    for persona in (alice, bob):
        await persona.join()
        await persona.join("tea")
    assert [(await persona.say("hi", ref="r1")).id for persona in (alice, bob)] == [1, 2]
    assert (await alice.say("hi", "tea", ref="r1")).id == 1


# --- While the database is away ---


async def test_without_the_database_nothing_is_said(alice: Persona, bob: Persona, outage: Outage) -> None:
    """The author gets a time to retry, no client receives it, the socket stays; the same ref works later."""
    await alice.join()
    await bob.join()
    with outage.begin():
        await alice.send("message", content="hi", ref="r1")
        error = await alice.refused(ErrorCode.BUSY)
    assert error.ref == "r1"
    assert isinstance(error.retry_after, int)
    assert 100 <= error.retry_after <= 10_000
    ack = await alice.say("hi", ref="r1")
    await bob.expect(Message, content="hi")
    assert (ack.id, bob.count(Message)) == (1, 1)


async def test_without_the_database_all_who_wait_are_told(alice: Persona, outage: Outage) -> None:
    """Each of many that were to be written together has its answer, under its ref and in order."""
    await alice.join()
    with outage.begin():
        for number in range(20):
            await alice.send("message", content="hi", ref=f"r{number}")
        errors = [await alice.refused(ErrorCode.BUSY) for _ in range(20)]
    assert [error.ref for error in errors] == [f"r{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("verb", "fields"),
    [
        ("message", {"content": "hi"}),
        ("edit", {"id": 1, "content": "hi"}),
        ("delete", {"id": 1}),
        ("react", {"id": 1, "emoji": "\N{CAT FACE}"}),
        ("history", {"before": 1}),
        ("history", {"after": 1}),
        ("history", {}),
        ("search", {"query": "hi"}),
        ("join", {"room": "tea"}),
        ("join", {}),
    ],
)
async def test_without_the_database_every_verb_is_busy(
    person: Enter, outage: Outage, verb: str, fields: dict[str, Any]
) -> None:
    """It is refused with its ref and may be sent again; then it is carried out."""
    alice = await member(person, "Alice")
    await alice.join()
    await alice.say("hi")
    with outage.begin():
        await alice.send(verb, ref="v", **fields)
        error = await alice.refused(ErrorCode.BUSY)
    assert (error.ref, isinstance(error.retry_after, int)) == ("v", True)
    await alice.send(verb, ref="v", **fields)
    await until_answered(alice, "v")
    assert alice.count(Error) == 1


async def until_answered(persona: Persona, ref: str) -> None:
    while getattr(await persona.next(), "ref", None) != ref:
        pass


async def test_who_is_here_goes_on_without_the_database(alice: Persona, bob: Persona, outage: Outage) -> None:
    """Typing, leaving and pings need none; and what was read is not worth an error."""
    await alice.join()
    await bob.join()
    with outage.begin():
        await alice.send("typing")
        await bob.expect(TypingNow, username="Alice")
        await alice.send("read", seq=0)
        await alice.send("leave")
        await alice.expect(Ack, room=LOBBY)
        await bob.expect(Left, username="Alice")
        await alice.silence()
    assert alice.count(Error) == 0


async def test_without_the_database_nobody_is_turned_away(
    person: Enter, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    """A client whose session can't be read is accepted and closed with 1011, so that it comes back: one line in
    the log.
    """
    with outage.begin():
        ann = await person("Ann", headers=browser("some" * 8))
        assert await ann.closed() == CloseCode.INTERNAL
    (record,) = [record for record in caplog.records if record.name == "chat.consumers"]
    assert record.exc_info is None
    assert current(Hub).sockets == {}


async def test_too_much_to_keep_is_refused(alice: Persona, bob: Persona, settings: Settings) -> None:
    """Past CHAT["LOG_QUEUE"] a message is busy at once; those before it are kept."""
    settings.CHAT = {"LOG_QUEUE": 2}
    await alice.join()
    await bob.join()
    with slow_commits() as go_on:
        await alice.send("message", content="first")
        await alice.silence()
        for number in range(3):
            await alice.send("message", content=f"{number}", ref=f"{number}")
        assert (await alice.refused(ErrorCode.BUSY)).ref == "2"
        go_on()
    for content in ("first", "0", "1"):
        await bob.expect(Message, content=content)
    await alice.say("2", ref="2")
    await bob.expect(Message, content="2")


async def test_a_read_position_outlives_a_lost_connection(person: Enter) -> None:
    """The first write on a lost connection fails, and nobody sends a position twice."""
    alice = await member(person, "Alice")
    await alice.join()
    await alice.say("one")
    with slow_commits() as go_on:
        lost = asyncio.ensure_future(run_write(_lose_the_connection))
        await alice.send("read", seq=1)
        await alice.send("ping", ref="p")
        await alice.expect(Pong, ref="p")
        go_on()
        await lost

    async def kept() -> bool:
        return [position.seq async for position in models.ReadPosition.objects.all()] == [1]

    await until_true(kept)


def _lose_the_connection() -> None:
    connection.connection.close()
