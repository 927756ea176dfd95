"""Recognizes a browser: the users it has been, and the accounts that have signed in with it.

A signed cookie stores this; there is no table. The cookie is set when a browser gets an identity, not when it only
loads a page. It has two uses:

- Restrictions. A banned user stays banned under another name, in a new session, and after signing out.
- Password attempts. A browser in which an account has signed in has a budget of its own for that account
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
"""Seconds that a browser is known after it got an identity: the cookie's lifetime."""
ACCOUNTS, GUESTS = 10, 20
"""Most users of each kind in the cookie, the latest ones: every request carries it."""
LONGEST = 4_096
"""Longest cookie that is read (characters): browsers store no longer one."""


@dataclass(frozen=True, slots=True)
class Browser:
    """The content of a browser's cookie."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    # Primary keys of the accounts that signed in, the latest last, each with a seal that only a sign-in makes. A
    # seal of "": the sign-in was before such cookies existed.
    accounts: Mapping[str, str] = field(default_factory=dict)
    # Digests of the sessions of the guests that it has been, the latest last.
    guests: tuple[str, ...] = ()

    @property
    def people(self) -> tuple[str, ...]:
        """The users that restrictions may apply to, as in ``Identity.person``."""
        return (*map(account_key, self.accounts), *(f"guest:{digest}" for digest in self.guests))

    def with_account(self, user: AbstractBaseUser, *, proven: bool) -> Self:
        """Add an account. ``proven``: the user has just signed in.

        A session alone makes no seal. An attacker who stole one could make any number of known browsers, and each
        has password attempts of its own.
        """
        pk = str(user.pk)
        seal = self._seal(user) if proven else self.accounts.get(pk, "")
        others = {key: seal for key, seal in self.accounts.items() if key != pk}
        return replace(self, accounts=dict([*others.items(), (pk, seal)][-ACCOUNTS:]))

    def with_guest(self, digest: str) -> Self:
        others = [known for known in self.guests if known != digest]
        return replace(self, guests=(*others, digest)[-GUESTS:])

    def is_same_as(self, other: "Browser") -> bool:
        """True if both know the same users, in any order."""
        return self.accounts == other.accounts and set(self.guests) == set(other.guests)

    def device_for(self, name: str) -> str:
        """The key of this browser's own budget for the account of this name; "" if the account is not known in
        it.
        """
        user = account_named(name) if self.accounts and name else None
        seal = self.accounts.get(str(user.pk)) if user else None
        if user is None or seal is None or not constant_time_compare(seal, self._seal(user)):
            return ""
        return f"{self.id} {user.pk}"

    def _seal(self, user: AbstractBaseUser) -> str:
        """The seal of this browser and this account, valid until the password changes."""
        return salted_hmac(SALT, f"{self.id} {user.pk} {user.get_session_auth_hash()}").hexdigest()[:32]


def cookie_name() -> str:
    """The cookie's name, with the prefix where browsers accept it: no other host of the domain can set it then."""
    alone = settings.SESSION_COOKIE_SECURE and not settings.SESSION_COOKIE_DOMAIN
    return "__Host-chat_browser" if alone else "chat_browser"


def read(cookies: Mapping[str, str]) -> Browser | None:
    """The browser that sent these cookies; None if there is no valid one of ours."""
    value = cookies.get(cookie_name(), "")
    if not value or len(value) > LONGEST:
        return None
    try:
        browser, accounts, guests = signing.loads(value, salt=SALT, max_age=AGE)
    except (signing.BadSignature, ValueError):
        return None
    return Browser(browser, accounts, tuple(guests))


def write(browser: Browser, response: HttpResponseBase) -> None:
    content: Any = [browser.id, dict(browser.accounts), list(browser.guests)]
    response.set_cookie(
        cookie_name(),
        signing.dumps(content, salt=SALT, compress=True),
        max_age=AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        domain=settings.SESSION_COOKIE_DOMAIN,
        httponly=True,
        samesite="Lax",
    )
