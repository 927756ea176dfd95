"""What a schema cannot say about text: what is visible, what impersonates, what breaks a terminal or a page."""

import re
import unicodedata
from functools import lru_cache

from chat.protocol.confusables import SEPARATOR, TABLE
from chat.protocol.limits import NAME_LIMIT, TITLE_LIMIT

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls, bidi and zero-width marks, surrogates, private and unassigned characters, separators."""
_HIDDEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
"""Characters of other categories that draw nothing: fillers, variation selectors, blank Braille, a null note."""
_STACKED = 4
"""Marks on one base character of a name: Tibetan and Hebrew need this many, "zalgo" needs more."""
_STACKED_IN_TEXT = 8
"""Of a text, which has its own lines to run over: Hebrew with all its points and accents stays below."""


def visible(character: str) -> bool:
    """Does it draw something?"""
    category = unicodedata.category(character)
    return category != "Zs" and category not in _HIDDEN_CATEGORIES and not _HIDDEN.match(character)


# --- Names ---


def clean_name(name: str) -> str:
    """A username in NFKC with single inner spaces. Raises ValueError with what is wrong.

    People judge names by what they see, so what cannot be seen is refused: it makes two equal-looking names. So is
    a mixture of scripts that no language needs.
    """
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not 1 <= len(name) <= NAME_LIMIT:
        raise ValueError(f"must have 1 to {NAME_LIMIT} characters, not {len(name)}")
    for character in name:
        if character != " " and not visible(character):
            raise ValueError(f"must not have the invisible or control character U+{ord(character):04X}")
    if _stacks_more_than(_STACKED, name):
        raise ValueError(f"must not stack more than {_STACKED} marks on one character")
    if unicodedata.category(name[0]).startswith("M"):
        raise ValueError("must begin with a visible character, not with a mark on one")
    if not name.isascii():
        _refuse_mixtures(name)
    return name


_TOGETHER = (
    frozenset({"Latin", "Han", "Hiragana", "Katakana"}),
    frozenset({"Latin", "Han", "Bopomofo"}),
    frozenset({"Latin", "Han", "Hangul"}),
)
"""Scripts that are written together: "highly restrictive" of UTS 39, section 5.2."""
_SCRIPTS = {"Cjk": "Han", "Ideographic": "Han", "Hentaigana": "Hiragana"}
"""What a character's name begins with, where that is not the name of its script."""
_COMMON = frozenset(
    {"Combining", "Modifier", "Caron", "Katakana-hiragana", "Vertical", "Masu", "Vedic", "Turned", "Variation"}
)
"""What the names of letters and marks begin with that several scripts use."""


@lru_cache(4096)
def _script(character: str) -> str | None:
    """The script of a letter, or of a mark that only one script has. Python's database has it in the name."""
    if unicodedata.category(character)[0] not in "LM":
        return None
    # "FULLWIDTH" and the like are gone with NFKC.
    first = unicodedata.name(character, "Unnamed").split()[0].capitalize()
    return None if first in _COMMON else _SCRIPTS.get(first, first)


def _refuse_mixtures(name: str) -> None:
    scripts = {script for character in name if (script := _script(character))}
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
        # The one that most readers know stands first.
        *others, last = sorted(scripts, key=lambda script: (script != "Latin", script))
        raise ValueError(f"must not mix {', '.join(others)} and {last} letters")
    zeros = {ord(digit) - unicodedata.decimal(digit) for digit in name if digit.isdecimal()}
    if len(zeros) > 1:
        raise ValueError("must not mix the digits of several scripts")


_DOTTED = re.compile("([lj])\u0307+")
"""A dot on what has one already, or on the "i" that it makes one (Turkish "İ")."""
_SEPARATORS = re.compile(f"{SEPARATOR}{{2,}}")


@lru_cache(8192)
def name_key(name: str) -> str:
    """Two names with the same key look the same to people: "Admin", "adm1n", "ADMlN", and "admin" in Cyrillic.

    Neither case, nor look-alikes (UTS 39, section 4), nor the kind and number of separators tell names apart:
    "Bob Smith" is "bob_smith" and "Bob.Smith.", for nobody remembers which. It is not "BobSmith": where words
    begin is seen, and "Al Ice" is somebody. Accents tell names apart: José is not Jose.

    A key is at most three times as long as its name. The key of a key is that key.
    """
    folded = name.lower() if name.isascii() else _folded(name)
    key = folded.translate(TABLE)
    if not name.isascii():
        key = unicodedata.normalize("NFC", _DOTTED.sub(r"\1", key))
    return _SEPARATORS.sub(SEPARATOR, key).strip(SEPARATOR) or SEPARATOR


def _folded(name: str) -> str:
    """Without case, other forms and what draws nothing: an account's name may have what a guest's may not."""
    # The iota under a Greek letter is hardly seen; case folding would make a letter of it.
    name = unicodedata.normalize("NFKD", name).replace("\u0345", "")
    name = unicodedata.normalize("NFKD", name.casefold())
    return "".join(character for character in name if character == " " or visible(character))


# --- Texts ---

_BIDI_ENDS = {
    **dict.fromkeys("\u202a\u202b\u202d\u202e", "\u202c"),
    **dict.fromkeys("\u2066\u2067\u2068", "\u2069"),
}
"""Embeddings and overrides, isolates: and what ends them (UAX 9, section 2)."""
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_TAG = re.compile("[\U000e0000-\U000e007f]")
_FLAG_OF_REGION = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
"""A black flag, the region's code in tag characters, the end (UTS 51, annex C). There is no other use for tags."""
_UNWORDLY = re.compile(rf"[^\w\s\x00-\x7f]{{{_STACKED_IN_TEXT + 1},}}")
"""So many characters without a letter between them: marks, if anywhere, are stacked there."""


def check_text(text: str) -> None:
    """Raises ValueError with what is wrong with a text that people wrote: a message, what is searched for.

    Nearly all is legal in some language, so only what would harm others is refused: what is drawn over other
    lines, turns what follows the text, hides something, or shows nothing.
    """
    # Most texts are printable: that is asked faster.
    if not text.isprintable() and CONTROL.search(text):
        raise ValueError("must not have control characters other than line breaks and tabs")
    if text.isascii():
        blank = text.isspace() or not text
    else:
        _refuse_harm(text)
        blank = not any(map(visible, set(text)))
    if blank:
        raise ValueError("must not be blank")


def _refuse_harm(text: str) -> None:
    if _TAG.search(text) and (tag := _TAG.search(_FLAG_OF_REGION.sub("", text))):
        raise ValueError(f"must not have the invisible tag character U+{ord(tag[0]):04X} outside a flag")
    if _BIDI.search(text) and not _bidi_ends(text):
        raise ValueError("must end every bidi embedding, override and isolate that it begins")
    if any(_stacks_more_than(_STACKED_IN_TEXT, run) for run in _UNWORDLY.findall(text)):
        raise ValueError(f"must not stack more than {_STACKED_IN_TEXT} marks on one character")


def _bidi_ends(text: str) -> bool:
    """Does each control have its end, in the right order? Then what stands after the text keeps its direction."""
    ends: list[str] = []
    for control in _BIDI.findall(text):
        if control in _BIDI_ENDS:
            ends.append(_BIDI_ENDS[control])
        elif not ends or ends.pop() != control:
            return False
    return not ends


def _stacks_more_than(limit: int, text: str) -> bool:
    """Marks on one base. What is invisible between them begins no other base."""
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "M":
            marks += 1
        elif category != "Cf":
            marks = 0
        if marks > limit:
            return True
    return False


def clean_title(title: str) -> str:
    """A room's title on one line, in NFC with single inner spaces. Raises ValueError with what is wrong.

    It names no person, so it may mix scripts, and have emoji.
    """
    title = " ".join(unicodedata.normalize("NFC", title).split())
    if not 1 <= len(title) <= TITLE_LIMIT:
        raise ValueError(f"must have 1 to {TITLE_LIMIT} characters, not {len(title)}")
    if CONTROL.search(title) or _BIDI.search(title):
        raise ValueError("must not have control characters")
    check_text(title)
    if _stacks_more_than(_STACKED, title):
        raise ValueError(f"must not stack more than {_STACKED} marks on one character")
    return title


# --- Emoji ---

_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_KEYCAP = re.compile("[0-9#*]\ufe0f?\u20e3")
_MODIFIERS = "[\ufe0f\u20e3\U0001f3fb-\U0001f3ff]"
"""Variation selector, keycap frame, skin tones (UTS 51)."""
_PICTURES = re.compile(f"(.){_MODIFIERS}*(?:\u200d(.){_MODIFIERS}*)*")
"""One picture, or several that zero-width joiners make one."""
_PICTURE_CATEGORIES = frozenset({"So", "Po", "Sm"})


def is_emoji(text: str) -> bool:
    """Is it one picture and nothing else? Letters, words and what is invisible are not."""
    if any(kind.fullmatch(text) for kind in (_FLAG, _FLAG_OF_REGION, _KEYCAP)):
        return True
    if not _PICTURES.fullmatch(text):
        return False
    parts = [part for part in re.sub(_MODIFIERS, "", text).split("\u200d") if part]
    return bool(parts) and all(part == "\u2139" or _is_picture(part) for part in parts)


def _is_picture(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character) in _PICTURE_CATEGORIES
