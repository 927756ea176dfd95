"""Rules for text that a schema can't express: visibility, impersonation, characters that break a terminal or page.

Invisible characters in a message are sanitized, not refused, because people paste them unknowingly. See
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
"""Most marks on one base character of a name. Tibetan and Hebrew need this many, "zalgo" needs more."""
_STACKED_IN_TEXT = 8
"""Most marks on one base of a text, which has its own lines. Hebrew with all points and accents has fewer."""


def is_visible(character: str) -> bool:
    """True if the character draws something."""
    return not _HIDDEN.match(character)


def _stack(limit: int) -> re.Pattern[str]:
    """Matches more than ``limit`` marks on one base. Invisible characters between them begin no new base."""
    return re.compile(f"[{MARKS}](?:[{_UNSEEN_BETWEEN}]*[{MARKS}]){{{limit}}}")


_UNSEEN_BETWEEN = f"\xad\u061c\u180e\u200b-\u200f\u2060-\u206f\ufeff{BIDI}{TAGS}"
_STACK = _stack(_STACKED)
_STACK_IN_TEXT = _stack(_STACKED_IN_TEXT)


# --- Emoji ---

_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
_KEYCAP = "[0-9#*]\ufe0f?\u20e3"
_PICTURE = f"[{PICTURES}](?:\ufe0f?[{SKINS}]|[\ufe0e\ufe0f])?"
"""A picture, with a skin tone or a variation selector if any."""
_PICTURES = f"{_PICTURE}(?:\u200d{_PICTURE})*"
"""One picture, or several that zero-width joiners combine."""
_ONE_EMOJI = f"{FLAG_OF_REGION}|{_FLAG}|{_KEYCAP}|{_PICTURES}"
"""The shape of an emoji, from UTS 51 (section 1.4.9). Next year's emoji will have it too."""
_EMOJI = re.compile(_ONE_EMOJI)


def is_emoji(text: str) -> bool:
    """True for one emoji and nothing else. Letters, words and invisible characters are none."""
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
"""Places where a script or an emoji needs an invisible character, in the group "meant".

These are joiners between joining letters, at a virama, and in emoji, and variation selectors of Chinese characters
and Mongolian letters. (RFC 5892, appendix A.1 and A.2. Bengali and Kannada have the joiner before the virama too.)

The rest matches other joiners next to joining letters. They are typing errors, and are dropped."""


def clean_name(name: str) -> str:
    """A username in NFKC with single inner spaces. Raises ValueError, whose text completes "A name ...".

    Invisible characters are refused, because they make two names that look equal. So is a mixture of scripts that
    no language needs. Invisible characters that shape visible ones stay; ``name_key`` ignores them.
    """
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not name.isascii():
        # NFKC once more: a mark may combine with a letter now that the joiner between them is gone.
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
    # Without a font, private characters are equal boxes. With one, they show a different name.
    if private := _UNSHOWN.search(rest):
        raise ValueError(f"must not have the private character U+{ord(private[0]):04X}")


_TOGETHER = (
    frozenset({"Latin", "Han", "Hiragana", "Katakana"}),
    frozenset({"Latin", "Han", "Bopomofo"}),
    frozenset({"Latin", "Han", "Hangul"}),
)
"""Scripts that are written together ("highly restrictive" of UTS 39, section 5.2)."""
_SCRIPTS = {"Cjk": "Han", "Ideographic": "Han", "Hentaigana": "Hiragana"}
"""First words of characters' names that are not their script's name, and the script."""
_COMMON = frozenset(
    {"Combining", "Modifier", "Caron", "Katakana-hiragana", "Vertical", "Masu", "Vedic", "Turned", "Variation"}
)
"""First words of the names of letters and marks that several scripts share."""


@lru_cache(4096)
def _script(character: str) -> str | None:
    """The script of a letter, or of a mark that only one script has; else None. Python has it in the name only."""
    if unicodedata.category(character)[0] not in "LM":
        # Two planes hold Chinese characters only, also those that this Python does not know yet.
        return "Han" if "\U00020000" <= character <= "\U0003fffd" else None
    # NFKC has removed "FULLWIDTH" and the like.
    first = unicodedata.name(character, "Unnamed").split()[0].capitalize()
    return None if first in _COMMON else _SCRIPTS.get(first, first)


def _refuse_mixtures(name: str) -> None:
    scripts = {script for character in name if (script := _script(character))}
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
        # Latin comes first: most readers know it.
        *others, last = sorted(scripts, key=lambda script: (script != "Latin", script))
        raise ValueError(f"must not mix {', '.join(others)} and {last} letters")
    zeros = {ord(digit) - unicodedata.decimal(digit) for digit in name if digit.isdecimal()}
    if len(zeros) > 1:
        raise ValueError("must not mix the digits of several scripts")


_DOTTED = re.compile("([lj])\u0307+")
"""A dot on a letter that has one already, or on the "i" that the dot makes (Turkish "İ")."""
_SEPARATORS = re.compile(f"{SEPARATOR}{{2,}}")


@lru_cache(8192)
def name_key(name: str) -> str:
    """A key that names share if they look the same: "Admin", "adm1n", "ADMlN", and "admin" in Cyrillic.

    Case, look-alikes (UTS 39, section 4), and the kind and number of separators make no difference. "Bob Smith"
    has the key of "bob_smith" and "Bob.Smith.", because nobody remembers which it was. "BobSmith" has another key:
    readers see where words begin, and "Al Ice" is a different name from "Alice". Accents make a difference too:
    José is not Jose.

    A key is at most three times as long as its name. The key of a key is that key.
    """
    folded = name.lower() if name.isascii() else _folded(name)
    key = folded.translate(TABLE)
    if not name.isascii():
        key = unicodedata.normalize("NFC", _DOTTED.sub(r"\1", key))
    return _SEPARATORS.sub(SEPARATOR, key).strip(SEPARATOR) or SEPARATOR


def _folded(name: str) -> str:
    """The name without case, compatibility forms and invisible characters, which an account's name may have."""
    # The iota under a Greek letter is hardly visible; case folding would turn it into a letter.
    name = unicodedata.normalize("NFKD", name).replace("\u0345", "")
    name = unicodedata.normalize("NFKD", name.casefold())
    return visible_part(name)


def visible_part(name: str) -> str:
    """The visible part of a name. Names with the same visible part look the same."""
    return _NOT_SHOWN.sub("", name)


_NOT_SHOWN = re.compile(f"(?! )[{INVISIBLE}]")


def quoted(name: str) -> str:
    """A name in quotation marks, as people see it. ``repr`` would escape joiners and new emoji."""
    mark = '"' if "'" in name else "'"
    return f"{mark}{one_line(name, len(name))}{mark}"


# --- Texts ---

_NON_LETTER_RUN = re.compile(r"[^\w\s\x00-\x7f]{2,}")
"""Runs outside ASCII without a letter or space. Stacked marks and selectors occur only there."""


def clean_text(text: str, limit: int = CONTENT_LIMIT) -> str:
    """A user's text, sanitized: a message or a query. Raises ValueError with what is wrong.

    Control characters are removed, line breaks become line feeds, and bidi controls are closed. Marks that would
    be drawn over other lines are refused, and so is a text without visible characters.
    """
    ascii_only = text.isascii()
    if not (ascii_only and text.isprintable()):
        text = _sanitize(text, limit)
        ascii_only = text.isascii()
    if text.isspace() or not text if ascii_only else not _DRAWN.search(text):
        raise ValueError("must not be blank")
    return text


def _sanitize(text: str, limit: int) -> str:
    """The text, sanitized if needed. Raises ValueError if it has stacked marks."""
    runs = [] if text.isascii() else _NON_LETTER_RUN.findall(text)
    if not is_clean(text, runs):
        text = sanitized(text, limit)
        runs = _NON_LETTER_RUN.findall(text)
    if any(_STACK_IN_TEXT.search(run) for run in runs if len(run) > _STACKED_IN_TEXT):
        raise ValueError(f"must not stack more than {_STACKED_IN_TEXT} marks on one character")
    return text


def clean_title(title: str) -> str:
    """A room's title on one line, in NFC with single inner spaces. Raises ValueError with what is wrong.

    A title identifies no user, so it may mix scripts and have emoji.
    """
    title = one_line(title, TITLE_LIMIT)
    if not 1 <= len(title) <= TITLE_LIMIT:
        raise ValueError(f"must have 1 to {TITLE_LIMIT} characters, not {len(title)}")
    clean_text(title)
    if _STACK.search(title):
        raise ValueError(f"must not stack more than {_STACKED} marks on one character")
    return title


def clean_query(query: str) -> str:
    """A search query, sanitized. Raises ValueError as ``clean_text`` does."""
    return clean_text(query, QUERY_LIMIT)


def clean_reason(reason: str) -> str:
    """A reason on one line, sanitized. Raises ValueError if nothing of it is visible."""
    return clean_text(one_line(reason, REASON_LIMIT), REASON_LIMIT)


def one_line(text: str, limit: int) -> str:
    """The text sanitized, in NFC with single inner spaces. Bidi controls go: other text follows on the line."""
    text = BIDI_CONTROL.sub("", sanitized(text, limit))
    return " ".join(unicodedata.normalize("NFC", text).split())
