"""Middlewares for what Django has no setting for; pages while the database is away."""

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
"""Seconds."""


USUAL = frozenset({"GET", "HEAD", "POST"})
"""The methods that the site's pages take."""


def security_headers(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """The headers that Django 5.2 has no setting for (6.0 has one for one of them)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", settings.CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Permissions-Policy", settings.PERMISSIONS_POLICY)
        # No page of another site may use ours as an image, a script or whatever else.
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response

    return middleware


def end_of_sign_in(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Whichever page signs somebody out, the browser forgets what it kept of them (W3C Clear Site Data).

    Browsers do that on https pages only. Elsewhere the next page's script does it (sweep.js).
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
        request.signed_out = True  # type: ignore[attr-defined]  # for the middleware above


class UsualMethods:
    """Answers other methods with 405, before a form's token is looked for.

    The chat's own pages do so themselves (chat.views.methods); Django's do not all.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: Any, *_: Any) -> HttpResponse | None:
        if request.method in USUAL or getattr(view, "csrf_exempt", False):
            return None
        return HttpResponseNotAllowed(sorted(USUAL))


class DatabaseAway:
    """Without the database a page is answered with 503, and when to come again; one line in the log."""

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
        # Or Django would say it once more, without the reason.
        what = "the database does not answer for %s: %s"
        log_response(what, request.path, str(exception), response=response, request=request, logger=logger)
        return response
