"""The HTTP methods that a page accepts."""

from collections.abc import Callable
from typing import Any

from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

SAFE = frozenset({"GET", "HEAD"})


def allow_methods(*methods: str) -> Callable[[Any], Any]:
    """A decorator for a page with these methods. Any other method gets 405 and the Allow header.

    Django's middleware checks the CSRF token before the page checks the method, so a DELETE would get 403 for a
    missing token. Here the token is checked after the method, whether or not the project has that middleware.
    A page that changes nothing needs no token.
    """

    def decorate(view: Any) -> Any:
        protected = view if SAFE.issuperset(methods) else csrf_protect(view)
        return csrf_exempt(require_http_methods(list(methods))(protected))

    return decorate
