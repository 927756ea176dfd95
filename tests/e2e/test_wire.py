"""Ready frames go straight to the socket, between Twisted's and Autobahn's own: no frame may ever be cut into."""

import random
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from helpers import SocketPersona, over_socket
from servers import PATIENCE, Server, Start
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from chat.protocol import Ack, Left, Message, UserList, decode_outgoing

pytestmark = pytest.mark.e2e

FRAMES = 400


class Peer:
    """A client that reads as slowly as told, and checks every byte with an implementation that isn't ours."""

    def __init__(self, connection: socket.socket, address: str, path: str) -> None:
        self.connection = connection
        self.protocol = ClientProtocol(parse_uri(f"ws://{address}{path}"), max_size=None)
        self.protocol.send_request(self.protocol.connect())
        self.flush()
        self.frames: list[Frame] = []
        while self.protocol.state is State.CONNECTING:
            assert self.read(4_096)
        assert self.protocol.state is State.OPEN

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.connection.sendall(data)

    def read(self, size: int) -> bool:
        """Read up to so many bytes. False at the end."""
        try:
            data = self.connection.recv(size)
        except ConnectionResetError:
            # Our last ping met a server that was done: it may close so only after its close frame has come.
            assert self.frames[-1].opcode is Opcode.CLOSE
            data = b""
        if not data:
            self.protocol.receive_eof()
            return False
        self.protocol.receive_data(data)
        # A broken frame is kept here by the library, and would end the connection.
        assert self.protocol.parser_exc is None, self.protocol.parser_exc
        self.frames += [event for event in self.protocol.events_received() if isinstance(event, Frame)]
        self.flush()
        return True

    def ping(self, data: bytes) -> None:
        self.protocol.send_ping(data)
        self.flush()


@contextmanager
def peer(address: str, path: str, *, tls: bool = False) -> Iterator[Peer]:
    host, port = address.split(":")
    plain = socket.socket()
    # The smaller the window, the more often the server's socket takes only a part of a frame.
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    plain.settimeout(PATIENCE)
    plain.connect((host, int(port)))
    connection = unverified().wrap_socket(plain) if tls else plain
    with connection:
        yield Peer(connection, address, path)


def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def certificate(folder: Path) -> tuple[str, str]:
    """A key and a certificate that it signed itself, for this test only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    # Long ago to far away: no clock matters to it.
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "key.pem", folder / "certificate.pem"
    pem = serialization.Encoding.PEM
    paths[0].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    paths[1].write_bytes(signed.public_bytes(pem))
    return str(paths[0]), str(paths[1])


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_no_frame_is_cut_into(start: Start, tmp_path: Path, tls: bool) -> None:
    """Frames of every size, a reader that stops and starts, pongs among them, a close: each whole and in order."""
    seed = random.randrange(2**32)
    print("seed", seed)
    more = certificate(tmp_path) if tls else ()
    server = start("wired", ARGUMENTS=" ".join([str(seed), str(FRAMES), *more]))
    chance = random.Random(seed)
    with peer(server.address, "/frames", tls=tls) as reader:
        reader.ping(b"0")
        reader.protocol.send_text(b"go")
        reader.flush()
        pings = 1
        while reader.read(chance.choice((1, 100, 4_096, 100_000, 1_000_000))):
            if chance.random() < 0.1 and reader.protocol.state is State.OPEN:
                reader.ping(str(pings).encode())
                pings += 1
        assert reader.frames[0] == Frame(Opcode.TEXT, b"")
        texts = [bytes(frame.data) for frame in reader.frames if frame.opcode is Opcode.TEXT and frame.data]
        assert [int(text.split(b" ")[0]) for text in texts] == list(range(FRAMES))
        assert all(set(text.split(b" ", 1)[1]) <= set(b"x ") for text in texts)
        pongs = [int(frame.data) for frame in reader.frames if frame.opcode is Opcode.PONG]
        # A slow reader does not get every pong, but those that arrive are in order.
        assert pongs == sorted(set(pongs))
        assert pongs[0] == 0
        close = reader.frames[-1]
        assert (close.opcode, close.data) == (Opcode.CLOSE, (4_000).to_bytes(2, "big") + b"the end")


def test_a_client_that_sends_ahead_is_held_back(start: Start) -> None:
    """Frames that a consumer does not take stay out of memory: TCP slows the sender down."""
    server = start("wired", ARGUMENTS="1 1")
    with peer(server.address, "/deaf") as sender:
        before = server.memory()
        sender.connection.settimeout(2)
        sent = 0
        with suppress(TimeoutError):
            while sent < 50e6:
                sender.protocol.send_text(b"x" * 60_000)
                sender.flush()
                sent += 60_000
        print(f"{sent / 1e6:.1f} MB went out before TCP held it back")
        assert server.memory() - before < 8e6
        assert sent < 50e6


MESSAGES, BREATH = 2_500, 50


async def test_one_that_does_not_read_costs_little_and_misses_nothing(start: Start) -> None:
    """10 MB pass it by: the others receive them, little is kept for it; when it reads, it gets them in order."""
    server = start("daphne", CHAT_STUCK="600")
    async with over_socket(server.ws, "Alice") as alice, over_socket(server.ws, "Bob") as bob:
        for room in ("first", "before", "with"):
            await alice.join(room)
            await bob.join(room)
        # As much is said in rooms without it: that is what the log takes, once what was free before is used up.
        await growth(server, alice, "first")
        await bob.expect(Message, room="first", id=MESSAGES)
        without = await growth(server, alice, "before")
        await bob.expect(Message, room="before", id=MESSAGES)
        with peer(server.address, "/ws") as stuck:
            stuck.protocol.send_text(b'{"type":"join","username":"Stuck","room":"with"}')
            stuck.flush()
            await alice.expect(UserList, room="with", count=3)
            grown = await growth(server, alice, "with")
            print(f"{without / 1e6:.1f} MB without it, {grown / 1e6:.1f} MB with it")
            assert grown - without < 3e6
            await bob.expect(Message, room="with", id=MESSAGES)
            heard: list[int] = []
            while not heard or heard[-1] < MESSAGES:
                assert stuck.read(1_000_000)
                heard += [number for frame in stuck.frames if (number := number_of(frame.data))]
                stuck.frames.clear()
            assert heard == list(range(1, MESSAGES + 1))


async def growth(server: Server, alice: SocketPersona, room: str) -> int:
    """Let Alice say many long things; by how much the server grew."""
    before = server.memory()
    for _ in range(MESSAGES // BREATH):
        for _ in range(BREATH):
            await alice.send("message", room=room, content="x" * 4_000)
        for _ in range(BREATH):
            await alice.expect(Ack, room=room)
    return server.memory() - before


def number_of(data: bytes | bytearray | memoryview) -> int:
    """A message's number; 0 for another frame."""
    text = bytes(data)
    said = decode_outgoing(text) if text.startswith(b'{"type":"message"') else None
    return said.seq if isinstance(said, Message) else 0


async def test_who_closes_and_reads_no_more_is_gone(start: Start) -> None:
    """A close that can't be flushed to its peer does not leave a ghost in the room."""
    server = start("daphne", CHAT_STUCK="600")
    async with over_socket(server.ws, "Alice") as alice:
        await alice.join()
        with peer(server.address, "/ws") as stuck:
            stuck.protocol.send_text(b'{"type":"join","username":"Stuck"}')
            stuck.flush()
            await alice.expect(UserList, count=2)
            await growth(server, alice, "lobby")
            stuck.protocol.send_close(1_000)
            stuck.flush()
            await alice.expect(Left, username="Stuck")


def test_pings_do_not_fill_the_memory(start: Start) -> None:
    """A client that pings without end and reads nothing gets no more pongs than fit the connection."""
    server = start("wired", ARGUMENTS="1 1")
    with peer(server.address, "/deaf") as pinger:
        before = server.memory()
        pinger.protocol.send_ping(b"x" * 125)
        ping = b"".join(pinger.protocol.data_to_send()) * 100
        for _ in range(800):
            pinger.connection.sendall(ping)
        assert server.memory() - before < 4e6
