"""Counts each try of a password, whichever page, form or API takes it.

Every check of a password passes one of two places, and both are here for a project to name in its settings:

- ``django.contrib.auth.authenticate``: CountedTries, the first of AUTHENTICATION_BACKENDS, gets the name that is
  tried. It lets nobody in; it counts, and stops a try that is too many.
- ``check_password``: the hashers of chat.auth.hashers count each check that ``authenticate`` did not announce. The
  old password in the form for a new one is such a check.

``chat.middleware.SignIns`` marks the request that a try is part of, answers a refused one with 429, and gives back
the tries that were not wrong: only wrong passwords use up a budget.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.exceptions import SynchronousOnlyOperation, ValidationError
from django.http import HttpRequest
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_variables

from chat.auth import browsers
from chat.limits import Attempt, request_address, sign_in_limits

SECRET = re.compile("pass|pin|secret|code|otp", re.IGNORECASE)
"""Names of credentials that can be guessed. Signed tokens and keys of programs can't; they are not counted."""


class AttemptRefused(ValidationError):  # noqa: N818 it names what happened
    """A password that is not looked at: a form shows the sentence, the middleware answers with the status."""

    def __init__(self, sentence: str, *, status: int, wait: int) -> None:
        super().__init__(sentence, code="refused")
        self.sentence = sentence
        # Status of the HTTP answer: 429 (RFC 6585, section 4) or 503.
        self.status = status
        # Seconds after which to try again.
        self.wait = wait


class AttemptTracker:
    """One HTTP request, as far as passwords and the browser's identities are concerned."""

    def __init__(self, request: HttpRequest | None) -> None:
        self.request = request
        # Each request asks for it, so that a proxy that is not named is noticed at its first.
        self._address = request_address(request.META) if request else ""
        # Why a try was refused; None where none was.
        self.refusal: AttemptRefused | None = None
        # For the browser's cookie: the accounts that it is, each with whether one has just signed in; and whether
        # it is a guest's.
        self.accounts: list[tuple[AbstractBaseUser, bool]] = []
        self.is_guests = False
        # Announced by ``authenticate``, and neither wrong nor right so far.
        self._announced: Attempt | None = None
        # Paid for, and not known to be wrong.
        self._made: list[Attempt] = []

    def browser(self) -> browsers.Browser | None:
        return browsers.read(self.request.COOKIES) if self.request else None

    def announce(self, name: str) -> None:
        """A password is tried for the account of this name. Raises Refused."""
        browser = self.browser()
        device = browser.device_for(name) if browser else ""
        self._announced = self._take(Attempt(self._address, name, device))

    def check(self, encoded: str) -> Attempt | None:
        """A password is compared with this hash. The try, if nobody announced it. Raises Refused."""
        if self._announced:
            return None
        # Somebody who is signed in proves again who they are, or a form compares with former passwords: the others
        # of the network have nothing to do with it.
        alone = self._is_signed_in()
        name = f"hash {blake2b(encoded.encode(), digest_size=16).hexdigest()}"
        return self._take(Attempt(self._address, name, counts_for_network=not alone))

    def count(self) -> None:
        """Something is tried that must not be tried without end, and never given back. Raises Refused."""
        self._made.remove(self._take(Attempt(self._address)))

    def failed(self, attempt: Attempt | None = None) -> None:
        """The password was wrong: that of this try, or of the announced one."""
        attempt = attempt or self._announced
        if attempt in self._made:
            self._made.remove(attempt)
        self._announced = None

    def succeeded(self) -> None:
        """The password was right: what is checked next is another try."""
        self._announced = None

    def close(self) -> None:
        """The request is answered: give back what was not wrong."""
        for attempt in self._made:
            sign_in_limits.refund(attempt)
        self._made.clear()

    def _take(self, attempt: Attempt) -> Attempt:
        wait = math.ceil(sign_in_limits.take(attempt))
        if wait:
            sentence = ngettext(
                "Too many tries; wait %(wait)d second.", "Too many tries; wait %(wait)d seconds.", wait
            )
            self.refusal = AttemptRefused(sentence % {"wait": wait}, status=429, wait=wait)
            raise self.refusal
        self._made.append(attempt)
        return attempt

    def _is_signed_in(self) -> bool:
        user = getattr(self.request, "user", None)
        try:
            return bool(user and user.is_authenticated)
        except SynchronousOnlyOperation:
            # An async view that has not asked who it is.
            return False


_visit: ContextVar[AttemptTracker | None] = ContextVar("chat_visit", default=None)


@contextmanager
def tracking(request: HttpRequest) -> Iterator[AttemptTracker]:
    """All that tries passwords in here does it for this request."""
    tracker = AttemptTracker(request)
    token = _visit.set(tracker)
    try:
        yield tracker
    finally:
        _visit.reset(token)
        tracker.close()


def current_tracker() -> AttemptTracker | None:
    """The request that is being answered; None outside of one, or without the middleware."""
    return _visit.get()


class CountedTries:
    """The first of AUTHENTICATION_BACKENDS: it lets nobody in, and stops a try that is too many.

    It has no ``get_user`` and no permissions: sessions stay those of the backend that let somebody in.
    """

    @sensitive_variables("credentials")
    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        """Count the try. Raises Refused."""
        if any(SECRET.search(key) for key in credentials):
            tracker = current_tracker() or AttemptTracker(request)
            tracker.announce(_name_in(credentials))

    @sensitive_variables("credentials")
    async def aauthenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        await sync_to_async(self.authenticate)(request, **credentials)


def connect() -> None:
    """Connect to the signals of failed passwords, sign-ins and sign-outs. Called when the apps are ready."""
    user_login_failed.connect(_failed, dispatch_uid="chat.tries.failed")
    user_logged_in.connect(_signed_in, dispatch_uid="chat.tries.in")
    user_logged_out.connect(_signed_out, dispatch_uid="chat.tries.out")


def remember_account(user: AbstractBaseUser | None, *, proven: bool = False) -> None:
    """The request's browser is this account's: its cookie will say so. ``proven``: by a sign-in, or a password."""
    tracker = current_tracker()
    if tracker and user is not None:
        tracker.accounts.append((user, proven))


def remember_guest() -> None:
    """The same for the guest whom the request's session names."""
    tracker = current_tracker()
    if tracker:
        tracker.is_guests = True


def _name_in(credentials: Mapping[str, Any]) -> str:
    """The name that the password was given for."""
    named = {key: value for key, value in credentials.items() if isinstance(value, str) and not SECRET.search(key)}
    for key in (get_user_model().USERNAME_FIELD, "username"):
        if key in named:
            return named[key]
    return " ".join(named[key] for key in sorted(named))


def _failed(**_: Any) -> None:
    tracker = current_tracker()
    if tracker:
        tracker.failed()


def _signed_in(user: AbstractBaseUser | None, **_: Any) -> None:
    remember_account(user, proven=True)


def _signed_out(user: AbstractBaseUser | None, **_: Any) -> None:
    """It stays known: a banned account that signs out is no welcome guest."""
    remember_account(user)
