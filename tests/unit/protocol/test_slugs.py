"""Slugs of public rooms: one for every spelling of a name."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tables import table

from chat.protocol import PUBLIC_PATTERN, ErrorCode, Invalid, decode, slug_of


@table(
    ("name", "slug"),
    [
        ("tea", "tea"),
        ("a_b--c-", "a_b--c-"),
        ("My Room", "my-room"),
        ("  Tea & Cake  ", "tea-and-cake"),
        ("Caf\u00e9!", "cafe"),
        ("Cafe\u0301 \N{HOT BEVERAGE}", "cafe"),
        ("Stra\u00dfe", "strasse"),
        ("\u0141\u00f3d\u017a", "lodz"),
        ("\u0130stanbul", "istanbul"),
        ("\uff26ull", "full"),
        ("Ann's room", "anns-room"),
        ("Ann\u2019s room", "anns-room"),
        ("C++", "c-plus-plus"),
        ("C#", "c-sharp"),
        ("#general", "general"),
        ("a/b", "a-b"),
        ("x" * 50, "x" * 50),
    ],
)
def test_a_name_of_latin_letters_is_written_in_ascii(name: str, slug: str) -> None:
    """It has small letters without accents, and hyphens between words."""
    assert slug_of(name) == slug


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("кухня", "Кухня"),
        ("кухня", " КУХНЯ\u200b"),
        ("Привет мир", "привет_мир"),
        ("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\u0639\u0644\u06cc\u0631\u0636\u0627"),
        ("\ud55c\uad6d", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
        ("東京", "東京"),
        ("\u0639\u0644\u064a", "\u0639\u0644\u06cc"),
        ("\N{PARTY POPPER}", "\N{PARTY POPPER}\ufe0f"),
    ],
)
def test_every_spelling_of_a_name_has_one_room(one: str, other: str) -> None:
    """Case, forms, joiners and look-alikes do not count. A name outside ASCII has a digest."""
    assert slug_of(one) == slug_of(other)
    assert re.fullmatch("[a-z]+-[0-9a-f]{10}", slug_of(one) or "")


def test_other_names_have_other_rooms() -> None:
    """The digest keeps differences that ASCII loses."""
    names = [
        "東京",
        "大阪",
        "東京 Tower",
        "大阪 Tower",
        "кухня",
        "кухни",
        "\N{PARTY POPPER}",
        "\N{CAT FACE}",
        "C",
        "C++",
        "C#",
    ]
    names += ["x" * 51, "x" * 52, "\u0930\u093f", "\u0930", "\U00031350", "tea \U00031350", "tea"]
    assert len({slug_of(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["", " ", "-", "...", "\u200b", "\x00", "_tea", "_2b8d", "__"])
def test_an_invisible_name_has_no_slug(name: str) -> None:
    """A name with the prefix of hidden rooms has none either."""
    assert slug_of(name) is None


@given(name=st.text(max_size=80))
@example("\ud800")
@example("\u0345")
def test_a_slug_is_valid_and_stable(name: str) -> None:
    """The slug of any name is valid, and is its own slug."""
    slug = slug_of(name)
    if slug is not None:
        assert re.match(PUBLIC_PATTERN, slug)
        assert slug_of(slug) == slug


@pytest.mark.parametrize(
    ("room", "slug"), [("My Room", "my-room"), ("Lobby", "lobby"), ("кухня", slug_of("кухня"))]
)
@pytest.mark.parametrize("command", ["join", "leave", "history"])
def test_the_error_for_a_room_s_name_has_its_slug(command: str, room: str, slug: str) -> None:
    """A client that sent a title can send the slug instead."""
    with pytest.raises(Invalid, match=f"; the slug of this name is '{slug}'$") as caught:
        decode(json.dumps({"type": command, "room": room}))
    assert (caught.value.code, caught.value.field) == (ErrorCode.BAD_FIELD, "room")


@pytest.mark.parametrize("room", ["", "__", "x" * 81, "\u200b"])
def test_the_error_for_a_name_without_a_slug_has_none(room: str) -> None:
    """The error has only the rule."""
    with pytest.raises(Invalid, match=r"starting with a letter or digit$"):
        decode(json.dumps({"type": "join", "room": room}))
