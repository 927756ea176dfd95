"""Rules for text that a schema cannot say: what is visible, what impersonates, what breaks a terminal or a page.

Invisible characters in a message are mended, not refused, for people paste them without knowing: see
chat/protocol/sanitize.py.
"""

import re
import unicodedata
from functools import lru_cache

from chat.protocol.characters import (
    BIDI,
    CONTROLS,
    INVISIBLE,
    JOINERS,
    JOINS_LAST,
    JOINS_NEXT,
    MARKS,
    PICTURES,
    PRIVATE,
    SKINS,
    SURROGATES,
    TAGS,
    VIRAMAS,
)
from chat.protocol.confusables import SEPARATOR, TABLE
from chat.protocol.limits import CONTENT_LIMIT, NAME_LIMIT, QUERY_LIMIT, REASON_LIMIT, TITLE_LIMIT
from chat.protocol.sanitize import BIDI_CONTROL, FLAG_OF_REGION, is_clean, sanitized

CONTROL = re.compile(f"[{CONTROLS}{SURROGATES}]")
_HIDDEN = re.compile(f"[{INVISIBLE}]")
_DRAWN = re.compile(f"[^{INVISIBLE}]")
_MARK = re.compile(f"[{MARKS}]")
_STACKED = 4
"""Marks on one base character of a name: Tibetan and Hebrew need this many, "zalgo" needs more."""
_STACKED_IN_TEXT = 8
"""Marks on one base of a text, which has its own lines: Hebrew with all its points and accents stays below."""


def is_visible(character: str) -> bool:
    """Does it draw something?"""
    return not _HIDDEN.match(character)


def _stack(limit: int) -> re.Pattern[str]:
    """More marks on one base than ``limit``. Invisible characters between them begin no other base."""
    return re.compile(f"[{MARKS}](?:[{_UNSEEN_BETWEEN}]*[{MARKS}]){{{limit}}}")


_UNSEEN_BETWEEN = f"\xad\u061c\u180e\u200b-\u200f\u2060-\u206f\ufeff{BIDI}{TAGS}"
_STACK = _stack(_STACKED)
_STACK_IN_TEXT = _stack(_STACKED_IN_TEXT)


# --- Emoji ---

_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
_KEYCAP = "[0-9#*]\ufe0f?\u20e3"
_PICTURE = f"[{PICTURES}](?:\ufe0f?[{SKINS}]|[\ufe0e\ufe0f])?"
"""A picture with a skin tone or a choice of its form."""
_PICTURES = f"{_PICTURE}(?:\u200d{_PICTURE})*"
"""One picture, or several that zero-width joiners make one."""
_ONE_EMOJI = f"{FLAG_OF_REGION}|{_FLAG}|{_KEYCAP}|{_PICTURES}"
"""By its shape, as UTS 51 gives it (section 1.4.9): next year's emoji have it too."""
_EMOJI = re.compile(_ONE_EMOJI)


def is_emoji(text: str) -> bool:
    """Is it one picture and nothing else? Letters, words and what is invisible are not."""
    return _EMOJI.fullmatch(text) is not None


# --- Names ---


_MEANT = re.compile(
    f"(?P<meant>{_ONE_EMOJI}"
    f"|[{JOINS_NEXT}][{MARKS}]*\u200c(?=\u200c*[{MARKS}]*[{JOINS_LAST}])"
    f"|[{VIRAMAS}][{JOINERS}]|[^\\W\\d_][{JOINERS}](?=[{VIRAMAS}])"
    "|[\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003fffd][\ufe00-\ufe02\U000e0100-\U000e01ef]"
    "|[\u1820-\u18aa][\u180b-\u180d\u180f]|[\u1820-\u18aa]\u180e(?=[\u1820\u1821]))"
    f"|(?<=[{JOINS_NEXT}{JOINS_LAST}{MARKS}\u200c])[{JOINERS}]|[{JOINERS}](?=[{JOINS_NEXT}{JOINS_LAST}])"
)
"""Places where a script or emoji needs a character that draws nothing: a joiner between joining letters, at a
virama (RFC 5892, appendix A.1 and A.2; Bengali and Kannada have it before the virama too), in an emoji; the form
of a Chinese character, of a Mongolian letter. In writing that joins, a joiner elsewhere is a slip of the
keyboard."""


def clean_name(name: str) -> str:
    """A username in NFKC with single inner spaces. Raises ValueError with what is wrong.

    People judge names by what they see, so what cannot be seen is refused: it makes two equal-looking names. So is
    a mixture of scripts that no language needs. Invisible characters that shape visible ones stay; ``name_key``
    ignores them.
    """
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not name.isascii():
        # NFKC once more: a mark may meet the letter that a joiner kept it from.
        name = unicodedata.normalize("NFKC", _MEANT.sub(lambda found: found["meant"] or "", name))
    if not 1 <= len(name) <= NAME_LIMIT:
        raise ValueError(f"must have 1 to {NAME_LIMIT} characters, not {len(name)}")
    _refuse_hidden(name)
    if _STACK.search(name):
        raise ValueError(f"must not stack more than {_STACKED} marks on one character")
    if _MARK.match(name):
        raise ValueError("must begin with a visible character, not with a mark on one")
    if not name.isascii():
        _refuse_mixtures(name)
    return name


_UNSHOWN = re.compile(f"[{PRIVATE}]")


def _refuse_hidden(name: str) -> None:
    rest = _MEANT.sub(lambda found: "" if found["meant"] else found[0], name).replace(" ", "")
    if hidden := _HIDDEN.search(rest):
        raise ValueError(f"must not have the invisible or control character U+{ord(hidden[0]):04X}")
    # One box is like another: whose font has a sign there sees another name than the others.
    if private := _UNSHOWN.search(rest):
        raise ValueError(f"must not have the private character U+{ord(private[0]):04X}")


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
        # Two planes are for Chinese characters, those that Python does not know yet among them.
        return "Han" if "\U00020000" <= character <= "\U0003fffd" else None
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
    return visible_part(name)


def visible_part(name: str) -> str:
    """The visible part of a name: nobody can tell two names apart if it is the same."""
    return _NOT_SHOWN.sub("", name)


_NOT_SHOWN = re.compile(f"(?! )[{INVISIBLE}]")


def quoted(name: str) -> str:
    """A name in a sentence for people, as they see it: ``repr`` makes escapes of joiners and of new emoji."""
    mark = '"' if "'" in name else "'"
    return f"{mark}{one_line(name, len(name))}{mark}"


# --- Texts ---

_UNWORDLY = re.compile(r"[^\w\s\x00-\x7f]{2,}")
"""Characters without a letter between them: marks and selectors, if anywhere, are stacked there."""


def clean_text(text: str, limit: int = CONTENT_LIMIT) -> str:
    """A text that people wrote: a message, what is searched for. Raises ValueError with what is wrong.

    Invisible characters that would harm are mended: control characters go, line breaks become ours, what turns the
    text ends with it. Marks that are drawn over other lines are refused, and so is a text that shows nothing.
    """
    ascii_only = text.isascii()
    if not (ascii_only and text.isprintable()):
        text = _sound(text, limit)
        ascii_only = text.isascii()
    if text.isspace() or not text if ascii_only else not _DRAWN.search(text):
        raise ValueError("must not be blank")
    return text


def _sound(text: str, limit: int) -> str:
    """The text mended, where it has to be. Raises ValueError where marks are stacked in it."""
    runs = [] if text.isascii() else _UNWORDLY.findall(text)
    if not is_clean(text, runs):
        text = sanitized(text, limit)
        runs = _UNWORDLY.findall(text)
    if any(_STACK_IN_TEXT.search(run) for run in runs if len(run) > _STACKED_IN_TEXT):
        raise ValueError(f"must not stack more than {_STACKED_IN_TEXT} marks on one character")
    return text


def clean_title(title: str) -> str:
    """A room's title on one line, in NFC with single inner spaces. Raises ValueError with what is wrong.

    It names no person, so it may mix scripts, and have emoji.
    """
    title = one_line(title, TITLE_LIMIT)
    if not 1 <= len(title) <= TITLE_LIMIT:
        raise ValueError(f"must have 1 to {TITLE_LIMIT} characters, not {len(title)}")
    clean_text(title)
    if _STACK.search(title):
        raise ValueError(f"must not stack more than {_STACKED} marks on one character")
    return title


def clean_query(query: str) -> str:
    """The query of a search, cleaned. Raises ValueError as ``clean_text``."""
    return clean_text(query, QUERY_LIMIT)


def clean_reason(reason: str) -> str:
    """A reason on one line. Raises ValueError where it shows nothing."""
    return clean_text(one_line(reason, REASON_LIMIT), REASON_LIMIT)


def one_line(text: str, limit: int) -> str:
    """Mended, in NFC with single inner spaces; nothing turns it, for it stands beside others' words."""
    text = BIDI_CONTROL.sub("", sanitized(text, limit))
    return " ".join(unicodedata.normalize("NFC", text).split())
