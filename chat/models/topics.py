"""Topics: named, numbered logs for everything that is live beside the chat; and the publications that wait."""

from collections.abc import Iterable
from typing import Any, NoReturn

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat import protocol
from chat.models.fields import AUTHOR_LENGTH
from chat.models.rooms import new_epoch

NAME_LENGTH = 80
"""Characters of a topic's name, as protocol.TOPIC_PATTERN allows them."""
ONLY_BY_TOPICS = (
    "are written by chat.topics, so that each gets its topic's next number and reaches the subscribers. To "
    "publish an event call chat.topics.publish()."
)
"""The error for code that writes a row by itself: its number would collide with those of later entries."""


class NumberedQuerySet(models.QuerySet[Any]):
    """Rows that only chat.topics writes, with statements of its own."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"Rows of {self.model.__name__} {ONLY_BY_TOPICS}")

    create = update = bulk_create = bulk_update = get_or_create = update_or_create = _refuse


class NumberedModel(models.Model):
    """A row that only chat.topics writes."""

    objects = NumberedQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"Rows of {type(self).__name__} {ONLY_BY_TOPICS}")


class Topic(NumberedModel):
    """A topic's counters. The row comes into being with the first publication or the first subscriber."""

    name = models.CharField(
        _("name"), max_length=NAME_LENGTH, unique=True, validators=[RegexValidator(protocol.TOPIC_PATTERN)]
    )
    epoch = models.CharField(
        _("epoch"),
        max_length=16,
        default=new_epoch,
        editable=False,
        help_text=_("The epoch of its numbers; a client with another one starts over."),
    )
    seq = models.BigIntegerField(_("last number"), default=0, editable=False)
    pruned = models.BigIntegerField(
        _("pruned numbers"),
        default=0,
        editable=False,
        help_text=_("How many numbers were removed with pruned entries."),
    )
    floor = models.BigIntegerField(
        _("highest pruned number"),
        default=0,
        editable=False,
        help_text=_("A client that has less than this starts over."),
    )
    rules = models.BigIntegerField(
        _("rules"),
        default=0,
        editable=False,
        help_text=_("How often the subscribers' rights were asked for again; processes compare it."),
    )
    created = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("topic")
        verbose_name_plural = _("topics")
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                condition=Q(seq__gte=0) & Q(pruned__gte=0) & Q(pruned__lte=F("seq")) & Q(floor__lte=F("seq")),
                name="chat_topic_numbers",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Entry(NumberedModel):
    """A publication in its present state: without a key a part of a stream, with one the key's value."""

    topic = models.ForeignKey(Topic, on_delete=models.CASCADE, related_name="entries", db_index=False)
    number = models.BigIntegerField(_("id"), help_text=_("The number that made it."))
    seq = models.BigIntegerField(_("seq"), help_text=_("The number of its last change."))
    changes = models.BigIntegerField(_("changes"), default=0, help_text=_("How often its value was replaced."))
    event = models.CharField(_("event"), max_length=50, blank=True)
    key = models.CharField(_("key"), max_length=protocol.KEY_LIMIT, blank=True)
    data = models.TextField(_("data"), help_text=_("A JSON object."))
    gone = models.BooleanField(_("removed"), default=False)
    author = models.CharField(_("author"), max_length=AUTHOR_LENGTH, blank=True)
    username = models.CharField(_("name"), max_length=150, blank=True)
    created = models.DateTimeField(_("published"))

    class Meta:
        verbose_name = _("entry")
        verbose_name_plural = _("entries")
        constraints = [
            models.UniqueConstraint(fields=["topic", "seq"], name="chat_entry_seq"),
            models.UniqueConstraint(fields=["topic", "number"], name="chat_entry_number"),
            models.UniqueConstraint(fields=["topic", "key"], condition=~Q(key=""), name="chat_entry_key"),
        ]

    def __str__(self) -> str:
        return f"{self.topic}, {self.number}"


class PublishedRef(NumberedModel):
    """A ref that was used in a topic: a repetition publishes nothing more."""

    topic = models.ForeignKey(Topic, on_delete=models.CASCADE, related_name="refs", db_index=False)
    author = models.CharField(max_length=AUTHOR_LENGTH, blank=True)
    ref = models.CharField(max_length=64)
    # Digest of the event, the key and the data.
    digest = models.CharField(max_length=64)
    number = models.BigIntegerField()
    seq = models.BigIntegerField()
    created = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["topic", "author", "ref"], name="chat_publishedref_once")]

    def __str__(self) -> str:
        return self.ref


class OutboxQuerySet(models.QuerySet["Outbox"]):
    def for_topics(self, names: Iterable[str]) -> "OutboxQuerySet":
        """The publications for these topics, in the order in which they are numbered."""
        return self.filter(topic__in=names).order_by("pk")


class Outbox(models.Model):
    """A publication that has no number yet. The server deletes the row when it gives the number."""

    topic = models.CharField(_("topic or room"), max_length=NAME_LENGTH, db_index=True)
    event = models.CharField(_("event"), max_length=50, blank=True)
    key = models.CharField(_("key"), max_length=protocol.KEY_LIMIT, blank=True)
    data = models.TextField(_("data"), help_text=_("A JSON object."))
    gone = models.BooleanField(_("removes the key"), default=False)
    author = models.CharField(_("author"), max_length=AUTHOR_LENGTH, blank=True)
    username = models.CharField(_("name"), max_length=150, blank=True)
    ref = models.CharField(_("ref"), max_length=64, blank=True)
    created = models.DateTimeField(_("published"), default=timezone.now)

    objects = OutboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("waiting publication")
        verbose_name_plural = _("waiting publications")

    def __str__(self) -> str:
        return f"{self.topic}: {self.event}"
