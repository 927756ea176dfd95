"""What is said in rooms, the emoji on it, and how far each has read."""

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

ASKED = 32
"""Changes of one message whose refs are remembered."""


NUMBERED = frozenset({"room", "room_id", "number", "seq", "changes"})
WRITTEN = (
    "chat.log writes messages, so that each gets its room's next number and is told to everybody. To say "
    "something call chat.log.maintenance.post(), to hide or prune chat.log.maintenance.hide() or prune()."
)
"""The error for code that writes a row by itself: its number would be in the way of later messages."""


class Messages(models.QuerySet["Message"]):
    """Raises ValueError for what only chat.log does."""

    def update(self, **fields: Any) -> int:
        if fields.keys() & NUMBERED:
            raise ValueError(WRITTEN)
        return super().update(**fields)

    def bulk_create(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(WRITTEN)

    def bulk_update(self, objs: Iterable["Message"], fields: Iterable[str], *args: Any, **options: Any) -> int:
        names = list(fields)
        if NUMBERED.intersection(names):
            raise ValueError(WRITTEN)
        return super().bulk_update(objs, names, *args, **options)


class Message(models.Model):
    """A message in a room, as it is now. Only chat.log writes rows."""

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
    # Digest of the words as they were sent, where the text is another one: it was changed, or a filter changed it.
    # The default is the database's, for processes of the version before, which write rows without it.
    said = models.CharField(_("first words"), max_length=16, db_default="", blank=True, editable=False)
    # The latest changes that had a ref, the last last: each a digest of who asked and of the ref, then "=" and a
    # digest of what was asked.
    asked = models.TextField(_("changes that were asked for"), db_default="", blank=True, editable=False)
    # Tokens of the text for the search's index (chat.log.search). Not dumped: they are made again from the text.
    words = models.TextField(_("words"), null=True, editable=False, serialize=False)  # noqa: DJ001 None: not indexed yet

    objects = Messages.as_manager()

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

    def save(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(WRITTEN)

    def keep(self, *, using: str, update_fields: Iterable[str] | None = None) -> None:
        """Save it: chat.log has given it its number."""
        super().save(using=using, update_fields=update_fields)

    def says(self, words: str, reply_to: int | None) -> bool:
        """Was it first sent with these words, as an answer to that one? True if nobody knows any more.

        In another life of the room a client sends the same message without what it answers.
        """
        if reply_to not in (None, self.reply_to):
            return False
        if self.said:
            return is_digest(self.said, words)
        # A process of the version before may have changed the text.
        return self.edited is not None or self.deleted is not None or self.content == words

    def note_said(self) -> None:
        """Keep what says() needs. Called before the text is changed for the first time."""
        if self.ref and not self.said and self.edited is None:
            self.said = digest(self.content)

    def was_asked(self, author: str, ref: str, what: str) -> bool | None:
        """Was the change ``what`` made here with this ref of theirs? None: that ref was used for another one."""
        asked = self.asked.split()
        name = _name(author, ref)
        if name not in asked:
            return False
        # Processes of the version before keep no digest of what was asked.
        kept = asked[asked.index(name) + 1 :][:1]
        return None if kept and kept[0][0] == "=" and not is_digest(kept[0][1:], what) else True

    def note_asked(self, author: str, ref: str, what: str) -> None:
        # A digest of what was asked stands behind the name: processes of the version before pass over it.
        asked = [*self.asked.split(), _name(author, ref), f"={digest(what)}"]
        names = [place for place, word in enumerate(asked) if word[0] != "="]
        self.asked = " ".join(asked[names[-ASKED:][0] :])


def _name(author: str, ref: str) -> str:
    return blake2b(f"{author}\0{ref}".encode(), digest_size=8).hexdigest()


def digest(words: str, key: str | bytes | None = None) -> str:
    """By it words are known again. It hangs on a secret, so that rows alone don't tell what was deleted."""
    secret = sha256(force_bytes(key or settings.SECRET_KEY)).digest()
    return blake2b(words.encode(), digest_size=8, key=secret, person=b"chat.said").hexdigest()


def is_digest(kept: str, words: str) -> bool:
    return any(kept == digest(words, key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


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
