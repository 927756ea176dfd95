"""The methods that a page takes."""

from collections.abc import Callable
from typing import Any

from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

SAFE = frozenset({"GET", "HEAD"})


def takes(*methods: str) -> Callable[[Any], Any]:
    """A page that takes these methods, and answers every other with 405 and what it takes.

    Django's middleware looks for a form's token before the page looks at the method: a DELETE would be told that
    its token is missing (403). Here the token is looked for after the method, whether or not the project has that
    middleware. A page that changes nothing needs no token.
    """

    def decorate(view: Any) -> Any:
        protected = view if SAFE.issuperset(methods) else csrf_protect(view)
        return csrf_exempt(require_http_methods(list(methods))(protected))

    return decorate
