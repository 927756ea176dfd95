"""The slug of a public room for what people call it: "My Room" is ``my-room``, "Кухня" is ``room-`` and a digest.

Addresses, groups of the layer and tables of the log have slugs of ASCII. A table of letters for each script
would say it worse than people do, so what has no ASCII is a digest, and the room's title keeps the name.
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
"""Digits of a digest: 40 bits, so that a million names are not likely to have two of one."""
_ASCII_OF = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "ł": "l", "þ": "th"}
    | {"&": "-and-", "+": "-plus-", "@": "-at-", "%": "-percent-", "'": "", "\N{RIGHT SINGLE QUOTATION MARK}": ""}
)
_LOST = re.compile(
    f"[^\x00-\xbf\xd7\xf7\u2000-\u206f\u3000-\u303f\ufe30-\ufe4f\uff00-\uff0f{PICTURES}{INVISIBLE}{MARKS}]"
)
"""Characters outside ASCII that tell names apart; punctuation and pictures beside letters do not."""
_SHARP = re.compile(r"(?<=\w)#")
"""The # of "C#"; "#general" is how other chats write a room's name."""


def is_hidden(slug: str) -> bool:
    """True for the slug of a room that is not public. The server made it, and nobody can guess it."""
    return slug.startswith(HIDDEN_PREFIX)


def slug_of(name: str) -> str | None:
    """The slug of the public room of this name; None where it shows nothing, or begins as other rooms' slugs do.

    A slug is its own. Names that differ in case, spaces, punctuation, accents or in what nobody sees are the same
    room's; in a script that ASCII does not have, so are names that look alike (``name_key``).
    """
    if re.match(PUBLIC_PATTERN, name):
        return name
    if is_hidden(name):
        return None
    name = unicodedata.normalize("NFKC", sanitized(name, len(name)))
    plain = _without_marks(_SHARP.sub("-sharp-", name.casefold()).translate(_ASCII_OF))
    slug = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")
    if _LOST.search(plain) or not slug or len(slug) > _LONGEST:
        key = name_key(name).strip("-_")
        return _with_digest(slug, key) if key else None
    return slug


def _without_marks(text: str) -> str:
    """Letters that ASCII has keep no mark: "é" is "e". Marks of other scripts stay, they tell words apart."""
    return re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", unicodedata.normalize("NFKD", text))


def _with_digest(slug: str, key: str) -> str:
    begun = slug[: _LONGEST - _DIGEST - 1].strip("-_") or "room"
    return f"{begun}-{blake2b(key.encode(), digest_size=_DIGEST // 2).hexdigest()}"
