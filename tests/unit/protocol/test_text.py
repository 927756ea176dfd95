# ruff: noqa: RUF001 the texts are in many scripts
"""Rules for texts, titles and emoji: hostile ones are refused, and those of users are not."""

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from servers import ROOT
from tables import table

from chat.protocol import (
    CONTENT_LIMIT,
    TITLE_LIMIT,
    Edit,
    ErrorCode,
    Invalid,
    Post,
    React,
    Report,
    Search,
    clean_title,
    decode,
    is_emoji,
    is_visible,
    quoted,
)
from chat.protocol.sanitize import sanitized
from chat.protocol.text import clean_text

SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
LRE, RLE, PDF, LRO, RLO = "\u202a\u202b\u202c\u202d\u202e"
LRI, RLI, FSI, PDI = "\u2066\u2067\u2068\u2069"
MARKS = "".join(chr(0x0300 + number) for number in range(8))

CASES = json.loads((ROOT / "tests/support/texts.json").read_text())
"""Texts and emoji with their results. tests/js/text.test.js tests the browser's client with the same."""

MENDED = [case for case in CASES["mended"] if case[1]]
HOSTILE = [
    *[(blank, "blank") for blank in CASES["blank"] if blank],
    ("z" + "\u0301" * 9, "more than 8 marks"),
    ("z" + "\u0301" * (CONTENT_LIMIT - 1), "more than 8 marks"),
    ("so " + "".join(letter + MARKS + "\u0489" for letter in "zalgo"), "more than 8 marks"),
    ("\u0e01" + "\u0e49" * 20, "more than 8 marks"),
    ("a" + "\u0301" * 5 + "\u200d" + "\u0301" * 5, "more than 8 marks"),
    ("a" + "\u1acf" * 5 + "\u1aff" * 5, "more than 8 marks"),  # Unicode 17, and reserved
    ("\N{CAT FACE}" + "\u20dd" * 9, "more than 8 marks"),
]


@table(("text", "wrong"), HOSTILE)
@table(("command", "field"), [("message", "content"), ("edit", "content"), ("search", "query")])
def test_a_text_that_harms_others_is_refused(command: str, field: str, text: str, wrong: str) -> None:
    """Texts that draw over other lines, or have nothing visible, get an error that names the field."""
    with pytest.raises(Invalid) as caught:
        decode(frame(command, field, text))
    error = caught.value
    assert (error.code, error.field, error.ref) == (ErrorCode.BAD_FIELD, field, "r")
    assert str(error).startswith(f"{field}: must")
    assert wrong in str(error)


def frame(command: str, field: str, text: str) -> str:
    fields = {"type": command, field: text[:200] if field == "query" else text, "ref": "r"}
    return json.dumps(fields | ({"id": 1} if command == "edit" else {}))


@table(("text", "right"), MENDED)
@table(("command", "field"), [("message", "content"), ("edit", "content"), ("search", "query")])
def test_invisible_characters_are_sanitized(command: str, field: str, text: str, right: str) -> None:
    """They are removed, converted or closed, and a second pass changes nothing."""
    assert getattr(decode(frame(command, field, text)), field) == right
    assert clean_text(right) == right


@pytest.mark.parametrize(("text", "limit", "right"), CASES["limits"], ids=lambda text: ascii(text)[:40])
def test_a_sanitized_text_is_within_its_limit(text: str, limit: int, right: str) -> None:
    """Without room for the ends of its bidi controls, a text loses the controls."""
    assert sanitized(text, limit) == right


def test_private_and_unassigned_characters_are_visible() -> None:
    """The result does not depend on Python's Unicode version."""
    assert all(clean_text(text) == text for text in CASES["shown"])
    assert all(is_visible(text[0]) for text in CASES["shown"])
    assert not any(is_visible(character) for text in CASES["blank"] for character in text)


@pytest.mark.parametrize("field", ["username", "ref", "room"])
def test_half_an_emoji_is_sanitized_in_texts_only(field: str) -> None:
    """An unpaired surrogate in another field is an error for that field, also if a text has one too."""
    fields = {"type": "join" if field == "username" else "message", "content": "cut \ud83d", field: "a\ud83d"}
    with pytest.raises(Invalid, match=f"{field}: must not have an unpaired surrogate"):
        decode(json.dumps(fields))


def test_a_reason_and_a_title_become_one_line() -> None:
    """Line breaks, tabs and bidi controls are removed."""
    wanted = "rude twice"
    for pasted in ("rude\ntwice", "rude\u2028\ttwice\x00", f"\ufeffrude{RLO} twice\r\n"):
        report = decode(json.dumps({"type": "report", "id": 1, "room": "tea", "reason": pasted}))
        assert isinstance(report, Report)
        assert report.reason == wanted
        assert clean_title(pasted) == wanted


def test_marks_beyond_a_message_s_length_are_only_too_long() -> None:
    """The schema refuses ten thousand marks before they are checked."""
    with pytest.raises(Invalid, match=r"content: .*4000"):
        decode(json.dumps({"type": "message", "content": "z" + "\u0301" * 10_000}, ensure_ascii=False))


PEACEFUL = [
    "hello\n\tthere",
    "x" * CONTENT_LIMIT,
    "<script>alert(1)</script> {{ 7 * 7 }} %s",
    "\u05d1\u05b0\u05bc\u05e8\u05b5\u05d0\u05e9\u05b4\u05c1\u05d9\u05ea",  # Hebrew with points
    "\u0628\u0650\u0633\u0652\u0645\u0650 \u0671\u0644\u0644\u0651\u064e\u0647\u0650",  # Arabic with vowels
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: a joiner that keeps letters apart
    "\u0915\u094d\u200d\u0937",  # Devanagari: a joiner that keeps them together
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


@table("text", PEACEFUL)
def test_real_texts_are_accepted_unchanged(text: str) -> None:
    """Texts in any language and with any emoji are neither refused nor changed."""
    assert decode(json.dumps({"type": "message", "content": text})) == Post(content=text)
    assert decode(json.dumps({"type": "edit", "id": 1, "content": text})) == Edit(id=1, content=text)
    assert decode(json.dumps({"type": "search", "query": text[:200]})) == Search(query=text[:200])


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@example("a" + "\u0301" * 9)
@example(f"{RLO}{PDF}")
def test_shortcuts_agree_with_a_check_of_each_character(text: str) -> None:
    """The shortcuts for ASCII and for runs without letters do not change the result."""
    try:
        clean = clean_text(text)
    except ValueError:
        return
    assert any(is_visible(character) for character in text)
    marks = 0
    for character in clean:
        category = unicodedata.category(character)
        assert category != "Cc" or character in "\n\t"
        marks = marks + 1 if category[0] == "M" else marks if category == "Cf" else 0
        assert marks <= 8
    assert clean_text(clean) == clean


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
        (f"{RLO}T\x00ea{PDF} {LRI}a\ufeff", "Tea a"),
        ("Tea\U000e0041\ud800", "Tea\ufffd"),
        ("x" * TITLE_LIMIT, "x" * TITLE_LIMIT),
    ],
    ids=ascii,
)
def test_a_title_is_one_line(title: str, clean: str) -> None:
    """It has single inner spaces, none around it, and NFC. Mixed scripts and emoji are allowed."""
    assert clean_title(title) == clean
    assert clean_title(clean) == clean


@pytest.mark.parametrize(
    ("title", "wrong"),
    [
        ("", "1 to 80"),
        (" \n\u3000", "1 to 80"),
        ("x" * 81, "1 to 80 characters, not 81"),
        ("\x00\ufeff", "1 to 80"),
        ("\u200b\u2060", "blank"),
        ("z" + "\u0489" * 5, "more than 4 marks"),
    ],
    ids=ascii,
)
def test_a_bad_title_is_explained(title: str, wrong: str) -> None:
    """Stacked marks are refused, and so is an empty title."""
    with pytest.raises(ValueError, match=wrong):
        clean_title(title)


@given(title=st.text(max_size=100))
def test_a_clean_title_stays(title: str) -> None:
    """A clean title is not changed by a second pass."""
    try:
        clean = clean_title(title)
    except ValueError:
        return
    assert clean_title(clean) == clean


# --- Emoji ---


@table("emoji", CASES["emoji"])
def test_an_emoji_is_one_picture(emoji: str) -> None:
    """It may have several code points, or be newer than Python's data."""
    assert is_emoji(emoji)
    assert decode(json.dumps({"type": "react", "id": 1, "emoji": emoji})) == React(id=1, emoji=emoji)


@table("text", CASES["notEmoji"])
def test_other_texts_are_no_emoji(text: str) -> None:
    """Words, two pictures and invisible characters are refused."""
    assert not is_emoji(text)


def test_any_existing_reaction_can_be_removed() -> None:
    """An earlier version may have accepted a reaction that is no emoji now."""
    assert decode(json.dumps({"type": "react", "id": 1, "emoji": "\u00a7", "on": False})) == React(
        id=1, emoji="\u00a7", on=False
    )


# --- Names in sentences ---


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ann", "'Ann'"),
        ("O'Brien", '"O\'Brien"'),
        ("علی\u200cرضا", "'علی\u200cرضا'"),
        ("ශ්\u200dරීමාලි", "'ශ්\u200dරීමාලි'"),
        ("\U0001fac6 Bo", "'\U0001fac6 Bo'"),  # Unicode 16
        ("\U000323b0", "'\U000323b0'"),  # Unicode 17
        (f"An{RLO}n\x00\r\nB\ud83d", "'Ann B\ufffd'"),
    ],
)
def test_a_sentence_has_a_name_as_users_see_it(name: str, shown: str) -> None:
    """It has no escapes for any Unicode version, and nothing that reorders or breaks the sentence."""
    assert quoted(name) == shown
