"""Pages for programs: health, readiness, metrics, and the identity of the browser."""

from asyncio import to_thread

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache

from chat.conf import chat_settings
from chat.loops import current
from chat.metrics import prometheus
from chat.metrics.collector import Collector
from chat.views.methods import allow_methods
from chat.views.readiness import readiness
from chat.views.visitor import identity_of


@allow_methods("GET", "HEAD")
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 a view's signature
    """200 while the process answers. It does not check the database or the channel layer, which others share."""
    return HttpResponse("ok\n", content_type="text/plain")


@allow_methods("GET", "HEAD")
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 if the process is ready for traffic; 503 if it can't write to the database or drains.

    Without the channel layer the chat continues within the process, so that is 200. With ``?strict`` it is 503.
    """
    now = readiness()
    ready = now.is_ready(strict="strict" in request.GET)
    body = {
        "ready": ready,
        "database": now.database,
        "layer": now.layer,
        "log": "ok" if now.log else "stuck",
        "draining": now.draining,
    }
    return JsonResponse(body, status=200 if ready else 503)


@allow_methods("GET", "HEAD")
@never_cache
async def show_metrics(request: HttpRequest) -> HttpResponse:
    """The metrics, for clients with METRICS_TOKEN. Without that setting the page is a 404."""
    token = chat_settings().METRICS_TOKEN
    if not token:
        raise Http404
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {token}"):
        return HttpResponse("The token is missing or wrong.\n", status=401, headers={"WWW-Authenticate": "Bearer"})
    current(Collector).collect()
    return HttpResponse(await to_thread(prometheus.exposition), content_type=prometheus.CONTENT_TYPE)


@allow_methods("GET", "HEAD")
@never_cache
def whoami(request: HttpRequest) -> HttpResponse:
    """The identity that a socket of this browser would have, as JSON.

    ``username`` is null without a name, ``account`` is true for a signed-in user, ``you`` is the user's key or "".
    The page requests it when its socket was closed because a sign-in ended. Other sites can't read the response.
    """
    identity = identity_of(request)
    return JsonResponse(
        {
            "username": identity.name if identity else None,
            "account": identity is not None and identity.account is not None,
            "you": identity.public if identity else "",
        }
    )
