"""Mutes and bans, in one room or everywhere."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db import router, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from chat import models
from chat.admin.filters import CappedPaginator
from chat.admin.forms import RestrictionForm, initial_of
from chat.admin.history import audit, staff

Restrictions = QuerySet[models.Restriction]


class InForceFilter(SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002 the admin's signature
        return [("on", _("In force")), ("over", _("Over"))]

    def queryset(self, request: HttpRequest, queryset: Restrictions) -> Restrictions:  # noqa: ARG002 as above
        over = Q(until__lte=timezone.now())
        match self.value():
            case "on":
                return queryset.filter(Q(until=None) | ~over)
            case "over":
                return queryset.filter(over)
            case _:
                return queryset


class PlaceFilter(SimpleListFilter):
    title = _("where")
    parameter_name = "where"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002 as above
        return [("everywhere", _("Everywhere")), ("room", _("In a room"))]

    def queryset(self, request: HttpRequest, queryset: Restrictions) -> Restrictions:  # noqa: ARG002 as above
        if self.value() not in {"everywhere", "room"}:
            return queryset
        return queryset.filter(room__isnull=self.value() == "everywhere")


@admin.register(models.Restriction)
class RestrictionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    form = RestrictionForm
    list_display = ("who", "kind", "where", "address", "until", "state", "reason", "by", "created")
    list_select_related = ("room",)
    list_filter = (InForceFilter, "kind", PlaceFilter)
    list_per_page = 100
    search_fields = ("username", "person", "address", "reason", "by", "room__slug")
    ordering = ("-created", "-pk")
    paginator = CappedPaginator
    show_full_result_count = False
    readonly_fields = ("person", "by", "created")

    class Media:
        css = {"all": ["chat/admin.css"]}

    # --- The list ---

    @admin.display(description=_("user"))
    def who(self, restriction: models.Restriction) -> SafeString:
        return format_html("<bdi>{}</bdi>", restriction.username or restriction.person or restriction.address)

    @admin.display(description=_("where"))
    def where(self, restriction: models.Restriction) -> SafeString | str:
        return format_html("<bdi>{}</bdi>", restriction.room) if restriction.room else str(_("everywhere"))

    @admin.display(description=_("in force"), boolean=True)
    def state(self, restriction: models.Restriction) -> bool:
        return restriction.until is None or restriction.until > timezone.now()

    # --- The form ---

    def get_fieldsets(self, request: HttpRequest, obj: models.Restriction | None = None) -> list[Any]:  # noqa: ARG002 as above
        target = _("Target: an account, a guest, an address, or a guest and an address")
        known = self.readonly_fields if obj else ()
        return [
            (None, {"fields": ("kind", "room")}),
            (target, {"fields": ("account", "guest", "address", "shared", "username")}),
            (_("Duration and reason"), {"fields": ("until", "reason", *known)}),
        ]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The form's initial data. ``person`` in the query is a user's key, as messages and sockets have it."""
        initial = dict(super().get_changeform_initial_data(request))
        return {**initial, **initial_of(str(initial.get("person", "")))}

    # --- The audit log ---

    def save_model(
        self,
        request: HttpRequest,
        obj: models.Restriction,
        form: Any,
        change: bool,  # noqa: FBT001 as above
    ) -> None:
        obj.by = staff(request).get_username()
        super().save_model(request, obj, form, change)
        _audit(request, obj.kind, obj, "changed" if change else "")

    def delete_model(self, request: HttpRequest, obj: models.Restriction) -> None:
        with transaction.atomic(using=router.db_for_write(models.Restriction)):
            _audit(request, "lift", obj, obj.kind)
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Restrictions) -> None:
        """Delete one by one, so that each user's sockets are updated."""
        for restriction in queryset.select_related("room"):
            self.delete_model(request, restriction)


def _audit(request: HttpRequest, action: str, restriction: models.Restriction, what: str) -> None:
    until = f"until {restriction.until:%Y-%m-%d %H:%M %Z}" if restriction.until else ""
    address = f"address {restriction.address}" if restriction.address else ""
    detail = ", ".join(part for part in (what, address, until, restriction.reason) if part)
    audit(
        request,
        action,
        restriction.room,
        target=restriction.person,
        target_name=restriction.username,
        detail=detail,
    )
