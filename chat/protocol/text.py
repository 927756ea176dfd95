"""What a schema cannot say about text: what is visible, what impersonates, what breaks a terminal or a page."""

import re
import unicodedata

from chat.protocol.limits import NAME_LIMIT

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls, bidi and zero-width marks, surrogates, private and unassigned characters, separators."""
_HIDDEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
"""Characters of other categories that draw nothing: fillers, variation selectors, blank Braille, a null note."""
_STACKED = 4
"""Marks on one base character: Tibetan and Hebrew need this many, "zalgo" needs more."""


def visible(character: str) -> bool:
    """Does it draw something?"""
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
        if category != "Zs" and not visible(character):
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


_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_KEYCAP = re.compile("[0-9#*]\ufe0f?\u20e3")
_MODIFIERS = "[\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
"""Variation selector, keycap frame, skin tones, the tags of a region's flag (UTS 51)."""
_PICTURES = re.compile(f"(.){_MODIFIERS}*(?:\u200d(.){_MODIFIERS}*)*")
"""One picture, or several that zero-width joiners make one."""
_PICTURE_CATEGORIES = frozenset({"So", "Po", "Sm"})


def is_emoji(text: str) -> bool:
    """Is it one picture and nothing else? Letters, words and what is invisible are not."""
    if _FLAG.fullmatch(text) or _KEYCAP.fullmatch(text):
        return True
    if not _PICTURES.fullmatch(text):
        return False
    parts = [part for part in re.sub(_MODIFIERS, "", text).split("\u200d") if part]
    return bool(parts) and all(part == "\u2139" or _is_picture(part) for part in parts)


def _is_picture(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character) in _PICTURE_CATEGORIES
