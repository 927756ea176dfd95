"""Slugs of rooms. "My Room" becomes ``my-room``; "Кухня" becomes ``room-`` and a digest.

URLs, groups of the channel layer and the log's tables have ASCII slugs. A transliteration table for each script
would spell names badly. So a name outside ASCII gets a digest, and the room's title keeps the name.
"""

import re
import unicodedata
from hashlib import blake2b

from chat.protocol.characters import INVISIBLE, MARKS, PICTURES
from chat.protocol.limits import HIDDEN_PREFIX, PUBLIC_PATTERN
from chat.protocol.sanitize import sanitized
from chat.protocol.text import name_key

_LONGEST = 50
_DIGEST = 10
"""Hexadecimal digits of a digest: 40 bits, so that two of a million names hardly ever share one."""
_ASCII_OF = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "ł": "l", "þ": "th"}
    | {"&": "-and-", "+": "-plus-", "@": "-at-", "%": "-percent-", "'": "", "\N{RIGHT SINGLE QUOTATION MARK}": ""}
)
_SIGNIFICANT = re.compile(
    f"[^\x00-\xbf\xd7\xf7\u2000-\u206f\u3000-\u303f\ufe30-\ufe4f\uff00-\uff0f{PICTURES}{INVISIBLE}{MARKS}]"
)
"""Characters outside ASCII that distinguish names. Punctuation and pictures next to letters do not."""
_SHARP = re.compile(r"(?<=\w)#")
"""The # of "C#", but not of "#general": other chats write a room's name so."""


def is_topic(name: str) -> bool:
    """True for a topic's name. No room's slug has a colon."""
    return ":" in name


def is_hidden(slug: str) -> bool:
    """True for the slug of a room that is not public. The server made it, and nobody can guess it."""
    return slug.startswith(HIDDEN_PREFIX)


def slug_of(name: str) -> str | None:
    """The slug of the public room with this name; None if nothing of it is visible, or it has the hidden prefix.

    The slug of a slug is that slug. Case, spaces, punctuation, accents and invisible characters do not count.
    Outside ASCII, names that look alike (``name_key``) have the same slug too.
    """
    if re.match(PUBLIC_PATTERN, name):
        return name
    if is_hidden(name):
        return None
    name = unicodedata.normalize("NFKC", sanitized(name, len(name)))
    plain = _without_marks(_SHARP.sub("-sharp-", name.casefold()).translate(_ASCII_OF))
    slug = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")
    if _SIGNIFICANT.search(plain) or not slug or len(slug) > _LONGEST:
        key = name_key(name).strip("-_")
        return _with_digest(slug, key) if key else None
    return slug


def _without_marks(text: str) -> str:
    """The text without marks on ASCII letters: "é" is "e". Marks of other scripts distinguish words and stay."""
    return re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", unicodedata.normalize("NFKD", text))


def _with_digest(slug: str, key: str) -> str:
    begun = slug[: _LONGEST - _DIGEST - 1].strip("-_") or "room"
    return f"{begun}-{blake2b(key.encode(), digest_size=_DIGEST // 2).hexdigest()}"
