"""Reports, open ones first. Each shows the reported text and the message's current text."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.db import router, transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from chat import auth, models
from chat.actions.ban_form import ban_url
from chat.admin.filters import CappedPaginator, ReportRoomFilter
from chat.admin.history import HistoryEntry, audit, log_changes, staff
from chat.admin.inspection import InspectedAdmin
from chat.admin.messages import SHOWN
from chat.message_log import maintenance

MESSAGE_FIELDS = ("pk", "author", "username", "content", "deleted", "hidden", "withdrawn")
"""Fields of the current message, which the queryset adds as ``message_…``."""


class OpenFilter(SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002 the admin's signature
        return [("open", _("Open")), ("closed", _("Closed"))]

    def queryset(
        self,
        request: HttpRequest,  # noqa: ARG002 as above
        queryset: QuerySet[models.Report],
    ) -> QuerySet[models.Report]:
        if self.value() not in {"open", "closed"}:
            return queryset
        return queryset.filter(closed__isnull=self.value() == "open")


@admin.register(models.Report)
class ReportAdmin(InspectedAdmin):
    list_select_related = ("room",)
    list_filter = (OpenFilter, ReportRoomFilter)
    list_per_page = 100
    search_fields = ("username", "reason", "closed_by")
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    fields = (
        *("place", "message", "author", "author_key", "said", "whole", "now"),
        *("reason", "reported_by", "reporter", "created"),
        *("closed", "closed_by"),
    )
    readonly_fields = fields
    actions = ("hide_and_close", "close")

    class Media:
        css = {"all": ["chat/admin.css"]}

    # --- The list ---

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Report]:
        message = models.Message.objects.filter(room=OuterRef("room"), number=OuterRef("number"))
        current = {f"message_{field}": Subquery(message.values(field)[:1]) for field in MESSAGE_FIELDS}
        reports: QuerySet[models.Report] = super().get_queryset(request)
        return reports.annotate(**current)

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:  # noqa: ARG002 as above
        return (F("closed").desc(nulls_first=True), "-created", "-pk")

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        ban = ("ban",) if request.user.has_perm("chat.add_restriction") else ()
        return ("text", "author", "reason", "state", *ban, "place", "message", "reported_by", "created")

    @admin.display(description=_("message"))
    def message(self, report: Any) -> SafeString | str:
        """The message's number, as a link while the message exists."""
        if not report.message_pk:
            return str(report.number)
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:chat_message_change", args=[report.message_pk]), report.number
        )

    @admin.display(description=_("room"))
    def place(self, report: models.Report) -> str:
        return str(report.where)

    @admin.display(description=_("author"))
    def author(self, report: Any) -> SafeString:
        return format_html("<bdi>{}</bdi>", report.writer_name or report.message_username or "")

    @admin.display(description=_("author's key"))
    def author_key(self, report: Any) -> str:
        return _author(report)

    @admin.display(description=_("text"))
    def text(self, report: Any) -> SafeString | str:
        """The text at the time of the report."""
        text = _text(report)
        return format_html("<bdi>{}</bdi>", Truncator(text).chars(SHOWN)) if text else str(_("(deleted)"))

    @admin.display(description=_("text when it was reported"))
    def whole(self, report: Any) -> str:
        return _text(report) or str(_("(deleted)"))

    @admin.display(description=_("text now"))
    def now(self, report: Any) -> str:
        if not report.message_pk:
            return str(_("(no longer stored)"))
        if report.message_deleted:
            return str(_("(deleted by its author)"))
        return str(_("the same") if report.message_content == _text(report) else report.message_content)

    @admin.display(description=_("reported by"))
    def reported_by(self, report: models.Report) -> SafeString:
        return format_html("<bdi>{}</bdi>", report.username)

    @admin.display(description=_("state"))
    def state(self, report: Any) -> str:
        if report.closed:
            return str(_("closed by %(name)s") % {"name": report.closed_by})
        if report.message_hidden:
            return str(_("open, message hidden"))
        if report.message_deleted:
            return str(_("open, message deleted"))
        changed = report.message_pk and report.message_content != _text(report)
        return str(_("open, message edited") if changed else _("open"))

    @admin.display(description=_("in this room"))
    def ban(self, report: Any) -> SafeString | str:
        url = ban_url(_author(report), room=report.room.slug if report.room else "")
        return format_html('<a href="{}">{}</a>', url, _("Ban…")) if url else ""

    # --- Actions ---

    def has_close_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.change_report")

    def has_hide_permission(self, request: HttpRequest) -> bool:
        return self.has_close_permission(request) and request.user.has_perm("chat.hide_message")

    @admin.action(description=_("Hide the message and close"), permissions=["hide"])
    def hide_and_close(self, request: HttpRequest, queryset: QuerySet[models.Report]) -> None:
        """Hide the messages, and close all reports of them."""
        number = 0
        for report in _open(queryset):
            same = models.Report.objects.filter(slug=report.slug, room=report.room, number=report.number)
            with transaction.atomic(using=router.db_for_write(models.Message)):
                self._hide(request, report)
                number += self._close(request, _open(same))
        self._done(request, number)

    def _hide(self, request: HttpRequest, report: models.Report) -> None:
        there = models.Message.objects.filter(room=report.room, number=report.number, deleted=None, hidden=False)
        for message in there.select_related("room"):
            identity = auth.account(staff(request))
            maintenance.hide([message], author=identity.key, username=identity.name or "", hidden=True)
            name = f"{message.room.slug} {message.number}"
            log_changes(request, models.Message, [HistoryEntry(message.pk, name, "hidden")])
            by = {"target": message.author, "target_name": message.username}
            audit(request, "hide", message.room, number=message.number, **by)

    @admin.action(description=_("Close"), permissions=["close"])
    def close(self, request: HttpRequest, queryset: QuerySet[models.Report]) -> None:
        with transaction.atomic(using=router.db_for_write(models.Report)):
            number = self._close(request, _open(queryset))
        self._done(request, number)

    def _close(self, request: HttpRequest, reports: Iterable[models.Report]) -> int:
        """Close the reports. Returns their number."""
        number, name = 0, staff(request).get_username()
        for report in reports:
            report.closed, report.closed_by = timezone.now(), name
            report.save(update_fields=["closed", "closed_by"])
            log_changes(
                request, models.Report, [HistoryEntry(report.pk, f"{report.where.slug} {report.number}", "closed")]
            )
            by = {"target": report.reporter, "target_name": report.username}
            audit(request, "close", report.where, number=report.number, **by)
            number += 1
        return number

    def _done(self, request: HttpRequest, number: int) -> None:
        messages.success(request, ngettext("%d report is closed.", "%d reports are closed.", number) % number)


def _text(report: Any) -> str:
    """The reported text. A report of a former version has none, so this is the message's current text."""
    kept = report.content if report.writer else report.message_content
    return kept or ""


def _author(report: Any) -> str:
    return report.writer or report.message_author or ""


def _open(reports: QuerySet[models.Report]) -> list[models.Report]:
    return list(reports.filter(closed=None).select_related("room"))
