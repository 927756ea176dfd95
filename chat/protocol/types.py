"""The types of the fields. Their limits are part of the protocol, so its schema has them."""

from typing import Annotated, Literal

from msgspec import Meta, Raw

from chat.protocol.limits import (
    CONTENT_LIMIT,
    EMOJI_LIMIT,
    EVENT_PATTERN,
    HISTORY_LIMIT,
    KEY_LIMIT,
    MAX_INTEGER,
    NAME_LIMIT,
    QUERY_LIMIT,
    REASON_LIMIT,
    ROOM_PATTERN,
    SLOW_LIMIT,
    TITLE_LIMIT,
    TOKEN_LIMIT,
    TOPIC_PATTERN,
)

Ref = Annotated[str, Meta(min_length=1, max_length=64, description="The client's own id for this command.")]
Room = Annotated[
    str,
    Meta(
        pattern=ROOM_PATTERN,
        description="A room's name: 1-50 characters of a-z, 0-9, `-` and `_`, not starting with `-`. The names of "
        "rooms that are not public start with `_`; the server makes them.",
    ),
]
Username = Annotated[
    str,
    Meta(
        min_length=1,
        # The length before NFKC. clean_name checks the real limit, after NFKC.
        max_length=4 * NAME_LIMIT,
        description=f"A name: 1-{NAME_LIMIT} visible characters, normalised to NFKC.",
    ),
]
Content = Annotated[str, Meta(min_length=1, max_length=CONTENT_LIMIT, description="Plain text, never markup.")]
Number = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="A position in the room's log.")]
Epoch = Annotated[
    str,
    Meta(
        max_length=32,
        description="Identifies the room's log. A position is valid only with the epoch of its log.",
    ),
]
Timestamp = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="Milliseconds since 1970.")]
PageSize = Annotated[int, Meta(ge=1, le=HISTORY_LIMIT, description="How many messages.")]
Query = Annotated[
    str, Meta(min_length=1, max_length=QUERY_LIMIT, description="Words. The last may be the beginning of a word.")
]
EmojiText = Annotated[str, Meta(min_length=1, max_length=EMOJI_LIMIT, description="One emoji.")]
MessageText = Annotated[str, Meta(max_length=CONTENT_LIMIT, description="Plain text, never markup.")]
Name = Annotated[str, Meta(description="The normalised name. Use this one, not the one that was sent.")]
AuthorKey = Annotated[
    str,
    Meta(
        max_length=32,
        description="A user's key: opaque. It stays the same for an account, or for a guest's session and name. "
        "Compare authors by this key, not by their names.",
    ),
]
Id = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="Identifies the message in its room.")]
Follows = Annotated[
    int,
    Meta(
        ge=0,
        le=MAX_INTEGER,
        description="The number of the change before this one, if that is not `seq` - 1. A client that has not "
        "received that change has missed something.",
    ),
]
Token = Annotated[str, Meta(min_length=1, max_length=TOKEN_LIMIT, description="A signed JWT (RFC 7519).")]
TargetName = Annotated[str, Meta(min_length=1, max_length=150, description="The name of the other user.")]
ReasonText = Annotated[str, Meta(max_length=REASON_LIMIT, description="The reason, for the moderators.")]
WithAddress = Annotated[
    bool,
    Meta(description="Also applies to every guest with the same address; `sharing` has their number."),
]
Title = Annotated[
    str,
    Meta(max_length=TITLE_LIMIT, description="The room's title. Changing it does not change the room's address."),
]
Slow = Annotated[
    int, Meta(ge=0, le=SLOW_LIMIT, description="Slow mode: seconds between two messages of one user. 0 is off.")
]
Role = Literal["owner", "moderator", "member", "guest"]
"""A user's role in a room."""
RoomKind = Literal["public", "members", "private", "direct"]
"""A room is open to everybody, to every account, to invited members, or to the two users of a direct room."""
TopicName = Annotated[
    str,
    Meta(
        pattern=TOPIC_PATTERN,
        description="A topic's name: its kind, a colon, and a key. `order:42` is an example. A key has 1-50 "
        "characters of A-Z, a-z, 0-9, `_`, `.` and `-`.",
    ),
]
EventName = Annotated[
    str, Meta(pattern=EVENT_PATTERN, description="The event's name, as the project declares it for the topic.")
]
Key = Annotated[
    str,
    Meta(min_length=1, max_length=KEY_LIMIT, description="The entry's key: a new entry replaces the one with it."),
]
Data = Annotated[
    Raw,
    Meta(
        description="A JSON object: the event's fields, as the project declares them.",
        extra_json_schema={"type": "object"},
    ),
]
Patch = Annotated[
    Raw,
    Meta(
        description="A JSON merge patch (RFC 7396) of the key's last value.",
        extra_json_schema={"type": "object"},
    ),
]
