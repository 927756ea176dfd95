"""Post, edit, delete and react from Python.

In a transaction of the caller each is one row in the outbox: it is carried out with the commit, and never after a
rollback. Outside of one it is carried out at once.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from chat import models
from chat.api.async_twins import in_thread
from chat.api.orders import Posted, carry_out
from chat.message_log import DeleteMessage, EditText, NewMessage, SetReaction
from chat.message_log.queries import open_room
from chat.protocol import AVATAR_LIMIT, CONTENT_LIMIT, MESSAGE_DATA_LIMIT, ErrorCode, Invalid, name_key
from chat.protocol.text import CONTROL, clean_name, clean_text, is_emoji

REF_LIMIT = 64
"""Characters of a ref."""


@dataclass(frozen=True, slots=True)
class Bot:
    """An author that is no account. ``avatar``: an image's address, https or a path of this site."""

    name: str
    avatar: str = ""


def post(
    room: models.Room | str,
    content: str,
    *,
    user: Any = None,
    bot: Bot | None = None,
    data: dict[str, Any] | None = None,
    ref: str | None = None,
    reply_to: int | None = None,
) -> Posted | None:
    """Post a message in an existing room, as an account or as a bot.

    ``data``: a JSON object beside the text, for the page. ``ref``: a repetition by the same author with the same
    one (1-64 characters) posts nothing more. The room's rules and the limits do not apply.

    Returns None within a transaction: the message is posted with the commit. Raises ValueError for a bad field;
    chat.protocol.Invalid: no_room, not_found (``reply_to``), ref_reused, busy.
    """
    author, username = _author(user, bot)
    return carry_out(
        NewMessage(
            author=author,
            username=username,
            content=_content(content),
            ref=_ref(ref),
            reply_to=reply_to,
            extra=_extra(bot, data),
            # The room is read last, after all fields are checked.
            room=open_room(_slug(room), make=False),
        )
    )


def edit(room: models.Room | str, id: int, content: str, *, ref: str | None = None) -> Posted | None:  # noqa: A002 the wire's word
    """Change the text of any message; its ``data`` stays. Returns and raises like ``post``.

    Raises not_found if the room has no such message yet, or if it is deleted.
    """
    text, ref = _content(content), _ref(ref)
    log = open_room(_slug(room), make=False)
    author, username = _author_of(log.pk, id)
    return carry_out(
        EditText(room=log, author=author, username=username, id=id, ref=ref, content=text, allowed=models.allow)
    )


def delete(room: models.Room | str, id: int, *, ref: str | None = None) -> Posted | None:  # noqa: A002 as above
    """Delete any message: its text, data and reactions are removed, its id stays. Raises like ``edit``."""
    ref = _ref(ref)
    log = open_room(_slug(room), make=False)
    author, username = _author_of(log.pk, id)
    return carry_out(
        DeleteMessage(room=log, author=author, username=username, id=id, ref=ref, allowed=models.allow)
    )


def react(
    room: models.Room | str,
    id: int,  # noqa: A002 as above
    emoji: str,
    *,
    user: Any = None,
    bot: Bot | None = None,
    on: bool = True,
) -> Posted | None:
    """Add an emoji to a message, or remove it. Returns and raises like ``edit``; too_many_emoji."""
    if on and not is_emoji(emoji):
        raise ValueError("emoji: must be one emoji")
    author, username = _author(user, bot)
    log = open_room(_slug(room), make=False)
    _author_of(log.pk, id)
    return carry_out(
        SetReaction(room=log, author=author, username=username, id=id, emoji=emoji, on=on, allowed=models.allow)
    )


apost, aedit, adelete, areact = in_thread(post), in_thread(edit), in_thread(delete), in_thread(react)


# --- Fields ---


def _slug(room: models.Room | str) -> str:
    return room if isinstance(room, str) else room.slug


def _author(user: Any, bot: Bot | None) -> tuple[str, str]:
    """The key and the name of the author."""
    if (user is None) == (bot is None):
        raise ValueError("user, bot: give one of both")
    if bot is None:
        if user.pk is None:
            raise ValueError("user: must be a saved account")
        return models.account_key(user.pk), user.get_username()
    try:
        name = clean_name(bot.name)
    except ValueError as error:
        raise ValueError(f"bot.name: {error}") from None
    # Guests have other keys, so none of them can use up a bot's refs.
    return f"{models.BOT}{name_key(name)}", name


def _author_of(room: int, number: int) -> tuple[str, str]:
    """The message's author, in whose name Python changes it. Raises Invalid: not_found."""
    found = models.Message.objects.filter(room=room, number=number).values_list("author", "username").first()
    if found is None:
        raise Invalid(ErrorCode.NOT_FOUND, "id: there is no such message in this room", field="id")
    return found


def _content(content: str) -> str:
    if not 1 <= len(content) <= CONTENT_LIMIT:
        raise ValueError(f"content: must have 1 to {CONTENT_LIMIT} characters, not {len(content)}")
    try:
        return clean_text(content)
    except ValueError as error:
        raise ValueError(f"content: {error}") from None


def _ref(ref: str | None) -> str | None:
    if ref is not None and not 1 <= len(ref) <= REF_LIMIT:
        raise ValueError(f"ref: must have 1 to {REF_LIMIT} characters, not {len(ref)}")
    if ref is not None and CONTROL.search(ref):
        raise ValueError("ref: must not have control characters")
    return ref


def _extra(bot: Bot | None, data: dict[str, Any] | None) -> str | None:
    """The message's column for what only Python can give it, as JSON."""
    extra: dict[str, Any] = {}
    if bot is not None:
        extra = {"bot": True, "avatar": _avatar(bot.avatar)} if bot.avatar else {"bot": True}
    if data is not None:
        extra["data"] = msgspec.Raw(_encoded(data))
    return msgspec.json.encode(extra).decode() if extra else None


def _encoded(data: dict[str, Any]) -> bytes:
    """The object as JSON. Its fields are sorted: repetitions with a ref are compared."""
    encoded = msgspec.json.encode(data, order="sorted")
    if not encoded.startswith(b"{") or len(encoded) > MESSAGE_DATA_LIMIT:
        raise ValueError(f"data: must be a dict of at most {MESSAGE_DATA_LIMIT} bytes as JSON")
    return encoded


def _avatar(avatar: str) -> str:
    # A browser reads "\" as "/", so "/\host" would be another site.
    known = avatar.startswith("https://") or (avatar.startswith("/") and not avatar.startswith(("//", "/\\")))
    if not known or len(avatar) > AVATAR_LIMIT or not avatar.isprintable() or " " in avatar:
        raise ValueError(
            f"bot.avatar: must be an https:// address or a path of this site, of at most {AVATAR_LIMIT} characters"
        )
    return avatar
