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

from chat.admin.restrictions import ban_url
from chat.hub import Hub, Socket
from chat.limits import Limits, Standing, limited_as
from chat.loops import everywhere
from chat.models import Connection
from chat.presence import Presence
from chat.protocol import CloseCode

ROWS = 500
"""Sockets on the page; a search finds the others."""
NEAR = 20
"""People and addresses on the page: those with the least left of what they may ask for."""
LEADING = ("owner", "moderator")


@dataclass(frozen=True, slots=True)
class Row:
    """One socket, as the page shows it."""

    id: str
    name: str
    # Whom limits and restrictions are for: "account:…", "guest:…" or "socket:…".
    person: str
    # Do they moderate everywhere?
    staff: bool
    # Each room, how many tabs the person has there, and their role where it is more than a member's.
    rooms: list[tuple[str, int, str]]
    since: datetime
    address: str
    # Bytes that wait for it.
    queue: int
    # Tokens that their person and their address have left; None where that is not among the emptiest.
    person_tokens: float | None
    address_tokens: float | None
    # The forms to ban them, filled in; "" where there is nothing to know them by.
    ban_person: str
    ban_address: str


Standings = dict[tuple[str, str], Standing]


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
        standings = _standings()
        found = sorted(_found(query), key=lambda found: found.since, reverse=True)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Who is here now"),
            "query": query,
            "rows": _rows(found[:ROWS], standings),
            "found": len(found),
            "rooms": _rooms(),
            "process": f"{os_socket.gethostname()}, pid {os.getpid()}",
            "standings": [near for near in standings.values() if near.tokens < near.burst][:NEAR],
            "may_disconnect": request.user.has_perm("chat.disconnect_connection"),
            "may_ban": request.user.has_perm("chat.add_restriction"),
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


def _found(query: str) -> list[Socket]:
    """The sockets whose name, room, address, person or id has ``query`` in it."""
    return [found for _loop, _hub, found in _sockets() if query.casefold() in _words(found)]


def _words(found: Socket) -> str:
    known = [found.username or "", *found.rooms, found.address, found.identity.person, found.id]
    return " ".join(known).casefold()


def _rows(sockets: list[Socket], standings: Standings) -> list[Row]:
    tabs = _tabs()
    return [_row(found, tabs, standings) for found in sockets]


def _row(found: Socket, tabs: dict[tuple[str, str], int], standings: Standings) -> Row:
    name, person = found.username or "", found.identity.person
    # A copy in one step: the loop goes on meanwhile.
    rooms = sorted(dict(found.rooms).items())
    return Row(
        id=found.id,
        name=name,
        person=person,
        staff=found.identity.staff,
        rooms=[
            (slug, tabs.get((slug, name), 0), about.role if about.role in LEADING else "") for slug, about in rooms
        ],
        since=datetime.fromtimestamp(found.since, UTC),
        address=found.address,
        queue=found.lane.waiting,
        person_tokens=_tokens(standings, "person", person),
        address_tokens=_tokens(standings, "address", limited_as(found.address)),
        ban_person=ban_url(person, name=name),
        ban_address=ban_url("", address=found.address, name=name) if found.identity.account is None else "",
    )


def _standings() -> Standings:
    """Who has the least left of what they may ask for, the nearest to their limit first."""
    standings = [standing for _loop, limits in everywhere(Limits) for standing in limits.snapshot(ROWS)]
    standings.sort(key=lambda standing: standing.tokens / standing.burst)
    emptiest: Standings = {}
    for standing in standings:
        emptiest.setdefault((standing.kind, standing.key), standing)
    return emptiest


def _tokens(standings: Standings, kind: str, key: str) -> float | None:
    standing = standings.get((kind, key))
    return standing.tokens if standing else None


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
