"""Private conversations. The staff may read them, and the audit log records that."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from chat import auth, models
from chat.admin.history import audit, staff
from chat.admin.readonly import ReadOnlyAdmin

PRIVATE_KINDS = (models.Room.Kind.PRIVATE, models.Room.Kind.DIRECT)
"""Kinds of rooms that are for invited users."""
RECORD_AGAIN_AFTER = timedelta(hours=1)
"""A second look at a room within this time is not recorded."""


def is_private(room: models.Room) -> bool:
    return room.kind in PRIVATE_KINDS


def room_of(row: Any) -> models.Room:
    """The room of a message or a report. A report outlives its room, and keeps its data."""
    room: models.Room = row.where if isinstance(row, models.Report) else row.room
    return room


def record_inspection(request: HttpRequest, rooms: Iterable[models.Room]) -> bool:
    """Record that the request shows messages of these rooms. True if one of them is private."""
    private = {room.slug: room for room in rooms if is_private(room)}
    if not private:
        return False
    recorded = models.AuditEntry.objects.filter(
        slug__in=private,
        action="inspect",
        actor=auth.account(staff(request)).key,
        created__gt=timezone.now() - RECORD_AGAIN_AFTER,
    )
    for slug in private.keys() - set(recorded.values_list("slug", flat=True)):
        audit(request, "inspect", private[slug])
    return True


class InspectedList(ChangeList):
    """A list of messages or reports. Each row has a ``room``."""

    # True if a row is from a private room. The page has a note then.
    private = False

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.private = record_inspection(request, map(room_of, self.result_list))


class InspectedAdmin(ReadOnlyAdmin):
    """Pages of messages or reports."""

    change_list_template = "admin/chat/inspected_list.html"
    change_form_template = "admin/chat/inspected_form.html"

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[InspectedList]:  # noqa: ARG002 the admin's signature
        return InspectedList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found: Any = super().get_object(request, object_id, from_field)
        if found and self.has_view_permission(request, found):
            record_inspection(request, [room_of(found)])
        return found

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *arguments: Any, **options: Any
    ) -> HttpResponse:
        shown = options.get("obj")
        context["private"] = bool(shown and is_private(room_of(shown)))
        return super().render_change_form(request, context, *arguments, **options)
