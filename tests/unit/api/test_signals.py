"""Signals after the commit, for the project's receivers."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.dispatch import Signal
from helpers import CommunicatorPersona, Enter
from members import member

from chat import api, models
from chat.api import announcer
from chat.api.signals import Follower
from chat.hub import Hub
from chat.loops import current
from chat.message_log import MessageLog
from chat.protocol import Ack, Message

ROOM = "lobby"
BOT = api.Bot("Deploy")
ALL = {
    name: getattr(api, name)
    for name in (
        "message_posted",
        "message_edited",
        "message_deleted",
        "user_joined",
        "user_left",
        "room_created",
    )
}


@contextmanager
def connected(signal: Signal, receiver: Callable[..., Any]) -> Iterator[None]:
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


class Heard:
    """The signals that the receivers got, and their threads."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.threads: set[int] = set()
        self._more = threading.Condition()

    def receiver(self, name: str) -> Callable[..., None]:
        def receive(**arguments: Any) -> None:
            # Receivers may use the ORM.
            models.Room.objects.exists()
            with self._more:
                self.calls.append((name, arguments))
                self.threads.add(threading.get_ident())
                self._more.notify()

        return receive

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    async def until(self, number: int) -> None:
        def wait() -> bool:
            with self._more:
                return self._more.wait_for(lambda: len(self.calls) >= number, 20)

        assert await asyncio.to_thread(wait), self.calls


@pytest.fixture
def heard(rooms: None) -> Iterator[Heard]:
    found = Heard()
    with ExitStack() as stack:
        for name, signal in ALL.items():
            receiver = found.receiver(name)
            stack.enter_context(connected(signal, receiver))
            stack.callback(lambda kept: None, receiver)
        yield found


async def test_signals_tell_what_clients_do(heard: Heard, person: Enter) -> None:
    """They come in order, off the event loop's thread, with the author's key."""
    ann = await member(person, "Ann")
    await ann.join("garden")
    await ann.say("hi", room="garden")
    await ann.send("edit", room="garden", id=1, content="hello")
    await ann.send("delete", room="garden", id=1)
    await ann.send("leave", room="garden")
    await heard.until(6)
    assert sorted(heard.names) == sorted(ALL)
    messages = [(name, given) for name, given in heard.calls if name.startswith("message")]
    assert [name for name, _ in messages] == ["message_posted", "message_edited", "message_deleted"]
    assert [given["message"].content for _, given in messages[:2]] == ["hi", "hello"]
    author = (await models.Message.objects.aget()).author
    assert {(given["room"], given["author"]) for _, given in messages} == {("garden", author)}
    for word in ("user_joined", "user_left"):
        given = next(given for name, given in heard.calls if name == word)
        assert (given["room"], given["username"], given["user"]) == ("garden", "Ann", author)
    assert threading.get_ident() not in heard.threads


def test_signals_come_after_the_commit_in_a_process_without_a_server(heard: Heard) -> None:
    """A room that is rolled back was never created."""
    with transaction.atomic():
        models.Room.objects.create(slug="undone")
        transaction.set_rollback(True)
    with transaction.atomic():
        models.Room.objects.create(slug="tea")
        assert heard.calls == []
    api.post("tea", "hi", bot=BOT, ref="1")
    api.post("tea", "hi", bot=BOT, ref="1")
    api.react("tea", 1, "\N{THUMBS UP SIGN}", bot=BOT)
    api.delete("tea", 1)
    assert heard.names == ["room_created", "message_posted", "message_edited", "message_deleted"]
    assert heard.calls[1][1]["author"] == "bot:deploy"


async def test_a_failing_receiver_harms_nobody(
    alice: CommunicatorPersona, caplog: pytest.LogCaptureFixture, heard: Heard
) -> None:
    """Its error is logged, and the other receivers get the signal."""

    def broken(**_: Any) -> None:
        raise ZeroDivisionError

    with connected(api.message_posted, broken):
        await alice.join()
        await alice.say("one")
        await alice.say("two")
        await heard.until(4)
    assert heard.names.count("message_posted") == 2
    assert "ZeroDivisionError" in caplog.text


async def test_an_async_receiver_runs_on_the_loop(alice: CommunicatorPersona) -> None:
    """It may use what belongs to the loop."""
    done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def receiver(message: Message, **_: Any) -> None:
        done.set_result(message.content)

    with connected(api.message_posted, receiver):
        await alice.join()
        await alice.say("hi")
        assert await done == "hi"


async def test_a_slow_receiver_holds_up_no_message(
    alice: CommunicatorPersona, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its signals wait, up to a limit. Further ones are dropped, and one line is logged."""
    monkeypatch.setattr(announcer, "WAITING", 2)
    go_on, got = threading.Event(), []

    def slow(message: Message, **_: Any) -> None:
        go_on.wait()
        got.append(message.content)

    with connected(api.message_posted, slow):
        await alice.join()
        try:
            for number in range(8):
                await alice.send("message", content=str(number), ref=str(number))
                await alice.expect(Ack, ref=str(number))
        finally:
            go_on.set()
        await asyncio.to_thread(lambda: None)
    assert caplog.text.count("too slow") == 1


async def test_without_receivers_nothing_is_asked(alice: CommunicatorPersona, statements: list[str]) -> None:
    """A message costs the same statements as before, and no task is started."""
    await alice.join()
    await alice.say("one")
    statements.clear()
    await alice.say("two")
    assert not [sql for sql in statements if "SELECT" in sql and "author" in sql]
    follower = current(Follower)
    assert isinstance(follower, announcer.Announcer)
    assert follower._task is None
    assert current(MessageLog).on_committed == current(Hub).publish_changes


async def test_a_second_tab_does_not_join_twice(heard: Heard, person: Enter) -> None:
    """A user joins with the first tab and leaves with the last."""
    first, second = await member(person, "Ann"), await member(person, "Ann")
    for tab in (first, second):
        await tab.join()
    for tab in (first, second):
        await tab.send("leave", room=ROOM)
    await heard.until(3)
    await first.join("tea")
    await heard.until(5)
    assert [(name, given["room"]) for name, given in heard.calls if name.startswith("user")] == [
        ("user_joined", ROOM),
        ("user_left", ROOM),
        ("user_joined", "tea"),
    ]
