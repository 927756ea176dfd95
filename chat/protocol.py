"""The wire protocol, version 1. Pure: no Django, no I/O.

Three kinds of message, each one JSON object in one text frame, told apart by ``type``:

- a *command* goes from client to server and may carry a ``ref``;
- a *reply* (``Ack``, ``Error``, ``Pong``, ``History``, ``Welcome``) carries that ``ref`` back to one socket;
- an *event* goes to everyone in a room.

``decode`` turns any text whatever into a command, or raises ``Invalid``, which names the field. ``encode``
turns a reply or an event into text. Field names are camelCase on the wire, times are integer milliseconds
since 1970. docs/protocol.md, its JSON Schema and the AsyncAPI document are generated from this module.
"""

import json
import re
import time
import unicodedata
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Self, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

VERSION = 1
LOBBY = "lobby"

FRAME_LIMIT = 65_536
"""Bytes of one frame from a client. Our server closes with 1009 on a longer one; ``decode`` refuses it by name."""
NAME_LIMIT = 32
"""Characters of a username, after NFKC."""
CONTENT_LIMIT = 4_000
"""Characters of a message."""
HISTORY_LIMIT = 100
"""Messages of one page of history."""
ROOM_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,49}(?!\n)$"
"""A room's slug: it fits a URL and a channel layer's group name as it is. (`$` alone lets a line break follow, and
`\\Z` is not in JavaScript's language, which JSON Schema takes its patterns from.)"""
BIGGEST = 2**53 - 1
"""The largest integer that every JSON reader keeps (RFC 8259, section 6)."""


class ErrorCode(StrEnum):
    """Why a command was refused. The socket stays open."""

    BAD_JSON = "bad_json", "The frame is not one JSON object in UTF-8 text.", False
    UNKNOWN_TYPE = "unknown_type", "The `type` is missing or is none of the commands.", False
    BAD_FIELD = "bad_field", "A field is missing or has a wrong value; `field` names it.", False
    TOO_LARGE = "too_large", f"The frame is longer than {FRAME_LIMIT} bytes.", False
    NAME_TAKEN = "name_taken", "Somebody else in the room has this username.", False
    NAME_NEEDED = "name_needed", "Nobody is signed in and `username` was not given.", False
    NAME_FIXED = "name_fixed", "This socket already speaks under another username.", False
    NOT_JOINED = "not_joined", "The command needs a room that this socket has joined.", False
    TOO_MANY_ROOMS = "too_many_rooms", "This socket is in as many rooms as one socket may join.", False
    BUSY = "busy", "The server cannot take the command now; send it again with the same `ref`.", True

    meaning: str
    retry: bool

    def __new__(cls, value: str, meaning: str, retry: bool) -> Self:  # noqa: FBT001 the rows above
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.retry = retry
        return member


class CloseCode(IntEnum):
    """Why a socket was closed. Below 4400 a client comes back; from 4400 on it does not by itself.

    Only 1000 and 3000-4999 are an application's to send (RFC 6455, section 7.4); 1011 and 1012 are sent by
    the server on its behalf.
    """

    NORMAL = 1000, "The work is done."
    INTERNAL = 1011, "The server met an error of its own; it is logged there."
    RESTART = 1012, "The server restarts."
    TOO_SLOW = 4008, "The client read too slowly for what was sent to it."
    IDLE = 4009, "The socket joined no room for too long."
    BAD_INPUT = 4400, "Too many invalid frames in a row."
    FORBIDDEN = 4403, "Disconnected by the staff."

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    @property
    def comes_back(self) -> bool:
        """Does a client connect again by itself? After a 1000 of the server too: proxies have time limits."""
        return self < CloseCode.BAD_INPUT


class Invalid(Exception):  # noqa: N818 it names what the input is
    """A client's input was refused: what was wrong, where, and what would be right.

    ``ref`` is the command's, when the text was readable enough to have one.
    """

    def __init__(self, code: ErrorCode, message: str, *, field: str | None = None, ref: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.ref = ref


def now() -> int:
    """The wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


# --- Field types: their limits are part of the protocol, so they stand in its schema ---

Ref = Annotated[str, Meta(min_length=1, max_length=64, description="The client's own name for this command.")]
Room = Annotated[
    str,
    Meta(
        pattern=ROOM_PATTERN,
        description="A room: 1-50 characters of a-z, 0-9, `-` and `_`, not starting with `-` or `_`.",
    ),
]
Username = Annotated[
    str,
    Meta(
        min_length=1,
        # Before NFKC; clean_name holds the real limit, on what NFKC leaves.
        max_length=4 * NAME_LIMIT,
        description=f"A name: 1-{NAME_LIMIT} visible characters, normalised to NFKC.",
    ),
]
Content = Annotated[str, Meta(min_length=1, max_length=CONTENT_LIMIT, description="Plain text, never markup.")]
Number = Annotated[int, Meta(ge=0, le=BIGGEST, description="A position in the room's log.")]
Epoch = Annotated[str, Meta(max_length=32, description="Which life of the room's log a position is of.")]
Timestamp = Annotated[int, Meta(ge=0, le=BIGGEST, description="Milliseconds since 1970.")]
PageSize = Annotated[int, Meta(ge=1, le=HISTORY_LIMIT, description="How many messages.")]


# --- Commands: client to server ---


class Command(Struct, tag_field="type", rename="camel", kw_only=True):
    """What a client asks for. Fields that are not known are ignored: the article's client sends some."""

    ref: Ref | UnsetType = UNSET


class Join(Command, tag="join"):
    """Enter a room. Answered by `welcome`, then `userList`, then what was missed since `since`, then live."""

    username: Username | UnsetType = UNSET
    room: Room = LOBBY
    since: Number | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET


class Leave(Command, tag="leave"):
    """Leave a room at once, without the grace that a lost connection has. Answered by `ack`."""

    room: Room = LOBBY


class Post(Command, tag="message"):
    """Say something in a room. Answered by `ack`; the same `ref` again gets the same answer, and no copy."""

    content: Content
    room: Room = LOBBY


class Typing(Command, tag="typing"):
    """Say that the user is typing. Not answered; more than one a second (by default) is dropped."""

    room: Room = LOBBY


class GetHistory(Command, tag="history"):
    """Ask for messages before `before`, or for the latest. Answered by `history`."""

    room: Room = LOBBY
    before: Number | UnsetType = UNSET
    limit: PageSize = 50


class Ping(Command, tag="ping"):
    """Ask whether the other end is alive. Answered by `pong`."""


AnyCommand: TypeAlias = Join | Leave | Post | Typing | GetHistory | Ping


# --- Replies and events: server to client ---


class Outgoing(Struct, tag_field="type", rename="camel", kw_only=True, omit_defaults=True):
    """What the server says. A field that has nothing to say is left out."""


Said = Annotated[str, Meta(max_length=CONTENT_LIMIT, description="What was said: plain text, never markup.")]
Name = Annotated[str, Meta(description="The name, normalised: use this one, not what was sent.")]
Id = Annotated[int, Meta(ge=0, le=BIGGEST, description="The message's name in its room.")]


class Welcome(Outgoing, tag="welcome"):
    """The socket is in the room, at position `seq`.

    `resumed` tells whether everything after the command's `since` follows; if not, start over from `history`.
    """

    room: Room
    username: Name
    seq: Number
    epoch: Epoch
    resumed: Annotated[bool, Meta(description="Everything after `since` follows.")]
    timestamp: Timestamp
    protocol: Annotated[int, Meta(description="The version of this protocol.")] = msgspec.field(
        default_factory=lambda: VERSION
    )
    ref: Ref | UnsetType = UNSET


class Joined(Outgoing, tag="join"):
    """Somebody came into the room: once, however many tabs they open."""

    room: Room
    username: Name
    timestamp: Timestamp


class Left(Outgoing, tag="leave"):
    """Somebody is gone from the room, with the last of their tabs."""

    room: Room
    username: Name
    timestamp: Timestamp


class UserList(Outgoing, tag="userList"):
    """Who is here: `users` are at most so many names (200 by default), `count` is always true."""

    room: Room
    users: Annotated[list[str], Meta(description="Names, those who came last first; capped.")]
    count: Annotated[int, Meta(ge=0, description="How many people are here, never capped.")]
    timestamp: Timestamp


class Message(Outgoing, tag="message"):
    """What somebody said. `id` names the message in its room, `seq` is the position of its last change."""

    room: Room
    id: Id
    seq: Number
    username: Name
    content: Said
    timestamp: Timestamp


class TypingNow(Outgoing, tag="typing"):
    """Somebody is typing."""

    room: Room
    username: Name
    timestamp: Timestamp


class History(Outgoing, tag="history"):
    """A page of messages, oldest first. `more` tells whether older ones are kept."""

    room: Room
    messages: Annotated[list[Message], Meta(description="Oldest first.")]
    more: Annotated[bool, Meta(description="Older ones are kept.")]
    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET


class Ack(Outgoing, tag="ack"):
    """The command was carried out. For a message: its `id` and `seq`."""

    room: Room
    timestamp: Timestamp
    id: Id | UnsetType = UNSET
    seq: Number | UnsetType = UNSET
    ref: Ref | UnsetType = UNSET


class Pong(Outgoing, tag="pong"):
    """Alive."""

    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET


class Reconnect(Outgoing, tag="reconnect"):
    """The server ends this connection now: come back in `after`, not before; others have other moments."""

    after: Annotated[int, Meta(ge=0, description="Milliseconds.")]
    reason: Annotated[str, Meta(description="A sentence for people.")]
    timestamp: Timestamp


class Error(Outgoing, tag="error"):
    """The command was refused: `message` is a sentence for people, `code` is for programs."""

    code: Annotated[ErrorCode, Meta(description="For programs.")]
    message: Annotated[str, Meta(description="A sentence for people.")]
    timestamp: Timestamp
    field: Annotated[str, Meta(description="The field that was wrong.")] | UnsetType = UNSET
    ref: Ref | UnsetType = UNSET
    retry_after: Annotated[int, Meta(ge=0, description="Milliseconds.")] | UnsetType = UNSET


AnyOutgoing: TypeAlias = (
    Welcome | Joined | Left | UserList | Message | TypingNow | History | Ack | Pong | Reconnect | Error
)


# --- Encode and decode ---

_TEXT = 0x81
"""The first byte of a text frame: FIN, opcode 1."""
_SHORT, _MEDIUM = 125, 0xFFFF
"""The longest payloads whose length fits the frame's own seven bits, and two bytes more."""

_encoder = msgspec.json.Encoder()
_commands: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_outgoing: msgspec.json.Decoder[AnyOutgoing] = msgspec.json.Decoder(AnyOutgoing)


class _Envelope(Struct):
    """As much of a refused command as its error needs."""

    ref: Any = None


_envelopes = msgspec.json.Decoder(_Envelope)


def encode(outgoing: Outgoing) -> str:
    """One frame's text."""
    return _encoder.encode(outgoing).decode()


def frame(text: str) -> bytes:
    """One text frame from a server: final, not masked, not compressed, so the same bytes for everybody.

    RFC 6455, section 5.2. Made once, it serves each socket of a room.
    """
    payload = text.encode()
    size = len(payload)
    if size <= _SHORT:
        return bytes((_TEXT, size)) + payload
    if size <= _MEDIUM:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + payload


def decode(text: str) -> AnyCommand:
    """Read one frame from a client. Raises ``Invalid``, and nothing else, whatever the text is."""
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
        raise _explain(str(error), _ref_of(raw)) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        if half := _half_a_pair(text):
            raise half from None
        raise Invalid(ErrorCode.BAD_JSON, f"The frame must be one JSON object: {error}.") from None
    return _checked(command)


def decode_outgoing(text: str | bytes) -> AnyOutgoing:
    """Read what the server says. For clients in Python, tests and tools."""
    return _outgoing.decode(text)


def _ref_of(raw: bytes) -> str | None:
    try:
        ref = _envelopes.decode(raw).ref
    except (msgspec.DecodeError, RecursionError):
        return None
    return _usable_ref(ref)


def _usable_ref(ref: object) -> str | None:
    """What may stand as ``ref`` in an answer."""
    return ref if isinstance(ref, str) and 1 <= len(ref) <= 64 and not _CONTROL.search(ref) else None  # noqa: PLR2004 Ref's limits


def _half_a_pair(text: str) -> Invalid | None:
    """The error of a text with an unpaired surrogate, which a client makes that cuts an emoji in two.

    msgspec calls it truncated JSON; but nothing else is wrong, and the answer can name the field and the command.
    """
    try:
        command = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for field, value in command.items() if isinstance(command, dict) else ():
        if isinstance(value, str) and re.search(r"[\ud800-\udfff]", value) and f'"{field}"' in _QUOTED_FIELDS:
            message = f"{field}: must not have an unpaired surrogate"
            return Invalid(ErrorCode.BAD_FIELD, message, field=field, ref=_usable_ref(command.get("ref")))
    return None


_AT = re.compile(r" - at `\$\.?(?P<field>[A-Za-z]*)[^`]*`$")


def _explain(error: str, ref: str | None) -> Invalid:
    """msgspec's one-line error as ours: "Expected `str`, got `int` - at `$.room`" names `room`."""
    found = _AT.search(error)
    field = found["field"] if found else ""
    reason = _AT.sub("", error)
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", reason):
        field, reason = missing[1], "is required"
        if field == "type":
            return Invalid(ErrorCode.UNKNOWN_TYPE, "type: is required, one of the commands", field=field, ref=ref)
    if field == "type":
        known = ", ".join(sorted(COMMANDS))
        return Invalid(ErrorCode.UNKNOWN_TYPE, f"type: must be one of {known}", field="type", ref=ref)
    if not field:
        return Invalid(ErrorCode.BAD_JSON, f"The frame must be one JSON object: {reason}.", ref=ref)
    if field == "username" and "length" in reason:
        reason = f"must have 1 to {NAME_LIMIT} characters"
    if field == "room" and "regex" in reason:
        reason = "must be 1-50 characters of a-z, 0-9, - and _, starting with a letter or digit"
    return Invalid(ErrorCode.BAD_FIELD, f"{field}: {reason}", field=field, ref=ref)


def _refuse_repeated_fields(text: str) -> None:
    """Two readers may take different ones of two equal keys (RFC 8259, section 4), so there is only one.

    The full parse runs only where a field's name stands twice in the text, or may be written with an escape: the
    common frame does not pay.
    """
    if "\\u" in text or any(text.count(quoted) > 1 for quoted in _QUOTED_FIELDS):
        # Numbers stay text: Python refuses to convert those of more than 4,300 digits.
        json.loads(text, object_pairs_hook=_unique, parse_int=str)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs if f'"{name}"' in _QUOTED_FIELDS]
    for name in set(names):
        if names.count(name) > 1:
            raise ValueError(f"the field {name!r} stands twice")
    return dict(pairs)


# --- What a schema cannot say about text ---

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def _checked(command: AnyCommand) -> AnyCommand:
    ref = command.ref or None
    if ref and _CONTROL.search(ref):
        raise Invalid(ErrorCode.BAD_FIELD, "ref: must not have control characters", field="ref")
    if isinstance(command, Join) and command.username is not UNSET:
        try:
            return msgspec.structs.replace(command, username=clean_name(command.username))
        except ValueError as error:
            raise Invalid(ErrorCode.BAD_FIELD, f"username: {error}", field="username", ref=ref or None) from None
    if isinstance(command, Post):
        if _CONTROL.search(command.content):
            message = "content: must not have control characters other than line breaks and tabs"
            raise Invalid(ErrorCode.BAD_FIELD, message, field="content", ref=ref)
        if not any(_visible(character) for character in command.content):
            raise Invalid(ErrorCode.BAD_FIELD, "content: must not be blank", field="content", ref=ref)
    return command


_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls, bidi and zero-width marks, surrogates, private and unassigned characters, separators."""
_HIDDEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
"""Characters of other categories that draw nothing: fillers, variation selectors, blank Braille, a null note."""
_STACKED = 4
"""Marks on one base character: Tibetan and Hebrew need this many, "zalgo" needs more."""


def _visible(character: str) -> bool:
    category = unicodedata.category(character)
    return category != "Zs" and category not in _HIDDEN_CATEGORIES and not _HIDDEN.match(character)


def clean_name(name: str) -> str:
    """A username in NFKC with single inner spaces. Raises ValueError with what is wrong.

    People judge names by what they see, so what cannot be seen is refused: it makes two equal-looking names.
    """
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not 1 <= len(name) <= NAME_LIMIT:
        raise ValueError(f"must have 1 to {NAME_LIMIT} characters, not {len(name)}")
    marks = 0
    for character in name:
        category = unicodedata.category(character)
        if category != "Zs" and not _visible(character):
            raise ValueError(f"must not have the invisible or control character U+{ord(character):04X}")
        marks = marks + 1 if category.startswith("M") else 0
        if marks > _STACKED:
            raise ValueError(f"must not stack more than {_STACKED} marks on one character")
    if unicodedata.category(name[0]).startswith("M"):
        raise ValueError("must begin with a visible character, not with a mark on one")
    return name


def name_key(name: str) -> str:
    """Two names with the same key are the same name to people: case does not tell them apart."""
    return unicodedata.normalize("NFKC", name.casefold())


def _tags(union: Any) -> dict[str, type[Struct]]:
    return {str(kind.__struct_config__.tag): kind for kind in union.__args__}


COMMANDS: dict[str, type[Struct]] = _tags(AnyCommand)
OUTGOING: dict[str, type[Struct]] = _tags(AnyOutgoing)
_QUOTED_FIELDS = frozenset(
    {'"type"'} | {f'"{f}"' for kind in COMMANDS.values() for f in kind.__struct_encode_fields__}
)
