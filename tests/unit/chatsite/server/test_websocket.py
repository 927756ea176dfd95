"""Text frames that the server reads itself; tests/e2e has the rest of a WebSocket."""

import random
from itertools import count
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

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
