"""Messages: search, hide, export. Every change goes through the log."""

from collections.abc import Iterable

from django.contrib import admin, messages
from django.db import router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from chat import auth, models
from chat.admin import exports
from chat.admin.filters import DateHierarchyQuerySet, RoomFilter, SearchableChangeList, StateFilter
from chat.admin.history import HistoryEntry, log_changes, staff
from chat.admin.inspection import InspectedAdmin, InspectedList
from chat.message_log import maintenance
from chat.message_log.changes import reactions_on
from chat.message_log.search import with_words
from chat.message_log.search_words import parse_query

SHOWN = 120
"""Characters of a message in the list."""


class MessageList(InspectedList, SearchableChangeList):
    """The list. The audit log records the private rooms that it shows."""


@admin.register(models.Message)
class MessageAdmin(InspectedAdmin):
    list_display = ("number", "room", "author", "name", "text", "created", "state")
    list_select_related = ("room",)
    list_filter = (RoomFilter, StateFilter)
    list_per_page = 100
    date_hierarchy = "created"
    search_fields = ("content",)
    search_help_text = _("Words of the text. The last may be the beginning of a word.")
    # Each of these options would count a million messages on every page.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    fields = (
        *("room", "number", "seq", "changes", "author", "name", "content"),
        *("reactions", "reply_to", "created", "edited", "deleted", "hidden", "withdrawn"),
    )
    readonly_fields = fields
    actions = ("hide", "restore", "export_json_lines", "export_csv")

    class Media:
        css = {"all": ["chat/admin.css"]}

    # --- The list ---

    def get_queryset(self, request: HttpRequest) -> DateHierarchyQuerySet[models.Message]:
        return DateHierarchyQuerySet(models.Message).order_by(*self.get_ordering(request))

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[MessageList]:  # noqa: ARG002 the admin's signature
        return MessageList

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """The newest first, always by an index."""
        if request.GET.get("q"):
            return ("-pk",)
        return ("-number",) if request.GET.get("room") else ("-created",)

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002 as above
        queryset: QuerySet[models.Message],
        search_term: str,
    ) -> tuple[QuerySet[models.Message], bool]:
        if parse_query(search_term):
            queryset = with_words(queryset, search_term)
        elif search_term:
            # The index has no punctuation.
            queryset = queryset.filter(content__icontains=search_term)
        return queryset, False

    @admin.display(description=_("name"))
    def name(self, message: models.Message) -> SafeString:
        # A name may be right-to-left: <bdi> keeps the direction of the text around it.
        return format_html("<bdi>{}</bdi>", message.username)

    @admin.display(description=_("text"))
    def text(self, message: models.Message) -> SafeString:
        return format_html("<bdi>{}</bdi>", Truncator(message.content).chars(SHOWN))

    @admin.display(description=_("state"))
    def state(self, message: models.Message) -> str:
        if message.deleted:
            return str(_("deleted"))
        if message.hidden:
            return str(_("hidden"))
        return str(_("edited")) if message.edited else ""

    @admin.display(description=_("reactions"))
    def reactions(self, message: models.Message) -> str:
        found = reactions_on([message.pk]).get(message.pk, [])
        return "\n".join(
            f"{reaction.emoji} {reaction.count}: {', '.join(reaction.usernames)}" for reaction in found
        )

    # --- Hide and restore ---

    def has_hide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.hide_message")

    @admin.action(description=_("Hide the selected messages"), permissions=["hide"])
    def hide(self, request: HttpRequest, queryset: QuerySet[models.Message]) -> None:
        number = self._set_hidden(request, queryset.filter(hidden=False), hidden=True)
        done = ngettext("%d message is hidden.", "%d messages are hidden.", number) % number
        messages.success(request, done)

    @admin.action(description=_("Show the selected messages again"), permissions=["hide"])
    def restore(self, request: HttpRequest, queryset: QuerySet[models.Message]) -> None:
        hidden = queryset.filter(hidden=True)
        withdrawn = hidden.filter(withdrawn__isnull=False).count()
        number = self._set_hidden(request, hidden, hidden=False)
        done = ngettext("%d message is shown again.", "%d messages are shown again.", number) % number
        messages.success(request, done)
        if withdrawn:
            why = ngettext(
                "%d message stays hidden, because its author deleted it meanwhile.",
                "%d messages stay hidden, because their authors deleted them meanwhile.",
                withdrawn,
            )
            messages.warning(request, why % withdrawn)

    def _set_hidden(self, request: HttpRequest, chosen: QuerySet[models.Message], *, hidden: bool) -> int:
        """Hide or show messages that are not deleted. Returns the number that changed."""
        identity, number = auth.account(staff(request)), 0
        pieces = maintenance.in_pieces(chosen.filter(deleted=None).select_related("room"))
        for piece in pieces:
            # The change and its record are in one transaction.
            with transaction.atomic(using=router.db_for_write(models.Message)):
                changed = maintenance.hide(piece, author=identity.key, username=identity.name or "", hidden=hidden)
                log_changes(
                    request, models.Message, list(_entries(changed, "hidden" if hidden else "shown again"))
                )
            number += len(changed)
        return number

    # --- Exports ---

    @admin.action(description=_("Export the selected messages as JSON Lines"), permissions=["view"])
    def export_json_lines(self, request: HttpRequest, queryset: QuerySet[models.Message]) -> StreamingHttpResponse:
        return exports.response(request, queryset, exports.JSON_LINES)

    @admin.action(description=_("Export the selected messages as CSV"), permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[models.Message]) -> StreamingHttpResponse:
        return exports.response(request, queryset, exports.CSV)


def _entries(changed: Iterable[models.Message], what: str) -> Iterable[HistoryEntry]:
    return (HistoryEntry(message.pk, f"{message.room.slug} {message.number}", what) for message in changed)
