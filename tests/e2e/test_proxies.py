"""The site behind nginx and behind Caddy, over TLS, as deploy/ has them."""

import asyncio
import http.client
import re
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from databases import copy_of
from helpers import Closed, SocketPersona, over_socket
from playwright.async_api import Browser, expect
from proxies import FRONTS, NAME, Certificate, Proxy, certificate
from servers import PATIENCE, Server, Start, create_superuser, free_port, running
from visits import PHONE, Visit, connected, disconnect, log, say, talk
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chat.protocol import CONTENT_LIMIT, FRAME_LIMIT, CloseCode, ErrorCode, Message, Pong

pytestmark = pytest.mark.e2e
with_browser = pytest.mark.asyncio(loop_scope="session")
"""The loop in which the browser lives."""
by_one_proxy = pytest.mark.parametrize(
    "kind", ["nginx", pytest.param("caddy", marks=pytest.mark.thorough)], indirect=True
)
"""In a usual run behind nginx only: close codes and a stopped node are tested without a browser behind both."""

BEHIND = {"HTTPS": "1", "CHAT_PROXIES": "127.0.0.1", "ALLOWED_HOSTS": NAME}
"""Settings of a server behind a proxy of this machine."""
OVER_TLS = {"ignore_https_errors": True}
"""The browser does not know the authority. Everybody else here does, and looks."""
STYLES = r'href="(/static/chat/chat\.[0-9a-f]{12}\.css)"'
ALICE, BOB = "127.0.0.2", "127.0.0.3"
"""Addresses from which people come; that of the proxy is another."""


class Behind:
    """Starts servers and the proxy in front of them."""

    def __init__(self, stack: ExitStack, kind: str, folder: Path, made: Certificate, start: Start) -> None:
        self._stack, self._kind, self._folder, self._made, self._start = stack, kind, folder, made, start

    def server(self, **variables: str) -> Server:
        return self._start("daphne", **BEHIND, **variables)

    def proxy(self, *nodes: str) -> Proxy:
        return self._stack.enter_context(FRONTS[self._kind](self._folder, self._made, nodes))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module", params=FRONTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def site(kind: str, made: Certificate, tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Proxy]:
    """One server behind the proxy, for tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("site")
    with (
        copy_of(database, folder) as mine,
        running("daphne", folder, mine, **BEHIND) as server,
        # Twice: nginx never gives up the only node that it has.
        FRONTS[kind](folder, made, [server.address] * 2) as proxy,
    ):
        yield proxy


@pytest.fixture
def behind(kind: str, made: Certificate, tmp_path: Path, start: Start) -> Iterator[Behind]:
    with ExitStack() as stack:
        yield Behind(stack, kind, tmp_path, made, start)


def over_tls(site: Proxy, name: str, source: str = ALICE, **options: Any) -> Any:
    """A persona who comes through the proxy, from an address of their own."""
    return over_socket(site.ws, name, **site.sockets_from(source), **options)


async def refused_with(site: Proxy, path: str = "/ws", **headers: str) -> int:
    """The HTTP status that a handshake was answered with."""
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(f"wss://{NAME}:{site.port}{path}", ssl=site.trust, additional_headers=headers):
            pass
    return refusal.value.response.status_code


# --- In the browser ---


@with_browser
@pytest.mark.browser
async def test_two_people_talk(site: Proxy, visit: Visit) -> None:
    """Over wss everything is as it is without a proxy; the cookies are the browser's and the site's alone."""
    ann, bob = await visit(site, "Ann", **OVER_TLS), await visit(site, "Bob", **PHONE, **OVER_TLS)
    await talk(ann, bob)
    cookies = {cookie["name"]: cookie for cookie in await ann.context.cookies()}
    assert cookies.keys() == {"__Host-sessionid", "__Host-csrftoken", "__Host-chat_browser"}
    assert all(cookie["secure"] and cookie["httpOnly"] for cookie in cookies.values())
    assert await ann.evaluate("location.protocol") == "https:"


@with_browser
@pytest.mark.browser
@by_one_proxy
async def test_the_server_is_started_anew(behind: Behind, visit: Visit) -> None:
    """Pages come back by themselves through the proxy, with what was written meanwhile."""
    port = str(free_port())
    first = behind.server(PORT=port)
    site = behind.proxy(first.address)
    ann, bob = await visit(site, "Ann", **OVER_TLS), await visit(site, "Bob", **OVER_TLS)
    await connected(ann)
    await connected(bob)
    assert await asyncio.to_thread(first.stop) == 0
    # Caddy lets a connect wait for a while for a node that takes it.
    await expect(ann.locator("#connection-said")).to_have_text(re.compile("(Rec|C)onnecting"))
    await say(ann, "did you hear me?")
    behind.server(PORT=port)
    await connected(ann)
    await connected(bob)
    for page in (ann, bob):
        await expect(log(page).get_by_text("did you hear me?")).to_have_count(1)


@with_browser
@pytest.mark.browser
@by_one_proxy
async def test_the_staff_disconnects(behind: Behind, browser: Browser) -> None:
    """The admin works over https, and its 4403 reaches the client."""
    server = behind.server()
    site = behind.proxy(server.address)
    create_superuser(server)
    admin = await (await browser.new_context(**OVER_TLS)).new_page()  # type: ignore[arg-type]
    async with over_tls(site, "Alice") as alice:
        await alice.join()
        await disconnect(admin, site.http)
        assert await alice.closed() == CloseCode.FORBIDDEN


# --- Pages ---


def test_http_is_sent_to_https(site: Proxy) -> None:
    """The same page, for good; nothing is answered in the clear."""
    connection = http.client.HTTPConnection(NAME, site.plain, timeout=PATIENCE)
    connection.request("GET", "/room/garden/?from=mail")
    response = connection.getresponse()
    assert response.status in {301, 308}
    assert response.headers["Location"] == f"https://{NAME}/room/garden/?from=mail"
    connection.close()


def test_pages_bind_the_browser_to_https(site: Proxy) -> None:
    """HSTS for a year, and cookies that no page without TLS can set."""
    page = site.ask("/")
    assert page.status == 200
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert re.match(r"__Host-csrftoken=.*HttpOnly.*Path=/; .*Secure", page.headers["Set-Cookie"])


def test_static_files_are_kept_for_ever(site: Proxy) -> None:
    """The proxy changes neither their caching nor their compression."""
    css = re.search(STYLES, site.ask("/").body.decode())  # type: ignore[attr-defined]
    assert css
    file = site.ask(css[1], headers={"Accept-Encoding": "gzip"})
    assert file.status == 200
    assert "immutable" in file.headers["Cache-Control"]
    assert file.headers["Content-Encoding"] == "gzip"


def test_a_big_body_is_refused(site: Proxy) -> None:
    """Past a mebibyte with 413, before the server sees it."""
    assert site.ask("/login/", "POST", b"x" * 900_000).status != 413
    assert site.ask("/login/", "POST", b"x" * (1 << 20) + b"x").status == 413


BROKEN = {
    "an upload that breaks off": b"POST /login/ HTTP/1.1\r\nHost: %s\r\nContent-Length: 90000\r\n\r\nhalf",
    "chunks that are none": b"POST /login/ HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "chunks without an end": b"POST /login/ HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
    + 40 * (b"8000\r\n" + 0x8000 * b"x" + b"\r\n"),
    "headers without number": b"GET / HTTP/1.1\r\nHost: %s\r\n" + 600 * b"a: b\r\n" + b"\r\n",
    "a handshake without a key": b"GET /ws HTTP/1.1\r\nHost: %s\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("request_", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_request_takes_no_node_out(site: Proxy, request_: bytes) -> None:
    """A client's faults do not count against the server: it answers the next client."""
    for _ in range(3):
        with suppress(OSError), site.connected() as connection:
            connection.sendall(request_ % NAME.encode())
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        # Django's own refusal, of a form without its token: what is no GET no proxy tries twice.
        assert site.ask("/login/", "POST").status == 403


def test_another_host_gets_no_page(site: Proxy) -> None:
    """A name that is not the site's is not answered with the site's pages."""
    assert b"Enter the room" not in site.ask("/", headers={"Host": "other.example"}).body  # type: ignore[attr-defined]


def test_the_metrics_are_not_public(site: Proxy) -> None:
    """Monitoring reaches the nodes at their own addresses."""
    assert site.ask("/metrics").status == 404


# --- Sockets ---


async def test_the_limits_are_of_the_clients_address(behind: Behind) -> None:
    """Each client has the limits of its own address, whatever address it says that it has."""
    site = behind.proxy(behind.server(CHAT_LIMITS="on", CHAT_SOCKETS_PER_ADDRESS="2").address)
    async with AsyncExitStack() as stack:
        numbers = count()

        async def enter(source: str, forged: str) -> SocketPersona:
            headers = {"X-Forwarded-For": forged, "Forwarded": f"for={forged}", "X-Real-IP": forged}
            context = over_tls(site, f"P{next(numbers)}", source, additional_headers=headers)
            persona: SocketPersona = await stack.enter_async_context(context)
            return persona

        await (await enter(ALICE, "203.0.113.1")).join()
        await (await enter(ALICE, "203.0.113.2")).join()
        third = await enter(ALICE, "203.0.113.3")
        await third.refused(ErrorCode.TOO_MANY)
        assert await third.closed() == CloseCode.TOO_MANY
        # As many come from elsewhere, also where they say that they are the first.
        await (await enter(BOB, ALICE)).join()
        await (await enter(BOB, ALICE)).join()


@pytest.mark.parametrize("path", ["/", "/login/", "/ws/", "/static/", "/wss"])
async def test_only_ws_is_a_socket(site: Proxy, path: str) -> None:
    """Another path is not upgraded."""
    assert await refused_with(site, path) in {200, 403, 404}


async def test_a_foreign_page_is_refused(site: Proxy) -> None:
    """The Origin is judged by the name and port that the browser has, and by https."""
    for origin in ("https://evil.example", f"http://{NAME}:{site.port}", f"https://{NAME}"):
        assert await refused_with(site, Origin=origin) == 403
    async with over_tls(site, "Alice", origin=site.http) as alice:
        await alice.join()


async def test_large_messages_pass(site: Proxy) -> None:
    """The longest text, and a frame of the largest size, in both directions."""
    # Not Bob: a browser's may be on its way out.
    async with over_tls(site, "Alice") as alice, over_tls(site, "Bert", BOB) as bob:
        await alice.join()
        await bob.join()
        text = "\N{GRINNING FACE}" * CONTENT_LIMIT
        await alice.say(text)
        await bob.expect(Message, content=text)
        await alice.write('{"type":"ping","ref":"large"}'.ljust(FRAME_LIMIT))
        await alice.expect(Pong, ref="large")


async def test_close_codes_arrive(behind: Behind) -> None:
    """Why a socket was closed is told to the client, code and reason."""
    server = behind.server()
    site = behind.proxy(server.address)
    async with over_tls(site, "Mallory") as mallory, over_tls(site, "Alice") as alice:
        await alice.join()
        for _ in range(10):
            await mallory.write("{")
        assert await mallory.closed() == CloseCode.BAD_INPUT
        stopped = asyncio.create_task(asyncio.to_thread(server.stop))
        assert await alice.closed() == CloseCode.RESTART
        assert alice.farewell == CloseCode.RESTART.meaning
        assert await stopped == 0


# --- Two nodes ---

CROWD = 40
LAST = "the last word"


class Regular:
    """Somebody who stays in the room: told to come back they do, to whichever node, and go on where they were."""

    def __init__(self, site: Proxy, name: str) -> None:
        self.site, self.name = site, name
        self.entered = asyncio.Event()
        self.contents: list[str] = []
        # Their close codes.
        self.codes: list[int] = []
        self._seq, self._epoch = 0, ""

    async def live(self) -> None:
        """Until the last word, through as many sockets as it takes."""
        while LAST not in self.contents:
            async with over_tls(self.site, self.name) as persona:
                await self._enter(persona)
                try:
                    await self._listen(persona)
                except Closed as closed:
                    self.codes.append(closed.code)

    async def _enter(self, persona: SocketPersona) -> None:
        if self._epoch:
            welcome = await persona.join("crowd", since=self._seq, epoch=self._epoch)
            assert welcome.resumed
        else:
            welcome = await persona.join("crowd")
            self._seq, self._epoch = welcome.seq, welcome.epoch
            self.entered.set()

    async def _listen(self, persona: SocketPersona) -> None:
        while LAST not in self.contents:
            message = await persona.expect(Message)
            # A node that is a moment behind the other tells what they know.
            if message.seq > self._seq:
                self.contents.append(message.content)
                self._seq = message.seq


class Teller:
    """Says things, each until it is acknowledged, through as many sockets as it takes."""

    def __init__(self, stack: AsyncExitStack, site: Proxy) -> None:
        self._stack, self._site = stack, site
        self._persona: SocketPersona | None = None
        self.told: list[str] = []

    async def say(self, content: str) -> None:
        while content not in self.told:
            persona = self._persona or await self._enter()
            try:
                await persona.say(content, "crowd", ref=content)
                self.told.append(content)
            except (Closed, ConnectionClosed):
                self._persona = None

    async def _enter(self) -> SocketPersona:
        persona: SocketPersona = await self._stack.enter_async_context(over_tls(self._site, "Teller", BOB))
        await persona.join("crowd")
        self._persona = persona
        return persona


async def test_a_node_is_stopped_under_a_crowd(behind: Behind) -> None:
    """Its people come back on the other node and have everything, in order and once; nobody is refused."""
    first, second = behind.server(), behind.server()
    site = behind.proxy(first.address, second.address)
    regulars = [Regular(site, f"P{number}") for number in range(CROWD)]
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for regular in regulars:
            group.create_task(regular.live())
        await asyncio.gather(*(regular.entered.wait() for regular in regulars))
        teller = Teller(stack, site)
        await teller.say("before")
        stopped = asyncio.create_task(asyncio.to_thread(first.stop))
        while not stopped.done():
            await teller.say(f"meanwhile {len(teller.told)}")
        for number in range(10):
            await teller.say(f"after {number}")
        await teller.say(LAST)
    assert stopped.result() == 0
    for regular in regulars:
        assert regular.contents == teller.told, regular.name
    codes = [code for regular in regulars for code in regular.codes]
    assert set(codes) == {CloseCode.RESTART}
    # Each node had its share of the crowd.
    assert CROWD / 4 <= len(codes) <= 3 * CROWD / 4


async def test_a_node_that_is_away_is_not_noticed(behind: Behind) -> None:
    """Pages and sockets go to the node that is there, from the first on."""
    site = behind.proxy(f"127.0.0.1:{free_port()}", behind.server().address)
    for _ in range(4):
        assert site.ask("/").status == 200
        async with over_tls(site, "Alice") as alice:
            await alice.join()


class OfYesterday(BaseHTTPRequestHandler):
    """A node that has none of the files that today's pages ask for."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def test_a_node_of_yesterday_lacks_files(made: Certificate, tmp_path: Path, start: Start) -> None:
    """nginx asks the next node for a static file that one does not have; Caddy has no such option."""
    server = start("daphne", **BEHIND)
    with ThreadingHTTPServer(("127.0.0.1", 0), OfYesterday) as old:
        Thread(target=old.serve_forever).start()
        nodes = [f"127.0.0.1:{old.server_port}", server.address]
        with FRONTS["nginx"](tmp_path, made, nodes) as site:
            answers = [site.ask("/") for _ in range(4)]
            page = next(answer.body.decode() for answer in answers if answer.status == 200)  # type: ignore[attr-defined]
            # Other pages are not asked for twice.
            assert 404 in {answer.status for answer in answers}
            file = re.search(STYLES, page)
            assert file
            assert {site.ask(file[1]).status for _ in range(4)} == {200}
        old.shutdown()
