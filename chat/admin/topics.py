"""Topics, their entries, and the publications that wait for a number."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chat import models
from chat.admin.readonly import ReadOnlyAdmin
from chat.hub import Hub
from chat.loops import all_loops


@admin.register(models.Topic)
class TopicAdmin(ReadOnlyAdmin):
    list_display = ("name", "seq", "kept", "subscribers", "created")
    search_fields = ("name",)
    readonly_fields = ("kept", "subscribers")

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Topic]:
        found: QuerySet[models.Topic] = super().get_queryset(request).annotate(kept=Count("entries"))
        return found

    @admin.display(description=_("entries"))
    def kept(self, topic: Any) -> int:
        return int(topic.kept)

    @admin.display(description=_("subscribers in this process"))
    def subscribers(self, topic: models.Topic) -> int:
        return sum(hub.audience(topic.name) for _loop, hub in all_loops(Hub))


@admin.register(models.Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = ("topic", "number", "seq", "event", "key", "gone", "username", "created")
    list_filter = ("gone", "event")
    list_select_related = ("topic",)
    search_fields = ("topic__name", "key", "event")
    ordering = ("-pk",)


@admin.register(models.Outbox)
class OutboxAdmin(ReadOnlyAdmin):
    list_display = ("topic", "event", "key", "username", "created")
    search_fields = ("topic",)
    ordering = ("pk",)
