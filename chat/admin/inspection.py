"""Private conversations: the staff may look at what is said in them, and that they looked is written down."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from chat import auth, models
from chat.admin.history import audit, staff
from chat.admin.readonly import ReadOnlyAdmin

PRIVATE = (models.Room.Kind.PRIVATE, models.Room.Kind.DIRECT)
"""Kinds of rooms in which what is said is between those who were asked in."""
ONCE_IN = timedelta(hours=1)
"""Who looks at a room again within this time is not written down again."""


def is_private(room: models.Room) -> bool:
    return room.kind in PRIVATE


def room_of(row: Any) -> models.Room:
    """The room of what was said, or reported; a report outlives its room, and knows what it was."""
    room: models.Room = row.where if isinstance(row, models.Report) else row.room
    return room


def inspected(request: HttpRequest, rooms: Iterable[models.Room]) -> bool:
    """Write down that the request shows what is said in these rooms. Is any of them private?"""
    private = {room.slug: room for room in rooms if is_private(room)}
    if not private:
        return False
    looked = models.AuditEntry.objects.filter(
        slug__in=private,
        action="inspect",
        actor=auth.account(staff(request)).key,
        created__gt=timezone.now() - ONCE_IN,
    )
    for slug in private.keys() - set(looked.values_list("slug", flat=True)):
        audit(request, "inspect", private[slug])
    return True


class InspectedList(ChangeList):
    """A list of what is said in rooms, or reported. Each row has a ``room``."""

    # Is some of it from a private room? The page says so.
    private = False

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.private = inspected(request, map(room_of, self.result_list))


class InspectedAdmin(ReadOnlyAdmin):
    """Pages of what is said in rooms, or reported."""

    change_list_template = "admin/chat/inspected_list.html"
    change_form_template = "admin/chat/inspected_form.html"

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[InspectedList]:  # noqa: ARG002 the admin's signature
        return InspectedList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found: Any = super().get_object(request, object_id, from_field)
        if found and self.has_view_permission(request, found):
            inspected(request, [room_of(found)])
        return found

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *arguments: Any, **options: Any
    ) -> HttpResponse:
        shown = options.get("obj")
        context["private"] = bool(shown and is_private(room_of(shown)))
        return super().render_change_form(request, context, *arguments, **options)
