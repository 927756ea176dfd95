"""Decodes a frame's text to a command, and encodes a reply or an event to a frame."""

import json
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from chat.protocol.commands import (
    Configure,
    Create,
    Edit,
    GetHistory,
    Join,
    Kick,
    Post,
    React,
    Report,
    Restrict,
    Search,
)
from chat.protocol.errors import ErrorCode, Invalid
from chat.protocol.events import Outgoing
from chat.protocol.limits import FRAME_LIMIT, NAME_LIMIT, QUERY_LIMIT, TITLE_LIMIT
from chat.protocol.messages import AnyCommand, AnyOutgoing
from chat.protocol.sanitize import replace_surrogates
from chat.protocol.slugs import slug_of
from chat.protocol.text import (
    CONTROL,
    clean_name,
    clean_query,
    clean_reason,
    clean_text,
    clean_title,
    is_emoji,
)

T = TypeVar("T")

_TEXT_OPCODE = 0x81
"""The first byte of a text frame: FIN, opcode 1."""
_SHORT, _MEDIUM = 125, 0xFFFF
"""The longest payloads, in bytes, whose length fits the header's seven bits, and two extra bytes."""

_TIMESTAMP_KEY = '"timestamp":'
_DIGITS = 13
"""Digits of milliseconds since 1970, from 2001 to 2286."""

_encoder = msgspec.json.Encoder()
_commands: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_outgoing: msgspec.json.Decoder[AnyOutgoing] = msgspec.json.Decoder(AnyOutgoing)


class _Envelope(Struct):
    """The fields of a refused command that its error needs."""

    ref: Any = None
    room: Any = None


_envelopes = msgspec.json.Decoder(_Envelope)


def given(value: T | UnsetType) -> T | None:
    """An optional field's value; None if the frame does not have it."""
    return None if value is UNSET else value


def encode(outgoing: Outgoing) -> str:
    """The text of one frame."""
    return _encoder.encode(outgoing).decode()


def quote(text: str) -> str:
    """The text as JSON has it, in quotation marks."""
    return _encoder.encode(text).decode()


def now() -> int:
    """The wall clock in milliseconds since 1970, as every ``timestamp`` on the wire."""
    return time.time_ns() // 1_000_000


def timestamp_of(text: str) -> int:
    """The ``timestamp`` of an encoded `message`, in milliseconds since 1970; 0 if it has none.

    A string search, as decoding would cost more for each message. A user's text can't match, because its
    quotation marks are escaped.
    """
    begin = text.rfind(_TIMESTAMP_KEY) + len(_TIMESTAMP_KEY)
    digits = text[begin : begin + _DIGITS]
    return int(digits) if digits.isdecimal() else 0


def frame(text: str) -> bytes:
    """One text frame from a server: final, not masked, not compressed (RFC 6455, section 5.2).

    The bytes are the same for every socket of a room, so they are made once.
    """
    payload = text.encode()
    size = len(payload)
    if size <= _SHORT:
        return bytes((_TEXT_OPCODE, size)) + payload
    if size <= _MEDIUM:
        return bytes((_TEXT_OPCODE, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_TEXT_OPCODE, 127)) + size.to_bytes(8, "big") + payload


def decode(text: str) -> AnyCommand:
    """Decode one frame from a client. Raises ``Invalid`` and nothing else, for any text."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise Invalid(ErrorCode.BAD_JSON, "The frame has an unpaired surrogate.") from None
    if len(raw) > FRAME_LIMIT:
        raise Invalid(ErrorCode.TOO_LARGE, f"A frame may have at most {FRAME_LIMIT} bytes.")
    try:
        command = _commands.decode(raw)
        _refuse_repeated_fields(text)
    except msgspec.ValidationError as error:
        raise _explain(str(error), _envelope(raw)) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        if (repaired := _without_lone_surrogates(text)) is not None:
            return decode(repaired)
        raise Invalid(ErrorCode.BAD_JSON, f"The frame must be one JSON object: {error}.") from None
    return _checked(command)


def decode_outgoing(text: str | bytes) -> AnyOutgoing:
    """Decode a reply or an event. For clients in Python, tests and tools."""
    return _outgoing.decode(text)


def _envelope(raw: bytes) -> _Envelope:
    try:
        return _envelopes.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return _Envelope()


def _usable_ref(ref: object) -> str | None:
    """``ref`` if a reply may carry it, else None."""
    return ref if isinstance(ref, str) and 1 <= len(ref) <= 64 and not CONTROL.search(ref) else None  # noqa: PLR2004 Ref's limits


_TEXTS = ("content", "query", "title", "reason")
"""Fields that are sanitized. In any other field an unpaired surrogate is an error."""


def _without_lone_surrogates(text: str) -> str | None:
    """The frame with its unpaired surrogates replaced; None if it has none, or is broken in another way.

    A client that cuts an emoji in two sends such a frame, and msgspec calls it truncated JSON. A text field is
    repaired. For any other field this raises ``Invalid``, which names the field and the command's ref.
    """
    try:
        command = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    halves = {
        field: value
        for field, value in (command.items() if isinstance(command, dict) else ())
        if isinstance(value, str) and replace_surrogates(value) != value
    }
    for field in halves:
        if field not in _TEXTS and f'"{field}"' in _QUOTED_FIELDS:
            message = f"{field}: must not have an unpaired surrogate"
            raise Invalid(ErrorCode.BAD_FIELD, message, field=field, ref=_usable_ref(command.get("ref")))
    return (
        json.dumps(command | {field: replace_surrogates(value) for field, value in halves.items()})
        if halves
        else None
    )


_AT = re.compile(r" - at `\$\.?(?P<field>[A-Za-z]*)[^`]*`$")


def _explain(error: str, envelope: _Envelope) -> Invalid:
    """An ``Invalid`` for msgspec's error line. "Expected `str`, got `int` - at `$.room`" names `room`."""
    ref = _usable_ref(envelope.ref)
    found = _AT.search(error)
    field = found["field"] if found else ""
    reason = _AT.sub("", error)
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", reason):
        field, reason = missing[1], "is required"
        if field == "type":
            return Invalid(
                ErrorCode.UNKNOWN_TYPE, "type: is required, must be one of the commands", field=field, ref=ref
            )
    if field == "type":
        known = ", ".join(sorted(COMMANDS))
        return Invalid(ErrorCode.UNKNOWN_TYPE, f"type: must be one of {known}", field="type", ref=ref)
    if not field:
        return Invalid(ErrorCode.BAD_JSON, f"The frame must be one JSON object: {reason}.", ref=ref)
    if field == "username" and "length" in reason:
        reason = f"must have 1 to {NAME_LIMIT} characters"
    if field == "query" and "length" in reason:
        reason = f"must have 1 to {QUERY_LIMIT} characters"
    if field == "room" and "regex" in reason:
        reason = "must be 1-50 characters of a-z, 0-9, - and _, starting with a letter or digit"
        room = envelope.room
        # The room is None if the frame is too broken to be decoded again.
        slug = slug_of(room) if isinstance(room, str) and len(room) <= TITLE_LIMIT else None
        reason += f"; the slug of this name is {slug!r}" if slug else ""
    return Invalid(ErrorCode.BAD_FIELD, f"{field}: {reason}", field=field, ref=ref)


def _refuse_repeated_fields(text: str) -> None:
    """Raise ValueError if a known field occurs twice: parsers disagree on which one counts (RFC 8259, section 4).

    The full parse runs only if a field's name occurs twice in the text, or may be written with an escape. The
    common frame does not pay for it.
    """
    named = _FIELDS.findall(text)
    if len(named) != len(set(named)) or "\\u" in text:
        # Numbers stay text: Python refuses to convert more than 4,300 digits.
        json.loads(text, object_pairs_hook=_unique, parse_int=str)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs if f'"{name}"' in _QUOTED_FIELDS]
    for name in set(names):
        if names.count(name) > 1:
            raise ValueError(f"the field {name!r} occurs twice")
    return dict(pairs)


def _checked(command: AnyCommand) -> AnyCommand:
    """The command with its texts sanitized. Raises ``Invalid`` for what the schema can't express."""
    ref = command.ref or None
    if ref and CONTROL.search(ref):
        raise Invalid(ErrorCode.BAD_FIELD, "ref: must not have control characters", field="ref")
    match command:
        case Post(content=content) | Edit(content=content):
            return _with(command, "content", clean_text, content)
        case Join(username=str(username)):
            return _with(command, "username", clean_name, username)
        # Any existing reaction may be removed, also one that is no emoji.
        case React(emoji=emoji, on=True) if not is_emoji(emoji):
            raise Invalid(ErrorCode.BAD_FIELD, "emoji: must be one emoji", field="emoji", ref=ref)
        case Search(query=query):
            return _with(command, "query", clean_query, query)
        case Create(title=str(title)) | Configure(title=str(title)) if title:
            return _with(command, "title", clean_title, title)
        case Kick(reason=reason) | Restrict(reason=reason) | Report(reason=reason) if reason:
            return _with(command, "reason", clean_reason, reason)
        case GetHistory(before=before, after=after) if UNSET not in (before, after):
            message = "after: must not be given together with before"
            raise Invalid(ErrorCode.BAD_FIELD, message, field="after", ref=ref)
    return command


def _with(command: AnyCommand, field: str, clean: Callable[[str], str], text: str) -> AnyCommand:
    """The command with ``clean(text)`` in a field. A ValueError of ``clean`` becomes an ``Invalid``."""
    try:
        cleaned = clean(text)
    except ValueError as error:
        raise Invalid(ErrorCode.BAD_FIELD, f"{field}: {error}", field=field, ref=command.ref or None) from None
    return command if cleaned is text else msgspec.structs.replace(command, **{field: cleaned})


def _tags(union: Any) -> dict[str, type[Struct]]:
    return {str(kind.__struct_config__.tag): kind for kind in union.__args__}


COMMANDS: dict[str, type[Struct]] = _tags(AnyCommand)
OUTGOING: dict[str, type[Struct]] = _tags(AnyOutgoing)
_QUOTED_FIELDS = frozenset(
    {'"type"'} | {f'"{f}"' for kind in COMMANDS.values() for f in kind.__struct_encode_fields__}
)
_FIELDS = re.compile("|".join(sorted(_QUOTED_FIELDS)))
