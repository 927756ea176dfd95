"""The tokens of a text: the same for the search index and for a query, whatever the database. Pure functions.

A text is folded (case, forms, accents), then cut into tokens. Each database indexes the tokens as they are. A
script without spaces between words gives a token for each character and one for each pair of neighbours.

The folding depends little on Python's version of Unicode: symbols and scripts without spaces are ranges of code
points, and a character that this Python does not know counts as a letter.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

BEGINNING = 3
"""Letters that a word must have to match as the beginning of others. The index has prefixes of this length."""
LONGEST = 500
"""Characters of a word that are indexed. PostgreSQL takes 2,046 bytes, and a character has four at most."""

CACHED = 20_000
"""Characters whose folding is cached: about 2 MB."""
PAIR = 2
"""Characters of a token in a script without spaces."""

UNSPACED: Final = (
    "\u0e00-\u0e7f\u0e80-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff\u19e0-\u19ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
    "\ua980-\ua9df\u1b00-\u1b7f"  # Javanese, Balinese
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303b"  # radicals, signs and numerals of Han
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\u3041-\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\U0001aff0-\U0001b16f"  # Kana
    "\u3105-\u312f\u31a0-\u31bf"  # Bopomofo
    "\U00020000-\U0003ffff"  # the planes of Han, assigned or not
)
"""Scripts without spaces between words, as ranges of a character class."""
SYMBOLS: Final = (
    "\u20a0-\u20cf"  # currencies
    "\u2100-\u214f\u2190-\u2bff\u3030\u303d\u3297\u3299\u00a9\u00ae"  # arrows, mathematics, shapes, pictures, ©, ®
    "\U0001f000-\U0001f1e5\U0001f200-\U0001f3f3\U0001f3f5-\U0001f3fa\U0001f400-\U0001faff"  # pictures
)
"""Pictures and signs that are searched for one by one, with the ranges that Unicode may still fill. The black flag
is left out: flags of regions begin with it."""
_REGION: Final = "\U0001f1e6-\U0001f1ff"
_BLACK_FLAG: Final = "\U0001f3f4"
_TAGS: Final = "\U000e0020-\U000e007f"

_PIECES = re.compile(
    f"(?P<unspaced>[{UNSPACED}]+)|(?P<picture>[{_REGION}]{{1,2}}|{_BLACK_FLAG}[{_TAGS}]*|[{SYMBOLS}])"
    f"|(?P<word>[^ {UNSPACED}{_REGION}{_BLACK_FLAG}{SYMBOLS}]+)"
)
_WHOLE = re.compile(f"[{UNSPACED}{_REGION}{_BLACK_FLAG}{_TAGS}{SYMBOLS}]")
"""Characters that stay as they are."""
_DROPPED = re.compile(
    # Accents of Latin, Greek and Cyrillic. Й, ў and ї stay letters of their own, as in the Unicode collation.
    "[\u0300-\u0305\u0307\u0309-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
    "|(?<![\u0418\u0438\u0423\u0443])\u0306|(?<![\u0406\u0456])\u0308"
    # Vowel signs and points of Arabic, the hamza and madda of an alef, the tatweel; points of Hebrew.
    "|[\u0610-\u061a\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    "\u08ca-\u08e1\u08e3-\u08ff\u0640]|(?<=\u0627)[\u0653-\u0655]"
    "|[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]"
    # Skin tones, variation selectors, and invisible characters: soft hyphens, joiners, marks of direction.
    "|[\U0001f3fb-\U0001f3ff\ufe00-\ufe0f\U000e0100-\U000e01ef\u00ad\u034f\u061c\u180b-\u180f\u200c-\u200f"
    "\u202a-\u202e\u2060-\u206f\ufeff]"
    # A space without width separates words, except in scripts without spaces.
    f"|(?<=[{UNSPACED}])\u200b+(?=[{UNSPACED}])"
)
"""Characters that are dropped from a text in NFKD."""
_EXTRA: Final = {
    "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ł": "l", "ŧ": "t", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th",
    "\u0649": "\u064a", "\u06cc": "\u064a", "\u06a9": "\u0643",  # yeh and kaf of other keyboards
}  # fmt: skip
"""Letters with a stroke and the like, which have no accent to drop; Arabic letters that are drawn alike."""


class _FoldingTable(dict[int, str]):
    """Maps each character that is left after decomposition to itself, another one, or a space."""

    def __missing__(self, code: int) -> str:
        folded = _fold_character(chr(code))
        # A text with all of Unicode must not make the process cache all of it.
        if len(self) < CACHED:
            self[code] = folded
        return folded


def _fold_character(character: str) -> str:
    if character.isascii():
        return character.lower() if character.isalnum() else " "
    if character in _EXTRA:
        return _EXTRA[character]
    if _WHOLE.match(character):
        return character
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return character if category[0] in "LMN" or category in {"Cn", "Co"} else " "


_ASCII: Final = {code: _fold_character(chr(code)) for code in range(128)}
_FOLDING: Final = _FoldingTable()


@dataclass(frozen=True, slots=True)
class Query:
    """The parts of a query. A message must have all of them."""

    words: list[str]
    # The last word, if it may be unfinished.
    beginning: str | None
    # Runs of a script without spaces that are longer than a pair. A text may have their pairs in other places.
    runs: list[str]

    def __bool__(self) -> bool:
        return bool(self.words or self.beginning)

    def has_runs(self, text: str) -> bool:
        """True if the text has each run in one piece."""
        if not self.runs:
            return True
        folded = fold(text)
        return all(run in folded for run in self.runs)


def fold(text: str) -> str:
    """The text in small letters, without accents and invisible characters; a space for each punctuation mark."""
    if text.isascii():
        return text.translate(_ASCII)
    plain = _DROPPED.sub("", unicodedata.normalize("NFKD", text)).casefold()
    return unicodedata.normalize("NFKC", plain).translate(_FOLDING)


def words_for(room: int, text: str) -> str:
    """A message row's tokens: that of its room, by the room's key, and those of its text."""
    return f"{room_token(room)} {index_tokens(text)}"


def room_token(room: int) -> str:
    """The token of a room. No text has such a token, because an underscore separates words."""
    return f"_{room}"


def index_tokens(text: str) -> str:
    """The tokens of a text, separated by spaces."""
    folded = fold(text)
    if text.isascii() or not _WHOLE.search(folded):
        # Most texts end here: the spaces separate the tokens.
        return folded if len(folded) <= LONGEST else " ".join(map(_cut, folded.split()))
    tokens: dict[str, None] = {}
    for found in _PIECES.finditer(folded):
        piece = found[0]
        if found.lastgroup == "unspaced":
            tokens |= dict.fromkeys([*piece, *_pairs(piece)])
        else:
            tokens[_cut(piece)] = None
    return " ".join(tokens)


def parse_query(text: str) -> Query:
    """The parts of a query. The result is empty (false) if nothing in it can be searched for."""
    pieces = list(_pieces(fold(text)))
    beginning = None
    if pieces and pieces[-1][0] == "word" and _is_beginning(pieces[-1][1]):
        beginning = _cut(pieces.pop()[1])
    words: dict[str, None] = {}
    for kind, piece in pieces:
        pairs = _pairs(piece) if kind == "unspaced" else []
        words |= dict.fromkeys(pairs or [_cut(piece)])
    runs = [piece for kind, piece in pieces if kind == "unspaced" and len(piece) > PAIR]
    return Query(list(words), beginning, runs)


def _pieces(folded: str) -> Iterator[tuple[str, str]]:
    """Words, pictures, and runs without spaces, each with its group's name. Marks alone are left out."""
    for found in _PIECES.finditer(folded):
        if any(not unicodedata.category(character).startswith("M") for character in found[0]):
            yield found.lastgroup or "", found[0]


def _pairs(run: str) -> list[str]:
    return [run[place : place + PAIR] for place in range(len(run) - 1)]


def _cut(word: str) -> str:
    return word[:LONGEST]


def _is_beginning(word: str) -> bool:
    """True if the word may be unfinished. One or two ASCII letters begin too many words.

    In other scripts they can be whole words.
    """
    return len(word) >= BEGINNING or not word.isascii()
