"""The identity of a socket: an account, a guest with a session, or a guest who only gives a name.

It comes from the session's cookie or from a signed token, and from nothing else in the client's JSON.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils.crypto import salted_hmac

from chat.auth import browsers
from chat.auth.headers import Scope, cookies
from chat.database import run_read
from chat.models import account_key, author_key

GUEST_NAME = "chat_name"
"""The key in the session of the name that a guest chose on the page."""
MODERATE = "chat.moderate_room"
"""The permission to moderate every room that is not private."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The evidence for an identity. If any part becomes invalid, the identity is lost."""

    # The session's key, a secret; None if the client sent a token instead.
    session: str | None = field(default=None, repr=False)
    # The account's session auth hash, which changes with its password; "" for guests.
    hash: str = field(default="", repr=False)
    # Expiry of the token (seconds since 1970); None for sessions.
    expires: float | None = None
    # The session's digest, which is no secret; "" without a session.
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, as far as is known. Equal identities are the same user."""

    # "account:<pk>", "guest:<hash of the session>:<name>" or "socket:<random>".
    key: str
    # The user's name; None if the client may still give one.
    name: str | None = None
    # True if the identity outlives the socket.
    lasting: bool = False
    # True if the user may moderate every room that is not private.
    staff: bool = field(default=False, compare=False)
    proof: Proof = field(default=Proof(), compare=False)
    # All users that the browser has been, as in ``person``. Their restrictions hold for this identity too.
    browser: tuple[str, ...] = field(default=(), compare=False)
    # The account's primary key as text; None for guests. Follows from ``key``.
    account: Any = field(init=False, compare=False, repr=False)
    # The key that limits and restrictions are for: a guest who takes another name keeps it. Follows from ``key``.
    person: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Parsed once: each command and each rule asks for both. A frozen dataclass is set in no other way.
        kind, _, rest = self.key.partition(":")
        object.__setattr__(self, "account", rest if kind == "account" else None)
        object.__setattr__(self, "person", f"guest:{rest.partition(':')[0]}" if kind == "guest" else self.key)

    @property
    def public(self) -> str:
        """The key that events show, by which clients tell users apart; "" if only a name is known."""
        return author_key(self.key)


async def identify(scope: Scope) -> Identity:
    """The identity behind a socket's cookies. Reads the database only if there is a session cookie."""
    brought = cookies(scope)
    key = brought.get(settings.SESSION_COOKIE_NAME)
    found = await run_read(partial(_from_session, key)) if key else None
    return with_browser(found or Identity(key=f"socket:{secrets.token_hex(8)}"), brought)


def with_browser(who: Identity, brought: Mapping[str, str]) -> Identity:
    """The same identity, with all users that the browser with these cookies has been."""
    browser = browsers.read(brought)
    return replace(who, browser=browser.people) if browser else who


class _ReadOnlySession(dict[str, Any]):
    """A session's data that ``get_user`` can only read.

    It would also cycle the session's key after a change of SECRET_KEY, or flush the session. A socket can't tell
    the browser the new key, so the user would be signed out.
    """

    def cycle_key(self) -> None: ...

    def flush(self) -> None: ...


def _from_session(session_key: str) -> Identity | None:
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(SimpleNamespace(session=_ReadOnlySession(session.items())))  # type: ignore[arg-type]  # it reads only this
    if user.is_authenticated:
        return account(user, session=session_key)
    name = session.get(GUEST_NAME)
    # A session that does not exist loads empty, without a key.
    if session.session_key is None or name is None:
        return None
    return guest(session.session_key, name)


def account(
    user: AbstractBaseUser, *, session: str | None = None, expires: float | None = None, sealed: bool = True
) -> Identity:
    """The identity of an account, by a session or a token. ``sealed``: a change of the password ends it."""
    return Identity(
        key=account_key(user.pk),
        name=user.get_username(),
        lasting=True,
        staff=getattr(user, "is_staff", False) and user.has_perm(MODERATE),  # type: ignore[attr-defined]  # staff have permissions
        proof=Proof(
            session=session,
            hash=user.get_session_auth_hash() if sealed else "",
            expires=expires,
            digest=session_digest(session) if session else "",
        ),
    )


def accounts_of(identities: Iterable[Identity]) -> dict[str, Any]:
    """The identities' accounts, by ``Identity.account``: one query. Deleted accounts are left out."""
    pks = {identity.account for identity in identities} - {None}
    if not pks:
        return {}
    manager: Any = get_user_model()._default_manager  # noqa: SLF001 Django's documented name for it
    return {str(user.pk): user for user in manager.filter(pk__in=pks)}


def guest(session_key: str, name: str) -> Identity:
    """The identity of a guest, known by the session of their browser."""
    digest = session_digest(session_key)
    proof = Proof(session=session_key, digest=digest)
    return Identity(key=f"guest:{digest}:{name}", name=name, lasting=True, proof=proof)


def session_digest(session_key: str) -> str:
    """The name of a session in logs, in the database and between processes: its key is a secret."""
    return salted_hmac("chat.auth", session_key).hexdigest()[:16]
