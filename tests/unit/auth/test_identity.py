"""A socket's identity, and the pages that may open one."""

import logging
import threading
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import AsyncClient
from pytest_django import Settings
from tables import table

from chat.auth import GUEST_NAME, Identity, OriginCheck, identify, refuse
from chat.auth import identity as auth
from chat.models import AUTHOR_LENGTH
from chat.protocol import NAME_LIMIT, clean_name


def scope(*headers: tuple[str, str], path: str = "/ws") -> dict[str, Any]:
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "websocket", "path": path, "headers": lines}


# --- The Origin ---


async def is_let_in(*headers: tuple[str, str]) -> bool:
    """Does the check hand the socket to the application? If not, it closes it before it opens."""
    reached: list[Any] = []
    sent: list[dict[str, Any]] = []

    async def application(*arguments: Any) -> None:
        reached.append(arguments)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    given = scope(*headers)
    await OriginCheck(application)(given, receive, send)
    if reached:
        assert reached == [(given, receive, send)]
        assert sent == []
    else:
        assert sent == [{"type": "websocket.close", "code": 1000}]
    return bool(reached)


@pytest.fixture
def site(settings: Settings) -> Settings:
    """A site at chat.example.com on any port, without TLS."""
    settings.ALLOWED_HOSTS = ["chat.example.com", ".apps.example.com", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://www.example.com", "https://front.example.com:8443"]
    settings.SESSION_COOKIE_SECURE = False
    settings.DEBUG = False
    return settings


@table(
    ("host", "origin"),
    [
        ("chat.example.com", "http://chat.example.com"),
        ("chat.example.com", "https://chat.example.com"),
        ("chat.example.com:8000", "http://chat.example.com:8000"),
        ("chat.example.com:8000", "https://chat.example.com:8000"),
        ("chat.example.com:80", "http://chat.example.com"),
        ("chat.example.com:443", "https://chat.example.com"),
        ("CHAT.Example.com", "http://chat.example.com"),
        ("x.apps.example.com", "http://x.apps.example.com"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("chat.example.com", "https://www.example.com"),
        ("chat.example.com:8000", "https://front.example.com:8443"),
    ],
)
@table("cookie", ["", "sessionid=abc"])
async def test_our_own_pages_may_open_a_socket(site: Settings, host: str, origin: str, cookie: str) -> None:
    """The very host and port that was asked for, or a trusted origin: with or without a session."""
    assert await is_let_in(("host", host), ("origin", origin), *([("cookie", cookie)] if cookie else []))


FOREIGN = [
    "null",
    "",
    " ",
    "*",
    "chat.example.com",
    "//chat.example.com",
    "http://chat.example.com:8000",
    "http://chat.example.com:80",
    "http://chat.example.com:443",
    "https://chat.example.com:80",
    "http://chat.example.com/",
    "http://chat.example.com/chat",
    "http://chat.example.com?",
    "http://chat.example.com#",
    "http://chat.example.com.",
    "http://chat.example.com.evil.example",
    "http://evil-chat.example.com",
    "http://evilchat.example.com",
    "http://sub.chat.example.com",
    "http://example.com",
    "http://chat.example.com@evil.example",
    "http://evil.example@chat.example.com",
    "http://chat.example.com:80@evil.example",
    "http://chat.example.com\\.evil.example",
    "http://chat.example.com%00.evil.example",
    "HTTP://CHAT.EXAMPLE.COM",
    "http://Chat.example.com",
    "http://ch\xe4t.example.com",
    "http://chat.example.com http://evil.example",
    "http://chat.example.com, http://evil.example",
    "http://evil.example, http://chat.example.com",
    "ws://chat.example.com",
    "wss://chat.example.com",
    "file://",
    "file://chat.example.com",
    "chrome-extension://abcdefgh",
    "javascript://chat.example.com",
    "http://localhost",
    "http://127.0.0.1",
    "http://x.apps.example.com",
    "http://www.example.com",
    "https://www.example.com:443",
    "https://www.example.com:8443",
    "https://front.example.com",
    "https://sub.www.example.com",
    "https://www.example.com.evil.example",
]


@table("origin", FOREIGN)
@table("cookie", ["", "sessionid=abc"])
async def test_no_other_page_may(site: Settings, origin: str, cookie: str) -> None:
    """Another host, port, scheme or spelling is another site, also for a visitor without a session."""
    headers = [("host", "chat.example.com"), ("origin", origin)]
    assert not await is_let_in(*headers, *([("cookie", cookie)] if cookie else []))


@pytest.mark.parametrize("first", ["http://chat.example.com", "http://evil.example"])
async def test_two_origins_are_none(site: Settings, first: str) -> None:
    """A request with two Origin headers is refused, whichever are in them."""
    twice = [("origin", first), ("origin", "http://chat.example.com")]
    assert not await is_let_in(("host", "chat.example.com"), *twice)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://chat.example.com", True),
        ("http://chat.example.com", False),
        ("https://chat.example.com:443", False),
        ("https://chat.example.com:80", False),
        ("https://www.example.com", True),
    ],
)
async def test_where_cookies_are_secure_pages_are_too(site: Settings, origin: str, expected: bool) -> None:
    """With SESSION_COOKIE_SECURE a page that came without TLS, which anybody may have written, opens nothing."""
    site.SESSION_COOKIE_SECURE = True
    assert await is_let_in(("host", "chat.example.com"), ("origin", origin)) is expected


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        ([], True),
        (["csrftoken=abc"], True),
        (["sessionid=abc"], False),
        (["sessionid="], False),
        (["a=b; sessionid=abc"], False),
        (["a=b", "sessionid=abc"], False),
        (["a=b;sessionid=abc;c=d"], False),
        (["xsessionid=abc; session=id"], True),
    ],
)
async def test_a_program_brings_no_session(site: Settings, cookies: list[str], expected: bool) -> None:
    """Without an Origin a socket opens as long as nothing rides on a browser's cookie."""
    headers = [("cookie", cookie) for cookie in cookies]
    assert await is_let_in(("host", "chat.example.com"), *headers) is expected


async def test_the_session_cookie_may_have_another_name(site: Settings) -> None:
    """The project's SESSION_COOKIE_NAME is the one that counts."""
    site.SESSION_COOKIE_NAME = "sid"
    assert not await is_let_in(("host", "chat.example.com"), ("cookie", "sid=abc"))
    assert await is_let_in(("host", "chat.example.com"), ("cookie", "sessionid=abc"))


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["evil.example"],
        ["example.com"],
        ["sub.chat.example.com"],
        ["chat.example.com.evil.example"],
        ["chat.example.com@evil.example"],
        ["evil.example@chat.example.com"],
        ["chat.example.com:port"],
        ["chat.example.com/path"],
        ["chat.example.com", "chat.example.com"],
        ["chat.example.com", "evil.example"],
        ["chat.example.com, evil.example"],
    ],
)
async def test_a_host_that_is_not_ours_is_refused(site: Settings, hosts: list[str]) -> None:
    """One allowed Host, or no socket: with an Origin that fits it, with one that we trust, with none."""
    headers = [("host", host) for host in hosts]
    fitting = f"http://{hosts[0]}" if hosts else "http://chat.example.com"
    assert not await is_let_in(*headers)
    assert not await is_let_in(*headers, ("origin", fitting))
    assert not await is_let_in(*headers, ("origin", "https://www.example.com"))


@pytest.mark.parametrize(
    ("debug", "allowed", "host", "expected"),
    [
        (True, [], "localhost:8000", True),
        (True, [], "chat.localhost", True),
        (True, [], "127.0.0.1", True),
        (True, [], "[::1]:8000", True),
        (True, [], "evil.example", False),
        (False, [], "localhost", False),
        (True, ["chat.example.com"], "localhost", False),
        (False, ["*"], "anything.example", True),
    ],
)
async def test_allowed_hosts_are_django_s(
    site: Settings,
    debug: bool,
    allowed: list[str],
    host: str,
    expected: bool,
) -> None:
    """The hosts are those that Django's own pages answer to, local ones while debugging."""
    site.DEBUG = debug
    site.ALLOWED_HOSTS = allowed
    assert await is_let_in(("host", host), ("origin", f"http://{host}")) is expected


async def test_even_where_every_host_is_allowed_the_origin_must_be_it(site: Settings) -> None:
    """ALLOWED_HOSTS = ["*"] opens no socket to other sites' pages."""
    site.ALLOWED_HOSTS = ["*"]
    assert not await is_let_in(("host", "chat.example.com"), ("origin", "http://evil.example"))


async def test_a_refusal_is_one_line_in_the_log(site: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is logged once, short, and in a form that no header can break out of."""
    hostile = "http://evil.example\r\nfake line" + "x" * 5_000
    assert not await is_let_in(("host", "chat.example.com"), ("origin", hostile))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("chat.auth", logging.WARNING)
    assert "\n" not in record.getMessage()
    assert "http://evil.example" in record.getMessage()
    assert len(record.getMessage()) < 500


async def test_refusing_waits_for_the_handshake() -> None:
    """The close answers the connect: it is not sent before that has come."""
    order: list[str] = []

    async def receive() -> dict[str, Any]:
        order.append("connect")
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        order.append(message["type"])

    await refuse(scope(path="/other"), receive, send)
    assert order == ["connect", "websocket.close"]


# --- The identity ---


def cookie_of(client: AsyncClient) -> dict[str, Any]:
    """The scope of a socket that the client's browser opens."""
    key = client.cookies[django_settings.SESSION_COOKIE_NAME].value
    return scope(("cookie", f"{django_settings.SESSION_COOKIE_NAME}={key}"))


async def guest(name: str) -> tuple[SessionStore, dict[str, Any]]:
    session = SessionStore()
    session[GUEST_NAME] = name
    await session.acreate()
    return session, scope(("cookie", f"sessionid={session.session_key}"))


@pytest.fixture
async def bob_signed_in(rooms: None, async_client: AsyncClient, settings: Settings) -> tuple[User, AsyncClient]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    user = await User.objects.acreate_user("Bob", password="bob's password")
    await async_client.aforce_login(user)
    return user, async_client


async def test_an_account_is_itself(bob_signed_in: tuple[User, AsyncClient]) -> None:
    """A signed-in user has the account's name, on every socket and from every browser."""
    user, client = bob_signed_in
    identity = await identify(cookie_of(client))
    assert identity == Identity(key=f"account:{user.pk}", name="Bob", lasting=True)
    another = AsyncClient()
    await another.aforce_login(user)
    assert await identify(cookie_of(another)) == identity
    assert auth.account(user) == identity, "who is read of a page is who is read of its socket"


async def test_an_account_s_name_is_not_the_session_s(bob_signed_in: tuple[User, AsyncClient]) -> None:
    """A name that was chosen as a guest is nothing once somebody has signed in."""
    _, client = bob_signed_in
    session = await client.asession()
    await session.aset(GUEST_NAME, "Mallory")
    await session.asave()
    assert (await identify(cookie_of(client))).name == "Bob"


@pytest.mark.usefixtures("rooms")
async def test_a_guest_has_the_session_s_name() -> None:
    """A guest who chose a name on the page is the same person in each tab; the session's key is not told."""
    session, cookies = await guest("Alice")
    identity = await identify(cookies)
    assert (identity.name, identity.lasting) == ("Alice", True)
    assert identity == await identify(cookies)
    assert identity.key.startswith("guest:")
    assert session.session_key
    assert session.session_key not in identity.key
    assert auth.guest(session.session_key, "Alice") == identity, "as for an account"


@pytest.mark.usefixtures("rooms")
async def test_two_guests_of_one_name_are_two() -> None:
    """A guest's identity is the session, not the name alone; another name in the same session is another user."""
    (first, cookies), (_, others) = await guest("Alice"), await guest("Alice")
    alice = await identify(cookies)
    assert alice != await identify(others)
    first[GUEST_NAME] = "Alicia"
    await first.asave()
    assert alice != await identify(cookies)


def test_who_somebody_is_fits_its_column() -> None:
    """The longest name that can be chosen makes a key that the database takes."""
    name = clean_name("\N{PILE OF POO}" * NAME_LIMIT)
    assert len(auth.guest("x" * 40, name).key) <= AUTHOR_LENGTH


@pytest.mark.usefixtures("rooms")
@pytest.mark.parametrize(
    "value",
    ["unknownunknownunknownunknown1234", "x", "", "'; drop table", "a" * 5_000, "\xff\xfe", '"quoted"'],
)
async def test_an_unknown_session_is_nobody(value: str) -> None:
    """A cookie that no session has is a guest without a name, and makes no session."""
    identity = await identify(scope(("cookie", f"sessionid={value}")))
    assert (identity.name, identity.lasting) == (None, False)
    assert identity.key.startswith("socket:")
    assert await Session.objects.acount() == 0


@pytest.mark.usefixtures("rooms")
async def test_a_session_without_a_name_is_nobody() -> None:
    """A visitor who chose no name yet says one with the first join."""
    session = SessionStore()
    session["basket"] = [1]
    await session.acreate()
    identity = await identify(scope(("cookie", f"sessionid={session.session_key}")))
    assert (identity.name, identity.lasting) == (None, False)


@pytest.mark.usefixtures("rooms")
async def test_a_session_that_ended_is_nobody() -> None:
    """An expired session is like an unknown one."""
    session, cookies = await guest("Alice")
    session.set_expiry(-1)
    await session.asave()
    assert (await identify(cookies)).name is None


async def test_an_account_that_is_closed_is_nobody(bob_signed_in: tuple[User, AsyncClient]) -> None:
    """A user who is not active any more, or is deleted, is not let in under their name."""
    user, client = bob_signed_in
    user.is_active = False
    await user.asave()
    assert (await identify(cookie_of(client))).name is None
    await user.adelete()
    assert (await identify(cookie_of(client))).name is None


async def test_a_new_password_ends_the_old_sessions(bob_signed_in: tuple[User, AsyncClient]) -> None:
    """A session from before the change is nobody's."""
    user, client = bob_signed_in
    user.set_password("another password")
    await user.asave()
    assert (await identify(cookie_of(client))).name is None


async def test_a_socket_signs_nobody_out(bob_signed_in: tuple[User, AsyncClient], settings: Settings) -> None:
    """After a change of SECRET_KEY the session keeps the key that the browser has: a socket tells it no other."""
    user, client = bob_signed_in
    session = await client.asession()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key that is long enough for it"
    assert (await identify(cookie_of(client))).key == f"account:{user.pk}"
    assert await Session.objects.filter(session_key=session.session_key).aexists()


async def test_a_socket_ends_no_session(bob_signed_in: tuple[User, AsyncClient]) -> None:
    """A session that is not valid any more is the pages' to end."""
    user, client = bob_signed_in
    session = await client.asession()
    user.set_password("another password")
    await user.asave()
    await identify(cookie_of(client))
    assert await Session.objects.filter(session_key=session.session_key).aexists()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("cookie", "")],
        [("cookie", "csrftoken=abc; a=b")],
        [("cookie", "sessionid=")],
        [("x", "sessionid=abc")],
    ],
)
async def test_without_a_cookie_there_is_no_query(
    headers: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets without a session cost the database nothing; each is somebody else."""

    def forbidden(*_: object) -> None:
        raise AssertionError("asked the database")

    monkeypatch.setattr(auth, "_from_session", forbidden)
    first, second = await identify(scope(*headers)), await identify(scope(*headers))
    assert first != second
    assert (first.name, first.lasting) == (None, False)


@pytest.mark.usefixtures("rooms")
async def test_the_database_is_asked_on_threads_of_our_own() -> None:
    """The query runs neither on the loop nor on the one thread that all synchronous code shares."""
    names: list[str] = []
    _, cookies = await guest("Alice")
    from_session = auth._from_session

    def noted(key: str) -> Identity | None:
        names.append(threading.current_thread().name)
        return from_session(key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "_from_session", noted)
        await identify(cookies)
    assert names
    assert names[0].startswith("chat-read")


def test_what_get_user_may_read_it_may_not_change() -> None:
    """The stand-in has the session's keys and none of its powers."""
    session = auth._ReadOnlySession({SESSION_KEY: "1", BACKEND_SESSION_KEY: "b", HASH_SESSION_KEY: "h"})
    session.cycle_key()
    session.flush()
    assert session[SESSION_KEY] == "1"
