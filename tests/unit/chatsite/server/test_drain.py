"""How fast sockets are let go; with sockets that are none, and time that the test moves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from doubles import Clock, until

from chat import loops
from chat.hub import Hub
from chat.loops import current
from chat.protocol import CloseCode, Reconnect, decode_outgoing
from chatsite.server.drain import RECONNECT_RATE, RECONNECT_SPREAD, Drain
from chatsite.server.websocket import ChatProtocol


class Wire:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> bool:
        self.written += data
        return True


class Socket(ChatProtocol):
    """An open socket; notes when it was sent off."""

    def __init__(self) -> None:
        self.state = self.STATE_OPEN
        self.wire: Any = Wire()
        self.sent_off: float | None = None

    def __repr__(self) -> str:
        return f"<Socket {id(self)}>"

    def start_close(self, code: int, reason: str) -> None:
        assert code == CloseCode.RESTART
        assert self.sent_off is None
        self.sent_off = asyncio.get_running_loop().time()
        self.state = self.STATE_CLOSING

    @property
    def after(self) -> int:
        """In how many milliseconds it shall come back."""
        # The frame's head has two bytes, for so short a text.
        event = decode_outgoing(self.wire.written[2:])
        assert isinstance(event, Reconnect)
        return event.after


class Server:
    """Its sockets, and no HTTP."""

    def __init__(self, size: int) -> None:
        self.sockets = [Socket() for _ in range(size)]
        self.connections: dict[Any, dict[str, Any]] = {socket: {} for socket in self.sockets}
        self.http_factory = self
        self.channels: set[Any] = set()


@pytest.fixture
async def clock(clock: Clock) -> AsyncIterator[Clock]:
    clock.stop()
    yield clock
    clock.start()
    await loops.close_current()


async def drained(server: Server, within: float | None, clock: Clock) -> list[float]:
    """The seconds after which each was sent off."""
    of: Any = server
    began = asyncio.get_running_loop().time()
    draining = asyncio.create_task(Drain(of, within).run())
    while not draining.done():
        await clock.skip(0.001)
    await draining
    assert current(Hub).draining
    return [socket.sent_off - began for socket in server.sockets if socket.sent_off]


async def test_without_others_all_are_told_at_once(clock: Clock) -> None:
    """Each has its own moment: the first client to come back finds no server yet."""
    server = Server(1_000)
    moments = await drained(server, None, clock)
    assert len(moments) == 1_000
    assert max(moments) - min(moments) < 0.01
    afters = [socket.after for socket in server.sockets]
    assert len(set(afters)) > 500
    assert 1_500 < max(afters) <= 1_000 * 1_000 / RECONNECT_RATE


async def test_with_others_one_after_another_is_let_go(clock: Clock) -> None:
    """To come back at once, at a pace that the others can take."""
    server = Server(1_000)
    moments = await drained(server, 30, clock)
    assert moments == sorted(moments)
    assert len(moments) == 1_000
    assert moments[-1] - moments[0] == pytest.approx(999 / RECONNECT_RATE, abs=0.01)
    for part in range(0, 1_000, 100):
        assert moments[part] - moments[0] == pytest.approx(part / RECONNECT_RATE, abs=0.01)
    assert max(socket.after for socket in server.sockets) <= RECONNECT_SPREAD * 1_000


async def test_many_are_let_go_faster(clock: Clock) -> None:
    """A client that is left when the time is over would be cut off."""
    moments = await drained(Server(1_000), 0.5, clock)
    assert moments[-1] - moments[0] == pytest.approx(0.5, abs=0.01)


async def test_one_that_opens_meanwhile_is_sent_off(clock: Clock) -> None:
    """Its handshake was under way; it is waited for, and then has no time to settle in."""
    server: Any = Server(1)
    late = Socket()
    late.state = late.STATE_CONNECTING
    server.connections[late] = {}
    drain = Drain(server, 30)
    draining = asyncio.create_task(drain.run())
    for _ in range(100):
        await clock.skip(0.01)
    assert server.sockets[0].sent_off
    assert not draining.done()
    late.state = late.STATE_OPEN
    drain.opened(late)
    assert late.sent_off
    clock.start()
    await until(draining.done)


async def test_one_that_never_opens_is_not_waited_for_without_end(clock: Clock) -> None:
    """There is a bound to everything."""
    server = Server(0)
    never = Socket()
    never.state = never.STATE_CONNECTING
    server.connections[never] = {}
    assert await drained(server, 30, clock) == []
    assert never.sent_off is None


async def test_one_that_is_closing_already_is_left_alone(clock: Clock) -> None:
    """It was told another code."""
    server = Server(2)
    server.sockets[0].state = ChatProtocol.STATE_CLOSING
    assert len(await drained(server, 30, clock)) == 1
    assert server.sockets[0].sent_off is None
