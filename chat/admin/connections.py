"""The page of the open connections of all processes: users, rooms, and bytes in the send queues.

Each process answers for itself (chat.actions.snapshot).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat.actions import snapshot
from chat.actions.snapshot import ROWS, ProcessSnapshot, RoomRow, Row
from chat.admin import cluster
from chat.hub import Hub
from chat.limits import HolderUsage
from chat.loops import all_loops
from chat.models import Connection

USAGES_SHOWN = 20
"""Users and addresses on the page: those with the fewest tokens left."""


@admin.register(Connection)
class ConnectionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """A change list without a table."""

    change_list_template = "admin/chat/connections.html"

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 the admin's signature
        return False

    def has_change_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:  # noqa: ARG002
        return False

    def get_urls(self) -> list[Any]:
        # A socket has no page of its own: the list has everything.
        return [url for url in super().get_urls() if url.name == "chat_connection_changelist"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._disconnect(request)
        query = request.GET.get("q", "").strip()
        answers = _ask({"words": query})
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Open connections"),
            "query": query,
            "rows": _rows(answers),
            "found": sum(answer.found for answer in answers),
            "rooms": _rooms(answers),
            "processes": [answer.process for answer in answers],
            "usages": _nearest_limits(answers),
            "may_disconnect": request.user.has_perm("chat.disconnect_connection"),
            "may_ban": request.user.has_perm("chat.add_restriction"),
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.change_list_template, context)

    def _disconnect(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("chat.disconnect_connection"):
            raise PermissionDenied
        chosen = set(request.POST.getlist("socket"))
        open_rows = [row for answer in _ask({"ids": sorted(chosen)}) for row in answer.rows]
        for loop, hub in all_loops(Hub):
            loop.call_soon_threadsafe(hub.disconnect_everywhere, [row.id for row in open_rows])
        for row in open_rows:
            self.log_change(request, Connection(id=row.id), f"disconnected {row.name!r} at {row.address}")
        done = ngettext("%d socket was disconnected.", "%d sockets were disconnected.", len(open_rows)) % len(
            open_rows
        )
        messages.success(request, done)
        if len(open_rows) < len(chosen):
            messages.warning(request, _("%d had disconnected before.") % (len(chosen) - len(open_rows)))
        return HttpResponseRedirect(request.get_full_path())


def _ask(question: Mapping[str, Any]) -> list[ProcessSnapshot]:
    """The answers of all processes."""
    return [ProcessSnapshot.of(answer) for answer in cluster.ask(snapshot.CONNECTIONS, dict(question))]


def _rows(answers: Iterable[ProcessSnapshot]) -> list[dict[str, Any]]:
    """Rows of the template, the latest connection first."""
    rows: list[Row] = [row for answer in answers for row in answer.rows]
    rows.sort(key=lambda row: row.since, reverse=True)
    return [{**row._asdict(), "since": datetime.fromtimestamp(row.since, UTC)} for row in rows[:ROWS]]


def _rooms(answers: Iterable[ProcessSnapshot]) -> list[RoomRow]:
    """Rooms with the most users first.

    Every process knows the users of all processes, but counts only its own sockets.
    """
    found: defaultdict[str, list[RoomRow]] = defaultdict(list)
    for answer in answers:
        for room in answer.rooms:
            found[room.name].append(room)
    rooms = [
        RoomRow(
            name,
            max(each.people for each in same),
            sum(each.sockets for each in same),
            max(each.seq for each in same),
        )
        for name, same in found.items()
    ]
    return sorted(rooms, key=lambda room: (-room.people, room.name))[:ROWS]


def _nearest_limits(answers: Iterable[ProcessSnapshot]) -> list[HolderUsage]:
    """Users and addresses with the fewest tokens left, of all processes."""
    nearest = snapshot.strictest(usage for answer in answers for usage in answer.usage)
    return list(nearest.values())[:USAGES_SHOWN]
