"""Middleware for before Django's sessions: answers refused sign-ins, and sets the browser's cookie."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string

from chat.auth import GUEST_NAME, browsers, session_digest
from chat.auth.password_attempts import AttemptRefused, AttemptTracker, tracking

FORM_STATUSES = {2, 4}
"""First digits of statuses whose pages show a form's errors. Redirects and server errors do not show them."""


class SignIns:
    """Answers refused attempts at passwords with 429 or 503. Gives a browser with a new identity its cookie."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with tracking(request) as tracker:
            response = self._get_response(request)
            if tracker.refusal:
                response = _refusal_response(tracker.refusal, response)
            _set_browser_cookie(tracker, request, response)
            return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:  # noqa: ARG002 Django's signature
        return _refusal_page(exception) if isinstance(exception, AttemptRefused) else None


def _set_browser_cookie(tracker: AttemptTracker, request: HttpRequest, response: HttpResponseBase) -> None:
    """Set the browser's cookie if it lacks an identity of this request."""
    if not tracker.accounts and not tracker.is_guests:
        return
    before = tracker.browser()
    browser = before or browsers.Browser()
    for user, proven in tracker.accounts:
        browser = browser.with_account(user, proven=proven)
    session = request.session
    # By now a new session is saved and has its key.
    if tracker.is_guests and session.session_key and GUEST_NAME in session:
        browser = browser.with_guest(session_digest(session.session_key))
    if before is None or not browser.is_same_as(before):
        browsers.write(browser, response)


def _refusal_response(refusal: AttemptRefused, response: HttpResponseBase) -> HttpResponseBase:
    """The view's response, if its form can show the sentence, else a page of its own. Both have the status."""
    if response.status_code // 100 not in FORM_STATUSES:
        return _refusal_page(refusal)
    response.status_code = refusal.status
    response.headers["Retry-After"] = str(refusal.wait)
    return response


def _refusal_page(refusal: AttemptRefused) -> HttpResponse:
    try:
        content, content_type = str(render_to_string("429.html", {"sentence": refusal.sentence})), "text/html"
    except TemplateDoesNotExist:
        content, content_type = f"{refusal.sentence}\n", "text/plain"
    headers = {"Retry-After": str(refusal.wait)}
    return HttpResponse(
        content, status=refusal.status, content_type=f"{content_type}; charset=utf-8", headers=headers
    )
