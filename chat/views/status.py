"""What programs ask: whether the process is alive, and who the browser is."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from chat.views.visitor import identity_of


@require_GET
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 a view's signature
    """The process answers: 200. It says nothing of the database or the layer, which others share."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_GET
@never_cache
def whoami(request: HttpRequest) -> HttpResponse:
    """Who a socket of this browser would be: {"username": null for nobody, "account": are they signed in}.

    The page asks it when its socket was closed because a sign-in ended. No other site may read the answer.
    """
    identity = identity_of(request)
    return JsonResponse(
        {
            "username": identity.name if identity else None,
            "account": identity is not None and identity.account is not None,
        }
    )
