"""Post, edit, delete and react from Python.

In a transaction of the caller each is one row in the outbox: it is carried out with the commit, and never after a
rollback. Outside of one it is carried out at once.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections, router, transaction

from chat import models
from chat.api.signals import announce
from chat.log import RoomLog, Writer
from chat.log.queries import open_room
from chat.log.writes import DeleteMessage, EditText, NewMessage, SetReaction, Write, Written
from chat.protocol import CONTENT_LIMIT, ErrorCode, Invalid, name_key
from chat.protocol.text import clean_text
from chat.topics.publishing import compare_soon, wake
from chat.topics.writer import Changes

logger = logging.getLogger("chat.api")

MAX_NAME = 32
"""Characters of a bot's name."""
REF_LIMIT, DATA_LIMIT, AVATAR_LIMIT = 64, 8_192, 500
"""Characters of a ref, bytes of ``data`` as JSON, and characters of an avatar's address."""


@dataclass(frozen=True, slots=True)
class Bot:
    """An author that is no account. ``avatar``: an image's address, https or a path of this site."""

    name: str
    avatar: str = ""


@dataclass(frozen=True, slots=True)
class Posted:
    """A committed change: the message's id, the position of the change, and milliseconds since 1970."""

    id: int
    seq: int
    timestamp: int


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
    return _carry_out(
        room,
        {
            "verb": "post",
            **_author(user, bot),
            "content": _content(content),
            "ref": _ref(ref),
            "reply_to": reply_to,
            "extra": _extra(bot, data),
        },
    )


def edit(room: models.Room | str, id: int, content: str, *, ref: str | None = None) -> Posted | None:  # noqa: A002 the wire's word
    """Change the text of a message. Returns and raises like ``post``; not_found without such a message."""
    return _carry_out(room, {"verb": "edit", "id": id, "content": _content(content), "ref": _ref(ref)})


def delete(room: models.Room | str, id: int, *, ref: str | None = None) -> Posted | None:  # noqa: A002 as above
    """Delete a message: its text and reactions are removed, its id stays. Returns and raises like ``edit``."""
    return _carry_out(room, {"verb": "delete", "id": id, "ref": _ref(ref)})


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
    return _carry_out(room, {"verb": "react", "id": id, "emoji": emoji, "on": on, **_author(user, bot)})


apost = sync_to_async(post)
aedit = sync_to_async(edit)
adelete = sync_to_async(delete)
areact = sync_to_async(react)


# --- Fields ---


def _author(user: Any, bot: Bot | None) -> dict[str, str]:
    if (user is None) == (bot is None):
        raise ValueError("user, bot: give one of both")
    if bot is not None:
        if not 1 <= len(bot.name) <= MAX_NAME:
            raise ValueError(f"bot.name: must have 1 to {MAX_NAME} characters, not {len(bot.name)}")
        return {"author": f"name:{name_key(bot.name)}", "username": bot.name}
    return {"author": models.account_key(user.pk), "username": user.get_username()}


def _content(content: str) -> str:
    if not 1 <= len(content) <= CONTENT_LIMIT:
        raise ValueError(f"content: must have 1 to {CONTENT_LIMIT} characters, not {len(content)}")
    return clean_text(content)


def _ref(ref: str | None) -> str | None:
    if ref is not None and not 1 <= len(ref) <= REF_LIMIT:
        raise ValueError(f"ref: must have 1 to {REF_LIMIT} characters, not {len(ref)}")
    return ref


def _extra(bot: Bot | None, data: dict[str, Any] | None) -> str | None:
    """The message's column for what only Python can give it, as JSON."""
    if data is not None and len(json.dumps(data)) > DATA_LIMIT:
        raise ValueError(f"data: must be a dict of at most {DATA_LIMIT} bytes as JSON")
    if bot and bot.avatar and not _is_address(bot.avatar):
        raise ValueError(
            f"bot.avatar: must be an https:// address or a path of this site, of at most {AVATAR_LIMIT} characters"
        )
    extra: dict[str, Any] = {}
    if bot:
        extra |= {"bot": True, **({"avatar": bot.avatar} if bot.avatar else {})}
    if data is not None:
        extra["data"] = data
    return json.dumps(extra, ensure_ascii=False, separators=(",", ":")) if extra else None


def _is_address(avatar: str) -> bool:
    known = avatar.startswith("https://") or (avatar.startswith("/") and not avatar.startswith("//"))
    return known and len(avatar) <= AVATAR_LIMIT and not any(character.isspace() for character in avatar)


# --- Carrying out ---


def _carry_out(room: models.Room | str, order: dict[str, Any]) -> Posted | None:
    slug = room if isinstance(room, str) else room.slug
    using = router.db_for_write(models.Outbox)
    if connections[using].in_atomic_block:
        models.Outbox.objects.using(using).create(topic=slug, event=order["verb"], data=json.dumps(order))
        transaction.on_commit(wake, using=using)
        return None
    row = open_room(slug, make=False)
    write = _write(row, order)
    (outcome,) = Writer().write([write])
    if isinstance(outcome, Invalid):
        raise outcome
    if outcome.change:
        announce(row, [outcome.change])
    compare_soon()
    return Posted(outcome.id, outcome.seq, outcome.timestamp)


def write_waiting(rows: Sequence[models.Outbox]) -> Changes:
    """Carry out the orders for rooms that wait in the outbox, in the numbering's transaction (chat.topics)."""
    changes: Changes = []
    for row in rows:
        try:
            room = open_room(row.topic, make=False)
            write = _write(room, json.loads(row.data))
            (outcome,) = Writer().attempt([write])
        except Invalid as refusal:
            outcome = refusal
        if isinstance(outcome, Written) and outcome.change:
            changes.append((room, [outcome.change]))
        elif isinstance(outcome, Invalid):
            logger.error("room %s: %s is refused: %s", row.topic, row.event, outcome.message)
    return changes


def _write(room: RoomLog, order: dict[str, Any]) -> Write:
    ref = order.get("ref")
    if order["verb"] == "post":
        return NewMessage(
            room=room,
            author=order["author"],
            username=order["username"],
            content=order["content"],
            ref=ref,
            reply_to=order["reply_to"],
            extra=order["extra"],
        )
    if order["verb"] == "react":
        return SetReaction(
            room=room,
            author=order["author"],
            username=order["username"],
            id=order["id"],
            ref=ref,
            emoji=order["emoji"],
            on=order["on"],
            allowed=_allow,
        )
    author, username = _author_of(room, order["id"])
    if order["verb"] == "edit":
        return EditText(
            room=room,
            author=author,
            username=username,
            id=order["id"],
            ref=ref,
            content=order["content"],
            allowed=_allow,
        )
    return DeleteMessage(room=room, author=author, username=username, id=order["id"], ref=ref, allowed=_allow)


def _author_of(room: RoomLog, number: int) -> tuple[str, str]:
    """The message's author, in whose name Python changes it."""
    found = models.Message.objects.filter(room=room.pk, number=number).values_list("author", "username").first()
    if found is None:
        raise Invalid(ErrorCode.NOT_FOUND, "id: there is no such message in this room", field="id")
    return found


def _allow(message: models.Message) -> None:
    """Python may change every message."""
