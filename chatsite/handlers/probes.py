"""Probes of load balancers and monitors, past Django's middlewares: no host is asked for, and none is refused."""

from asyncio import to_thread
from inspect import iscoroutinefunction
from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpResponse
from django.urls import reverse

from chat import views
from chat.hub import Hub
from chat.loops import of_this_loop
from chatsite.handlers.pages import PageHandler

Scope = dict[str, Any]


class ProbeHandler:
    """An ASGI application before the pages. Their queue is not its own: it answers while they are busy."""

    def __init__(self, pages: PageHandler) -> None:
        self._pages = pages
        probes = {"healthz": views.healthz, "readyz": views.readyz, "metrics": views.show_metrics}
        self._views = {reverse(f"chat:{name}"): view for name, view in probes.items()}

    def is_cheap(self, scope: Scope) -> bool:
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
    """None if there is no such page; it is answered as any other missing page."""
    try:
        response: HttpResponse
        if iscoroutinefunction(view):
            response = await view(request)
        elif view is views.healthz:
            response = view(request)
        else:
            # It tells of the layer, which nobody has asked where there was no socket yet.
            of_this_loop(Hub).follow()
            # It waits for the database, which may be away.
            response = await to_thread(view, request)
    except Http404:
        return None
    return response
