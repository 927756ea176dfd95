"""The rooms: their names are the staff's to change, their numbers nobody's."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db import router, transaction
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.csrf import csrf_protect

from chat import models
from chat.admin import exports
from chat.log import upkeep


@admin.register(models.Room)
class RoomAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    list_display = ("slug", "title", "kind", "seq", "messages", "created")
    list_per_page = 50
    search_fields = ("slug", "title")
    show_full_result_count = False
    fields = ("slug", "title", "kind", "epoch", "seq", "pruned", "messages", "created")
    readonly_fields = ("epoch", "seq", "pruned", "messages", "created")
    actions = ("export_json_lines", "export_csv")

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Room]:
        # A subquery is asked for the rooms on the page only; a join would count the messages of all.
        counts = (
            models.Message.objects.filter(room=OuterRef("pk")).order_by().values("room").annotate(n=Count("pk"))
        )
        count = Coalesce(Subquery(counts.values("n")), 0, output_field=IntegerField())
        rooms: QuerySet[models.Room] = super().get_queryset(request)
        return rooms.annotate(message_count=count)

    def get_readonly_fields(self, request: HttpRequest, obj: models.Room | None = None) -> tuple[str, ...]:  # noqa: ARG002 the admin's signature
        # Who is in a room knows it by its slug.
        return ("slug", *self.readonly_fields) if obj else self.readonly_fields

    @admin.display(description=_("messages"))
    def messages(self, room: models.Room) -> SafeString | str:
        """How many there are, as a link to them."""
        count = getattr(room, "message_count", None)
        if count is None:
            # The form of a new one.
            return self.get_empty_value_display()
        url = f"{reverse('admin:chat_message_changelist')}?room={room.slug}"
        words = ngettext("%d message", "%d messages", count) % count
        return format_html('<a href="{}">{}</a>', url, words)

    def save_model(
        self,
        request: HttpRequest,  # noqa: ARG002 as above
        obj: models.Room,
        form: Any,
        change: bool,  # noqa: FBT001 as above
    ) -> None:
        """Only what was changed: the numbers may have gone on since the form was read."""
        if change:
            obj.save(update_fields=form.changed_data)
        else:
            obj.save()

    # --- Deletion ---

    def get_deleted_objects(
        self, objs: Sequence[models.Room] | QuerySet[models.Room], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """How many messages go with the rooms.

        The admin itself would list each, and ask for the permission to delete messages, which nobody has.
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
            # Before the one transaction that the admin makes of the rest: others want to write meanwhile.
            self._empty(room)
        return super().delete_view(request, object_id, extra_context)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[models.Room]) -> None:
        for room in queryset:
            self._empty(room)
            self.delete_model(request, room)

    def delete_model(self, request: HttpRequest, obj: models.Room) -> None:
        using = router.db_for_write(models.Room)
        with transaction.atomic(using=using):
            upkeep.lock(obj.pk, using)
            super().delete_model(request, obj)

    def _empty(self, room: models.Room) -> None:
        for _gone in upkeep.prune(models.Message.objects.filter(room=room)):
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
        self, request: HttpRequest, rooms: QuerySet[models.Room], form: exports.Form
    ) -> StreamingHttpResponse:
        chosen = models.Message.objects.filter(room__in=list(rooms.values_list("pk", flat=True)))
        return exports.response(request, chosen, form)
