"""The limits that are part of the protocol. Its schema has them, and clients know them too."""

VERSION = 1
LOBBY = "lobby"

FRAME_LIMIT = 65_536
"""Bytes of one frame from a client. The server closes with 1009 on a longer one; ``decode`` refuses it."""
NAME_LIMIT = 32
"""Characters of a username, after NFKC."""
CONTENT_LIMIT = 4_000
"""Characters of a message."""
HISTORY_LIMIT = 100
"""Messages in one page of history or of search results."""
QUERY_LIMIT = 200
"""Characters of a search query."""
EMOJI_LIMIT = 16
"""Code points of one emoji: a family of four with skin tones has eleven."""
EMOJIS_LIMIT = 20
"""Different emoji on one message."""
REACTORS_LIMIT = 50
"""Names in one reaction. Its ``count`` has no cap."""
TITLE_LIMIT = 80
"""Characters of a room's title."""
REASON_LIMIT = 200
"""Characters of the reason for a mute, ban, kick or report."""
SLOW_LIMIT = 3_600
"""Seconds between two messages of one user in a room's slow mode."""
TOKEN_LIMIT = 8_192
"""Characters of a token."""
HIDDEN_PREFIX = "_"
"""Prefix of the names of rooms that are not public. The server makes these names; nobody can guess them."""
ROOM_PATTERN = r"^_?[a-z0-9][a-z0-9_-]{0,49}(?!\n)$"
"""A room's slug. It fits a URL and a channel layer's group name as it is. (`$` alone lets a line break follow.
JSON Schema uses JavaScript's patterns, which have no `\\Z`.)"""
PUBLIC_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,49}(?!\n)$"
"""A public room's slug."""
MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser keeps exact (RFC 8259, section 6)."""
TOPIC_PATTERN = r"^[a-z][a-z0-9_-]{0,28}:[A-Za-z0-9_.-]{1,50}(?!\n)$"
"""A topic's name: its kind, a colon, and a key. No room's slug has a colon."""
EVENT_PATTERN = r"^[a-zA-Z][a-zA-Z0-9_.-]{0,49}(?!\n)$"
"""An event's name."""
KEY_LIMIT = 100
"""Characters of the key of an entry."""
DATA_LIMIT = 32_768
"""Bytes of an entry's data, as JSON."""
MESSAGE_DATA_LIMIT = 8_192
"""Bytes of a message's data, as JSON."""
AVATAR_LIMIT = 500
"""Characters of the address of a bot's image."""
