"""Tables for moderators and the staff: reports, the audit log, connections; and the accounts' folded names."""

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat import protocol
from chat.models.fields import AUTHOR_LENGTH, Actor
from chat.models.messages import Message
from chat.models.rooms import Room


class Report(models.Model):
    """A user's report of a message.

    It keeps the message as it was then: the message may be edited, deleted or pruned, and its room may be deleted.
    """

    room = models.ForeignKey(Room, on_delete=models.SET_NULL, null=True, related_name="reports", db_index=False)
    # The copied columns have defaults in the database, for processes of the version before.
    slug = models.CharField(_("room's name"), max_length=50, db_default="", editable=False)
    kind = models.CharField(_("room's kind"), max_length=10, db_default="", editable=False)
    number = models.BigIntegerField(_("message"))
    writer = models.CharField(_("said by (key)"), max_length=AUTHOR_LENGTH, db_default="", editable=False)
    writer_name = models.CharField(_("said by"), max_length=150, db_default="", editable=False)
    content = models.TextField(_("text"), db_default="", editable=False)
    said = models.DateTimeField(_("said"), null=True, editable=False)
    reporter = models.CharField(_("reporter"), max_length=AUTHOR_LENGTH)
    username = models.CharField(_("reported by"), max_length=150)
    reason = models.CharField(_("reason"), max_length=protocol.REASON_LIMIT, blank=True)
    created = models.DateTimeField(_("reported"), default=timezone.now, editable=False)
    closed = models.DateTimeField(_("closed"), null=True, blank=True)
    closed_by = models.CharField(_("closed by"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("report")
        verbose_name_plural = _("reports")
        indexes = [models.Index(fields=["room", "number", "reporter"], name="chat_report_of")]

    def __str__(self) -> str:
        return f"{self.where} {self.number}: {self.reason}"

    @property
    def where(self) -> Room:
        """The room, or an unsaved stand-in with its slug and kind if it is deleted."""
        return self.room or Room(slug=self.slug, kind=self.kind)

    def copy_message(self, message: Message) -> None:
        """Copy the message as it is now, with its room's slug and kind."""
        self.slug, self.kind = message.room.slug, message.room.kind
        self.writer, self.writer_name = message.author, message.username
        self.content, self.said = message.content, message.created


DETAIL_LENGTH = 300
"""Characters of an audit entry's detail."""


class AuditEntries(models.Manager["AuditEntry"]):
    def record(
        self,
        room: Room | None,
        actor: Actor,
        action: str,
        *,
        target: str = "",
        target_name: str = "",
        number: int | None = None,
        detail: str = "",
    ) -> None:
        """Write an entry, in the transaction of the change itself. Without a room it is about every room.

        ``target``: the key of the person it was done to. ``number``: a message's number in the room. A longer
        ``detail`` is cut.
        """
        self.create(
            # A room that was just deleted has no key any more. Its name stays.
            room=room if room and room.pk else None,
            slug=room.slug if room else "",
            actor=actor.key,
            actor_name=actor.name or "",
            action=action,
            target=target,
            target_name=target_name,
            number=number,
            detail=detail[:DETAIL_LENGTH],
        )


class AuditEntry(models.Model):
    """An action on a room or on a user in it, and its actor. Written once, never changed."""

    # The slug is copied too: the entry outlives the room.
    room = models.ForeignKey(
        Room, on_delete=models.SET_NULL, null=True, related_name="audit", editable=False, db_index=False
    )
    slug = models.CharField(_("room's name"), max_length=50)
    actor = models.CharField(_("who (key)"), max_length=AUTHOR_LENGTH)
    actor_name = models.CharField(_("who"), max_length=150)
    action = models.CharField(_("what"), max_length=20)
    target = models.CharField(_("to whom (key)"), max_length=AUTHOR_LENGTH, blank=True)
    target_name = models.CharField(_("to whom"), max_length=150, blank=True)
    number = models.BigIntegerField(_("message"), null=True)
    detail = models.CharField(_("detail"), max_length=DETAIL_LENGTH, blank=True)
    created = models.DateTimeField(_("when"), default=timezone.now, db_index=True)

    objects = AuditEntries()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ("-created", "-pk")
        default_permissions = ("view",)
        indexes = [models.Index(fields=["room", "created"], name="chat_audit_room")]

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.action} {self.target_name}".strip()


class AccountName(models.Model):
    """An account's name, folded (chat.protocol.name_key). No guest may take a name with the same key."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    key = models.CharField(max_length=600, db_index=True)

    def __str__(self) -> str:
        return self.key


class NoRows(models.Manager["Connection"]):
    """Finds nothing, without a query: Django's own commands (`dumpdata`) read the rows of every model."""

    def get_queryset(self) -> models.QuerySet["Connection"]:
        return super().get_queryset().none()


class Connection(models.Model):
    """An open connection. It has no table: the admin's permissions and pages need a model."""

    id = models.CharField(primary_key=True, max_length=16)

    objects = NoRows()

    class Meta:
        managed = False
        # `dumpdata --all` reads by this manager.
        base_manager_name = "objects"
        default_permissions = ("view",)
        permissions = [("disconnect_connection", _("Can disconnect a socket"))]
        verbose_name = _("connection")
        verbose_name_plural = _("connections: who is here now")

    def __str__(self) -> str:
        return self.id
