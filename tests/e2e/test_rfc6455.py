"""The server by the letter of RFC 6455, as Autobahn's test suite asks it in its groups 1 to 7 and 10.

Every connection ends in peace: a close frame, the end of the stream, and never a reset, which would take with it
what the client has not read yet.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from servers import PATIENCE, Server, running
from websockets.frames import Frame, Opcode

pytestmark = pytest.mark.e2e

TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, PONG, CLOSE = Opcode.PING, Opcode.PONG, Opcode.CLOSE
HANDSHAKE = (
    "GET /echo HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
UTF8 = "κόσμε € 😀".encode()

# A frame that was read: its opcode and its payload.
Read = tuple[int, bytes]


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Server]:
    """A server that sends each message back."""
    folder = tmp_path_factory.mktemp("echo")
    with running("wired", folder, database, ARGUMENTS="1 1") as server:
        yield server


@contextmanager
def opened(server: Server) -> Iterator[socket.socket]:
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(HANDSHAKE.format(server.address).encode())
        greeting = b""
        while not greeting.endswith(b"\r\n\r\n"):
            greeting += connection.recv(1)
        assert greeting.startswith(b"HTTP/1.1 101 ")
        yield connection


def exact(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            break
        data += more
    return data


def heard(connection: socket.socket, most: int = 1_000) -> list[Read]:
    """Every frame until the end of the stream, or so many. A reset fails the test."""
    frames: list[Read] = []
    while len(frames) < most and (head := exact(connection, 2)):
        assert head[0] & 0x80, "a server's frame in parts"
        size = head[1]
        if size > 125:
            size = int.from_bytes(exact(connection, 2 if size == 126 else 8), "big")
        frames.append((head[0] & 0x7F, exact(connection, size)))
    return frames


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """A frame as a client sends it, right or wrong."""
    found = Frame(Opcode.TEXT, data)
    found.check = lambda: None  # type: ignore[method-assign]
    return bytes([fin << 7 | rsv << 4 | opcode]) + found.serialize(mask=mask)[1:]


def closing(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


BYE = frame(CLOSE, closing(1000))


def said(server: Server, data: bytes) -> list[Read]:
    """All that is answered to this."""
    with opened(server) as connection:
        connection.sendall(data)
        return heard(connection)


def answers(server: Server, data: bytes, *expected: Read, piece: int = 0) -> None:
    """This is answered so, and the close after it."""
    with opened(server) as connection:
        for start in range(0, len(data), piece or len(data)):
            connection.sendall(data[start : start + (piece or len(data))])
        assert heard(connection, len(expected)) == [*expected]
        connection.sendall(BYE)
        assert heard(connection) == [(CLOSE, closing(1000))]


# --- 1, 5, 6: messages ---


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536])
def test_a_message_of_any_size_comes_back(echo: Server, opcode: int, size: int) -> None:
    """An empty one too, of either kind: none is swallowed."""
    data = b"*" * size
    answers(echo, frame(opcode, data), (opcode, data))


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("parts", [[b"", b""], [b"", b"x", b""], [b"ab", b"cd", b"ef"], [b"x"] * 50], ids=len)
def test_a_message_in_parts_is_one(echo: Server, opcode: int, parts: list[bytes]) -> None:
    """Empty parts too; a ping between them is answered between them."""
    first, *middle, last = parts
    data = frame(opcode, first, fin=False) + frame(PING, b"now")
    data += b"".join(frame(CONT, part, fin=False) for part in middle) + frame(CONT, last)
    answers(echo, data, (PONG, b"now"), (opcode, b"".join(parts)))


@pytest.mark.parametrize("piece", [1, 2, 7])
def test_bytes_that_come_one_by_one_are_the_same(echo: Server, piece: int) -> None:
    """TCP has no frames."""
    data = frame(TEXT, UTF8) + frame(BINARY, bytes(range(256)))
    answers(echo, data, (TEXT, UTF8), (BINARY, bytes(range(256))), piece=piece)


def test_a_character_may_be_cut_in_two(echo: Server) -> None:
    """Only the whole message must be UTF-8."""
    parts = [bytes([byte]) for byte in UTF8]
    data = frame(TEXT, parts[0], fin=False) + b"".join(frame(CONT, part, fin=False) for part in parts[1:])
    answers(echo, data + frame(CONT), (TEXT, UTF8))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"ab\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"x\xe2\x82",
    ],
    ids=bytes.hex,
)
def test_a_text_that_is_no_utf_8_is_told_so(echo: Server, data: bytes) -> None:
    """Overlong forms, surrogates, past U+10FFFF, cut off: whole, in two frames, and behind a good message."""
    for sent in (
        frame(TEXT, data),
        frame(TEXT, data[:1], fin=False) + frame(CONT, data[1:]),
        frame(TEXT, b"good") + frame(TEXT, data),
    ):
        *before, (opcode, payload) = said(echo, sent + frame(TEXT, b"never heard"))
        assert before in ([], [(TEXT, b"good")])
        assert (opcode, payload[:2]) == (CLOSE, closing(1007))


# --- 2: pings and pongs ---


@pytest.mark.parametrize("data", [b"", b"hello", b"\0\xff\xfe", b"x" * 125], ids=len)
def test_a_ping_has_its_pong(echo: Server, data: bytes) -> None:
    """With its bytes, whatever they are; pongs that nobody asked for are taken."""
    answers(echo, frame(PONG, data) + frame(PING, data), (PONG, data))


# --- 3, 4, 5: what breaks the protocol ---


@pytest.mark.parametrize(
    "sent",
    [
        *(frame(TEXT, b"x", rsv=bits) for bits in range(1, 8)),
        *(frame(BINARY, b"", rsv=bits) for bits in (1, 4)),
        *(frame(opcode, b"", rsv=4) for opcode in (PING, PONG, CLOSE)),
        *(frame(opcode, data) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15) for data in (b"", b"x")),
        *(frame(opcode, b"x" * 126) for opcode in (PING, PONG, CLOSE)),
        *(frame(opcode, b"", fin=False) for opcode in (PING, PONG, CLOSE)),
        *(frame(opcode, b"x", mask=False) for opcode in (TEXT, BINARY, PING)),
        frame(CLOSE, closing(1000), mask=False),
        frame(CONT, b"x"),
        frame(CONT, b"x", fin=False) + frame(CONT, b"y"),
        frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"),
        frame(BINARY, b"x", fin=False) + frame(TEXT, b"y"),
        frame(TEXT, b"x", fin=False) + frame(CONT, b"y") + frame(CONT, b"z"),
        # Lengths that a shorter form would hold.
        b"\x81\xfe\x00\x05" + bytes(4) + b"hello",
        b"\x82\xff" + (5).to_bytes(8, "big") + bytes(4) + b"hello",
        # The highest bit of the longest form.
        b"\x82\xff" + b"\x80" + bytes(7) + bytes(4),
    ],
    # Their masks are random: they are no names.
    ids=count(),
)
def test_what_breaks_the_protocol_is_1002_and_the_end(echo: Server, sent: bytes) -> None:
    """Told by a close frame, whatever the client sends behind it; it need not answer."""
    *before, (opcode, payload) = said(echo, sent + frame(TEXT, b"never heard") * 3 + BYE)
    assert before in ([], [(TEXT, b"xy")])
    assert (opcode, payload[:2]) == (CLOSE, closing(1002))


def test_what_was_under_way_meets_no_reset(echo: Server) -> None:
    """A client that goes on sending after its error reads the close frame when it comes to it."""
    with opened(echo) as connection:
        connection.sendall(frame(3) + frame(BINARY, b"x" * 60_000) * 40)
        assert [(opcode, data[:2]) for opcode, data in heard(connection)] == [(CLOSE, closing(1002))]


# --- 7: closes ---

VALID = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
INVALID = [0, 1, 999, 1004, 1005, 1006, *range(1015, 1017), 1100, 2000, 2999, 5000, 32_768, 65_535]


@pytest.mark.parametrize("code", VALID)
def test_a_close_comes_back_with_its_code(echo: Server, code: int) -> None:
    """Bytes behind the close frame are ignored."""
    for reason in (b"", UTF8, b"x" * 123):
        data = closing(code, reason)
        assert said(echo, frame(CLOSE, data) + frame(TEXT, b"never heard")) == [(CLOSE, data)]


def test_a_close_without_a_code_comes_back_without(echo: Server) -> None:
    assert said(echo, frame(CLOSE)) == [(CLOSE, b"")]


@pytest.mark.parametrize("code", INVALID)
def test_a_code_that_is_none_is_1002(echo: Server, code: int) -> None:
    """RFC 6455, section 7.4: those that are never sent, and those that nobody has defined."""
    for reason in (b"", b"a reason"):
        ((opcode, payload),) = said(echo, frame(CLOSE, closing(code, reason)))
        assert (opcode, payload[:2]) == (CLOSE, closing(1002))


def test_half_a_code_is_1002(echo: Server) -> None:
    ((opcode, payload),) = said(echo, frame(CLOSE, b"\x03"))
    assert (opcode, payload[:2]) == (CLOSE, closing(1002))


@pytest.mark.parametrize("reason", [b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80"])
def test_a_reason_that_is_no_utf_8_is_1007(echo: Server, reason: bytes) -> None:
    ((opcode, payload),) = said(echo, frame(CLOSE, closing(1000, reason)))
    assert (opcode, payload[:2]) == (CLOSE, closing(1007))


def test_a_second_close_and_a_ping_after_it_are_nothing(echo: Server) -> None:
    assert said(echo, BYE + frame(PING) + BYE) == [(CLOSE, closing(1000))]


def test_a_close_within_a_message_ends_it(echo: Server) -> None:
    """The part of the message that came is dropped."""
    assert said(echo, frame(TEXT, b"half", fin=False) + BYE) == [(CLOSE, closing(1000))]


def test_a_client_that_never_ends_its_side_is_let_go(echo: Server) -> None:
    """The server waits for its FIN, and not for ever."""
    with opened(echo) as connection:
        connection.sendall(BYE)
        assert heard(connection) == [(CLOSE, closing(1000))]
        connection.settimeout(PATIENCE)
        with pytest.raises(ConnectionError):
            connection.sendall(frame(TEXT, bytes(60_000)) * 1_000)
