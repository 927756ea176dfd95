# ruff: noqa: RUF001, RUF002 the table needs characters that look like others
"""Characters that look alike, for ``name_key``: a prototype, and the characters that look like it.

The table is written from the characters' shapes, after the idea of UTS 39, section 4 ("confusable detection").
It has only characters that NFKD and case folding leave: a full-width or mathematical "a" is an "a" by then. A
letter's two cases may look like different letters. Then the capital decides, because small letters differ more:
Greek "ν" maps to "n", as "Ν" does. Letters with a stroke or a hook (ø, ł, ɗ) are not in it. People read them as
other letters, like those with an accent.
"""

from string import ascii_lowercase

SEPARATOR = "-"
"""Prototype of all separators of words, a space among them."""

_LOOK_ALIKES = {
    # Cyrillic; Greek; Armenian; Coptic; Cherokee; Lisu; Canadian syllabics; small capitals and other Latin.
    "a": "аαⲁᎪꓮᗅᗩᴀɑ",
    "b": "вьβⲃᏏᏴꓐᗷᑲʙƅᛒ",
    "c": "сⲥᏟꓚᑕᴄ",
    "d": "ԁᎠᏧꓓᗞᗪᑯᴅ",
    "e": "еҽєεⲉᎬꓰᴇ℮",
    "f": "ϝքꓝᖴꜰẝ",
    "g": "ԍցᏀᏳꓖᘜɡɢᶃ",
    "h": "һнηհⲏᎻᏂꓧᕼʜ",
    "j": "јϳյᎫꓙᒍȷᴊ",
    "k": "кκⲕᏦꓗᴋᛕĸ",
    "l": "1i|іӏιⲓլᎥᏆᏞꓲꓡᒪıɩɪʟǀǁ∣│⏐⎮ߊᛁⵏ丨\u05d5\u05df\u0627\u0661\u06f1",  # l, and every single vertical stroke
    "m": "мμⲙᎷꓟᗰᴍᛖ",
    "n": "пνոⲛꓠᑎɴ",
    "o": "0оοσօⲟꓳᴏⵔ〇○◯ഠဝ\u05e1\u0647\u0665\u06c1\u06be\u06d5\u06f5"
    "߀०০੦૦୦௦౦೦൦๐໐၀០᠐",  # and the zeros of other scripts
    "p": "рρⲣᏢꓑᑭᴘ",
    "q": "ԛզᑫꞯ",
    "r": "гⲅᎡᏒꓣᖇʀꭇᴦ",
    "s": "ѕտᏕᏚꓢᔕꜱƨ",
    "t": "тτⲧᎢꓔᴛ",
    "u": "սꓴᑌᴜʋʊ",
    "v": "ѵᏙꓦᐯᴠⴸ",
    "w": "ԝѡшաᎳᏔꓪᗯᴡɯꞷ",
    "x": "хχⲭꓫ᙭ᚷ",
    "y": "уүυⲩᎩᎽꓬʏყ",
    "z": "ζⲍᏃꓜᘔᴢ",
    "3": "зʒӡვ",
    "6": "бᏮ",
    "8": "৪ȣ",
    "ə": "ә",
    "æ": "ӕ",
    "þ": "ϸ",
    # Arabic letters of other languages that are drawn alike: yeh, kaf.
    "\u064a": "\u0649\u06cc",
    "\u0643": "\u06a9",
    # Kana like Han, and Hiragana like Katakana.
    "二": "ニ",
    "八": "ハ",
    "力": "カ",
    "卜": "ト",
    "口": "ロ",
    "夕": "タ",
    "工": "エ",
    "才": "オ",
    "千": "チ",
    "一": "ー",
    "ヘ": "へ",
    "リ": "り",
    "'": "‘’‛`′ʹʻʼʽꞌ՚\u05f3",
    ":": "ː∶꞉։\u05c3",
    "/": "⁄∕╱",
    "!": "ǃ",
    "?": "ʔɂ",
    SEPARATOR: " _.‐‒–—―−⁃˗·•∙⋅‧・。ᐧ\u06d4",
}
_LETTERS_IN_SIGNS = (0x1F150, 0x1F170, 0x1F1E6)
"""First code points of A to Z in discs, in squares, and as halves of flags."""
_AS_TWO = {"m": "rn", "w": "vv"}


def _table() -> dict[int, str]:
    alike = {character: prototype for prototype, drawn in _LOOK_ALIKES.items() for character in drawn}
    alike |= _AS_TWO
    for first in _LETTERS_IN_SIGNS:
        alike |= {chr(first + place): letter for place, letter in enumerate(ascii_lowercase)}
    # Some prototypes look like others themselves: "м" like "m", which looks like "rn".
    return {ord(character): alike.get(prototype, prototype) for character, prototype in alike.items()}


TABLE = _table()
"""A table for ``str.translate`` on a folded text. Its results contain nothing that it would change again."""
