"""What programs ask: is the process alive, and ready, and how is it; and who is the browser."""

from asyncio import to_thread

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache

from chat.conf import chat_settings
from chat.loops import current
from chat.metrics import prometheus
from chat.metrics.collector import Collector
from chat.views.methods import takes
from chat.views.readiness import readiness
from chat.views.visitor import identity_of


@takes("GET", "HEAD")
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 a view's signature
    """The process answers: 200. It says nothing of the database or the layer, which others share."""
    return HttpResponse("ok\n", content_type="text/plain")


@takes("GET", "HEAD")
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Should people be sent here? 200, or 503 if nothing can be written or the process drains.

    Without the channel layer the chat goes on, so that is 200; with ``?strict`` 503.
    """
    now = readiness()
    ready = now.is_ready(strict="strict" in request.GET)
    told = {
        "ready": ready,
        "database": now.database,
        "layer": now.layer,
        "log": "ok" if now.log else "stuck",
        "draining": now.draining,
    }
    return JsonResponse(told, status=200 if ready else 503)


@takes("GET", "HEAD")
@never_cache
async def show_metrics(request: HttpRequest) -> HttpResponse:
    """The numbers, for who has METRICS_TOKEN. Where none is set there is no such page."""
    token = chat_settings().METRICS_TOKEN
    if not token:
        raise Http404
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {token}"):
        return HttpResponse("The token is missing or wrong.\n", status=401, headers={"WWW-Authenticate": "Bearer"})
    current(Collector).collect()
    return HttpResponse(await to_thread(prometheus.exposition), content_type=prometheus.CONTENT_TYPE)


@takes("GET", "HEAD")
@never_cache
def whoami(request: HttpRequest) -> HttpResponse:
    """The identity of a socket of this browser: {"username": null for nobody, "account": are they
    signed in, "you": their key, "" for nobody}.

    The page asks it when its socket was closed because a sign-in ended. No other site may read the answer.
    """
    identity = identity_of(request)
    return JsonResponse(
        {
            "username": identity.name if identity else None,
            "account": identity is not None and identity.account is not None,
            "you": identity.public if identity else "",
        }
    )
