"""The numbers that are part of the protocol: they stand in its schema, and clients know them too."""

VERSION = 1
LOBBY = "lobby"

FRAME_LIMIT = 65_536
"""Bytes of one frame from a client. Our server closes with 1009 on a longer one; ``decode`` refuses it by name."""
NAME_LIMIT = 32
"""Characters of a username, after NFKC."""
CONTENT_LIMIT = 4_000
"""Characters of a message."""
HISTORY_LIMIT = 100
"""Messages of one page of history, and of one page that a search found."""
QUERY_LIMIT = 200
"""Characters of what is searched for."""
EMOJI_LIMIT = 16
"""Code points of one emoji: a family of four with skin tones has eleven."""
EMOJIS_LIMIT = 20
"""Different emoji on one message."""
REACTORS_LIMIT = 50
"""Names in one reaction; its ``count`` is always true."""
TITLE_LIMIT = 80
"""Characters of a room's title."""
REASON_LIMIT = 200
"""Characters of why somebody was muted, or why a message is reported."""
SLOW_LIMIT = 3_600
"""Seconds between two messages of one person, in a room's slow mode."""
TOKEN_LIMIT = 8_192
"""Characters of a token."""
HIDDEN_PREFIX = "_"
"""How the names of rooms begin that are not public. They are made by the server, and nobody can guess them."""
ROOM_PATTERN = r"^_?[a-z0-9][a-z0-9_-]{0,49}(?!\n)$"
"""A room's slug: it fits a URL and a channel layer's group name as it is. (`$` alone lets a line break follow, and
`\\Z` is not in JavaScript's language, which JSON Schema takes its patterns from.)"""
PUBLIC_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,49}(?!\n)$"
"""A public room's slug."""
MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps (RFC 8259, section 6)."""
