"""Upgrades, refusals, restarts, static files: things that only a real server shows; on Daphne and uvicorn."""

import asyncio
import re
import signal
import subprocess
from contextlib import AsyncExitStack

import pytest
from helpers import SocketPersona, over_socket
from servers import ROOT, Server, Start, free_port, get, needs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from chat.protocol import CloseCode, ErrorCode, Joined, Left, Message, Pong, Reconnect, UserList

pytestmark = [pytest.mark.e2e, pytest.mark.on_services]


async def refused_with(server: Server, path: str = "/ws", **headers: str) -> int:
    """The HTTP status that the handshake was answered with."""
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(f"ws://{server.address}{path}", additional_headers=headers):
            pass
    return refusal.value.response.status_code


async def test_two_people_talk(server: Server) -> None:
    """Each user gets the other's messages in order, and a message's ack comes before the message."""
    async with over_socket(server.ws, "Alice") as alice, over_socket(server.ws, "Bob") as bob:
        await alice.join("talk")
        await bob.join("talk")
        for number in range(50):
            await alice.say(f"message {number}", "talk", ref=f"r{number}")
        heard = [await bob.expect(Message) for _ in range(50)]
        assert [m.content for m in heard] == [f"message {n}" for n in range(50)]
        assert [m.seq for m in heard] == list(range(heard[0].seq, heard[0].seq + 50))


async def test_who_was_cut_off_gets_what_was_missed(server: Server) -> None:
    """A client that reconnects with a position gets each missed message once, and was not announced as gone."""
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(over_socket(server.ws, "Alice"))
        bob = await stack.enter_async_context(over_socket(server.ws, "Bob"))
        await alice.join("cut")
        first = await bob.join("cut")
        await alice.say("one", "cut")
        await bob.expect(Message, content="one")
        await bob.vanish()
        await alice.say("two", "cut")
        await alice.say("three", "cut")

        again = await stack.enter_async_context(over_socket(server.ws, "Bob"))
        welcome = await again.join("cut", since=first.seq + 1, epoch=first.epoch)
        await again.expect(Message, content="three")
        assert welcome.resumed
        assert [o.content for o in again.heard if isinstance(o, Message)] == ["two", "three"]
        await alice.expect(Message, content="three")
        assert alice.count(Left) == 0


async def test_a_resend_is_the_same_message(server: Server) -> None:
    """The same ref, sent again after a reconnect within the same browser session or socket, is said once."""
    async with over_socket(server.ws, "Alice") as alice, over_socket(server.ws, "Bob") as bob:
        await alice.join("again")
        await bob.join("again")
        acks = [await alice.say("once", "again", ref="same") for _ in range(10)]
        assert len({ack.id for ack in acks}) == 1
        await alice.say("after", "again")
        await bob.expect(Message, content="after")
        assert bob.count(Message, content="once") == 1


async def test_a_cut_socket_leaves(server: Server) -> None:
    """A connection that is cut without a close is announced as a leave, after the grace."""
    async with over_socket(server.ws, "Alice") as alice, over_socket(server.ws, "Bob") as bob:
        await alice.join("leaving")
        await bob.join("leaving")
        await alice.expect(Joined, username="Bob")
        await bob.vanish()
        await alice.expect(Left, username="Bob")
        assert (await alice.expect(UserList, count=1)).users == ["Alice"]


async def test_ten_invalid_frames_close_the_socket(server: Server) -> None:
    """Each is answered with an error that names what is wrong; the tenth in a row closes with 4400."""
    async with over_socket(server.ws, "Mallory") as mallory:
        for _ in range(10):
            await mallory.write("{")
        assert await mallory.closed() == CloseCode.BAD_INPUT
        assert all(getattr(o, "code", None) == ErrorCode.BAD_JSON for o in mallory.heard)
        assert len(mallory.heard) == 10


@pytest.mark.parametrize("path", ["/", "/ws/", "/wss", "/ws/lobby", "/_next/webpack-hmr", "/healthz"])
async def test_another_socket_path_is_refused(server: Server, path: str) -> None:
    """Only /ws is a socket; another path gets 403 and one line in the log, without a traceback."""
    before = server.said().count("refused a WebSocket")
    assert await refused_with(server, path) == 403
    # uvicorn and Daphne write their logs as they answer.
    assert server.said().count("refused a WebSocket") == before + 1


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://"])
async def test_a_foreign_page_is_refused(server: Server, origin: str) -> None:
    """A page of another origin gets 403 before anything is opened."""
    assert await refused_with(server, Origin=origin) == 403


async def test_our_own_page_is_let_in(server: Server) -> None:
    """The Origin that our pages have is accepted, and its socket is answered."""
    async with over_socket(server.ws, "Alice", origin=server.http) as alice:
        await alice.send("ping", ref="our own")
        await alice.expect(Pong, ref="our own")


def test_other_upgrades_are_left_alone(server: Server) -> None:
    """An upgrade that is not to WebSocket is an ordinary request."""
    response = get(server, "/healthz", Connection="Upgrade", Upgrade="h2c")
    assert response.status == 200


def test_static_files_are_hashed_and_kept_for_ever(server: Server) -> None:
    """A page names its files by their content's hash, modules import hashed modules, browsers keep them."""
    page = get(server, "/").body.decode()  # type: ignore[attr-defined]
    css = re.search(r'href="(/static/chat/chat\.[0-9a-f]{12}\.css)"', page)
    assert css, page
    response = get(server, css[1])
    assert response.status == 200
    assert "immutable" in response.headers["Cache-Control"]
    assert int(re.findall(r"max-age=(\d+)", response.headers["Cache-Control"])[0]) >= 365 * 86_400 // 2


async def test_sigterm_tells_every_client(start: Start) -> None:
    """A restart tells each client its own moment to come back, closes it with 1012, and exits 0."""
    server = start("daphne")
    async with AsyncExitStack() as stack:
        people = [await stack.enter_async_context(over_socket(server.ws, f"P{n}")) for n in range(50)]
        for person in people:
            await person.join()
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        codes = await asyncio.gather(*(person.closed() for person in people))
        assert set(codes) == {CloseCode.RESTART}
        moments = [event.after for person in people for event in person.heard if isinstance(event, Reconnect)]
        assert len(moments) == 50
        assert len(set(moments)) > 10
        assert max(moments) <= 1_000 * 50 / RETURNS
        assert {person.farewell for person in people} == {CloseCode.RESTART.meaning}
        assert await stopping == 0


async def test_a_frame_that_breaks_the_protocol_closes_with_its_code(start: Start) -> None:
    """Text that is not UTF-8 closes with 1007, a frame over 64 KiB with 1009 (RFC 6455, section 7.4.1).

    Only the one socket: the others go on.
    """
    server = start("daphne")
    async with over_socket(server.ws, "Alice") as alice:
        await alice.join()
        for frame, code in ((b"\xff\xfe", 1007), (b'{"type":"ping","x":"' + b"x" * 70_000 + b'"}', 1009)):
            async with over_socket(server.ws, "Mallory") as mallory:
                await mallory.connection.send(frame, text=True)
                assert await mallory.closed() == code
        await alice.silence()


RETURNS = 500
"""As the server has it; importing that here would install a Twisted reactor."""


async def test_fragments_are_put_together(server: Server) -> None:
    """A text in pieces, with a control frame between them, is one command (RFC 6455, section 5.4)."""
    async with over_socket(server.ws, "Alice") as alice:
        pieces = ['{"type":', '"ping","ref":"in ', 'pieces \u00e4"}']
        await alice.connection.send(pieces)
        await alice.expect(Pong, ref="in pieces \u00e4")
        await alice.connection.ping()
        await alice.silence()


async def test_an_empty_message_is_answered(server: Server) -> None:
    """It is a frame like any other: read, and refused for what it is."""
    async with over_socket(server.ws, "Alice") as alice:
        await alice.write("")
        await alice.refused(ErrorCode.BAD_JSON)


async def test_half_open_sockets_are_found(start: Start) -> None:
    """A peer that stops answering pings is dropped and leaves the room, though its TCP connection stands."""
    needs((ROOT / "tests/js/node_modules/ws").is_dir(), "the package ws: npm ci in tests/js")
    server = start("probed", PROBE_PING="1 4")
    async with over_socket(server.ws, "Alice") as alice:
        await alice.join()
        client = await asyncio.create_subprocess_exec(
            "node", "article-client.js", server.ws, "Frozen", cwd=ROOT / "tests/js", stdout=subprocess.DEVNULL
        )
        try:
            await alice.expect(Joined, username="Frozen")
            client.send_signal(signal.SIGSTOP)
            await alice.expect(Left, username="Frozen")
        finally:
            client.kill()
            await client.wait()


async def test_runserver_serves_pages_static_files_and_sockets(start: Start) -> None:
    """Development has no collected files and no hashes, and still everything works."""
    server = start("runserver", PORT=str(free_port()))
    assert get(server, "/static/chat/client.js").status == 200
    assert "/static/chat/chat.css" in get(server, "/").body.decode()  # type: ignore[attr-defined]
    async with over_socket(server.ws, "Alice") as alice:
        await alice.join()
        assert isinstance(alice, SocketPersona)
        await alice.say("hi")


async def test_a_bad_setting_stops_the_start(start: Start) -> None:
    """The server does not start on a setting that is wrong, and says which and what is right."""
    with pytest.raises(AssertionError, match="CHAT_GRACE must be a number of seconds from 0 to 300, not 'soon'"):
        start("daphne", CHAT_GRACE="soon")
