"""Messages in rooms, the reactions to them, and the users' read positions."""

from collections.abc import Iterable
from hashlib import blake2b, sha256
from typing import Any, NoReturn

from django.conf import settings
from django.core.validators import MaxLengthValidator
from django.db import models
from django.db.models import F, Q
from django.utils.encoding import force_bytes
from django.utils.translation import gettext_lazy as _

from chat import protocol
from chat.models.fields import AUTHOR_LENGTH
from chat.models.rooms import Room

REMEMBERED_REFS = 32
"""Latest changes of one message whose refs are remembered."""

NUMBERED = frozenset({"room", "room_id", "number", "seq", "changes"})
ONLY_BY_THE_LOG = (
    "chat.message_log writes messages, so that each gets its room's next number and is published. To post "
    "a message call chat.api.post(), to hide or prune chat.message_log.maintenance.hide() or prune()."
)
"""The error for code that writes a row by itself: its number would collide with those of later messages."""


class MessageQuerySet(models.QuerySet["Message"]):
    """Raises ValueError for changes that only chat.message_log may make."""

    def update(self, **fields: Any) -> int:
        if fields.keys() & NUMBERED:
            raise ValueError(ONLY_BY_THE_LOG)
        return super().update(**fields)

    def bulk_create(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(ONLY_BY_THE_LOG)

    def bulk_update(self, objs: Iterable["Message"], fields: Iterable[str], *args: Any, **options: Any) -> int:
        names = list(fields)
        if NUMBERED.intersection(names):
            raise ValueError(ONLY_BY_THE_LOG)
        return super().bulk_update(objs, names, *args, **options)


class Message(models.Model):
    """A message in a room, as it is now. Only chat.message_log writes rows."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="messages", db_index=False)
    number = models.BigIntegerField(_("number"))
    seq = models.BigIntegerField(_("last change"))
    changes = models.IntegerField(
        _("changes"), default=0, help_text=_("How often it was changed after it was posted.")
    )
    author = models.CharField(
        _("author"),
        max_length=AUTHOR_LENGTH,
        help_text=_("account:…, guest:… (a browser's session) or name:… (a bare name)"),
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
    withdrawn = models.DateTimeField(
        _("withdrawn"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "Deleted by its author while it was hidden: its text is kept, and never shown to people again."
        ),
    )
    reply_to = models.BigIntegerField(_("answers number"), null=True, blank=True)
    # Digest of the text as it was sent, if it differs from ``content``: it was edited, or a filter changed it.
    # The default is the database's, for processes of the version before, which write rows without it.
    said = models.CharField(_("first words"), max_length=16, db_default="", blank=True, editable=False)
    # The latest changes with a ref, oldest first. Each is a digest of (author, ref), then "=" and a digest of the
    # requested change.
    asked = models.TextField(_("changes that were asked for"), db_default="", blank=True, editable=False)
    # Tokens of the text for the search index (chat.message_log.search). They are not dumped, but made again from
    # the text.
    words = models.TextField(_("words"), null=True, editable=False, serialize=False)  # noqa: DJ001 None: not indexed yet

    # JSON that only Python can give: `data`, and of a bot `bot` and `avatar` (chat.api).
    extra = models.TextField(_("data"), null=True, blank=True, editable=False)  # noqa: DJ001 nearly all have none

    objects = MessageQuerySet.as_manager()

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ("room", "number")
        permissions = [("hide_message", _("Can hide messages and show them again"))]
        constraints = [
            models.UniqueConstraint(fields=["room", "number"], name="chat_message_number"),
            # Also the index by which changes are read.
            models.UniqueConstraint(fields=["room", "seq"], name="chat_message_seq"),
            models.UniqueConstraint(
                fields=["ref", "author", "room"], name="chat_message_ref", condition=Q(ref__isnull=False)
            ),
            models.CheckConstraint(
                condition=Q(number__gte=1) & Q(seq__gte=F("number")), name="chat_message_order"
            ),
            # Deleted text is removed, not hidden.
            models.CheckConstraint(condition=Q(deleted__isnull=True) | Q(content=""), name="chat_message_gone"),
        ]
        indexes = [models.Index(fields=["created"], name="chat_message_created")]

    def __str__(self) -> str:
        return f"{self.username}: {self.content[:50]}"

    def save(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(ONLY_BY_THE_LOG)

    def save_numbered(self, *, using: str, update_fields: Iterable[str] | None = None) -> None:
        """Save the row, for chat.message_log: it has given the change its number."""
        super().save(using=using, update_fields=update_fields)

    def is_repeat(self, text: str, reply_to: int | None, extra: str | None = None) -> bool:
        """True if it was first sent with this text and ``extra``, in reply to that message.

        Also true if that is no longer known. After the room got a new epoch, a client repeats its message without
        ``reply_to``.
        """
        if reply_to not in (None, self.reply_to) or (self.deleted is None and extra != self.extra):
            return False
        if self.said:
            return is_digest(self.said, text)
        # A process of the version before may have changed the text.
        return self.edited is not None or self.deleted is not None or self.content == text

    def remember_first_text(self) -> None:
        """Keep the digest that is_repeat() needs. Called before the text is changed for the first time."""
        if self.ref and not self.said and self.edited is None:
            self.said = digest(self.content)

    def was_requested(self, author: str, ref: str, description: str) -> bool | None:
        """True if the author made this change with this ref; None if the ref was used for another change.

        ``description`` is the change as text (chat.message_log.writes).
        """
        asked = self.asked.split()
        name = _ref_digest(author, ref)
        if name not in asked:
            return False
        # Processes of the version before keep no digest of the change.
        kept = asked[asked.index(name) + 1 :][:1]
        return None if kept and kept[0][0] == "=" and not is_digest(kept[0][1:], description) else True

    def remember_request(self, author: str, ref: str, description: str) -> None:
        """Add the change to ``asked``, and keep the latest REMEMBERED_REFS of them."""
        # The digest of the change follows that of the ref. Processes of the version before skip it.
        asked = [*self.asked.split(), _ref_digest(author, ref), f"={digest(description)}"]
        names = [place for place, word in enumerate(asked) if word[0] != "="]
        self.asked = " ".join(asked[names[-REMEMBERED_REFS:][0] :])


def allow(message: Message) -> None:
    """The check of a change that is allowed, whatever the message."""


def _ref_digest(author: str, ref: str) -> str:
    return blake2b(f"{author}\0{ref}".encode(), digest_size=8).hexdigest()


def digest(text: str, key: str | bytes | None = None) -> str:
    """A keyed digest that recognizes a text. The secret key keeps rows alone from revealing deleted text."""
    secret = sha256(force_bytes(key or settings.SECRET_KEY)).digest()
    return blake2b(text.encode(), digest_size=8, key=secret, person=b"chat.said").hexdigest()


def is_digest(kept: str, text: str) -> bool:
    return any(kept == digest(text, key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


class Reaction(models.Model):
    """A user's emoji on a message."""

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
    """The last number that a user has read in a room."""

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
