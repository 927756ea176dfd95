# ruff: noqa: RUF001, RUF002 characters that look like others are what this is about
"""Characters that look alike, for ``name_key``: a prototype, and what is drawn like it.

Written from the characters' shapes, after the idea of UTS 39, section 4 ("confusable detection"). Only what NFKD
and case folding leave has to be here: a full-width or mathematical "a" is an "a" by then. Where a letter's cases
look like two others, the capital counts, for small ones differ more: Greek "ν" is "n", as "Ν" is. Letters with a
stroke or a hook (ø, ł, ɗ) stay what they are: people read them as other letters, like those with an accent.
"""

from string import ascii_lowercase

SEPARATOR = "-"
"""What separates words: one is as good as another, and so is a space."""

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
    "l": "1i|іӏιⲓլᎥᏆᏞꓲꓡᒪıɩɪʟǀǁ∣│⏐⎮ߊᛁⵏ丨\u05d5\u05df\u0627\u0661\u06f1",  # l, and all that is one upright
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
"""Where letters from A to Z stand in discs, in squares, and as halves of flags."""
_AS_TWO = {"m": "rn", "w": "vv"}


def _table() -> dict[int, str]:
    alike = {character: prototype for prototype, drawn in _LOOK_ALIKES.items() for character in drawn}
    alike |= _AS_TWO
    for first in _LETTERS_IN_SIGNS:
        alike |= {chr(first + place): letter for place, letter in enumerate(ascii_lowercase)}
    # Some prototypes are drawn like others themselves: "м" like "m", which is drawn like "rn".
    return {ord(character): alike.get(prototype, prototype) for character, prototype in alike.items()}


TABLE = _table()
"""For ``str.translate``, of a text that is folded already. What it yields, it does not change again."""
