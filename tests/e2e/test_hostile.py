"""Attackers and broken clients: bounded in time, memory and log, and no other client notices."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
from databases import copy_of
from servers import PATIENCE, Server, Start, free_port, get, running
from websockets.frames import Close, Frame, Opcode

pytestmark = pytest.mark.e2e

EMPTY, MEGABYTE = b"", b"x" * 1_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Server]:
    """A server with limits. 127.0.0.8 is a proxy of ours."""
    folder = tmp_path_factory.mktemp("site")
    with (
        copy_of(database, folder) as mine,
        running("daphne", folder, mine, CHAT_LIMITS="on", CHAT_PROXIES="127.0.0.8") as server,
    ):
        yield server


@pytest.fixture
def hasty(start: Start) -> Server:
    """A server with short deadlines."""
    return start("probed", PROBE_DEADLINES="0.5 0.5 0.5")


@contextmanager
def connected(server: Server, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), PATIENCE, source_address=(source, 0)) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the end, however it ends."""
    read = b""
    with suppress(ConnectionError):
        while data := connection.recv(65_536):
            read += data
    return read


def response(connection: socket.socket) -> bytes:
    """One response with a Content-Length."""
    read = b""
    while b"\r\n\r\n" not in read:
        data = connection.recv(65_536)
        assert data, read
        read += data
    found = re.search(rb"(?i)content-length: (\d+)", read)
    size = int(found[1]) if found else 0
    while len(read.split(b"\r\n\r\n", 1)[1]) < size:
        read += connection.recv(65_536)
    return read


def head(server: Server, *lines: str, path: str = "/healthz", method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", f"Host: {server.address}", *lines, "", ""]).encode(
        "latin-1"
    )


UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def ask(server: Server, request: bytes, source: str = "127.0.0.1") -> bytes:
    """Everything that is answered, where the server closes."""
    with connected(server, source) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        return rest(connection)


def is_well(server: Server) -> bool:
    return get(server, "/healthz").status == 200


# --- Slow ones ---


EARLY = 0.4
"""Seconds before which the server may not give up. Each test's clock starts before the server's."""


def drip(connection: socket.socket, data: bytes, start: float) -> float:
    """Send a byte every 50 ms until the server gives up, before it has all. Returns the seconds since start."""
    connection.settimeout(0.05)
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
            if not connection.recv(65_536):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    else:
        pytest.fail("the server heard all of it")
    return time.monotonic() - start


def test_a_head_that_does_not_end_is_cut(hasty: Server) -> None:
    """Each byte may come in time, and still the whole is late."""
    start = time.monotonic()
    with connected(hasty) as connection:
        assert drip(connection, head(hasty, "X: " + "a" * 400), start) > EARLY


def test_a_connection_that_says_nothing_is_cut(hasty: Server) -> None:
    """Not even a byte."""
    start = time.monotonic()
    assert ask(hasty, EMPTY) == EMPTY
    assert time.monotonic() - start > EARLY


def test_a_second_head_that_does_not_end_is_cut(hasty: Server) -> None:
    """On a connection that was good until then."""
    with connected(hasty) as connection:
        start = time.monotonic()
        connection.sendall(head(hasty))
        assert b" 200 " in response(connection)
        assert drip(connection, head(hasty, "X: " + "a" * 400), start) > EARLY


def test_a_body_that_does_not_end_is_cut(hasty: Server) -> None:
    """However long it said that it would be."""
    start = time.monotonic()
    with connected(hasty) as connection:
        connection.sendall(head(hasty, "Content-Length: 500", method="POST"))
        assert drip(connection, b"x" * 500, start) > EARLY


def test_a_connection_is_kept_for_the_next_request_and_not_for_ever(hasty: Server) -> None:
    """It is closed in peace, so that a browser just opens another."""
    with connected(hasty) as connection:
        for _ in range(3):
            start = time.monotonic()
            connection.sendall(head(hasty))
            assert b" 200 " in response(connection)
        assert connection.recv(1) == EMPTY
        assert time.monotonic() - start > EARLY


def test_requests_in_one_piece_are_answered_in_order(hasty: Server) -> None:
    """With bodies or without; and then the connection is idle."""
    body = head(hasty, "Content-Length: 3", method="GET") + b"abc"
    answered = ask(hasty, (head(hasty) + body + head(hasty, path="/nowhere")) * 2)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answered) == [b"200", b"200", b"404"] * 2


def test_an_open_socket_has_no_deadline(hasty: Server) -> None:
    """The deadlines are of requests."""
    with socketed(hasty) as connection:
        connection.settimeout(1.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)


# --- Big ones ---


@pytest.mark.parametrize("more", [[], ["Expect: 100-continue"]], ids=["body", "expect"])
def test_a_body_too_large_is_refused_by_its_length(site: Server, more: list[str]) -> None:
    """Before any of it was read, or asked for."""
    answer = ask(site, head(site, "Content-Length: 1048577", *more, method="POST"))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_in_chunks_is_cut_when_it_is_too_large(site: Server) -> None:
    """Nobody said how large it would be."""
    start, chunk = head(site, "Transfer-Encoding: chunked", method="POST"), b"fa00\r\n" + b"x" * 64_000 + b"\r\n"
    before = site.memory()
    with connected(site) as connection:
        connection.sendall(start + chunk * 16)
        with suppress(ConnectionError):
            for _ in range(1_000):
                connection.sendall(chunk)
            pytest.fail("64 MB were taken")
    assert site.memory() - before < 8e6


def test_a_body_within_the_limit_is_django_s(site: Server) -> None:
    """In chunks or not."""
    chunked = head(site, "Transfer-Encoding: chunked", "Connection: close")
    assert ask(site, chunked + b"3\r\nabc\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    plain = head(site, "Content-Length: 1000000", "Connection: close")
    assert ask(site, plain + MEGABYTE).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "lines",
    [
        ["X: " + "a" * 1_000_000],
        [f"X-{number}: a" for number in range(5_000)],
        ["X: a", " " + "a" * 20_000],
        ["Content-Length: " + "9" * 5_000],
        ["Content-Length: -1"],
        ["Content-Length: 1", "Content-Length: 2"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip, chunked"],
        ["no colon"],
        ["X : space"],
        ["X: \0"],
    ],
    ids=lambda lines: lines[0][:20],
)
def test_a_head_that_is_none_is_refused(site: Server, lines: list[str]) -> None:
    """With 400, or without a word; nobody else notices."""
    answer = ask(site, head(site, *lines))
    assert answer[:13] in {EMPTY, b"HTTP/1.1 400 "}
    assert is_well(site)


def test_a_long_address_is_refused(site: Server) -> None:
    """100 KB of path."""
    assert ask(site, head(site, path="/" + "a" * 100_000))[:13] in {EMPTY, b"HTTP/1.1 400 "}


def test_a_second_host_is_refused_without_a_traceback(site: Server) -> None:
    """Which is the right one nobody knows. And anybody can do it, so the log does not grow with it."""
    before = site.said()
    answer = ask(site, head(site, "Host: evil.example", "Connection: close", path="/"))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in site.said().removeprefix(before)


def test_a_client_does_not_say_where_the_site_is(site: Server) -> None:
    """Daphne lets a header move all links."""
    answer = ask(site, head(site, "Daphne-Root-Path: /evil", "Connection: close", path="/"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"evil" not in answer


# --- Many ---


def refused(server: Server, source: str, count: int, *lines: str) -> int:
    """The number of connections, opened one after another, that are closed without an answer."""
    request = head(server, "Connection: close", *lines)
    return sum(not ask(server, request, source) for _ in range(count))


SLOW = {"CHAT_LIMITS": "on", "CHAT_CONNECT_BURST": "40", "CHAT_CONNECT_RATE": "0.1"}
"""A bucket that a slow machine cannot refill while a test empties it."""


def test_who_connects_too_often_is_refused_and_nobody_else(start: Start) -> None:
    """A burst at once, then a rate; the log has a line of it, not one each."""
    server = start("daphne", **SLOW)
    began = time.monotonic()
    turned_away = refused(server, "127.0.0.9", 100)
    most = 40 + 0.1 * (time.monotonic() - began) + 1
    assert 40 <= 100 - turned_away <= most
    assert refused(server, "127.0.0.1", 3) == 0
    assert server.said().count("127.0.0.9") == 1


def handshake(server: Server, client: str) -> bytes:
    """The response to a proxy's handshake for a client."""
    request = head(server, *UPGRADE, KEY, f"X-Forwarded-For: 203.0.113.66, {client}", path="/nowhere")
    with connected(server, "127.0.0.8") as connection:
        connection.sendall(request)
        return connection.recv(65_536)


def test_a_proxy_s_clients_are_told_apart(start: Start) -> None:
    """A client with too many sockets is told when to retry; the proxy's other clients and pages go on."""
    server = start("daphne", CHAT_PROXIES="127.0.0.8", **SLOW)
    assert refused(server, "127.0.0.8", 100) == 0
    answers = [handshake(server, "192.0.2.1") for _ in range(60)]
    assert [answer[9:12] for answer in answers[:40]] == [b"403"] * 40
    assert answers[-1].startswith(b"HTTP/1.1 429 ")
    assert re.search(rb"\r\nRetry-After: \d+\r\n", answers[-1])
    assert handshake(server, "192.0.2.2").startswith(b"HTTP/1.1 403 ")
    assert refused(server, "127.0.0.8", 1, "X-Forwarded-For: 192.0.2.1") == 0


def test_without_limits_everybody_may_connect(start: Start) -> None:
    """For benchmarks."""
    assert refused(start("daphne", CHAT_CONNECT_BURST="1", CHAT_CONNECT_RATE="0.01"), "127.0.0.9", 50) == 0


def test_requests_of_one_connection_are_counted(start: Start) -> None:
    """A client that asks for too many pages is told so, and its connection ends. Others notice nothing."""
    server = start("daphne", CHAT_LIMITS="on", CHAT_REQUEST_BURST="100", CHAT_REQUEST_RATE="0.1")
    answered = ask(server, head(server, path="/whoami") * 15, "127.0.0.9")
    assert re.findall(rb"HTTP/1\.1 (\d+)", answered) == [b"200"] * 10 + [b"429"]
    assert re.search(rb"\r\nRetry-After: \d+\r\n", answered)
    assert ask(server, head(server, "Connection: close"), "127.0.0.9").startswith(b"HTTP/1.1 429 ")
    assert ask(server, head(server, "Connection: close"), "127.0.0.1").startswith(b"HTTP/1.1 200 ")
    assert server.said().count("429") == 0


# --- Handshakes ---


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        (lambda site: head(site, *UPGRADE, path="/ws"), 400),
        (lambda site: head(site, *UPGRADE[:2], "Sec-WebSocket-Version: 12", KEY, path="/ws"), 400),
        (lambda site: head(site, *UPGRADE, "Sec-WebSocket-Key: short", path="/ws"), 400),
        (lambda site: head(site, *UPGRADE, KEY, path="/ws", method="POST"), 405),
        (lambda site: head(site, *UPGRADE, KEY, path="/ws", version="1.0"), 400),
        (lambda site: head(site, UPGRADE[0], UPGRADE[2], KEY, path="/ws"), 400),
        (
            lambda site: head(
                site, *UPGRADE, KEY, "Sec-WebSocket-Protocol: \xff", "Connection: close", path="/ws"
            ),
            400,
        ),
        (lambda site: head(site, *UPGRADE, KEY, "Origin: http://evil.example", path="/ws"), 403),
        (lambda site: head(site, *UPGRADE, KEY, *[f"Origin: http://{site.address}"] * 2, path="/ws"), 400),
        (lambda site: head(site, *UPGRADE, KEY, "Origin: \xff", path="/ws"), 400),
        (lambda site: head(site, *UPGRADE, KEY, path="/nowhere"), 403),
        (lambda site: head(site, *UPGRADE, KEY, path="/ws#part"), 400),
        (lambda site: head(site, *UPGRADE, KEY, path="http://[/ws"), 400),
    ],
)
def test_a_handshake_that_is_none_is_refused(site: Server, request_of: object, status: int) -> None:
    """With the status that says why; no traceback is logged."""
    assert callable(request_of)
    with connected(site) as connection:
        connection.sendall(request_of(site))
        answer = connection.recv(65_536)
        assert answer.partition(b" ")[2].startswith(str(status).encode()), answer


def test_compression_is_never_agreed_on(site: Server) -> None:
    """A kilobyte could unpack to a megabyte, and each socket would cost 300 KB."""
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    with socketed(site, offer) as connection:
        assert b"extensions" not in connection.greeting.lower()
        connection.sendall(b"\xc1" + frame(b"{}")[1:])
        assert closing(connection).code == 1002


# --- Frames ---


class Greeted(socket.socket):
    """A connection, and what its handshake was answered."""

    greeting: bytes


@contextmanager
def socketed(server: Server, *lines: str, path: str = "/ws") -> Iterator[Greeted]:
    with connected(server) as plain:
        connection = Greeted(fileno=plain.detach())
        connection.settimeout(PATIENCE)
        with connection:
            connection.sendall(head(server, *UPGRADE, KEY, *lines, path=path))
            connection.greeting = b""
            while not connection.greeting.endswith(b"\r\n\r\n"):
                connection.greeting += connection.recv(1)
            assert connection.greeting.startswith(b"HTTP/1.1 101 ")
            yield connection


def frame(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True, mask: bool = True) -> bytes:
    """As a client sends it; ``check`` is left out, for what is wrong must go too."""
    found = Frame(opcode, data, fin=fin)
    found.check = lambda: None  # type: ignore[method-assign]
    return found.serialize(mask=mask)


def closing(connection: socket.socket) -> Close:
    """The close frame; what stands before it are whole frames of less than 126 bytes."""
    read = b""
    while True:
        data = connection.recv(65_536)
        assert data, "the connection ended without a close frame"
        read += data
        while len(read) >= 2 and len(read) >= 2 + read[1]:
            payload, opcode = read[2 : 2 + read[1]], read[0]
            read = read[2 + read[1] :]
            if opcode == 0x88:
                return Close.parse(payload)


CONT = Opcode.CONT


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\xc1" + frame(b"{}")[1:], 1002),
        (frame(b"{}", mask=False), 1002),
        (b"\x83" + frame(b"{}")[1:], 1002),
        (frame(b"{}", CONT), 1002),
        (frame(b"{", fin=False) + frame(b"}"), 1002),
        (frame(b"x" * 126, Opcode.PING), 1002),
        (frame(b"", Opcode.PING, fin=False), 1002),
        (b"\x81\xfe\x00\x05" + frame(b"hello")[2:], 1002),
        (b"\x81\xff" + b"\xff" * 8 + bytes(4), 1002),
        (frame(b"\xff\xfe"), 1007),
        (frame(b"\xe4", fin=False) + frame(b"x", CONT), 1007),
        (frame(b"x" * 65_537), 1009),
        (frame(MEGABYTE), 1009),
        ((frame(b"x" * 40_000, fin=False) + frame(b"x" * 40_000, CONT)), 1009),
        (frame((4000).to_bytes(2, "big") + b"bye", Opcode.CLOSE), 4000),
        (frame(b"{", fin=False) + frame(b"", CONT, fin=False) * 1_000, 1008),
        (frame(b"", Opcode.PING) * 150, 1008),
        (frame(b"", Opcode.PONG) * 150, 1008),
    ],
    # Their masks are random: they are no names.
    ids=count(),
)
def test_what_breaks_the_protocol_is_told_its_code(site: Server, frames: bytes, code: int) -> None:
    """And nothing else happens."""
    with socketed(site) as connection:
        connection.sendall(frames)
        assert closing(connection).code == code


def cpu(server: Server) -> float:
    """Seconds that it has used: fields 14 and 15 of stat (proc_pid_stat(5))."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "flood",
    [
        frame(b"", fin=False) + frame(b"", CONT, fin=False) * 100_000,
        frame(b"", Opcode.PING) * 100_000,
        frame(b"\xff" * 60_000) * 100,
        frame(MEGABYTE) * 50,
        b"\xff" * 20_000_000,
    ],
    ids=["fragments", "pings", "no text", "big frames", "garbage"],
)
def test_a_flood_costs_neither_memory_nor_much_time(site: Server, flood: bytes) -> None:
    """It is not taken to its end, and what was taken is not kept."""
    before, used = site.memory(), cpu(site)
    with socketed(site) as connection, suppress(ConnectionError):
        connection.sendall(flood)
        rest(connection)
    print(f"{cpu(site) - used:.2f} s of CPU")
    assert cpu(site) - used < 1
    assert site.memory() - before < 8e6
    assert is_well(site)


def test_frames_that_came_at_once_wait_as_bytes(start: Start) -> None:
    """One read may have 10,000 frames: what the consumer has no time for is not made into messages."""
    server = start("wired", ARGUMENTS="1 1")
    with socketed(server, path="/deaf"):
        before = server.memory()
        sockets = [socketed(server, path="/deaf") for _ in range(40)]
        connections = [context.__enter__() for context in sockets]
        for connection in connections:
            connection.sendall(frame(b"") * 10_000)
        with socketed(server, path="/deaf"):
            grown = server.memory() - before
        for connection in connections:
            connection.close()
    print(f"{grown / 1e6:.1f} MB")
    assert grown < 20e6


def test_frames_that_came_at_once_are_all_heard_in_order(server: Server) -> None:
    """However many: each is answered."""
    # More than one read takes: 256 KiB.
    count = 10_000
    commands = b"".join(frame(b'{"type":"ping","ref":"%08d"}' % number) for number in range(count))
    with socketed(server) as connection:
        connection.sendall(commands)
        answers = b""
        while answers.count(b'"ref"') < count:
            data = connection.recv(65_536)
            assert data, "the connection ended"
            answers += data
    assert re.findall(rb'"ref":"(\d+)"', answers) == [b"%08d" % number for number in range(count)]


# --- The log ---


@pytest.mark.parametrize("kind", ["daphne", "runserver"])
def test_the_log_can_be_believed(start: Start, kind: str) -> None:
    """Nobody can write lines of their own into it, or steer the terminal that shows it; and it keeps secrets."""
    server = start(kind, PORT=str(free_port()))
    before = server.said()
    for path in ("/", "/room/", "/static/"):
        ask(server, head(server, "Connection: close", path=path + "a" * 15_000))
    nasty = "/a%0D%0A2026-01-01 00:00:00,000 CRITICAL root: forged%1B[31m?token=SECRET".replace(" ", "%20")
    for request in (
        head(server, "Connection: close", path=nasty),
        head(server, "Connection: close", path="/healthz?token=SECRET"),
        head(server, *UPGRADE, KEY, path=nasty),
        head(
            server,
            *UPGRADE,
            KEY,
            "Cookie: sessionid=SECRET",
            "Origin: http://evil.example",
            path="/ws?token=SECRET",
        ),
        head(server, "Connection: close", "Host: \x1b[31mSECRET", path="/"),
    ):
        with connected(server) as connection:
            connection.sendall(request)
            assert connection.recv(65_536)
    said = server.said().removeprefix(before)
    assert "SECRET" not in said
    assert max(map(len, said.split("\n"))) < 1_500
    assert all(line.isprintable() for line in said.split("\n")), said
    assert "\n2026-01-01 00:00:00,000" not in said
