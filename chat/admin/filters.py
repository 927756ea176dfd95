"""Filters, pages and the date hierarchy of long lists. Their cost does not grow with the list."""

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any, TypeVar

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Min, Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat import models

AnyModel = TypeVar("AnyModel", bound=Model)
Messages = QuerySet[models.Message]

ROOMS_SHOWN = 30
"""Rooms in the filter: those with the most changes. The list of rooms links to the messages of every room."""


class RoomFilter(SimpleListFilter):
    title = _("room")
    parameter_name = "room"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002 the admin's signature
        rooms = dict(models.Room.objects.order_by("-seq").values_list("slug", "title")[:ROOMS_SHOWN])
        if chosen := self.value():
            rooms.setdefault(chosen, "")
        return [(slug, title or slug) for slug, title in rooms.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AnyModel]) -> QuerySet[AnyModel]:  # noqa: ARG002 as above
        return queryset.filter(room__slug=self.value()) if self.value() else queryset


class ReportRoomFilter(RoomFilter):
    """Reports outlive their rooms, and keep the rooms' names."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[AnyModel]) -> QuerySet[AnyModel]:  # noqa: ARG002 as above
        slug = self.value()
        return queryset.filter(Q(slug=slug) | Q(room__slug=slug)) if slug else queryset


STATES = {
    "edited": (_("Edited"), Q(edited__isnull=False)),
    "hidden": (_("Hidden by the staff"), Q(hidden=True, deleted=None)),
    "deleted": (_("Deleted"), Q(deleted__isnull=False)),
}


class StateFilter(SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002 as above
        return [(state, name) for state, (name, _of_it) in STATES.items()]

    def queryset(self, request: HttpRequest, queryset: Messages) -> Messages:  # noqa: ARG002 as above
        state = self.value()
        return queryset.filter(STATES[state][1]) if state in STATES else queryset


MAX_COUNTED = 10_000
"""Most rows that a list counts and has pages for: the newest. Days and filters find the others."""


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic only in the stubs
    """Pages of the first ``MAX_COUNTED`` rows. Counting a million rows takes a quarter of a second each time."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows[:MAX_COUNTED].count())


class SearchableChangeList(ChangeList):
    """A change list without the date hierarchy during a search.

    PostgreSQL would search for the first match day by day. This takes half a minute if none of a million messages
    matches.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.query:
            self.date_hierarchy = None


FIRST_MOMENTS: dict[str, dict[str, int]] = {"year": {"month": 1, "day": 1}, "month": {"day": 1}, "day": {}}
MIN_LENGTHS = {"year": timedelta(366), "month": timedelta(32), "day": timedelta(1)}
"""At least one year, month or day, and less than two."""


class DateHierarchyQuerySet(QuerySet[AnyModel]):
    """A queryset whose ``datetimes()`` uses the index of the time, for the admin's date_hierarchy.

    Django truncates every row's time to its day, which takes SQLite five seconds for a million rows. Here each day
    with rows costs one query.
    """

    def datetimes(  # type: ignore[override]  # the admin only iterates over it
        self,
        field_name: str,
        kind: str,
        order: str = "ASC",  # noqa: ARG002 as above
        tzinfo: tzinfo | None = None,
    ) -> Iterator[datetime]:
        zone = tzinfo or timezone.get_current_timezone()
        first = self.aggregate(at=Min(field_name))["at"]
        while first:
            beginning = _beginning(first.astimezone(zone), kind)
            yield beginning
            after = _beginning(beginning + MIN_LENGTHS[kind], kind)
            first = self.filter(**{f"{field_name}__gte": after}).aggregate(at=Min(field_name))["at"]


def _beginning(moment: datetime, kind: str) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0, **FIRST_MOMENTS[kind])  # type: ignore[arg-type]
