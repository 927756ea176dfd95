"""The writes that a chat room's log takes."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from chat import models
from chat.log import Write


@dataclass(eq=False, slots=True, kw_only=True)
class NewMessage(Write):
    content: str
    # The client's identifier. A repetition with the same author, room and ref gets the first answer.
    ref: str | None = None
    # Id of the message that this one answers.
    reply_to: int | None = None
    # The text as the client sent it, if a filter changed it.
    sent: str | None = None
    # JSON that only Python can give (models.Message.extra).
    extra: str | None = None

    @property
    def sent_text(self) -> str:
        return self.content if self.sent is None else self.sent

    def is_repeat(self, text: str, reply_to: int | None, extra: str | None = None) -> bool:
        """Like models.Message.is_repeat, for a message that has no row yet."""
        return self.sent_text == text and reply_to in (None, self.reply_to) and self.extra == extra


@dataclass(eq=False, slots=True, kw_only=True)
class MessageChange(Write):
    """A change of the message ``id``."""

    id: int
    # The client's identifier. A repetition with the same ref is not made again, however late it comes.
    ref: str | None = None
    # Raises Invalid if the author may not make the change. It may write an audit entry, in the same transaction.
    allowed: Callable[[models.Message], None]

    @property
    def description(self) -> str:
        """The requested change as text, to tell it from another one with the same ref. Its digest is stored."""
        raise NotImplementedError


@dataclass(eq=False, slots=True, kw_only=True)
class EditText(MessageChange):
    content: str
    # The text as the client sent it, if a filter changed it.
    sent: str | None = None

    @property
    def description(self) -> str:
        return f"edit {self.content if self.sent is None else self.sent}"


@dataclass(eq=False, slots=True, kw_only=True)
class DeleteMessage(MessageChange):
    """The author's deletion removes the text and keeps the number. Anybody else's hides the message."""

    @property
    def description(self) -> str:
        return "delete"


@dataclass(eq=False, slots=True, kw_only=True)
class SetHidden(MessageChange):
    """Hide a message, or show it again. Its text is kept."""

    hidden: bool

    @property
    def description(self) -> str:
        return "hide" if self.hidden else "show"


@dataclass(eq=False, slots=True, kw_only=True)
class SetReaction(MessageChange):
    """Add the author's emoji to a message, or remove it."""

    emoji: str
    on: bool

    @property
    def description(self) -> str:
        return f"{'react' if self.on else 'unreact'} {self.emoji}"


@dataclass(eq=False, slots=True, kw_only=True)
class MarkRead(Write):
    """The author has read the room up to the number ``seq``."""

    seq: int

    @property
    def order_key(self) -> Hashable:
        """Read positions are ordered per room and reader, so that they delay no messages."""
        return self.room.pk, self.author
