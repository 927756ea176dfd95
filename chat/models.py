"""What a chat keeps: rooms, the messages in them, the emoji on those, and how far each has read.

Each room counts its changes. A message, an edit, a deletion, an emoji put on or taken off takes the room's next
number, in the transaction that makes it (chat.log): ``number`` is the one that made a message and names it in its
room, ``seq`` the one of its last change. So "what changed since n" is one read of an index, and yields each
message once, as it is now.

Who is connected lives in the processes that hold the sockets, not in rows that a crash would leave stale; so
``Connection`` has no table.
"""

import secrets

from django.core.validators import MaxLengthValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat import protocol

AUTHOR_LENGTH = 128
"""Characters of who somebody is: the longest is "name:" and a name's key, which may be three times the name."""


def new_epoch() -> str:
    """A word that no other life of a room has: 32 random bits."""
    return secrets.token_hex(4)


class Room(models.Model):
    """A place to talk, made by the first who comes in."""

    class Kind(models.TextChoices):
        PUBLIC = "public", _("Public: who knows its name may come in")

    slug = models.CharField(
        _("name in addresses"), max_length=50, unique=True, validators=[RegexValidator(protocol.ROOM_PATTERN)]
    )
    title = models.CharField(_("title"), max_length=80, blank=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.PUBLIC)
    epoch = models.CharField(
        _("epoch"),
        max_length=16,
        default=new_epoch,
        editable=False,
        help_text=_("Which life of the room its numbers are of; a client with another starts over."),
    )
    seq = models.BigIntegerField(_("last number"), default=0, editable=False)
    pruned = models.BigIntegerField(
        _("pruned numbers"),
        default=0,
        editable=False,
        help_text=_("How many numbers went with the messages that were pruned."),
    )
    created = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("room")
        verbose_name_plural = _("rooms")
        ordering = ("slug",)
        constraints = [
            models.CheckConstraint(
                condition=Q(seq__gte=0) & Q(pruned__gte=0) & Q(pruned__lte=F("seq")), name="chat_room_numbers"
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.slug


class Message(models.Model):
    """What somebody said in a room, as it is now."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="messages", db_index=False)
    number = models.BigIntegerField(_("number"))
    seq = models.BigIntegerField(_("last change"))
    changes = models.IntegerField(
        _("changes"), default=0, help_text=_("How often it was changed after it was said.")
    )
    author = models.CharField(
        _("author"),
        max_length=AUTHOR_LENGTH,
        help_text=_("account:…, guest:… (a browser's session) or name:… (who only said a name)"),
    )
    username = models.CharField(_("name"), max_length=150)
    ref = models.CharField(_("ref"), max_length=64, null=True, editable=False)  # noqa: DJ001 none is not an empty one: only given ones are unique
    content = models.TextField(_("text"), blank=True, validators=[MaxLengthValidator(protocol.CONTENT_LIMIT)])
    created = models.DateTimeField(_("said"))
    edited = models.DateTimeField(_("edited"), null=True, blank=True)
    deleted = models.DateTimeField(_("deleted"), null=True, blank=True)
    hidden = models.BooleanField(
        _("hidden"), default=False, help_text=_("By the staff: shown as deleted, but its text is kept.")
    )
    reply_to = models.BigIntegerField(_("answers number"), null=True, blank=True)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ("room", "number")
        permissions = [("hide_message", _("Can hide messages and show them again"))]
        constraints = [
            models.UniqueConstraint(fields=["room", "number"], name="chat_message_number"),
            # It is also the index by which changes are read.
            models.UniqueConstraint(fields=["room", "seq"], name="chat_message_seq"),
            models.UniqueConstraint(
                fields=["ref", "author", "room"], name="chat_message_ref", condition=Q(ref__isnull=False)
            ),
            models.CheckConstraint(
                condition=Q(number__gte=1) & Q(seq__gte=F("number")), name="chat_message_order"
            ),
            # Deleted text is gone, not hidden.
            models.CheckConstraint(condition=Q(deleted__isnull=True) | Q(content=""), name="chat_message_gone"),
        ]
        indexes = [models.Index(fields=["created"], name="chat_message_created")]

    def __str__(self) -> str:
        return f"{self.username}: {self.content[:50]}"


class Reaction(models.Model):
    """An emoji that somebody put on a message."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="reactions", db_index=False)
    author = models.CharField(_("author"), max_length=AUTHOR_LENGTH)
    username = models.CharField(_("name"), max_length=150)
    emoji = models.CharField(_("emoji"), max_length=protocol.EMOJI_LIMIT)

    class Meta:
        verbose_name = _("reaction")
        verbose_name_plural = _("reactions")
        constraints = [
            models.UniqueConstraint(fields=["message", "emoji", "author"], name="chat_reaction_once"),
        ]

    def __str__(self) -> str:
        return f"{self.emoji} {self.username}"


class ReadPosition(models.Model):
    """Up to which number somebody has read a room."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="read_positions", db_index=False)
    reader = models.CharField(_("reader"), max_length=AUTHOR_LENGTH)
    seq = models.BigIntegerField(_("read up to"))

    class Meta:
        verbose_name = _("reading position")
        verbose_name_plural = _("reading positions")
        constraints = [
            models.UniqueConstraint(fields=["reader", "room"], name="chat_read_position_once"),
        ]
        indexes = [models.Index(fields=["room"], name="chat_read_position_room")]

    def __str__(self) -> str:
        return f"{self.reader}: {self.seq}"


class Connection(models.Model):
    """One open socket."""

    id = models.CharField(primary_key=True, max_length=16)

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [("disconnect_connection", _("Can disconnect a socket"))]
        verbose_name = _("connection")
        verbose_name_plural = _("connections: who is here now")

    def __str__(self) -> str:
        return self.id
