"""Changes of one message's row: edit, delete, hide, react. The locking batch saves the row with its number."""

from collections import Counter
from typing import Any

from chat import models, protocol
from chat.database import as_datetime
from chat.log.changes import Change
from chat.message_log.changes import event_of, message_of, reactions_on
from chat.message_log.writes import DeleteMessage, EditText, MessageChange, SetHidden, SetReaction
from chat.protocol import ErrorCode, Invalid, Reacted


def apply(write: MessageChange, row: models.Message, now: int) -> bool:
    """Change the row, without saving it; ``now`` is in milliseconds. False if the row is so already.

    Raises Invalid (not_found) if the message is deleted or hidden.
    """
    match write:
        case SetHidden(hidden=hidden):
            return _set_hidden(row, hidden=hidden)
        case DeleteMessage() if row.author != write.author:
            # A moderator's deletion hides the message, and the staff can still read it.
            return row.deleted is None and _set_hidden(row, hidden=True)
        case DeleteMessage():
            return _delete(row, now)
    if row.deleted is not None or row.hidden:
        raise Invalid(ErrorCode.NOT_FOUND, "id: this message was deleted", field="id")
    match write:
        case EditText(content=content):
            row.remember_first_text()
            changed, row.content, row.edited = row.content != content, content, as_datetime(now)
            return changed
        case SetReaction(on=True):
            return _add_reaction(write, row)
        case SetReaction(on=False, emoji=emoji, author=author):
            return row.reactions.filter(emoji=emoji, author=author).delete()[0] > 0
    raise TypeError(f"{write!r} is nothing that changes a message")


def change_of(write: MessageChange, row: models.Message) -> Change:
    """The change as it is published, of a row that is saved."""
    state = message_of(row, write.room.slug, reactions_on([row.pk]).get(row.pk, []))
    if isinstance(write, SetReaction):
        event: Any = Reacted(room=state.room, id=state.id, seq=state.seq, reactions=state.reactions)
    else:
        event = event_of(state)
    return Change(state.seq, state.id, protocol.encode(event), protocol.encode(state), gone=state.deleted)


def _set_hidden(row: models.Message, *, hidden: bool) -> bool:
    # A message that its author deleted while it was hidden stays hidden.
    changed = row.hidden != hidden and not (row.withdrawn and not hidden)
    row.hidden = hidden if changed else row.hidden
    return changed


def _delete(row: models.Message, now: int) -> bool:
    """Delete by the author. Text that the staff hid is evidence: it is kept, and never shown again."""
    if row.deleted is not None:
        return False
    if row.hidden:
        row.withdrawn = row.withdrawn or as_datetime(now)
        return False
    row.remember_first_text()
    row.content, row.extra, row.edited, row.deleted = "", None, None, as_datetime(now)
    row.reactions.all().delete()
    return True


def _add_reaction(write: SetReaction, row: models.Message) -> bool:
    emojis = Counter(row.reactions.values_list("emoji", flat=True))
    if write.emoji not in emojis and len(emojis) >= protocol.EMOJIS_LIMIT:
        message = f"emoji: a message has at most {protocol.EMOJIS_LIMIT} different ones"
        raise Invalid(ErrorCode.TOO_MANY_EMOJI, message, field="emoji")
    _, made = row.reactions.get_or_create(
        emoji=write.emoji, author=write.author, defaults={"username": write.username}
    )
    return made
