"""The types of the fields: their limits are part of the protocol, so they stand in its schema."""

from typing import Annotated, Literal

from msgspec import Meta

from chat.protocol.limits import (
    CONTENT_LIMIT,
    EMOJI_LIMIT,
    HISTORY_LIMIT,
    MAX_INTEGER,
    NAME_LIMIT,
    QUERY_LIMIT,
    REASON_LIMIT,
    ROOM_PATTERN,
    SLOW_LIMIT,
    TITLE_LIMIT,
    TOKEN_LIMIT,
)

Ref = Annotated[str, Meta(min_length=1, max_length=64, description="The client's own name for this command.")]
Room = Annotated[
    str,
    Meta(
        pattern=ROOM_PATTERN,
        description="A room: 1-50 characters of a-z, 0-9, `-` and `_`, not starting with `-`. Those that are not "
        "public start with `_`; the server makes these names.",
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
Number = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="A position in the room's log.")]
Epoch = Annotated[str, Meta(max_length=32, description="Which life of the room's log a position is of.")]
Timestamp = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="Milliseconds since 1970.")]
PageSize = Annotated[int, Meta(ge=1, le=HISTORY_LIMIT, description="How many messages.")]
Query = Annotated[
    str, Meta(min_length=1, max_length=QUERY_LIMIT, description="Words; the last may be unfinished.")
]
EmojiText = Annotated[str, Meta(min_length=1, max_length=EMOJI_LIMIT, description="One emoji.")]
MessageText = Annotated[str, Meta(max_length=CONTENT_LIMIT, description="The text: plain, never markup.")]
Name = Annotated[str, Meta(description="The name, normalised: use this one, not what was sent.")]
AuthorKey = Annotated[
    str,
    Meta(
        max_length=32,
        description="A person's key: opaque, the same as long as the account, or the guest's session and name. "
        "It tells whose something is; the name does not.",
    ),
]
Id = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="The message's name in its room.")]
Follows = Annotated[
    int,
    Meta(
        ge=0,
        le=MAX_INTEGER,
        description="The number of the change before this one, where that is not `seq` - 1. A client that has not "
        "seen it has missed something.",
    ),
]
Token = Annotated[str, Meta(min_length=1, max_length=TOKEN_LIMIT, description="A signed JWT (RFC 7519).")]
TargetName = Annotated[str, Meta(min_length=1, max_length=150, description="Whom: the name of somebody.")]
ReasonText = Annotated[str, Meta(max_length=REASON_LIMIT, description="Why, for the moderators.")]
WithAddress = Annotated[
    bool,
    Meta(description="Also for every guest who comes from where they come from; `sharing` tells how many do."),
]
Title = Annotated[str, Meta(max_length=TITLE_LIMIT, description="The room's name for people; its address stays.")]
Slow = Annotated[
    int, Meta(ge=0, le=SLOW_LIMIT, description="Seconds between two messages of one person; 0: as they like.")
]
Role = Literal["owner", "moderator", "member", "guest"]
"""What somebody is in a room."""
RoomKind = Literal["public", "members", "private", "direct"]
"""Who may come in: everybody, everybody with an account, who is invited, or two people."""
