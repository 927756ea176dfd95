"""Rooms. The staff may change their settings; nobody changes their numbers."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db import router, transaction
from django.db.models import Count, IntegerField, Manager, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.csrf import csrf_protect

from chat import models
from chat.admin import exports
from chat.admin.forms import RoomForm
from chat.admin.history import audit
from chat.admin.inspection import is_private
from chat.admin.memberships import MembershipInline, audit_members
from chat.message_log import maintenance

RoomKind = models.Room.Kind

OWNERS_SHOWN = 3
"""Most owners' names in a row of the list."""


class ArchivedFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002 the admin's signature
        return [("open", _("Open")), ("archived", _("Archived"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[models.Room]) -> QuerySet[models.Room]:  # noqa: ARG002 as above
        if self.value() not in {"open", "archived"}:
            return queryset
        return queryset.filter(archived__isnull=self.value() == "open")


@admin.register(models.Room)
class RoomAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    form = RoomForm
    change_form_template = "admin/chat/room/change_form.html"
    list_display = (
        *("slug", "named", "who_may_come", "owner", "members", "archived", "read_only", "slow"),
        *("seq", "messages", "created"),
    )
    list_filter = ("kind", "read_only", ArchivedFilter)
    list_per_page = 50
    search_fields = ("slug", "title")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fieldsets = (
        (None, {"fields": ("slug", "title", "people", "kind", "archived", "read_only", "slow")}),
        (_("Numbers"), {"fields": ("epoch", "seq", "pruned", "messages", "members", "restrictions", "created")}),
    )
    readonly_fields = ("people", "epoch", "seq", "pruned", "messages", "members", "restrictions", "created")
    inlines = (MembershipInline,)
    actions = ("export_json_lines", "export_csv")

    class Media:
        css = {"all": ["chat/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Room]:
        owners = models.Membership.objects.filter(role=models.Membership.Role.OWNER).select_related("user")
        rooms: QuerySet[models.Room] = super().get_queryset(request)
        return rooms.annotate(
            message_count=_count(models.Message.objects), member_count=_count(models.Membership.objects)
        ).prefetch_related(Prefetch("memberships", owners.order_by("pk"), to_attr="owners"))

    def get_fieldsets(self, request: HttpRequest, obj: models.Room | None = None) -> Any:
        """The fieldsets; a direct room's also have the names of its two users."""
        (name, first), *others = super().get_fieldsets(request, obj)
        fields = (
            first["fields"]
            if obj and obj.kind == RoomKind.DIRECT
            else [f for f in first["fields"] if f != "people"]
        )
        return [(name, {**first, "fields": fields}), *others]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The change list; its direct rooms have the names of their users, in two queries for all."""
        changes = super().get_changelist_instance(request)
        pairs = models.pairs_of(changes.result_list)
        for room in changes.result_list:
            room.pair_of = pairs.get(room.pk)
        return changes

    @admin.display(description=_("title"), ordering="title")
    def named(self, room: Any) -> SafeString:
        """The room's title; for a direct room the names of its two users."""
        return format_html("<bdi>{}</bdi>", room.pair_of.title if room.pair_of else room.title)

    @admin.display(description=_("users"))
    def people(self, room: models.Room) -> SafeString:
        pair = models.pairs_of([room]).get(room.pk)
        return format_html("<bdi>{}</bdi>", pair.title if pair else "")

    def get_readonly_fields(self, request: HttpRequest, obj: models.Room | None = None) -> tuple[str, ...]:  # noqa: ARG002 the admin's signature
        if obj is None:
            return self.readonly_fields
        # Clients identify a room by its slug. Public and direct rooms keep their kind.
        fixed = ("slug", "kind") if obj.kind in {RoomKind.PUBLIC, RoomKind.DIRECT} else ("slug",)
        return (*fixed, *self.readonly_fields)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *arguments: Any, **options: Any
    ) -> HttpResponse:
        room = options.get("obj")
        context["private"] = bool(room and is_private(room))
        return super().render_change_form(request, context, *arguments, **options)

    @admin.display(description=_("kind"), ordering="kind")
    def who_may_come(self, room: models.Room) -> str:
        return room.kind

    @admin.display(description=_("messages"))
    def messages(self, room: models.Room) -> SafeString | str:
        """The number of messages, as a link to them."""
        count = getattr(room, "message_count", None)
        if count is None:
            # The room is new: the form has no count.
            return self.get_empty_value_display()
        words = ngettext("%d message", "%d messages", count) % count
        return _link("message", f"room={room.slug}", words)

    @admin.display(description=_("members"))
    def members(self, room: models.Room) -> SafeString | str:
        """The number of members, as a link to them."""
        count = getattr(room, "member_count", None)
        if count is None:
            return self.get_empty_value_display()
        # The staff can't change the members of a direct room.
        return (
            str(count) if room.kind == RoomKind.DIRECT else _link("membership", f"room__slug={room.slug}", count)
        )

    @admin.display(description=_("restrictions"))
    def restrictions(self, room: models.Room) -> SafeString | str:
        return _link("restriction", f"q={room.slug}", _("Mutes and bans")) if room.pk else "-"

    @admin.display(description=_("owner"))
    def owner(self, room: Any) -> SafeString:
        names = ((owner.user.get_username(),) for owner in room.owners[:OWNERS_SHOWN])
        return format_html_join(", ", "<bdi>{}</bdi>", names)

    # --- The audit log ---

    def save_model(
        self,
        request: HttpRequest,
        obj: models.Room,
        form: Any,
        change: bool,  # noqa: FBT001 as above
    ) -> None:
        """Save only the changed fields: the numbers may have increased since the form was read."""
        if not change:
            obj.save()
            audit(request, "create", obj, detail=obj.kind)
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)
            audit(request, "change", obj, detail=_changes(obj, form.changed_data))

    def save_formset(
        self,
        request: HttpRequest,
        form: Any,
        formset: Any,
        change: bool,  # noqa: FBT001 as above
    ) -> None:
        super().save_formset(request, form, formset, change)
        audit_members(request, formset)

    # --- Deletion ---

    def get_deleted_objects(
        self, objs: Sequence[models.Room] | QuerySet[models.Room], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """The number of messages that are deleted with the rooms.

        The admin itself would list each message, and require the permission to delete messages, which nobody has.
        """
        rooms = list(objs)
        count = models.Message.objects.filter(room__in=rooms).count()
        counts = {str(_("rooms")): len(rooms), str(_("messages")): count}
        needed = set() if self.has_delete_permission(request) else {str(_("room"))}
        return [str(room) for room in rooms], counts, needed, []

    @method_decorator(csrf_protect)
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        room = self.get_object(request, unquote(object_id))
        if request.method == "POST" and room and self.has_delete_permission(request, room):
            # Before the admin's single transaction for the rest, so that others can write meanwhile.
            self._delete_messages(room)
        return super().delete_view(request, object_id, extra_context)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[models.Room]) -> None:
        for room in queryset:
            self._delete_messages(room)
            self.delete_model(request, room)

    def delete_model(self, request: HttpRequest, obj: models.Room) -> None:
        using = router.db_for_write(models.Room)
        with transaction.atomic(using=using):
            maintenance.lock(obj.pk, using)
            super().delete_model(request, obj)
            audit(request, "delete", obj, detail="the room")

    def _delete_messages(self, room: models.Room) -> None:
        for _gone in maintenance.prune(models.Message.objects.filter(room=room)):
            pass

    # --- Exports ---

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.view_message")

    @admin.action(description=_("Export all messages of the selected rooms as JSON Lines"), permissions=["export"])
    def export_json_lines(self, request: HttpRequest, queryset: QuerySet[models.Room]) -> StreamingHttpResponse:
        return self._export(request, queryset, exports.JSON_LINES)

    @admin.action(description=_("Export all messages of the selected rooms as CSV"), permissions=["export"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[models.Room]) -> StreamingHttpResponse:
        return self._export(request, queryset, exports.CSV)

    def _export(
        self, request: HttpRequest, rooms: QuerySet[models.Room], file_format: exports.FileFormat
    ) -> StreamingHttpResponse:
        chosen = models.Message.objects.filter(room__in=list(rooms.values_list("pk", flat=True)))
        return exports.response(request, chosen, file_format)


def _count(rows: Manager[Any]) -> Coalesce:
    """The number of rows of each room. A subquery runs for the page's rooms only; a join would count all rooms."""
    counts = rows.filter(room=OuterRef("pk")).order_by().values("room").annotate(n=Count("pk"))
    return Coalesce(Subquery(counts.values("n")), 0, output_field=IntegerField())


def _link(model: str, query: str, words: Any) -> SafeString:
    return format_html('<a href="{}?{}">{}</a>', reverse(f"admin:chat_{model}_changelist"), query, words)


def _changes(room: models.Room, fields: Sequence[str]) -> str:
    return ", ".join(f"{field}: {getattr(room, field)}" for field in fields)
