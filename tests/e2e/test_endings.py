"""A server that ends: what becomes of those who are in the middle of something."""

import asyncio
import random
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from roaming import roaming
from servers import PATIENCE, Server, Start, get, listens
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri

from chat.protocol import CloseCode, Reconnect, decode_outgoing

pytestmark = pytest.mark.e2e

AT_ONCE = 200
"""Milliseconds within which those come back for whom there is somebody; as the server has it."""


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        yield connection


def drain(server: Server) -> None:
    """Have it end, and wait until it has begun to."""
    server.process.send_signal(signal.SIGTERM)
    while listens(server.address):
        assert server.process.poll() is None


def rest(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def is_taken(server: Server) -> None:
    """Earlier connections are accepted and read first: clients are served in their order."""
    for _ in range(3):
        assert get(server, "/healthz").status == 200


def ended_well(server: Server) -> bool:
    return server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("arguments", ["", "--drain 20"], ids=["at once", "one by one"])
def test_a_request_that_has_begun_is_answered(start: Start, arguments: str) -> None:
    """Though its body comes only now; and the connection is not for another."""
    server = start("daphne", ARGUMENTS=arguments)
    with connected(server) as connection:
        head = f"POST /healthz HTTP/1.1\r\nHost: {server.address}\r\nContent-Length: 4\r\n\r\n"
        connection.sendall(head.encode() + b"ab")
        is_taken(server)
        drain(server)
        connection.sendall(b"cd")
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 ")
        assert b"\r\nconnection: close\r\n" in answer.lower()
    assert ended_well(server)


def test_a_connection_that_has_just_come_is_served(start: Start) -> None:
    """It was taken, and its first word is on its way."""
    server = start("daphne", ARGUMENTS="--drain 20")
    with connected(server) as connection:
        is_taken(server)
        drain(server)
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {server.address}\r\n\r\n".encode())
        assert rest(connection).startswith(b"HTTP/1.1 200 ")
    assert ended_well(server)


def test_one_that_says_nothing_holds_up_nothing(start: Start) -> None:
    """A browser's spare connection, a kept one between two requests, and a request that never ends."""
    server = start("daphne", ARGUMENTS="--drain 20")
    request = f"GET /healthz HTTP/1.1\r\nHost: {server.address}\r\n".encode()
    with connected(server) as spare, connected(server) as kept, connected(server) as endless:
        kept.sendall(request + b"\r\n")
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200 ")
        endless.sendall(request)
        is_taken(server)
        drain(server)
        for connection in (spare, kept, endless):
            assert rest(connection) == b""
    assert ended_well(server)


def test_a_handshake_that_has_begun_is_finished(start: Start) -> None:
    """And then sent where the others are: a client that is cut off would not know whether to come back."""
    server = start("daphne", ARGUMENTS="--drain 20")
    protocol = ClientProtocol(parse_uri(server.ws))
    protocol.send_request(protocol.connect())
    request = b"".join(protocol.data_to_send())
    with connected(server) as connection:
        connection.sendall(request[:40])
        is_taken(server)
        drain(server)
        connection.sendall(request[40:])
        texts = []
        # A connection whose close was answered ends with a reset.
        with suppress(ConnectionResetError):
            while data := connection.recv(65_536):
                protocol.receive_data(data)
                frames = [event for event in protocol.events_received() if isinstance(event, Frame)]
                texts += [bytes(frame.data) for frame in frames if frame.opcode is Opcode.TEXT]
                for answer in protocol.data_to_send():
                    connection.sendall(answer)
    assert [type(decode_outgoing(text)) for text in texts] == [Reconnect]
    assert protocol.close_rcvd == Close(CloseCode.RESTART, CloseCode.RESTART.meaning)
    assert ended_well(server)


async def test_where_others_take_them_all_come_back_at_once(start: Start) -> None:
    """The one process does not know whether anybody is there; it was told so."""
    server = start("daphne", ARGUMENTS="--drain 20")
    async with roaming(server.address, 100) as roamers:
        await asyncio.to_thread(drain, server)
        assert await asyncio.to_thread(ended_well, server)
        for roamer in roamers:
            assert roamer.ends[0] == CloseCode.RESTART
            assert roamer.asked[0] <= AT_ONCE


def test_a_signal_to_reload_ends_it_as_well_as_any(start: Start) -> None:
    """A process without a master can't be replaced; but it says farewell. Unless it is to outlive its terminal."""
    # Under `nohup` the tests, and their child processes, get no SIGHUP.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        server = start("daphne")
    finally:
        signal.signal(signal.SIGHUP, before)
    server.process.send_signal(signal.SIGHUP)
    assert ended_well(server)


async def test_systemd_hears_of_one_process_too(start: Start, tmp_path: Path) -> None:
    """It needs no workers for that."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0chat-test-{random.getrandbits(64):x}")
        ear.settimeout(PATIENCE)
        name = ear.getsockname().decode().replace("\0", "@")
        server = start("daphne", NOTIFY_SOCKET=name, WATCHDOG_USEC="200000")
        assert [ear.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        server.process.send_signal(signal.SIGTERM)
        assert b"STOPPING=1" in iter(lambda: ear.recv(100), b"")
        assert await asyncio.to_thread(ended_well, server)
