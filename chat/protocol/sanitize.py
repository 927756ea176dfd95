"""Sanitizes texts: removes invisible characters of no use, and those that would reorder or break the text around.

chat/static/chat/client/text.js does the same before it sends; tests/support/texts.json keeps the two equal.
"""

import re

from chat.protocol.characters import BIDI, NONCHARACTERS, SELECTORS, SURROGATES, TAGS, UNUSED

FLAG_OF_REGION = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
"""A black flag, the region's code in tag characters, the end tag (UTS 51, annex C). Tags have no other use."""
_LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
"""Line breaks of other systems and programs, which become "\\n"."""
_SURROGATE = re.compile(f"[{SURROGATES}]")
_DROPPED = re.compile(f"[\x00-\x08\x0e-\x1f\x7f-\x9f{NONCHARACTERS}{UNUSED}]")
_TAG = re.compile(f"({FLAG_OF_REGION})|[{TAGS}]")
_SELECTORS = re.compile(f"([{SELECTORS}])[{SELECTORS}]+")
"""Runs of variation selectors. The first chooses a form; more can only hide something."""
BIDI_CONTROL = re.compile(f"[{BIDI}]")
_UNSOUND = re.compile(
    f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{SURROGATES}\ufdd0-\ufdef\ufffe\uffff{UNUSED}{BIDI}]"
)
"""Sanitized characters of the first plane. For a class of that plane alone Python's search uses a table."""
_UNSOUND_BEYOND = re.compile("[^\x00-\U0001fffd]")
"""Code points with tags and noncharacters, and hardly anything that people write."""
_EMBEDDINGS, _ISOLATES = "\u202a\u202b\u202d\u202e", "\u2066\u2067\u2068"
_PDF, _PDI = "\u202c", "\u2069"
"""Ends of an embedding or override, and of an isolate (UAX 9, section 2)."""


def is_clean(text: str, runs: list[str]) -> bool:
    """True if ``sanitized`` would not change the text, bidi controls aside. ``runs``: parts without letters."""
    # Except for selectors, sanitized characters are not printable. Most texts are, and that check is faster.
    if not text.isprintable() and (_UNSOUND.search(text) or _UNSOUND_BEYOND.search(text)):
        return False
    return not any(map(_SELECTORS.search, runs))


def sanitized(text: str, limit: int) -> str:
    """The text without useless invisible characters. Within ``limit`` characters if ``text`` is."""
    text = _LINE_BREAK.sub("\n", text)
    text = _DROPPED.sub("", replace_surrogates(text))
    text = _TAG.sub(lambda found: found[1] or "", text)
    # Selectors come last: two may become neighbours only now.
    closed = _SELECTORS.sub(r"\1", _closed(text) if BIDI_CONTROL.search(text) else text)
    return closed if len(closed) <= limit else _SELECTORS.sub(r"\1", BIDI_CONTROL.sub("", text))


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD for each unpaired surrogate."""
    return _SURROGATE.sub("\ufffd", text)


def _closed(text: str) -> str:
    """The text with every bidi control closed, in order: whatever follows the text keeps its direction."""
    parts: list[str] = []
    ends: list[str] = []
    done = isolates = 0
    for found in BIDI_CONTROL.finditer(text):
        parts.append(text[done : found.start()])
        done = found.end()
        control = found[0]
        if control in _EMBEDDINGS:
            ends.append(_PDF)
        elif control in _ISOLATES:
            ends.append(_PDI)
            isolates += 1
        elif control == _PDI and isolates:
            # A PDI also ends the embeddings that began within its isolate.
            while (end := ends.pop()) != _PDI:
                parts.append(end)
            isolates -= 1
        elif ends and ends[-1] == control:
            ends.pop()
        else:
            control = ""
        parts.append(control)
    return "".join((*parts, text[done:], *reversed(ends)))
