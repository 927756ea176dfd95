"""The middleware that a project names before Django's sessions: refused passwords, and the browser's cookie."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string

from chat.auth import GUEST_NAME, browsers, session_digest
from chat.auth.password_attempts import AttemptRefused, AttemptTracker, tracking

SHOWN = {2, 4}
"""The hundreds of the statuses whose pages show what a form said. A redirect shows nothing, nor does a page for an
error of the server."""


class SignIns:
    """Refused tries are answered with 429 and 503; a browser that gets an identity gets its cookie."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with tracking(request) as tracker:
            response = self._get_response(request)
            if tracker.refusal:
                response = _refused(tracker.refusal, response)
            _know(tracker, request, response)
            return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:  # noqa: ARG002 Django's signature
        return _page(exception) if isinstance(exception, AttemptRefused) else None


def _know(tracker: AttemptTracker, request: HttpRequest, response: HttpResponseBase) -> None:
    """Set the browser's cookie, where it says less than is known now."""
    if not tracker.accounts and not tracker.is_guests:
        return
    before = tracker.browser()
    browser = before or browsers.Browser()
    for user, proven in tracker.accounts:
        browser = browser.with_account(user, proven=proven)
    session = request.session
    # By now a new session has been kept, and has its key.
    if tracker.is_guests and session.session_key and GUEST_NAME in session:
        browser = browser.with_guest(session_digest(session.session_key))
    if before is None or not browser.says_the_same(before):
        browsers.write(browser, response)


def _refused(refusal: AttemptRefused, response: HttpResponseBase) -> HttpResponseBase:
    """A form with the sentence in it stays as it is; what knows nothing of the refusal is replaced."""
    if response.status_code // 100 not in SHOWN:
        return _page(refusal)
    response.status_code = refusal.status
    response.headers["Retry-After"] = str(refusal.wait)
    return response


def _page(refusal: AttemptRefused) -> HttpResponse:
    try:
        content, kind = str(render_to_string("429.html", {"sentence": refusal.sentence})), "text/html"
    except TemplateDoesNotExist:
        content, kind = f"{refusal.sentence}\n", "text/plain"
    headers = {"Retry-After": str(refusal.wait)}
    return HttpResponse(content, status=refusal.status, content_type=f"{kind}; charset=utf-8", headers=headers)
