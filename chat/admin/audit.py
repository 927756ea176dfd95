"""The audit log. The staff can read and search it, and nobody can change it."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from chat import models
from chat.admin.filters import (
    MAX_COUNTED,
    CappedPaginator,
    DateHierarchyQuerySet,
    RoomFilter,
    SearchableChangeList,
)
from chat.admin.readonly import ReadOnlyAdmin

ACTIONS = {
    "create": _("created the room"),
    "change": _("changed the room"),
    "role": _("changed a role"),
    "invite": _("invited"),
    "link": _("created an invitation link"),
    "accept": _("joined by an invitation link"),
    "kick": _("kicked"),
    "mute": _("muted"),
    "unmute": _("lifted a mute"),
    "ban": _("banned"),
    "unban": _("lifted a ban"),
    "lift": _("lifted a restriction (staff)"),
    "delete": _("deleted"),
    "hide": _("hid a message"),
    "close": _("closed a report"),
    "inspect": _("read a private room"),
    "export": _("exported a private room"),
}
"""Choices of the filter. A query for the log's own values would read all of it."""


class ActionFilter(SimpleListFilter):
    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002 the admin's signature
        chosen = self.value()
        others = {chosen: chosen} if chosen and chosen not in ACTIONS else {}
        return list({**ACTIONS, **others}.items())

    def queryset(
        self,
        request: HttpRequest,  # noqa: ARG002 as above
        queryset: QuerySet[models.AuditEntry],
    ) -> QuerySet[models.AuditEntry]:
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(models.AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("created", "who", "what", "whom", "where", "message", "detail")
    list_select_related = ("room",)
    list_filter = (ActionFilter, RoomFilter)
    list_per_page = 100
    date_hierarchy = "created"
    search_fields = ("actor_name", "target_name", "slug")
    search_help_text = _("Names of users, or of a room. The pages have the %(n)d newest entries.") % {
        "n": MAX_COUNTED
    }
    # With a million entries every count and every other order is slow.
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    fields = ("created", "who", "actor", "what", "whom", "target", "where", "slug", "message", "detail")
    readonly_fields = fields

    class Media:
        css = {"all": ["chat/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> DateHierarchyQuerySet[models.AuditEntry]:
        return DateHierarchyQuerySet(models.AuditEntry).order_by(*self.get_ordering(request))

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:  # noqa: ARG002 as above
        return ("-created", "-pk")

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[SearchableChangeList]:  # noqa: ARG002 as above
        return SearchableChangeList

    @admin.display(description=_("by"))
    def who(self, entry: models.AuditEntry) -> SafeString:
        return format_html("<bdi>{}</bdi>", entry.actor_name)

    @admin.display(description=_("action"))
    def what(self, entry: models.AuditEntry) -> str:
        return str(ACTIONS.get(entry.action, entry.action))

    @admin.display(description=_("target"))
    def whom(self, entry: models.AuditEntry) -> SafeString:
        return format_html("<bdi>{}</bdi>", entry.target_name)

    @admin.display(description=_("room"))
    def where(self, entry: models.AuditEntry) -> SafeString | str:
        if not entry.room:
            return entry.slug or str(_("everywhere"))
        url = reverse("admin:chat_room_change", args=[entry.room.pk])
        return format_html('<a href="{}"><bdi>{}</bdi></a>', url, entry.room)

    @admin.display(description=_("message"))
    def message(self, entry: models.AuditEntry) -> SafeString | str:
        """The message's number, as a link while the room exists."""
        if not entry.number or not entry.room:
            return str(entry.number or "")
        url = f"{reverse('admin:chat_message_changelist')}?room={entry.room.slug}&number={entry.number}"
        return format_html('<a href="{}">{}</a>', url, entry.number)
