"""Requests by the letter of RFC 9112 and RFC 9110: which host, which target, which method."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from databases import copy_of
from servers import PATIENCE, Server, running

pytestmark = pytest.mark.e2e

KEY = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
PAGES = [
    "/",
    "/room/lobby/",
    "/rooms/",
    "/direct/",
    "/invite/abc/",
    "/whoami",
    "/login/",
    "/password/",
    "/sign-up/",
]
PROBES = ["/healthz", "/readyz", "/metrics"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("site")
    with (
        copy_of(database, folder) as mine,
        running("daphne", folder, mine, CHAT_METRICS_TOKEN="a token that is long") as server,
    ):
        yield server


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        yield connection


def ask(server: Server, target: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """All that is answered; the connection is closed by the server. A reset fails the test."""
    lines = [f"{method} {target} HTTP/{version}", *headers, "Connection: close", "", ""]
    with connected(server) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        answer = b""
        while data := connection.recv(65_536):
            answer += data
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def header(answer: bytes, name: str) -> str:
    found = re.search(rf"(?i)\r\n{name}: ([^\r]*)", answer.partition(b"\r\n\r\n")[0].decode("latin-1") + "\r\n")
    return found[1] if found else ""


# --- Hosts ---


@pytest.mark.parametrize("target", ["/", "/healthz", "/static/chat/client.js", "http://localhost/"])
def test_http_1_1_names_a_host(site: Server, target: str) -> None:
    """Without one it is 400, whatever is asked for; HTTP/1.0 had none."""
    assert status(ask(site, target)) == 400
    assert status(ask(site, "/healthz", version="1.0")) == 200


@pytest.mark.parametrize(
    "hosts",
    [
        ["Host: localhost", "Host: localhost"],
        ["Host: localhost", "Host: evil.example"],
        ["Host:"],
        ["Host: "],
        ["Host: :8000"],
        ["Host: localhost:port"],
        ["Host: local host"],
        ["Host: localhost/path"],
        ["Host: user@localhost"],
        ["Host: [::1"],
        ["Host: localhost, localhost"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("target", ["/", "/healthz"])
def test_a_host_is_one_and_is_a_host(site: Server, hosts: list[str], target: str) -> None:
    """RFC 9112, section 3.2."""
    assert status(ask(site, target, *hosts)) == 400


def test_a_request_that_is_none_ends_its_connection(site: Server) -> None:
    """The door counts requests behind it; what is refused before it costs a connection each."""
    with connected(site) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
    assert answer.count(b"HTTP/1.1 ") == 1
    assert status(answer) == 400


@pytest.mark.parametrize("path", PROBES)
@pytest.mark.parametrize(
    "host", ["10.0.0.7:8000", "evil.example", "my_service:8000", "[2001:db8::1]:80", "a.b.c."]
)
def test_probes_answer_whatever_the_host(site: Server, path: str, host: str) -> None:
    """They ask the process by its address; pages are for the site's own names."""
    assert status(ask(site, path, f"Host: {host}", "Authorization: Bearer a token that is long")) == 200
    assert status(ask(site, "/", f"Host: {host}")) == 400


@pytest.mark.parametrize("path", PROBES)
def test_a_probe_may_ask_for_the_head_only(site: Server, path: str) -> None:
    answer = ask(site, path, "Host: x", "Authorization: Bearer a token that is long", method="HEAD")
    assert status(answer) == 200
    assert answer.endswith(b"\r\n\r\n")


# --- Targets ---


def test_a_whole_address_is_a_target(site: Server) -> None:
    """A proxy gets such a target; its host counts, not the header (RFC 9112, section 3.2.2)."""
    assert status(ask(site, f"http://{site.address}/healthz", "Host: x")) == 200
    assert status(ask(site, f"HTTP://{site.address}?room=lobby", "Host: evil.example")) == 200
    page = ask(site, f"https://{site.address}/?room=from-an-address", "Host: evil.example")
    assert status(page) == 200
    assert b"from-an-address" in page
    assert status(ask(site, "http://evil.example/", f"Host: {site.address}")) == 400
    assert status(ask(site, f"http://{site.address}/nowhere", "Host: x")) == 404


def test_a_socket_may_be_asked_for_by_a_whole_address(site: Server) -> None:
    with connected(site) as connection:
        request = f"GET http://{site.address}/ws HTTP/1.1\r\nHost: x\r\n{KEY}\r\n"
        connection.sendall(request.encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "target",
    [
        "healthz",
        "*",
        "ftp://localhost/",
        "http://",
        "http:///",
        "http://user@localhost/",
        "http://[::1/",
        "localhost:80",
    ],
)
def test_anything_else_is_none(site: Server, target: str) -> None:
    assert status(ask(site, target, "Host: localhost")) == 400


# --- Methods ---


@pytest.mark.parametrize("method", ["TRACE", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "FOO"])
def test_a_page_says_which_methods_it_takes(site: Server, method: str) -> None:
    """405 with Allow, before any token is asked for; the admin too, and static files."""
    static = re.search(rb'/static/[^"]+\.css', ask(site, "/", f"Host: {site.address}"))
    assert static
    for path in [*PAGES, *PROBES, "/logout/", "/admin/login/", "/admin/", static[0].decode()]:
        answer = ask(site, path, f"Host: {site.address}", "Content-Length: 0", method=method)
        assert status(answer) == 405, (path, answer)
        assert {"GET", "POST"} & set(header(answer, "Allow").split(", ")), path


@pytest.mark.parametrize("path", ["/room/lobby/", "/whoami", *PROBES])
def test_what_only_tells_takes_no_post(site: Server, path: str) -> None:
    """With or without a token."""
    answer = ask(site, path, f"Host: {site.address}", "Content-Length: 0", method="POST")
    assert (status(answer), header(answer, "Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/rooms/", "/direct/"])
def test_what_only_makes_takes_no_get(site: Server, path: str) -> None:
    answer = ask(site, path, f"Host: {site.address}")
    assert (status(answer), header(answer, "Allow")) == (405, "POST")


def test_a_form_still_needs_its_token(site: Server) -> None:
    for path in ("/", "/rooms/", "/direct/", "/invite/abc/"):
        answer = ask(site, path, f"Host: {site.address}", "Content-Length: 0", method="POST")
        assert status(answer) == 403, path


@pytest.mark.parametrize(("method", "target"), [("OPTIONS", "*"), ("CONNECT", "localhost:80")])
def test_the_server_itself_takes_nothing(site: Server, method: str, target: str) -> None:
    """It is no proxy."""
    answer = ask(site, target, "Host: localhost", method=method)
    assert (status(answer), header(answer, "Allow")) == (405, "GET, HEAD, POST")


# --- Files ---


@pytest.mark.parametrize(
    "path",
    [
        "/static/staticfiles.json",
        "/static/staticfiles.json.gz",
        "/static/./staticfiles.json",
        "/static//staticfiles.json",
        "/static/%73taticfiles.json",
        "/static/.gitkeep",
        "/static/chat/../staticfiles.json",
    ],
)
def test_the_list_of_files_is_nobody_s(site: Server, path: str) -> None:
    """Nor what begins with a dot."""
    assert status(ask(site, path, f"Host: {site.address}")) == 404


# --- Ends ---


def test_a_refusal_is_read_by_who_still_sends(site: Server) -> None:
    """A body that is too large is refused at its head, and the answer is not lost to the rest of it."""
    with connected(site) as connection:
        head = f"POST / HTTP/1.1\r\nHost: {site.address}\r\nContent-Length: 4000000\r\n\r\n"
        connection.sendall(head.encode())
        with suppress(TimeoutError):
            connection.sendall(b"x" * 4_000_000)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
        assert status(answer) == 413


def test_what_is_behind_the_last_request_takes_nothing_with_it(site: Server) -> None:
    """The answer to the last request reaches who sends more than that."""
    with connected(site) as connection:
        last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(last.encode() + b"x" * 1_000_000)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
        assert status(answer) == 200


@pytest.mark.parametrize(
    ("path", "header"), [(17_000, 0), (2_000_000, 0), (0, 17_000), (0, 2_000_000), (9_000, 9_000)]
)
def test_a_head_that_is_too_long_is_answered(site: Server, path: int, header: int) -> None:
    """Whether it is a line or all of them; also to who is still sending it."""
    with connected(site) as connection:
        head = f"GET /{'x' * path} HTTP/1.1\r\nHost: x\r\nX-Long: {'x' * header}\r\n\r\n"
        connection.sendall(head.encode())
        answer = b""
        while data := connection.recv(65_536):
            answer += data
        assert status(answer) == 400
