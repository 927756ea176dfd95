"""A real server's metrics, probes and logs while users chat, while its database is away, and while it drains."""

import asyncio
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from databases import manage
from helpers import SocketPersona, over_socket
from programs import postgresql
from scraped import Numbers
from servers import PATIENCE, ROOT, Server, Start, get
from websockets.exceptions import InvalidStatus

from chat.protocol import Message, UserList

pytestmark = pytest.mark.e2e

TOKEN = "a-token-for-the-tests"


def scrape(server: Server) -> Numbers:
    response = get(server, "/metrics", Authorization=f"Bearer {TOKEN}")
    assert response.status == 200
    return Numbers(response.body.decode())  # type: ignore[attr-defined]


async def scraped(server: Server, condition: Callable[[Numbers], bool]) -> Numbers:
    """Its metrics, as soon as they are so: other processes publish their numbers once a second."""
    async with asyncio.timeout(PATIENCE):
        while not condition(told := await asyncio.to_thread(scrape, server)):  # noqa: ASYNC110 nobody tells us
            await asyncio.sleep(0.1)
    return told


def ready(server: Server, query: str = "") -> tuple[int, dict[str, Any]]:
    response = get(server, f"/readyz{query}")
    return response.status, json.loads(response.body)  # type: ignore[attr-defined]


async def becomes(server: Server, status: int, **told: Any) -> None:
    """Wait until /readyz says so."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await asyncio.to_thread(ready, server)
            if answer[0] == status and told.items() <= answer[1].items():
                return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def company(server: Server, room: str, number: int) -> AsyncIterator[list[SocketPersona]]:
    """This many users in a room, who have all received each other's join."""
    async with AsyncExitStack() as stack:
        people = [await stack.enter_async_context(over_socket(server.ws, f"{room}{n}")) for n in range(number)]
        for person in people:
            await person.join(room)
        for person in people:
            await person.expect(UserList, room=room, count=number)
        yield people


async def talk(people: list[SocketPersona], room: str, number: int) -> None:
    """They send this many messages, in turn, and receive all of them."""
    for said in range(number):
        await people[said % len(people)].send("message", room=room, content=f"{said}")
    for person in people:
        for _ in range(number):
            await person.expect(Message, room=room)


# --- The numbers ---


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_the_numbers_add_up(start: Start, kind: str) -> None:
    """30 messages to 5 sockets are 150 deliveries, each timed and each in a write; nothing is left over."""
    server = start(kind, CHAT_METRICS_TOKEN=TOKEN, CHAT_USER_LIST_INTERVAL="0")
    assert get(server, "/metrics").status == 401
    async with company(server, "tea", 5) as people:
        before = scrape(server)
        assert before.of("chat_sockets") == before.of("chat_people") == before.of("chat_connects_total") == 5
        assert before.of("chat_rooms") == 1
        await talk(people, "tea", 30)
        after = scrape(server)
        counted = {name: after.of(name) - before.of(name) for name in after.names}
        assert (
            counted["chat_messages_total"]
            == counted["chat_changes_total"]
            == counted["chat_commit_size_sum"]
            == 30
        )
        assert counted["chat_commands_total"] == 30
        assert counted["chat_deliveries_total"] == counted["chat_delivery_seconds_count"] == 150
        assert counted["chat_writes_total"] % 5 == 0
        assert 5 <= counted["chat_writes_total"] <= 150
        assert counted["chat_layer_published_total"] >= 1
        assert counted["chat_layer_received_total"] >= 1
        for nothing in ("gaps_read", "stretches_read", "falls", "caught_up", "refused", "layer_failed"):
            assert counted[f"chat_{nothing}_total"] == 0, nothing
        assert after.of("chat_lagging_sockets") == after.of("chat_log_waiting") == 0
        # All that was said was said within the test.
        assert 0 <= counted["chat_delivery_seconds_sum"] <= 150 * PATIENCE
    told = await scraped(server, lambda told: told.of("chat_sockets") == 0)
    assert told.of("chat_closed_total", by="client", code="1000") == told.of("chat_closed_total") == 5


async def test_two_processes_are_told_of_together(start: Start, tmp_path: Path) -> None:
    """Whichever is asked; what one of them counted stays when it has ended."""
    folder = tmp_path / "numbers"
    folder.mkdir()
    options = {
        "CHAT_METRICS_TOKEN": TOKEN,
        "CHAT_USER_LIST_INTERVAL": "0",
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
    }
    one, two = start("daphne", **options), start("daphne", **options)
    async with company(one, "tea", 2) as few, company(two, "cake", 3) as more:
        before = await scraped(one, lambda told: told.of("chat_sockets") == 5)
        await talk(few, "tea", 10)
        await talk(more, "cake", 20)
        for server in (one, two):
            told = await scraped(
                server, lambda told: told.of("chat_messages_total") - before.of("chat_messages_total") == 30
            )
            assert told.of("chat_delivery_seconds_count") == 10 * 2 + 20 * 3
            sockets = {sample.labels["pid"]: sample.value for sample in told.each("chat_sockets")}
            assert sockets == {str(one.process.pid): 2, str(two.process.pid): 3}
    assert two.stop() == 0
    told = scrape(one)
    assert told.of("chat_delivery_seconds_count") == 80
    # Also what was counted in its last moment.
    assert told.of("chat_closed_total", by="client", code="1000") == 5
    assert told.of("chat_connects_total") == 5


# --- Ready? ---


@pytest.fixture
def url() -> Iterator[str]:
    with postgresql() as database:
        yield database.url


@contextmanager
def frozen(url: str) -> Iterator[None]:
    """PostgreSQL with all its processes is stopped: the kernel takes connections, and nobody answers."""
    with psycopg.connect(url) as connection:
        children = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity")]
    first = int(Path(f"/proc/{children[0]}/stat").read_text().rpartition(")")[2].split()[1])
    processes = [first, *children]
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def test_a_database_that_is_frozen_or_empty_makes_it_unready(url: str, start: Start) -> None:
    """503 within the bound, again and again, and nobody hangs who asks for nothing of it; then 200."""
    server = start("daphne", DATABASE_URL=url)
    server.clean = False
    away = {"ready": False, "database": "away", "layer": "ok", "log": "ok", "draining": False}
    assert ready(server) == (503, away)
    manage(url, "migrate", "--verbosity", "0")
    await becomes(server, 200, ready=True, database="ok")
    with frozen(url):
        await becomes(server, 503, **away)
        for _ in range(3):
            assert ready(server) == (503, away)
        assert get(server, "/healthz").status == 200
    await becomes(server, 200, ready=True, database="ok")
    assert server.stop() == 0


def test_a_process_that_says_goodbye_is_unready(start: Start) -> None:
    """For clients that still have a connection to it; one that does not answer its close keeps it there
    meanwhile.
    """
    server = start("daphne")
    host, port = server.address.split(":")
    with closing(http.client.HTTPConnection(server.address, timeout=PATIENCE)) as balancer:
        assert ask(balancer) == (
            200,
            {"ready": True, "database": "ok", "layer": "ok", "log": "ok", "draining": False},
        )
        with socket.create_connection((host, int(port)), PATIENCE) as silent:
            silent.sendall(HANDSHAKE.format(server.address).encode())
            hear(silent, b"101 Switching Protocols")
            server.process.send_signal(signal.SIGTERM)
            hear(silent, b'"type":"reconnect"')
            assert ask(balancer) == (
                503,
                {"ready": False, "database": "ok", "layer": "ok", "log": "ok", "draining": True},
            )
    assert server.process.wait(PATIENCE) == 0


HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def hear(connection: socket.socket, word: bytes) -> None:
    """Read until it was said."""
    said = b""
    while word not in said:
        more = connection.recv(4_096)
        assert more, said
        said += more


def ask(connection: http.client.HTTPConnection) -> tuple[int, dict[str, Any]]:
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    return response.status, json.loads(response.read())


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
async def test_no_layer_is_well_before_it_has_brought_something(start: Start, kind: str) -> None:
    """A new process beside a Redis that is gone, or that takes everything and answers nothing, never says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if kind == "refuses":
            listener.close()
        server = start("daphne", REDIS_URL=f"redis://127.0.0.1:{port}/0")
        status, told = ready(server)
        assert (status, told["layer"] in {"unknown", "away"}) == (200, True), told
        assert ready(server, "?strict")[0] == 503
        await becomes(server, 200, layer="away")


async def test_a_process_that_can_write_nothing_is_not_ready(start: Start) -> None:
    """The probe writes instead of reading, so it notices a full disk."""
    server = start("daphne")
    await becomes(server, 200, database="ok", layer="ok")
    before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    # Opening an SQLite file may need to write too.
    await becomes(server, 503)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
    await becomes(server, 200, database="ok")


# --- Log lines ---


async def test_each_line_is_a_json_object(start: Start) -> None:
    """Lines of the chat, the server and Django, tracebacks too."""
    # Without limits the start would warn, in a command's words.
    server = start("daphne", LOG_FORMAT="json", CHAT_LIMITS="on")
    async with over_socket(server.ws, "Alice") as alice:
        await alice.join()
    with pytest.raises(InvalidStatus):
        async with over_socket(server.ws, "Eve", origin="https://evil.example"):
            pass
    assert get(server, "/nowhere").status == 404
    assert server.stop() == 0
    lines = [line for line in server.said().splitlines() if not line.startswith("The chat is on")]
    told = [json.loads(line) for line in lines]
    assert {"chat.auth", "django.request"} <= {line["logger"] for line in told}
    for line in told:
        assert line.keys() >= {"time", "level", "logger", "message", "process"}
        assert line["process"] == server.process.pid


def test_a_format_that_there_is_not_stops_the_start() -> None:
    """With the variable's name and what is right."""
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={**os.environ, "LOG_FORMAT": "xml"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "LOG_FORMAT must be one of line, json, not 'xml'." in done.stderr
