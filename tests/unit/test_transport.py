"""The transports: frames of a socket keep their order, are bounded, and never hold up another socket."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from channels.testing import WebsocketCommunicator
from doubles import Ear, returns_at_once, until
from helpers import Enter
from pytest_django import Settings

from chat import transport as transport_module
from chat.hub import room as room_module
from chat.protocol import CloseCode
from chat.transport import TURNS, WIRE, AsgiTransport, Batch, PendingSends, WireTransport, transport_for
from chatsite.asgi import application


@pytest.fixture
def ear(settings: Settings) -> Ear:
    settings.CHAT = {"OUTBOX": 1_024}
    return Ear()


@pytest.fixture
def transport(ear: Ear) -> AsgiTransport:
    return AsgiTransport(ear.send)


def others() -> set[asyncio.Task[object]]:
    """The tasks there are, beside the test's own."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_frames_leave_in_order(ear: Ear, transport: AsgiTransport) -> None:
    """Nothing overtakes: what is written first is sent first, also what is written while a send is under way."""
    ear.open.clear()
    for number in range(10):
        transport.send(str(number))
    await until(lambda: ear.sends)
    for number in range(10, 20):
        transport.send(str(number))
    ear.open.set()
    await transport.flushed()
    assert ear.frames == [str(number) for number in range(20)]


async def test_writing_returns_at_once(ear: Ear, transport: AsgiTransport) -> None:
    """Nothing is sent before the caller has its turn back, and nothing waits for a peer that does not read."""
    ear.open.clear()
    transport.send("a")
    assert ear.sends == 0
    await until(lambda: ear.sends)
    transport.send("b")
    assert (ear.sends, transport.waiting) == (1, 2)
    ear.open.set()
    await transport.flushed()
    assert (ear.sends, transport.waiting) == (2, 0)


async def test_an_idle_lane_has_no_task(ear: Ear, transport: AsgiTransport) -> None:
    """The writer lives only while something waits; the next frame has another."""
    before = others()
    for frame in ("a", "b"):
        transport.send(frame)
        assert len(others() - before) == 1
        await transport.flushed()
        await until(lambda: others() == before)
    assert ear.frames == ["a", "b"]


async def test_many_frames_have_one_writer(transport: AsgiTransport) -> None:
    """However much waits, one task sends it."""
    before = others()
    for _ in range(100):
        transport.send("x")
    assert len(others() - before) == 1
    await transport.flushed()


async def test_what_just_fits_may_wait(ear: Ear, transport: AsgiTransport) -> None:
    """The bound is what may wait: 1,024 bytes do, in one frame or in many."""
    ear.open.clear()
    for _ in range(4):
        transport.send("x" * 256)
    assert transport.closed_with is None
    ear.open.set()
    await transport.flushed()
    assert len(ear.frames) == 4


async def test_one_byte_more_makes_it_full(ear: Ear, transport: AsgiTransport) -> None:
    """Above the bound the transport reports once that it is full, and once that it has drained; nothing is
    lost.
    """
    said: list[str] = []
    transport.on_full = lambda: said.append("full")
    transport.on_drained = lambda: said.append("drained")
    ear.open.clear()
    transport.send("x" * 1_024)
    assert (transport.full, said) == (False, [])
    transport.send("y")
    transport.send("z")
    assert (transport.full, said) == (True, ["full"])
    ear.open.set()
    await transport.flushed()
    assert (transport.full, said) == (False, ["full", "drained"])
    assert ear.frames == ["x" * 1_024, "y", "z"]


async def test_answers_that_pile_up_close_the_socket(ear: Ear, transport: AsgiTransport) -> None:
    """Four times the bound, what waits is let go, and the socket is closed with 4008 instead."""
    ear.open.clear()
    transport.send("under way")
    await until(lambda: ear.sends)
    for _ in range(8):
        transport.send("x" * 510)
    assert transport.closed_with is None
    transport.send("x" * 10)
    assert transport.closed_with is CloseCode.TOO_SLOW
    assert transport.waiting == 0
    ear.open.set()
    await transport.flushed()
    assert (ear.frames, ear.code) == (["under way"], CloseCode.TOO_SLOW)


async def test_who_waits_for_a_full_lane_waits_until_it_has_drained(ear: Ear, transport: AsgiTransport) -> None:
    """``drained`` returns at once while there is room, and otherwise when there is none waiting, or no peer."""
    await transport.drained()
    for end in (ear.open.set, transport.detach):
        ear.open.clear()
        transport.send("x" * 2_000)
        waiting = asyncio.create_task(transport.drained())
        await until(lambda: ear.sends)
        assert not waiting.done()
        end()
        await waiting


async def test_the_bound_counts_bytes(ear: Ear, transport: AsgiTransport) -> None:
    """A frame in another script has more bytes than characters, and its bytes count."""
    ear.open.clear()
    transport.send("\N{PILE OF POO}" * 256)
    assert (transport.waiting, transport.full) == (1_024, False)
    transport.send("\N{PILE OF POO}")
    assert transport.full
    ear.open.set()
    await transport.flushed()


async def test_what_was_sent_no_longer_counts(ear: Ear, transport: AsgiTransport) -> None:
    """A peer that reads may get any amount, one bound after another."""
    for _ in range(20):
        transport.send("\u20ac" * 300)
        await transport.flushed()
        assert transport.waiting == 0
    assert len(ear.frames) == 20
    assert transport.closed_with is None


async def test_close_comes_after_what_waits(ear: Ear, transport: AsgiTransport) -> None:
    """Frames written before the close are sent before it; later ones are not sent."""
    transport.send("last words")
    transport.close(CloseCode.FORBIDDEN)
    transport.send("too late")
    await transport.flushed()
    assert ear.frames == ["last words"]
    assert ear.closed == {"type": "websocket.close", "code": 4403, "reason": CloseCode.FORBIDDEN.meaning}


async def test_only_the_first_close_counts(ear: Ear, transport: AsgiTransport) -> None:
    """A second close, with whatever code, does nothing."""
    transport.close(CloseCode.BAD_INPUT, "enough")
    transport.close(CloseCode.NORMAL)
    await transport.flushed()
    transport.close(CloseCode.NORMAL)
    await transport.flushed()
    assert (ear.code, ear.sends) == (CloseCode.BAD_INPUT, 1)
    assert transport.closed_with is CloseCode.BAD_INPUT
    assert ear.closed
    assert ear.closed["reason"] == "enough"


async def test_an_abandoned_lane_sends_nothing(ear: Ear, transport: AsgiTransport) -> None:
    """Once the peer is gone what waits is let go, and no task stays for a send that will never end."""
    before = others()
    ear.open.clear()
    transport.send("a")
    transport.send("b")
    await until(lambda: ear.sends)
    transport.detach()
    transport.send("c")
    transport.close(CloseCode.NORMAL)
    await until(lambda: others() == before)
    assert (ear.frames, ear.closed, transport.waiting) == ([], None, 0)


async def test_a_lane_may_be_abandoned_before_it_began(ear: Ear, transport: AsgiTransport) -> None:
    """Abandoning twice, unused, or before the writer's first turn leaves no task either."""
    before = others()
    transport.send("a")
    transport.detach()
    transport.detach()
    await until(lambda: others() == before)
    AsgiTransport(ear.send).detach()
    assert ear.sends == 0


async def test_abandoning_keeps_the_first_code(transport: AsgiTransport) -> None:
    """Why the socket was closed stays known after its peer is gone."""
    transport.close(CloseCode.TOO_SLOW)
    transport.detach()
    assert transport.closed_with is CloseCode.TOO_SLOW


@pytest.mark.parametrize("error", [OSError("gone"), ConnectionResetError(), RuntimeError("after close")])
async def test_a_send_that_fails_is_the_last(ear: Ear, transport: AsgiTransport, error: Exception) -> None:
    """When a server says that the peer is gone, nothing more is tried and nothing is raised."""
    ear.error = error
    transport.send("a")
    transport.send("b")
    await transport.flushed()
    transport.send("c")
    transport.close(CloseCode.NORMAL)
    await transport.flushed()
    assert (ear.sends, transport.waiting) == (1, 0)
    assert transport.closed_with is not None


async def test_flushing_an_idle_lane_returns(transport: AsgiTransport) -> None:
    """Where nothing waits there is nothing to wait for."""
    assert returns_at_once(transport.flushed())


async def test_flushing_does_not_wait_for_ever(
    ear: Ear, transport: AsgiTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that does not read holds up a farewell only for so long, and the frames still wait for it."""
    monkeypatch.setattr(transport_module, "FLUSH_TIMEOUT", 0.01)
    ear.open.clear()
    transport.send("a")
    transport.close(CloseCode.INTERNAL)
    await transport.flushed()
    assert ear.frames == []
    ear.open.set()
    await transport.flushed()
    assert (ear.frames, ear.code) == (["a"], CloseCode.INTERNAL)


async def test_one_that_does_not_read_delays_nobody(ear: Ear, transport: AsgiTransport) -> None:
    """Each transport has its own queue and writer."""
    ear.open.clear()
    transport.send("stuck")
    reader = Ear()
    other = AsgiTransport(reader.send)
    other.send("a")
    await other.flushed()
    assert reader.frames == ["a"]
    transport.detach()


# --- WireTransport, over a server's wire ---


class FakeWire:
    """A connection that takes what it is given, or holds it while ``stuck``."""

    high = 65_536

    def __init__(self) -> None:
        self.writes = 0
        self.chunks: list[bytes] = []
        self.out = b""
        self.held = b""
        self.stuck = False
        self.closed: tuple[int, str] | None = None
        self.drained: Callable[[], None] = lambda: None

    @property
    def waiting(self) -> int:
        return len(self.held)

    @property
    def unread(self) -> int:
        return len(self.held)

    def write(self, data: bytes) -> bool:
        self.writes += 1
        self.chunks.append(data)
        if self.stuck:
            self.held += data
        else:
            self.out += data
        return not self.stuck

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def drain(self) -> None:
        self.stuck, self.out, self.held = False, self.out + self.held, b""
        self.drained()


async def test_a_batch_is_one_write_of_whole_frames() -> None:
    """The frames of a batch leave together, each as RFC 6455 has it, and are made once for all transports."""
    wires = [FakeWire(), FakeWire()]
    batch = Batch(["a", "\u00e4" * 100, "x" * 70_000])
    for wire in wires:
        WireTransport(wire, PendingSends()).write(batch)
    texts = [text.encode() for text in batch.texts]
    heads = [b"\x81\x01", b"\x81\x7e\x00\xc8", b"\x81\x7f" + (70_000).to_bytes(8, "big")]
    assert wires[0].out == b"".join(head + text for head, text in zip(heads, texts, strict=True))
    assert batch.wire is batch.wire
    assert wires[1].out == wires[0].out


async def test_a_fast_lane_is_full_and_drains(settings: Settings) -> None:
    """It tells the hub as the portable one does; its bound is never under what the wire tells of."""
    settings.CHAT = {"OUTBOX": 1_024}
    wire = FakeWire()
    transport = WireTransport(wire, PendingSends())
    said: list[str] = []
    transport.on_full = lambda: said.append("full")
    transport.on_drained = lambda: said.append("drained")
    wire.stuck = True
    transport.send("x" * 65_000)
    assert (transport.full, transport.waiting) == (False, 65_004)
    transport.send("x" * 1_000)
    assert (transport.full, said) == (True, ["full"])
    wire.drain()
    assert (transport.full, said) == (False, ["full", "drained"])


async def test_a_closed_fast_lane_writes_nothing() -> None:
    """After a close, and after the peer is gone, nothing more is given to the wire."""
    wire = FakeWire()
    transport = WireTransport(wire, PendingSends())
    transport.send("a")
    transport.close(CloseCode.FORBIDDEN)
    transport.send("b")
    transport.close(CloseCode.NORMAL)
    assert wire.out == b"\x81\x01a"
    assert wire.closed == (4403, CloseCode.FORBIDDEN.meaning)
    gone = FakeWire()
    transport = WireTransport(gone, PendingSends())
    transport.detach()
    transport.send("b")
    transport.close(CloseCode.NORMAL)
    assert (gone.out, gone.closed) == (b"", None)


async def test_an_announcement_leaves_with_what_follows() -> None:
    """An ack and the message that comes within the next turns of the loop are one write, in this order."""
    wire = FakeWire()
    transport = WireTransport(wire, PendingSends())
    transport.send_soon("ack")
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert wire.writes == 0
    transport.write(Batch(["message"]))
    assert (wire.writes, wire.out) == (1, b"\x81\x03ack\x81\x07message")
    for _ in range(5):
        await asyncio.sleep(0)
    assert wire.writes == 1


async def test_a_crowd_s_announcements_wait_together() -> None:
    """Those of some, where nothing follows, leave while the message of another does."""
    wires = [FakeWire() for _ in range(3)]
    pending = PendingSends()
    transports = [WireTransport(wire, pending) for wire in wires]
    for transport in transports:
        transport.send_soon("ack")
    transports[1].write(Batch(["message"]))
    await until(lambda: wires[0].writes)
    assert [wire.out for wire in wires] == [b"\x81\x03ack", b"\x81\x03ack\x81\x07message", b"\x81\x03ack"]
    assert [wire.writes for wire in wires] == [1, 1, 1]


async def test_an_ack_and_its_message_are_one_write(
    person: Enter, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Through consumer, log, layer and hub: one iteration of the loop more would split them."""
    # Redis takes longer than an ack waits for its message.
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "chat.layers.ProcessChannelLayer"}}
    # Or a message would wait for the next tick, and its ack would not.
    monkeypatch.setattr(room_module, "TICK", 0)
    wire = FakeWire()
    communicator = WebsocketCommunicator(application, "/ws", [(b"host", b"localhost")])
    communicator.scope["extensions"] = {WIRE: wire}
    assert await communicator.connect() == (True, None)
    await communicator.send_to(text_data='{"type":"join","room":"lobby","username":"Alice"}')
    await until(lambda: b'"userList"' in wire.out)

    def sent(messages: int) -> bool:
        return wire.out.count(b'"type":"message"') == messages

    for number in range(3):
        await communicator.send_to(
            text_data=f'{{"type":"message","room":"lobby","content":"{number}","ref":"r{number}"}}'
        )
        await until(partial(sent, number + 1))
    with_acks = [chunk for chunk in wire.chunks if b'"ack"' in chunk]
    assert [b'"type":"message"' in chunk for chunk in with_acks] == [True] * 3
    await communicator.disconnect()


async def test_an_announcement_does_not_wait_for_long() -> None:
    """Where nothing follows, it leaves by itself; a close sends it first; nothing is sent for who is gone."""
    wire = FakeWire()
    transport = WireTransport(wire, PendingSends())
    transport.send_soon("a")
    transport.send_soon("b")
    await until(lambda: wire.writes)
    assert (wire.writes, wire.out) == (1, b"\x81\x01a\x81\x01b")
    transport.send_soon("c")
    transport.close(CloseCode.RESTART)
    assert wire.out.endswith(b"\x81\x01c")
    gone = FakeWire()
    transport = WireTransport(gone, PendingSends())
    transport.send_soon("a")
    transport.detach()
    for _ in range(5):
        await asyncio.sleep(0)
    assert gone.writes == 0


async def test_the_server_s_wire_is_taken_where_it_is_offered(ear: Ear) -> None:
    """Any other server gets an AsgiTransport."""
    assert isinstance(transport_for({"extensions": {WIRE: FakeWire()}}, ear.send, PendingSends()), WireTransport)
    assert isinstance(
        transport_for({"extensions": {"websocket.http.response": {}}}, ear.send, PendingSends()), AsgiTransport
    )
    assert isinstance(transport_for({}, ear.send, PendingSends()), AsgiTransport)
