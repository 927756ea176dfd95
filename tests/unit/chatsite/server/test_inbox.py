"""Messages that wait for an application."""

import asyncio
from typing import Any

from doubles import until

from chatsite.server.inbox import INBOX, Inbox


class Reading:
    """A transport, and whether it is read."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:  # noqa: N802 Twisted's name
        self.calls.append("pause")

    def resumeProducing(self) -> None:  # noqa: N802 Twisted's name
        self.calls.append("resume")


async def test_an_inbox_gives_what_came_in_order() -> None:
    """Whether it came before it was asked for or after."""
    inbox = Inbox(Reading())
    inbox.put_nowait({"n": 0})
    inbox.put_nowait({"n": 1})
    assert [await inbox.receive(), await inbox.receive()] == [{"n": 0}, {"n": 1}]
    waiting = asyncio.create_task(inbox.receive())
    await asyncio.sleep(0)
    inbox.put_nowait({"n": 2})
    inbox.put_nowait({"n": 3})
    assert await waiting == {"n": 2}
    assert await inbox.receive() == {"n": 3}


async def test_a_full_inbox_stops_the_reading_once() -> None:
    """Past the bound the connection is not read; when little is left, it is again."""
    transport: Any = Reading()
    inbox = Inbox(transport)
    for number in range(INBOX + 5):
        inbox.put_nowait({"n": number})
    assert transport.calls == ["pause"]
    for number in range(INBOX + 5):
        assert (await inbox.receive())["n"] == number
    assert transport.calls == ["pause", "resume"]


async def test_a_receive_that_was_given_up_loses_nothing() -> None:
    """Cancelling it leaves what comes later for the next."""
    inbox = Inbox(Reading())
    waiting = asyncio.create_task(inbox.receive())
    await asyncio.sleep(0)
    waiting.cancel()
    await until(waiting.done)
    inbox.put_nowait({"n": 1})
    assert await inbox.receive() == {"n": 1}
