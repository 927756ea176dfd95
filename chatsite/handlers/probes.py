"""Probes of load balancers and monitors, without Django's middlewares: any Host header is accepted."""

from asyncio import to_thread
from inspect import iscoroutinefunction
from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpResponse
from django.urls import reverse

from chat import views
from chat.hub import Hub
from chat.loops import current
from chatsite.handlers.pages import PageHandler

Scope = dict[str, Any]


class ProbeHandler:
    """An ASGI application that answers probes, and passes other requests to the pages.

    It does not use the queue of the pages, so it answers while they are busy.
    """

    def __init__(self, pages: PageHandler) -> None:
        self._pages = pages
        probes = {"healthz": views.healthz, "readyz": views.readyz, "metrics": views.show_metrics}
        self._views = {reverse(f"chat:{name}"): view for name, view in probes.items()}

    def is_cheap(self, scope: Scope) -> bool:
        """True if the request is a probe."""
        return scope["path"] in self._views

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        view = self._views.get(scope["path"])
        response = await _answer(view, ASGIRequest(scope, BytesIO())) if view else None
        if response is None:
            await self._pages(scope, receive, send)
            return
        response.headers["X-Content-Type-Options"] = "nosniff"
        await self._pages.send_response(response, send)


async def _answer(view: Any, request: ASGIRequest) -> HttpResponse | None:
    """The view's response, or None if it raised Http404: then Django's own page answers."""
    try:
        response: HttpResponse
        if iscoroutinefunction(view):
            response = await view(request)
        elif view is views.healthz:
            response = view(request)
        else:
            # The views report on the channel layer, to which the hub may not be connected yet.
            current(Hub).follow()
            # The views wait for the database, which may be away.
            response = await to_thread(view, request)
    except Http404:
        return None
    return response
