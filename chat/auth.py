"""Who is this socket: an account, a guest with a session, or somebody who only says a name.

What is known comes from the session's cookie and from nowhere in the client's JSON. The Origin is checked
before that: a cookie goes out with a socket that any page on the web opens (cross-site WebSocket hijacking), and
the Origin header is what tells such a page apart.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host
from django.utils.crypto import salted_hmac

from chat.database import reading

logger = logging.getLogger("chat.auth")

GUEST_NAME = "chat_name"
"""The session's key for the name that a guest chose on the page."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, as far as is known. Equal ones are the same person."""

    # "account:<pk>", "guest:<hash of the session>:<name>" or "socket:<random>".
    key: str
    # The name they have; None where it is still theirs to say.
    name: str | None = None
    # Does the identity outlive the socket?
    lasting: bool = False


async def identify(scope: Scope) -> Identity:
    """The identity behind a socket's cookies. Reads the database only where there is a session cookie."""
    key = _cookies(scope).get(settings.SESSION_COOKIE_NAME)
    if key:
        found = await reading(partial(_of_session, key))
        if found:
            return found
    return Identity(key=f"socket:{secrets.token_hex(8)}")


class _Glance(dict[str, Any]):
    """What a session holds, for ``get_user`` to read. It would also renew the session's key after a change of
    SECRET_KEY, or end the session: a browser hears of neither over a socket, and would be signed out.
    """

    def cycle_key(self) -> None: ...

    def flush(self) -> None: ...


def _of_session(session_key: str) -> Identity | None:
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(SimpleNamespace(session=_Glance(session.items())))  # type: ignore[arg-type]  # it reads only this
    if user.is_authenticated:
        return account(user)
    name = session.get(GUEST_NAME)
    # A session that the database doesn't know loads empty, under no key.
    if session.session_key is None or name is None:
        return None
    return guest(session.session_key, name)


def account(user: AbstractBaseUser) -> Identity:
    """Somebody who is signed in."""
    return Identity(key=f"account:{user.pk}", name=user.get_username(), lasting=True)


def guest(session_key: str, name: str) -> Identity:
    """Somebody without an account, known by the session of their browser."""
    # The session's key is a secret; what identities end up in (logs, the database) is not the place for it.
    browser = salted_hmac("chat.auth", session_key).hexdigest()[:16]
    return Identity(key=f"guest:{browser}:{name}", name=name, lasting=True)


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope.get("headers", []) if key == name]


def _cookies(scope: Scope) -> dict[str, str]:
    return parse_cookie("; ".join(_headers(scope, b"cookie")))


class OriginCheck:
    """Lets a WebSocket through only from our own pages.

    The Origin must be the very host and port that was asked for (and https where session cookies are), or one of
    CSRF_TRUSTED_ORIGINS. Programs send no Origin: they are let in as long as they bring no session cookie, for
    then nothing rides on a browser's credentials.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _origin_is_ours(scope):
            await self.application(scope, receive, send)
        else:
            await refuse(scope, receive, send)


def _origin_is_ours(scope: Scope) -> bool:
    hosts, origins = _headers(scope, b"host"), _headers(scope, b"origin")
    if len(hosts) != 1 or len(origins) > 1:
        return False
    domain, _ = split_domain_port(hosts[0])
    if not domain or not validate_host(domain, _allowed_hosts()):
        return False
    if not origins:
        return settings.SESSION_COOKIE_NAME not in _cookies(scope)
    if origins[0] in settings.CSRF_TRUSTED_ORIGINS:
        return True
    schemes = {"https"} if settings.SESSION_COOKIE_SECURE else {"http", "https"}
    return any(origins[0] == f"{scheme}://{_without_default_port(hosts[0], scheme)}" for scheme in schemes)


def _without_default_port(host: str, scheme: str) -> str:
    return host.lower().removesuffix(":443" if scheme == "https" else ":80")


def _allowed_hosts() -> list[str]:
    """As Django's own request does it: local names, while debugging and nothing is set."""
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        return [".localhost", "127.0.0.1", "[::1]"]
    return settings.ALLOWED_HOSTS


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Turn a WebSocket away before it opens: the client sees HTTP 403. One line in the log."""
    await receive()
    origin = ", ".join(_headers(scope, b"origin")) or "none"
    logger.warning("refused a WebSocket to %.200r from origin %.200r", scope["path"], origin)
    await send({"type": "websocket.close", "code": 1000})
