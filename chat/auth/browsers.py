"""Recognizes a browser: which people it has been, and which accounts have signed in with it.

A signed cookie says so; no table does. It is set when a browser gets an identity, never for a mere
look at a page. Two things rest on it:

- Restrictions. A banned person stays banned under another name, in a new session, after signing out.
- Tries of passwords. A browser in which an account has signed in has a budget of its own for that account
  (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"), until the account's password changes.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core import signing
from django.http import HttpResponseBase
from django.utils.crypto import constant_time_compare, salted_hmac

from chat.auth.usernames import account_named
from chat.models import account_key

SALT = "chat.auth.browsers"
AGE = 365 * 24 * 3_600
"""Seconds that a browser is known after it got an identity."""
ACCOUNTS, GUESTS = 10, 20
"""The latest people of each kind that a browser is known as: the cookie goes along with each request."""
LONGEST = 4_096
"""Characters of a cookie that are read: browsers keep no longer ones."""


@dataclass(frozen=True, slots=True)
class Browser:
    """The content of a browser's cookie."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    # The accounts that it has been, the latest last: the primary key, and a seal that only a sign-in makes. An
    # empty one: the sign-in was before there were such cookies.
    accounts: Mapping[str, str] = field(default_factory=dict)
    # The guests that it has been, the latest last: digests of their sessions.
    guests: tuple[str, ...] = ()

    @property
    def people(self) -> tuple[str, ...]:
        """The people that restrictions may be for, as ``Identity.person`` has them."""
        return (*map(account_key, self.accounts), *(f"guest:{digest}" for digest in self.guests))

    def with_account(self, user: AbstractBaseUser, *, proven: bool) -> Self:
        """``proven``: somebody has just signed in. A mere session makes no seal: whoever stole one could make any
        number of known browsers of it, and each has tries of its own.
        """
        pk = str(user.pk)
        seal = self._seal(user) if proven else self.accounts.get(pk, "")
        others = {key: seal for key, seal in self.accounts.items() if key != pk}
        return replace(self, accounts=dict([*others.items(), (pk, seal)][-ACCOUNTS:]))

    def with_guest(self, digest: str) -> Self:
        others = [known for known in self.guests if known != digest]
        return replace(self, guests=(*others, digest)[-GUESTS:])

    def says_the_same(self, other: "Browser") -> bool:
        """But for the order."""
        return self.accounts == other.accounts and set(self.guests) == set(other.guests)

    def device_for(self, name: str) -> str:
        """The key of this browser's own tries for the account of this name; empty where it is not known for it."""
        user = account_named(name) if self.accounts and name else None
        seal = self.accounts.get(str(user.pk)) if user else None
        if user is None or seal is None or not constant_time_compare(seal, self._seal(user)):
            return ""
        return f"{self.id} {user.pk}"

    def _seal(self, user: AbstractBaseUser) -> str:
        """A seal of this browser and this account, valid until the password changes."""
        return salted_hmac(SALT, f"{self.id} {user.pk} {user.get_session_auth_hash()}").hexdigest()[:32]


def cookie_name() -> str:
    """With the prefix, where browsers accept it: no other host of the domain can set the cookie then."""
    alone = settings.SESSION_COOKIE_SECURE and not settings.SESSION_COOKIE_DOMAIN
    return "__Host-chat_browser" if alone else "chat_browser"


def read(cookies: Mapping[str, str]) -> Browser | None:
    """The browser that sends these cookies; None where it brings none, or none of ours."""
    value = cookies.get(cookie_name(), "")
    if not value or len(value) > LONGEST:
        return None
    try:
        browser, accounts, guests = signing.loads(value, salt=SALT, max_age=AGE)
    except (signing.BadSignature, ValueError):
        return None
    return Browser(browser, accounts, tuple(guests))


def write(browser: Browser, response: HttpResponseBase) -> None:
    told: Any = [browser.id, dict(browser.accounts), list(browser.guests)]
    response.set_cookie(
        cookie_name(),
        signing.dumps(told, salt=SALT, compress=True),
        max_age=AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        domain=settings.SESSION_COOKIE_DOMAIN,
        httponly=True,
        samesite="Lax",
    )
