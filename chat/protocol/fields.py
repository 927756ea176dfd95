"""The types of the fields: their limits are part of the protocol, so they stand in its schema."""

from typing import Annotated

from msgspec import Meta

from chat.protocol.limits import (
    BIGGEST,
    CONTENT_LIMIT,
    EMOJI_LIMIT,
    HISTORY_LIMIT,
    NAME_LIMIT,
    QUERY_LIMIT,
    ROOM_PATTERN,
)

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
Query = Annotated[
    str, Meta(min_length=1, max_length=QUERY_LIMIT, description="Words; the last may be unfinished.")
]
Emoji = Annotated[str, Meta(min_length=1, max_length=EMOJI_LIMIT, description="One emoji.")]
Said = Annotated[str, Meta(max_length=CONTENT_LIMIT, description="What was said: plain text, never markup.")]
Name = Annotated[str, Meta(description="The name, normalised: use this one, not what was sent.")]
Id = Annotated[int, Meta(ge=0, le=BIGGEST, description="The message's name in its room.")]
Follows = Annotated[
    int,
    Meta(
        ge=0,
        le=BIGGEST,
        description="The number of the change before this one, where that is not `seq` - 1. A client that has not "
        "seen it has missed something.",
    ),
]
