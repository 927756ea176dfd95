"""Memberships: on the room's page, and in a list of their own for rooms with many."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import router, transaction
from django.db.models import QuerySet
from django.forms import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from chat import models
from chat.admin.filters import CappedPaginator
from chat.admin.forms import MembershipForm, MembershipOfRoomForm
from chat.admin.history import audit

MAX_INLINE = 100
"""Most members on a room's page. Django refuses a form with too many fields."""

Direct = models.Room.Kind.DIRECT
Memberships = QuerySet[models.Membership]


class MembershipFormSet(BaseInlineFormSet):  # type: ignore[type-arg]  # generic only in the stubs
    """The members of a room; of a big room only its owners and moderators."""

    def __init__(self, **options: Any) -> None:
        room = options["instance"]
        if room.pk and room.memberships.count() > MAX_INLINE:
            options["queryset"] = options["queryset"].exclude(role=models.Membership.Role.MEMBER)
        super().__init__(**options)


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]  # as above
    model = models.Membership
    form = MembershipForm
    formset = MembershipFormSet
    fields = ("user", "role", "joined")
    readonly_fields = ("joined",)
    extra = 0
    verbose_name = _("member")
    verbose_name_plural = _("members (in a big room only its owners and moderators)")

    def get_queryset(self, request: HttpRequest) -> Memberships:
        memberships: Memberships = super().get_queryset(request)
        # The order is owners, moderators, members.
        return memberships.select_related("user").order_by("-role", "pk")

    # A direct room always has its two members.

    def has_add_permission(self, request: HttpRequest, obj: models.Room | None = None) -> bool:
        return _may_change(obj) and super().has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: models.Room | None = None) -> bool:
        return _may_change(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: models.Room | None = None) -> bool:
        return _may_change(obj) and super().has_delete_permission(request, obj)


def _may_change(room: models.Room | None) -> bool:
    return room is None or room.kind != Direct


@admin.register(models.Membership)
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    form = MembershipOfRoomForm
    list_display = ("who", "room", "role", "joined")
    list_select_related = ("room", "user")
    list_filter = ("role",)
    list_per_page = 100
    search_fields = (f"user__{get_user_model().USERNAME_FIELD}", "room__slug", "room__title")
    ordering = ("-pk",)
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    fields = ("room", "user", "role", "joined")
    readonly_fields = ("joined",)

    class Media:
        css = {"all": ["chat/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> Memberships:
        memberships: Memberships = super().get_queryset(request)
        return memberships.exclude(room__kind=Direct)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "room__slug" or super().lookup_allowed(lookup, value, request)

    @admin.display(description=_("user"))
    def who(self, membership: models.Membership) -> SafeString:
        return format_html("<bdi>{}</bdi>", membership.user.get_username())

    def save_model(
        self,
        request: HttpRequest,
        obj: models.Membership,
        form: Any,
        change: bool,  # noqa: FBT001 the admin's signature
    ) -> None:
        super().save_model(request, obj, form, change)
        _audit(request, obj, obj.role)

    def delete_model(self, request: HttpRequest, obj: models.Membership) -> None:
        with transaction.atomic(using=router.db_for_write(models.Membership)):
            _audit(request, obj, "none")
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Memberships) -> None:
        """Delete one by one, so that each user's sockets are updated."""
        for membership in queryset.select_related("room", "user"):
            self.delete_model(request, membership)


def audit_members(request: HttpRequest, formset: Any) -> None:
    """Record a room page's changes of members in the audit log."""
    for membership in [*formset.new_objects, *(changed for changed, _fields in formset.changed_objects)]:
        _audit(request, membership, membership.role)
    for membership in formset.deleted_objects:
        _audit(request, membership, "none")


def _audit(request: HttpRequest, membership: models.Membership, role: str) -> None:
    user = membership.user
    audit(
        request,
        "role",
        membership.room,
        target=models.account_key(user.pk),
        target_name=user.get_username(),
        detail=role,
    )
