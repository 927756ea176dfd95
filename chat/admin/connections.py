"""The view of the live system: who is connected, in which rooms, and how far behind.

It shows the sockets of the process that answers, straight from its hub: no row in the database that could be
stale. It runs on a worker thread beside the loop that owns the hub, so it only copies, and asks for a close
through the loop.
"""

import os
import socket as os_socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat.hub import Hub, Socket
from chat.loops import everywhere
from chat.models import Connection
from chat.presence import Presence
from chat.protocol import CloseCode

ROWS = 500
"""Sockets on the page; a search finds the others."""


@dataclass(frozen=True, slots=True)
class Row:
    """One socket, as the page shows it."""

    id: str
    name: str
    # Each room, and how many tabs the person has there.
    rooms: list[tuple[str, int]]
    since: datetime
    address: str
    # Bytes that wait for it.
    queue: int


@admin.register(Connection)
class ConnectionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """A change list without a table behind it."""

    change_list_template = "admin/chat/connections.html"

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 the admin's signature
        return False

    def has_change_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:  # noqa: ARG002
        return False

    def get_urls(self) -> list[Any]:
        # One socket has no page of its own: the list says all there is.
        return [url for url in super().get_urls() if url.name == "chat_connection_changelist"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._disconnect(request)
        query = request.GET.get("q", "").strip()
        found = sorted(_rows(query), key=lambda row: row.since, reverse=True)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Who is here now"),
            "query": query,
            "rows": found[:ROWS],
            "found": len(found),
            "rooms": _rooms(),
            "process": f"{os_socket.gethostname()}, pid {os.getpid()}",
            "may_disconnect": request.user.has_perm("chat.disconnect_connection"),
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.change_list_template, context)

    def _disconnect(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("chat.disconnect_connection"):
            raise PermissionDenied
        chosen = set(request.POST.getlist("socket"))
        here = [(loop, hub, found) for loop, hub, found in _sockets() if found.id in chosen]
        for loop, hub, found in here:
            loop.call_soon_threadsafe(hub.disconnect, found.id, CloseCode.FORBIDDEN)
            told = f"disconnected {found.username!r} at {found.address}"
            self.log_change(request, Connection(id=found.id), told)
        done = ngettext("%d socket was disconnected.", "%d sockets were disconnected.", len(here)) % len(here)
        messages.success(request, done)
        if len(here) < len(chosen):
            messages.warning(request, _("%d had gone before.") % (len(chosen) - len(here)))
        return HttpResponseRedirect(request.get_full_path())


def _sockets() -> Iterator[tuple[Any, Hub, Socket]]:
    for loop, hub in everywhere(Hub):
        for found in list(hub.sockets.values()):
            yield loop, hub, found


def _rows(query: str) -> Iterator[Row]:
    """The sockets whose name, room, address or id has ``query`` in it."""
    tabs = _tabs()
    for _loop, _hub, found in _sockets():
        name, rooms = found.username or "", sorted(found.rooms)
        if query.casefold() in " ".join([name, *rooms, found.address, found.id]).casefold():
            yield Row(
                id=found.id,
                name=name,
                rooms=[(room, tabs.get((room, name), 0)) for room in rooms],
                since=datetime.fromtimestamp(found.since, UTC),
                address=found.address,
                queue=found.lane.waiting,
            )


def _tabs() -> dict[tuple[str, str], int]:
    """How many sockets each (room, name) has."""
    return {
        (slug, person.name): len(person.sockets)
        for _loop, presence in everywhere(Presence)
        for slug in presence.counts()
        for person in presence.people(slug)
    }


def _rooms() -> list[dict[str, Any]]:
    """The open rooms, the fullest first: people, sockets, and the log's position."""
    people = {slug: n for _loop, presence in everywhere(Presence) for slug, n in presence.counts().items()}
    rooms = {slug: room for _loop, hub in everywhere(Hub) for slug, room in hub.rooms().items()}
    fullest = sorted(rooms, key=lambda slug: (-people.get(slug, 0), slug))[:ROWS]
    return [
        {
            "name": slug,
            "people": people.get(slug, 0),
            "sockets": rooms[slug].audience,
            "seq": rooms[slug].position,
        }
        for slug in fullest
    ]
