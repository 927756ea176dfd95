"""Counts every password attempt, whichever page, form or API receives it.

Every check of a password passes one of two places, and a project lists both in its settings:

- ``django.contrib.auth.authenticate``: CountedTries, the first of AUTHENTICATION_BACKENDS, gets the name of the
  attempt. It never accepts a user. It counts the attempt, and refuses one too many.
- ``check_password``: the hashers of chat.auth.hashers count each check that ``authenticate`` did not announce, for
  example the old password in the form that changes it.

``chat.middleware.SignIns`` tracks the request of an attempt, answers a refused one with 429, and refunds the
attempts that were not wrong: only wrong passwords use up a budget.
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
"""Names of credentials that can be guessed. Signed tokens and API keys can't be, so they are not counted."""


class AttemptRefused(ValidationError):  # noqa: N818 the name states what happened
    """A password was not checked. A form shows the sentence; the middleware answers with the status."""

    def __init__(self, sentence: str, *, status: int, wait: int) -> None:
        super().__init__(sentence, code="refused")
        self.sentence = sentence
        # Status of the HTTP response: 429 (RFC 6585, section 4) or 503.
        self.status = status
        # Seconds until the next attempt is allowed.
        self.wait = wait


class AttemptTracker:
    """The password attempts and the identities of the browser in one HTTP request."""

    def __init__(self, request: HttpRequest | None) -> None:
        self.request = request
        # Looked up for every request, so that an unlisted proxy is noticed with its first one.
        self._address = request_address(request.META) if request else ""
        # The refusal of an attempt, or None.
        self.refusal: AttemptRefused | None = None
        # For the browser's cookie: its accounts, each with True if it has just signed in; and whether the browser
        # is a guest's.
        self.accounts: list[tuple[AbstractBaseUser, bool]] = []
        self.is_guests = False
        # The attempt that ``authenticate`` announced, until its result is known.
        self._announced: Attempt | None = None
        # Attempts that are paid and not known to be wrong.
        self._made: list[Attempt] = []

    def browser(self) -> browsers.Browser | None:
        return browsers.read(self.request.COOKIES) if self.request else None

    def announce(self, name: str) -> None:
        """Count an attempt for the account of this name. Raises AttemptRefused."""
        browser = self.browser()
        device = browser.device_for(name) if browser else ""
        self._announced = self._take(Attempt(self._address, name, device))

    def check(self, encoded: str) -> Attempt | None:
        """Count a comparison with this hash, unless ``announce`` counted it. Raises AttemptRefused."""
        if self._announced:
            return None
        # A signed-in user confirms their password, or a form compares with former passwords. Such an attempt must
        # not use up the budget of the network.
        alone = self._is_signed_in()
        name = f"hash {blake2b(encoded.encode(), digest_size=16).hexdigest()}"
        return self._take(Attempt(self._address, name, counts_for_network=not alone))

    def count(self) -> None:
        """Count an attempt that is never refunded, whatever comes of it. Raises AttemptRefused."""
        self._made.remove(self._take(Attempt(self._address)))

    def failed(self, attempt: Attempt | None = None) -> None:
        """Note a wrong password: of this attempt, or of the announced one."""
        attempt = attempt or self._announced
        if attempt in self._made:
            self._made.remove(attempt)
        self._announced = None

    def succeeded(self) -> None:
        """Note a right password. The next check is another attempt."""
        self._announced = None

    def close(self) -> None:
        """End the request: refund the attempts that were not wrong."""
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
            # An async view that has not loaded the user.
            return False


_visit: ContextVar[AttemptTracker | None] = ContextVar("chat_visit", default=None)


@contextmanager
def tracking(request: HttpRequest) -> Iterator[AttemptTracker]:
    """Track the password attempts of the body, which handles ``request``."""
    tracker = AttemptTracker(request)
    token = _visit.set(tracker)
    try:
        yield tracker
    finally:
        _visit.reset(token)
        tracker.close()


def current_tracker() -> AttemptTracker | None:
    """The tracker of the current request; None outside of a request, or without the middleware."""
    return _visit.get()


class CountedTries:
    """The first of AUTHENTICATION_BACKENDS: it accepts nobody, and refuses an attempt too many.

    It has no ``get_user`` and no permissions, so sessions belong to the backend that accepted the user.
    """

    @sensitive_variables("credentials")
    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        """Count the attempt. Raises AttemptRefused."""
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
    """Add the account to the browser's cookie. ``proven``: the user signed in or entered their password."""
    tracker = current_tracker()
    if tracker and user is not None:
        tracker.accounts.append((user, proven))


def remember_guest() -> None:
    """Add the guest of the request's session to the browser's cookie."""
    tracker = current_tracker()
    if tracker:
        tracker.is_guests = True


def _name_in(credentials: Mapping[str, Any]) -> str:
    """The name of the account in the credentials."""
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
    """Keep the account in the cookie: a banned user stays banned after signing out."""
    remember_account(user)
