"""Middlewares: security headers, Clear-Site-Data, allowed methods, and 503 while the database is away."""

import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_out
from django.db import InterfaceError, OperationalError
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.utils.log import log_response

logger = logging.getLogger("chatsite")

RETRY_AFTER = 5
"""Seconds after which a client may try again while the database is away."""
METHODS = frozenset({"GET", "HEAD", "POST"})
"""The methods that the site's pages take."""


def security_headers(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """The headers that Django 5.2 has no setting for (6.0 has one for one of them)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", settings.CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Permissions-Policy", settings.PERMISSIONS_POLICY)
        # No page of another site may embed ours as an image, a script or anything else.
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response

    return middleware


def end_of_sign_in(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Have the browser delete its stored data after any response that signs the user out (W3C Clear Site Data).

    Browsers do that on https pages only. On http the next page's script does it (sweep.js).
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if hasattr(request, "signed_out"):
            response.headers.setdefault("Clear-Site-Data", '"storage"')
        return response

    return middleware


@receiver(user_logged_out)
def _note_end(request: HttpRequest | None, **_: object) -> None:
    if request is not None:
        request.signed_out = True  # type: ignore[attr-defined]  # read by the middleware above


class UsualMethods:
    """Answers other methods with 405, before a form's token is checked.

    The chat's own pages do so themselves (chat.views.methods), but not all of Django's do.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: Any, *_: Any) -> HttpResponse | None:
        if request.method in METHODS or getattr(view, "csrf_exempt", False):
            return None
        return HttpResponseNotAllowed(sorted(METHODS))


class DatabaseAway:
    """Answers with 503 and Retry-After while the database is away, and logs one line."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, OperationalError | InterfaceError):
            return None
        response = HttpResponse(
            render_to_string("503.html"), status=503, headers={"Retry-After": str(RETRY_AFTER)}
        )
        # Without this, Django would log the response once more, without the reason.
        line = "the database does not answer for %s: %s"
        log_response(line, request.path, str(exception), response=response, request=request, logger=logger)
        return response
