"""The parts of the server that can be tried without a connection; tests/e2e has the rest."""

import asyncio
import random
from itertools import count
from typing import Any

import pytest
from doubles import until
from websockets.frames import Frame, Opcode

from chatsite.server.admission import LOGGED_ADDRESSES, MINUTE, RefusalLog
from chatsite.server.inbox import INBOX, Inbox
from chatsite.server.server import loggable
from chatsite.server.websocket import ChatProtocol


class Between:
    """A connection between two frames, or in the middle of one."""

    between = True

    def _is_between_frames(self) -> bool:
        return self.between


def short_text(data: bytes, connection: Between | None = None) -> str | None:
    stand_in: Any = connection or Between()
    return ChatProtocol._whole_text(stand_in, data)


def client_frame(text: str, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, text.encode(), fin=fin).serialize(mask=True)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 1_000, 65_534, 65_535])
def test_a_whole_text_frame_is_read_at_once(size: int) -> None:
    """An independent client's frame is read correctly, whatever its length and mask."""
    text = "".join(random.choices("aä€😀 \n", k=size // 4)).encode()[:size].decode(errors="ignore").ljust(0)
    text += "x" * (size - len(text.encode()))
    for _ in range(5):
        assert short_text(client_frame(text)) == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        client_frame("hello")[:-1],
        client_frame("hello") + b"x",
        client_frame("hello") * 2,
        client_frame("hello", fin=False),
        client_frame("hello", Opcode.BINARY),
        client_frame("hello", Opcode.PING),
        client_frame("hello", Opcode.CONT),
        Frame(Opcode.TEXT, b"not masked").serialize(mask=False),
        Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True),
        # The first reserved bit.
        b"\xc1" + client_frame("hello")[1:],
        client_frame("x" * 65_536),
        # A length in the longer form, which the shorter one would hold.
        b"\x81\xfe\x00\x05" + bytes(4) + b"hello",
        b"\x81\xff" + (5).to_bytes(8, "big") + bytes(4) + b"hello",
        # 127 says that eight bytes follow; it is no length.
        b"\x81\xff" + bytes(4) + b"x" * 127,
    ],
    # Their masks are random: they are no names.
    ids=count(),
)
def test_everything_else_is_left_to_the_parser(data: bytes) -> None:
    """Fragments, control frames, several frames, parts and errors of any kind are not read here."""
    assert short_text(data) is None


def test_nothing_is_read_out_of_the_middle_of_a_frame() -> None:
    """Bytes that look like a frame may be a part of one."""
    connection = Between()
    connection.between = False
    assert short_text(client_frame("hello"), connection) is None


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


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/ws", "/ws"),
        ("/ws?token=secret", "/ws"),
        ("/?", "/"),
        ("/r\u00e4ume", "/r\u00e4ume"),
        ("/a\r\nb", r"'/a\r\nb'"),
        ("/\x1b[31m?\n", r"'/\x1b[31m'"),
    ],
)
def test_a_path_in_the_log_has_no_query_and_no_control_characters(path: str, shown: str) -> None:
    """Queries hold secrets, and control characters make lines and colours."""
    assert loggable(path) == shown


def test_who_is_refused_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """However often; an IPv6 network is one."""
    now = [100.0]
    refusals = RefusalLog(lambda: now[0])
    for _ in range(1_000):
        refusals.address_refused("192.0.2.1")
        refusals.address_refused("2001:db8::1")
        refusals.address_refused("2001:db8::2")
    assert [record.args for record in caplog.records] == [("192.0.2.1",), ("2001:db8::/64",)]
    now[0] += MINUTE
    caplog.clear()
    refusals.address_refused("192.0.2.1")
    assert [record.args for record in caplog.records] == [(3_000,), ("192.0.2.1",)]


def test_that_files_run_out_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """And those who are refused for it are counted with the others."""
    now = [100.0]
    refusals = RefusalLog(lambda: now[0])
    for _ in range(100):
        refusals.files_ran_out()
    (record,) = caplog.records
    assert "too many open files" in record.message
    now[0] += MINUTE
    caplog.clear()
    refusals.address_refused("192.0.2.1")
    assert [record.args for record in caplog.records] == [(100,), ("192.0.2.1",)]


def test_many_addresses_are_not_all_told(caplog: pytest.LogCaptureFixture) -> None:
    """A flood from everywhere fills no log, and what is kept of it is bounded."""
    refusals = RefusalLog(lambda: 100.0)
    for number in range(10_000):
        refusals.address_refused(f"192.0.{number // 250}.{number % 250}")
    assert len(caplog.records) == LOGGED_ADDRESSES
