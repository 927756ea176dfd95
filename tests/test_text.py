# ruff: noqa: RUF001 texts as people write them
"""Texts: hostile ones are refused by name, those of people are not; titles of rooms; emoji."""

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chat.protocol import (
    CONTENT_LIMIT,
    TITLE_LIMIT,
    Edit,
    ErrorCode,
    Invalid,
    Post,
    React,
    Search,
    clean_title,
    decode,
    is_emoji,
    visible,
)
from chat.protocol.text import check_text

SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
LRE, RLE, PDF, LRO, RLO = "\u202a\u202b\u202c\u202d\u202e"
LRI, RLI, FSI, PDI = "\u2066\u2067\u2068\u2069"
MARKS = "".join(chr(0x0300 + number) for number in range(8))

HOSTILE = [
    *[(bad, "control characters") for bad in ("a\x00", "\x1b[2J", "a\x0bb", "\x7f", "\x9b31m")],
    *[
        (blank, "blank")
        for blank in (" ", "\n\t", "\u3000", "\u200b" * 9, "\u2800\u3164", "\ufe0f\u200d", "\u2060")
    ],
    ("z" + "\u0301" * 9, "more than 8 marks"),
    ("z" + "\u0301" * (CONTENT_LIMIT - 1), "more than 8 marks"),
    ("so " + "".join(letter + MARKS + "\u0489" for letter in "zalgo"), "more than 8 marks"),
    ("\u0e01" + "\u0e49" * 20, "more than 8 marks"),
    ("a" + "\u0301" * 5 + "\u200d" + "\u0301" * 5, "more than 8 marks"),
    ("a" + "\ufe0f" * 9, "more than 8 marks"),
    ("\N{CAT FACE}" + "\u20dd" * 9, "more than 8 marks"),
    *[(f"ends {control}never", "must end every bidi") for control in (LRE, RLE, LRO, RLO, LRI, RLI, FSI)],
    *[(f"{end}began never", "must end every bidi") for end in (PDF, PDI)],
    (f"{RLO}a{PDI}", "must end every bidi"),
    (f"{RLI}a{RLO}b{PDI}{PDF}", "must end every bidi"),
    (f"{RLO * 100}a{PDF * 99}", "must end every bidi"),
    ("hello\U000e0068\U000e0069", "U+E0068"),
    ("\U000e0001", "U+E0001"),
    ("\N{CAT FACE}\U000e0067\U000e007f", "U+E0067"),
    ("\U0001f3f4" + "\U000e0061" * 40 + "\U000e007f", "U+E0061"),
    ("\U0001f3f4\U000e0067\U000e0062\U000e0073", "U+E0067"),
]


@pytest.mark.parametrize(("text", "wrong"), HOSTILE, ids=ascii)
@pytest.mark.parametrize(("command", "field"), [("message", "content"), ("edit", "content"), ("search", "query")])
def test_a_text_that_harms_others_is_refused(command: str, field: str, text: str, wrong: str) -> None:
    """What hides, turns what follows, is drawn over other lines or shows nothing; the error names the field."""
    fields = {"type": command, field: text[:200] if field == "query" else text, "ref": "r"}
    with pytest.raises(Invalid) as caught:
        decode(json.dumps(fields | ({"id": 1} if command == "edit" else {})))
    error = caught.value
    assert (error.code, error.field, error.ref) == (ErrorCode.BAD_FIELD, field, "r")
    assert str(error).startswith(f"{field}: must")
    assert wrong in str(error)


def test_marks_beyond_a_message_s_length_are_only_too_long() -> None:
    """Ten thousand marks are refused by the schema, before anybody looks at them."""
    with pytest.raises(Invalid, match=r"content: .*4000"):
        decode(json.dumps({"type": "message", "content": "z" + "\u0301" * 10_000}, ensure_ascii=False))


PEACEFUL = [
    "hello\n\tthere",
    "x" * CONTENT_LIMIT,
    "<script>alert(1)</script> {{ 7 * 7 }} %s",
    "\u05d1\u05b0\u05bc\u05e8\u05b5\u05d0\u05e9\u05b4\u05c1\u05d9\u05ea",  # Hebrew with points
    "\u0628\u0650\u0633\u0652\u0645\u0650 \u0671\u0644\u0644\u0651\u064e\u0647\u0650",  # Arabic with vowels
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: a joiner that keeps letters apart
    "\u0915\u094d\u200d\u0937",  # Devanagari: one that keeps them together
    "བསྟན་འཛིན",
    "Tiếng Việt, décomposé: e\u0302\u0301",
    "z" + MARKS,
    f"price: {LRI}12 EUR{PDI} and {RLO}turned{PDF}",
    f"{RLE}a{LRI}b{FSI}c{PDI}{PDI}{PDF}",
    "\u05e9\u05dc\u05d5\u05dd\u200f!",
    SCOTLAND,
    SCOTLAND * 3 + FAMILY,
    "\u2764\ufe0f" * 50,
    "👋" * CONTENT_LIMIT,
    "。。。！！！？？？……——「」『』",
    "private: \ue000",
]


@pytest.mark.parametrize("text", PEACEFUL, ids=ascii)
def test_what_people_write_is_taken_as_it_is(text: str) -> None:
    """Every language, every emoji: nothing is refused, and nothing is changed."""
    assert decode(json.dumps({"type": "message", "content": text})) == Post(content=text)
    assert decode(json.dumps({"type": "edit", "id": 1, "content": text})) == Edit(id=1, content=text)
    assert decode(json.dumps({"type": "search", "query": text[:200]})) == Search(query=text[:200])


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@example("a" + "\u0301" * 9)
@example(f"{RLO}{PDF}")
def test_the_fast_way_says_what_the_slow_one_would(text: str) -> None:
    """Shortcuts for ASCII and for runs without letters change no verdict: each character, looked at by itself."""
    try:
        check_text(text)
    except ValueError:
        return
    assert any(visible(character) for character in text)
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        assert category != "Cc" or character in "\n\t\r"
        marks = marks + 1 if category[0] == "M" else marks if category == "Cf" else 0
        assert marks <= 8


# --- Titles of rooms ---


@pytest.mark.parametrize(
    ("title", "clean"),
    [
        ("Tea", "Tea"),
        ("  Tea \t &\n cake ", "Tea & cake"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("Чай & Tea", "Чай & Tea"),
        ("\u2460 \u2122", "\u2460 \u2122"),
        (f"Family {FAMILY} {SCOTLAND}", f"Family {FAMILY} {SCOTLAND}"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("x" * TITLE_LIMIT, "x" * TITLE_LIMIT),
    ],
    ids=ascii,
)
def test_a_title_is_one_line(title: str, clean: str) -> None:
    """Single inner spaces, none around, NFC; scripts may mix, and emoji are welcome."""
    assert clean_title(title) == clean
    assert clean_title(clean) == clean


@pytest.mark.parametrize(
    ("title", "wrong"),
    [
        ("", "1 to 80"),
        (" \n\u3000", "1 to 80"),
        ("x" * 81, "1 to 80 characters, not 81"),
        ("a\x00", "control"),
        ("a\x7f", "control"),
        ("\ud800", "control"),
        (f"{RLO}a{PDF}", "control"),
        (f"{LRI}a{PDI}", "control"),
        ("\u200b\u2060", "blank"),
        ("Tea\U000e0041", "tag character"),
        ("z" + "\u0489" * 5, "more than 4 marks"),
    ],
    ids=ascii,
)
def test_a_bad_title_is_explained(title: str, wrong: str) -> None:
    """What is hidden, stacked or turned is refused, and so is nothing at all."""
    with pytest.raises(ValueError, match=wrong):
        clean_title(title)


@given(title=st.text(max_size=100))
def test_a_clean_title_stays(title: str) -> None:
    """Whatever passes, passes again unchanged."""
    try:
        clean = clean_title(title)
    except ValueError:
        return
    assert clean_title(clean) == clean


# --- Emoji ---

THUMB, SKIN, HEART, JOINED = "\N{THUMBS UP SIGN}", "\U0001f3fd", "\u2764", "\u200d"


@pytest.mark.parametrize(
    "emoji",
    [
        THUMB,
        THUMB + SKIN,
        HEART,
        HEART + "\ufe0f",
        HEART + "\ufe0f" + JOINED + "\N{FIRE}",
        JOINED.join(["\N{MAN}", "\N{WOMAN}", "\N{GIRL}", "\N{BOY}"]),
        "\U0001f1eb\U0001f1f7",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "1\ufe0f\u20e3",
        "\N{COPYRIGHT SIGN}",
        "\N{DOUBLE EXCLAMATION MARK}",
        "\N{INFORMATION SOURCE}\ufe0f",
    ],
    ids=ascii,
)
def test_an_emoji_is_one_picture(emoji: str) -> None:
    """Also one of several code points: skin tones, families, flags, keycaps."""
    assert is_emoji(emoji)
    assert decode(json.dumps({"type": "react", "id": 1, "emoji": emoji})) == React(id=1, emoji=emoji)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "ok",
        "1",
        "#",
        "!",
        "<",
        "\u00e9",
        "\u4e2d",
        " ",
        THUMB * 2,
        THUMB + " ",
        THUMB + "a",
        "a" + JOINED + THUMB,
        SKIN,
        "\ufe0f",
        JOINED,
        THUMB + "\U000e0067\U000e007f",
        "\U0001f3f4" + "\U000e0067" * 7 + "\U000e007f",
        THUMB + "\n",
        "\u202e" + THUMB,
        "\ud83d",
    ],
    ids=ascii,
)
def test_what_is_no_picture_is_no_emoji(text: str) -> None:
    """Words, two pictures and what is invisible are refused: an emoji is no way to say more."""
    assert not is_emoji(text)
