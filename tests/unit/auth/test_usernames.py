# ruff: noqa: RUF001 names as people write them, and others that look like them
"""Names: what may be one, which ones look alike, and that no guest has one that looks like an account's."""

import asyncio
import json
import unicodedata
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test.utils import isolate_apps
from doubles import Outage, until
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tables import table

from chat import database, loops
from chat.auth import usernames as account_names
from chat.auth.usernames import NameLookup, add_missing_names, name_is_taken, save_name
from chat.models import AUTHOR_LENGTH, AccountName
from chat.protocol import (
    NAME_LIMIT,
    ErrorCode,
    Invalid,
    Join,
    clean_name,
    decode,
    is_visible,
    name_key,
    visible_part,
)
from chat.protocol.confusables import TABLE

names = st.text(
    st.characters(min_codepoint=32, categories=["L", "N", "P", "S", "Zs", "Mn"]), min_size=1, max_size=8
)

# --- What may be a name ---


@table(
    ("name", "clean"),
    [
        ("Alice", "Alice"),
        ("  Alice  ", "Alice"),
        ("Alice \u00a0 B.\u3000C", "Alice B. C"),
        ("\uff21\uff4c\uff49\uff43\uff45", "Alice"),
        ("e\u0301", "\u00e9"),
        ("\u212b", "\u00c5"),
        ("\ufb01sh", "fish"),
        ("\u2460", "1"),
        ("O'Brien-\u0141\u00f3d\u017a", "O'Brien-\u0141\u00f3d\u017a"),
        ("\u05d0\u05dc\u05d9\u05e1", "\u05d0\u05dc\u05d9\u05e1"),
        ("\u0905\u0932\u0940\u0938", "\u0905\u0932\u0940\u0938"),
        ("\u30a2\u30ea\u30b9", "\u30a2\u30ea\u30b9"),
        ("\uc568\ub9ac\uc2a4", "\uc568\ub9ac\uc2a4"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("\N{CAT FACE}", "\N{CAT FACE}"),
        ("x" * NAME_LIMIT, "x" * NAME_LIMIT),
        ("a" + "\u0323\u0307\u0303\u0331", unicodedata.normalize("NFKC", "a\u0323\u0307\u0303\u0331")),
    ],
)
def test_a_name_is_normalised(name: str, clean: str) -> None:
    """NFKC, single inner spaces and none around: names that look the same become the same."""
    assert clean_name(name) == clean


HIDDEN_CHARACTERS = [
    *"\x00\x01\x08\x0e\x1b\x7f\x80\x9f",  # controls
    *"\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2064\ufeff\ufff9",  # format
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",  # bidi
    *"\u034f\u115f\u1160\u3164\uffa0\u17b4\u17b5\u2800\U00016fe4\U0001d159",  # drawn as nothing
    *"\u180b\u180c\u180d\u180f\ufe00\ufe0e\ufe0f\U000e0100\U000e01ef",  # variation selectors
    *"\U000e0001\U000e0041\U0001d173\U0001bca0",  # tags, musical and shorthand controls
    *"\ue000\uf8ff\U000f0000\U0010ffff\ufffe\U000e0fff",  # private, no characters, reserved to draw nothing
    *"\ud800\udfff",  # surrogates
]


@table("hidden", HIDDEN_CHARACTERS)
@table("around", ["Al{}ice", "{}Alice", "Alice{}", "{}"])
def test_a_name_with_what_cannot_be_seen_is_refused(hidden: str, around: str) -> None:
    """A character that draws nothing would make two names look equal; the error names it."""
    with pytest.raises(ValueError, match=r"U\+[0-9A-F]{4}"):
        clean_name(around.format(hidden))


JOINED = [
    "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",  # Persian: letters that do not join
    "\u0645\u06cc\u064e\u200c\u062e\u0648\u0627\u0647\u0645",  # with a vowel sign before the joiner
    "\u0dc1\u0dca\u200d\u0dbb\u0dd3\u0db8\u0dcf\u0dbd\u0dd2",  # Sinhala: consonants that do
    "\u0930\u093e\u091c\u0930\u094d\u200c\u0937\u093f",  # Hindi: a virama that is seen
    "\u0915\u094d\u200d\u0937",
    "\u0d05\u0d2e\u0d4d\u200d",  # Malayalam, as it was written before Unicode 5.1
    "\u09b0\u200d\u09cd\u09af\u09be\u099a\u09c7\u09b2",  # Bengali: Rachel
    "\u0cb0\u200d\u0ccd\u0c95",  # Kannada
    "\u07de\u07ca\u200c\u07d3",  # N'Ko
    "\u1820\u180b\u1828\u180e\u1820",  # Mongolian
    "\u845b\U000e0100\u57ce",  # the form of a Chinese character
    "Ann \u2600\ufe0f",
    "Ann \u2600\ufe0e",
    "\u2764\ufe0f Bob",
    "Ann \U0001f469\u200d\U0001f4bb",
    "\U0001f469\U0001f3fd\u200d\u2764\ufe0f\u200d\U0001f469\U0001f3fb",
    "Ann 1\ufe0f\u20e3",
    "Ann \U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
]


@table("name", JOINED)
def test_what_shapes_a_name_stays_in_it_and_makes_no_other(name: str) -> None:
    """Joiners and selectors where a script or an emoji needs them; without them it is the same name."""
    assert clean_name(name) == name
    assert decode(json.dumps({"type": "join", "username": name})) == Join(username=name)
    assert visible_part(name) != name
    assert name_key(name) == name_key(clean_name(visible_part(name)))


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("\u0639\u0644\u06cc\u200c", "\u0639\u0644\u06cc"),
        ("\u200c\u0639\u0644\u06cc", "\u0639\u0644\u06cc"),
        (
            "\u0646\u0648\u0631\u200c\u0627\u0644\u062f\u06cc\u0646",
            "\u0646\u0648\u0631\u0627\u0644\u062f\u06cc\u0646",
        ),
        ("\u0639\u0644\u06cc\u200c\u200c\u0631\u0636\u0627", "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"),
        ("\u0639\u0644\u06cc\u200d\u0631\u0636\u0627", "\u0639\u0644\u06cc\u0631\u0636\u0627"),
        ("\u0639\u0644\u06cc\u200c \u0631\u0636\u0627", "\u0639\u0644\u06cc \u0631\u0636\u0627"),
    ],
    ids=ascii,
)
def test_a_joiner_that_does_nothing_is_left_out_of_joined_writing(name: str, clean: str) -> None:
    """Persian keyboards have a key for it: it slips in after letters that do not join, and at the end."""
    assert clean_name(name) == clean


@table(
    "name",
    [
        "Al\u200cice",
        "Ann\ufe0f",
        "An\ufe0fn",
        "1\ufe0f",
        "Ann \U0001f469\u200d",
        "\u2600\u200d",
        "\u0915\u200d\u0937",
        "Ann\U000e0100",
        "\uac00\U000e0100",
        "\u4e2d\u180b",
        "\u2600\ufe0f\ufe0f",
        "\U0001f3f4\U000e0067",
        "\u05d0\u200d\u05d1",
        "\U0001f3f4\U000e0067\U000e007f",
        "\u0dc1\u0dca\u200d\u200d\u0dbb",
        "A\u0301\u180e",
    ],
)
def test_elsewhere_what_shapes_a_name_is_refused(name: str) -> None:
    """Without a meaning it makes one more name that looks like another; the error names it."""
    with pytest.raises(ValueError, match=r"character U\+(200C|200D|FE0F|E0100|E0067|180B|180E)"):
        clean_name(name)


@pytest.mark.parametrize(
    "name",
    ["Ann \U0001fa77", "\U0001fabf", "\U0001fac6", "\U00031350", "\U000323b0\u738b", "\U0001facf", "Ann\u0378"],
    ids=ascii,
)
def test_a_name_may_have_what_this_python_does_not_know(name: str) -> None:
    """A character of a newer Unicode, or of none yet, draws something."""
    assert clean_name(name) == name


def test_a_chinese_character_that_python_does_not_know_is_chinese() -> None:
    """So it is not mixed with what is never written with it."""
    with pytest.raises(ValueError, match="Cyrillic and Han"):
        clean_name("\u0430\U000323b0")


@table("space", [*"\t\n\r\x0b\x0c\x1c\x1f \x85\u1680\u2000\u2028\u2029\u202f\u205f\u3000"])
def test_a_name_has_no_space_but_the_common_one(space: str) -> None:
    """Any separator of words becomes one space, and a name of separators only is refused."""
    assert clean_name(f"{space}Al{space}{space}ice{space}") == "Al ice"
    with pytest.raises(ValueError, match=f"1 to {NAME_LIMIT}"):
        clean_name(space)


@pytest.mark.parametrize(
    "name",
    [
        "Z" + "\u0301\u0302\u0303\u0304\u0305\u0306",
        "a" + "\u0489" * 5,
        "ok Z" + "\u0337" * 28,
        "\u0915" + "\u0902" * 5,
    ],
)
def test_zalgo_is_refused(name: str) -> None:
    """More than four marks on one character run over the lines around."""
    with pytest.raises(ValueError, match="more than 4 marks"):
        clean_name(name)


@pytest.mark.parametrize("name", ["\u0301", "\u0301Alice", "\u00b4Alice", " \u20e3", "\u0903"])
def test_a_name_does_not_begin_with_a_mark(name: str) -> None:
    """A mark first would sit on whatever a page shows before the name."""
    with pytest.raises(ValueError, match="begin with a visible character"):
        clean_name(name)


@pytest.mark.parametrize("name", ["", "x" * 33, "\ufdfa" * 2, "\u3300" * 9])
def test_a_name_s_length_is_what_nfkc_leaves(name: str) -> None:
    """One character may become eighteen: the limit is on what others will see."""
    with pytest.raises(
        ValueError, match=f"1 to {NAME_LIMIT} characters, not {len(unicodedata.normalize('NFKC', name))}"
    ):
        clean_name(name)


@settings(max_examples=500)
@given(name=st.text(st.characters(), max_size=12) | names)
def test_clean_name_is_idempotent_and_visible(name: str) -> None:
    """A clean name is clean: 1-32 characters, NFKC, no space but single inner ones, nothing hidden."""
    try:
        clean = clean_name(name)
    except ValueError:
        return
    assert clean_name(clean) == clean
    assert 1 <= len(clean) <= NAME_LIMIT
    assert unicodedata.is_normalized("NFKC", clean)
    assert clean == clean.strip()
    assert "  " not in clean
    assert {unicodedata.category(c) for c in clean if is_visible(c)}.isdisjoint({"Cc", "Cs", "Co", "Zl", "Zp"})
    assert name_key(clean) == name_key(visible_part(clean))
    assert unicodedata.category(clean[0])[0] not in "MZ"
    assert decode(json.dumps({"type": "join", "username": name})) == Join(username=clean)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "ALICE"),
        ("Alice", "alice"),
        ("stra\u00dfe", "STRASSE"),
        ("\u0395\u039b\u03a3", "\u03b5\u03bb\u03c2"),
        ("\u0406\u0432\u0430\u043d", "\u0456\u0432\u0430\u043d"),
        ("\uff21lice", "alice"),
        ("caf\u00e9", "CAFE\u0301"),
    ],
)
def test_case_makes_no_other_name(one: str, other: str) -> None:
    """Names that differ in case alone are the same name to people."""
    assert name_key(clean_name(one)) == name_key(clean_name(other))


@pytest.mark.parametrize(("one", "other"), [("Alice", "Bob"), ("Al ice", "Alice"), ("resume", "r\u00e9sum\u00e9")])
def test_other_names_stay_other(one: str, other: str) -> None:
    """The key folds nothing that people tell apart."""
    assert name_key(clean_name(one)) != name_key(clean_name(other))


# --- Names that look like another ---

MATHEMATICAL = (0x1D41A, 0x1D44E, 0x1D482, 0x1D4EA, 0x1D51E, 0x1D552, 0x1D586, 0x1D5BA, 0x1D5EE, 0x1D622, 0x1D68A)
"""Where alphabets of letters for formulas begin: bold, italic, script, Fraktur and so on."""
IMPERSONATIONS = [
    # Case, spaces, separators around it.
    *[
        "Admin",
        "ADMIN",
        "aDmIn",
        " admin ",
        "admin\u00a0",
        "\u3000admin",
        "admin\t\n",
        "admin.",
        "_admin_",
        "-admin",
    ],
    # Look-alikes within ASCII.
    *["adm1n", "ADMlN", "Adm|n", "adrnin", "ADMLN", "AdrnIn"],
    # One letter of Cyrillic, Greek, Armenian, Cherokee, Lisu, Canadian or Coptic script.
    *[
        "\u0430dmin",
        "adm\u0456n",
        "a\u0501min",
        "adm\u04cfn",
        "\u0391dmin",
        "adm\u03b9n",
        "admi\u0578",
        "adm\u0406n",
    ],
    *[
        "\u13aadmin",
        "A\u13a0MIN",
        "AD\ua4dfIN",
        "\u15e9DMIN",
        "AD\u15f0IN",
        "\u2c81dmin",
        "admi\u03b7",
        "ad\u043cin",
    ],
    # Several, or all.
    *[
        "\u0430\u0501m\u0456n",
        "\u15e9\u15ea\u15f0I\u144e",
        "\ua4ee\ua4d3\ua4df\ua4f2\ua4e0",
        "\u0430d\u043c\u0456\u0578",
    ],
    # Latin letters that are seldom seen: small capitals, no dot, one storey.
    *["\u1d00\u1d05\u1d0d\u026a\u0274", "adm\u0131n", "\u0251dmin", "adm\u0269n", "ADM\u0130N", "adm\u01c0n"],
    # Letters as signs.
    "\uff41\uff44\uff4d\uff49\uff4e",
    "\uff21\uff24\uff2d\uff29\uff2e",
    "\u24d0\u24d3\u24dc\u24d8\u24dd",
    "\u24b6\u24b9\u24c2\u24be\u24c3",
    "ad\u217fin",
    "adm\u2170n",
    "\u1d43\u1d48\u1d50\u2071\u207f",
    "".join(chr(0x1F170 + ord(letter) - 97) for letter in "admin"),
    "".join(chr(0x1F150 + ord(letter) - 97) for letter in "admin"),
    "".join(chr(0x1F130 + ord(letter) - 97) for letter in "admin"),
    "".join(chr(0x1F1E6 + ord(letter) - 97) for letter in "admin"),
    *["".join(chr(first + ord(letter) - 97) for letter in "admin") for first in MATHEMATICAL],
    # Invisible characters.
    *["ad\u200bmin", "\u200dadmin", "admin\u200e", "ad\u00admin", "\ufeffadmin", "ad\u2060min", "admin\u3164"],
    *["ad\u034fmin", "admin\ufe0f", "admin\U000e0061", "ad\u115fmin", "admin\u180e", "admin\x00", "a\x7fdmin"],
    # Characters that turn the text or stack.
    *["\u202enimda\u202c", "\u202dadmin", "\u2067nimda\u2069", "\u061cadmin", "admi\u0307n"],
    *["admin" + "\u0301\u0302\u0303\u0304\u0305\u0306", "a" + "\u0489" * 9 + "dmin", "\u0301admin", "a" * 999],
]


@table("name", IMPERSONATIONS)
def test_nobody_looks_like_the_admin(name: str) -> None:
    """A name that people would take for "admin" is refused, or has its key."""
    try:
        clean = clean_name(name)
    except ValueError:
        return
    assert name_key(clean) == name_key("admin")


@table(
    ("one", "other"),
    [
        ("Bob Smith", "Bob_Smith"),
        ("Bob Smith", "bob-smith."),
        ("Bob Smith", "Bob \u2013 Smith"),
        ("Bob Smith", "B0b\u00b7Srnith"),
        ("O'Brien", "O\u2019Brien"),
        ("Will", "vvill"),
        ("paypal", "\u0440\u0430\u0443\u0440\u0430\u04cf"),
        ("scope", "\u0455\u0441\u043e\u0440\u0435"),
        ("NIKH", "\u039d\u0399\u039a\u0397"),
        ("7000", "7\u041e\u0ae60"),
        ("\u0639\u0644\u064a", "\u0639\u0644\u06cc"),
        ("\u5de5\u85e4", "\u30a8\u85e4"),
        ("\u4e00", "\u30fc"),
        ("\u03c4\u1fb3", "\u03c4\u03b1"),
        ("...", "_"),
    ],
)
def test_what_looks_alike_has_one_key(one: str, other: str) -> None:
    """Look-alikes of other scripts, of the same script, and of separators."""
    assert name_key(one) == name_key(other)


MIXED = [
    ("\u0430dmin", "Latin and Cyrillic"),
    ("adm\u03b9n", "Latin and Greek"),
    ("\u0391\u0430", "Cyrillic and Greek"),
    ("a\u0430\u03b1", "Latin, Cyrillic and Greek"),
    ("\u0430\u4e2d", "Cyrillic and Han"),
    ("\u3042\uac00", "Hangul and Hiragana"),
    ("\u3105\u3042", "Bopomofo and Hiragana"),
    ("Dan \u05d3\u05df", "Latin and Hebrew"),
    ("a\u0902", "Latin and Devanagari"),
]


@pytest.mark.parametrize(("name", "scripts"), MIXED, ids=ascii)
def test_scripts_are_not_mixed(name: str, scripts: str) -> None:
    """Scripts that no language mixes (UTS 39: "highly restrictive") are refused; the error names them."""
    with pytest.raises(ValueError, match=f"^must not mix {scripts} letters$"):
        clean_name(name)
    with pytest.raises(Invalid, match="username: must not mix") as caught:
        decode(json.dumps({"type": "join", "username": name}))
    assert (caught.value.code, caught.value.field) == (ErrorCode.BAD_FIELD, "username")


@pytest.mark.parametrize("name", ["a1\u0661", "\u0967\u09e8", "7\u0e57"])
def test_digits_are_of_one_script(name: str) -> None:
    """Digits of two numbering systems make numbers that nobody reads."""
    with pytest.raises(ValueError, match="digits of several scripts"):
        clean_name(name)


HONEST = [
    *["José", "Jose", "Zoë", "Łukasz", "Søren", "Soren", "Jürgen", "Jurgen", "Gürkan Işık", "Nguyễn Văn Ánh"],
    *[
        "Nguyễn Văn Anh",
        "Šárka Dvořáková",
        "Ægir Þór",
        "Kateřina",
        "Ţepeş",
        "Anaïs",
        "Naʻalehu",
        "O'Brien",
        "Çağrı",
    ],
    *["Ольга", "Олег", "Дмитрий", "Київ'янка", "Ђорђе", "Ұлан", "Ελένη", "Γιώργος", "Νίκος", "Արամ", "Անի"],
    *["ნინო", "გიორგი", "דוד", "דינה", "علي", "محمد", "رضا", "پروین", "अनीता", "रवि", "অনন্যা", "ਗੁਰਪ੍ਰੀਤ", "பிரியா"],
    *["లక్ష్మి", "ಅನಿತಾ", "അനിത", "සුනිල්", "สมชาย", "ສົມສັກ", "မောင်", "សុខា", "བསྟན་འཛིན", "ሰላም", "ᏍᏏᏉᏯ", "ᐃᓄᒃ"],
    *[
        "田中さくら",
        "タナカ Sakura",
        "王小明",
        "김민준",
        "金 민준",
        "陳ㄇㄧㄥˊ",
        "佐々木",
        "〇一",
        "Ali 2",
        "Ali 3",
        "٣علي",
        "😀 Ann",
    ],
]


def test_honest_names_are_names_and_stay_apart() -> None:
    """People of more than 25 languages write their names, and none of them is another's."""
    assert len({name_key(clean_name(name)) for name in HONEST}) == len(HONEST)


def test_numbered_names_stay_apart() -> None:
    """Ten digits are ten keys, though some of them look like letters."""
    assert len({name_key(f"user{number}") for number in range(2_000)}) == 2_000


@settings(max_examples=500)
@given(name=st.text(st.characters(), max_size=12) | names)
@example("\u0130\u0307")
@example("\u1fa2" * NAME_LIMIT)
@example("l\u034f\u0307")
@example("")
def test_a_key_is_its_own_key(name: str) -> None:
    """Any text has a key, and the key of that is the same: it is never empty."""
    key = name_key(name)
    assert key
    assert name_key(key) == key
    assert key.isascii() or not name.isascii()


@given(name=st.text(st.characters(max_codepoint=127), max_size=NAME_LIMIT))
def test_a_key_has_no_case(name: str) -> None:
    """For ASCII names the shortcut has the result of the full algorithm."""
    assert name_key(name.upper()) == name_key(name.lower()) == name_key(name.title())


@settings(max_examples=500)
@given(name=st.text(st.characters(), min_size=1, max_size=NAME_LIMIT) | names)
@example("\u1f82" * NAME_LIMIT)
@example("W\u0301" * (NAME_LIMIT // 2))
@example("\u1e84" * NAME_LIMIT)
def test_a_key_fits_where_authors_are_kept(name: str) -> None:
    """An author is "name:" and the key of a name (chat.rooms); a database refuses one that is too long."""
    try:
        clean = clean_name(name)
    except ValueError:
        return
    assert len("name:" + name_key(clean)) <= AUTHOR_LENGTH


def test_the_table_of_look_alikes_is_done_in_one_step() -> None:
    """Its results are stable, and its entries remain after folding: each line has an effect."""
    for character, prototype in TABLE.items():
        assert prototype.translate(TABLE) == prototype
        folded = unicodedata.normalize("NFKD", chr(character)).casefold()
        assert folded == chr(character), f"U+{character:04X} never gets there"


# --- Names of accounts ---


def account(username: str, **more: Any) -> User:
    return User.objects.create_user(username, **more)


def test_no_guest_takes_an_account_s_name(rooms: None) -> None:
    """Nor one that looks like it; of an account that is not active neither."""
    account("Alice")
    account("Bob", is_active=False)
    for name in ("Alice", "alice", "AL1CE", "\u0391lice", "Bob", "b0b"):
        assert name_is_taken(name), name
    assert not name_is_taken("Charlie")
    assert not name_is_taken("Alice B")


def test_one_s_own_name_is_not_taken(rooms: None) -> None:
    """An account may have its own name; of two that look alike none may."""
    alice = account("Alice")
    assert not name_is_taken("al1ce", by=alice.pk)
    account("AL1CE")
    assert name_is_taken("Alice", by=alice.pk)


def test_a_name_is_free_again(rooms: None) -> None:
    """After its account was renamed, or is gone."""
    alice = account("Alice")
    alice.username = "Alicia"
    alice.save()
    assert (name_is_taken("Alice"), name_is_taken("Alicia")) == (False, True)
    alice.delete()
    assert not name_is_taken("Alicia")


def test_a_sign_in_writes_no_name(rooms: None, statements: list[str]) -> None:
    """Django saves `last_login` alone: that is no new name."""
    alice = account("Alice")
    statements.clear()
    alice.save(update_fields=["last_login"])
    assert not [sql for sql in statements if "accountname" in sql]
    alice.save(update_fields=["username"])
    assert [sql for sql in statements if "accountname" in sql]


def test_what_no_signal_told_of_is_found(rooms: None, statements: list[str]) -> None:
    """Accounts of `bulk_create`, which sends no signal, are found later; one query if none is missing."""
    User.objects.bulk_create(User(username=f"user{number}") for number in range(1_200))
    assert not name_is_taken("user7")
    assert add_missing_names() == 1_200
    assert name_is_taken("user7")
    statements.clear()
    assert add_missing_names() == 0
    assert len(statements) == 1


def test_a_row_of_other_rules_is_made_anew(rooms: None) -> None:
    """After ``migrate`` keys are as this version makes them, also of accounts renamed by `update`."""
    alice, bob = account("Alice"), account("Bob")
    AccountName.objects.filter(user=alice).update(key="old")
    User.objects.filter(pk=bob.pk).update(username="Robert")
    assert add_missing_names() == 0
    assert add_missing_names(stale=True) == 2
    assert name_is_taken("Alice")
    assert name_is_taken("Robert")
    assert not name_is_taken("Bob")


def test_keeping_twice_keeps_one(rooms: None) -> None:
    """A row is written over, not refused."""
    alice = account("Alice")
    save_name(alice)
    save_name(alice)
    assert AccountName.objects.count() == 1


def test_a_proxy_of_an_account_is_an_account(rooms: None) -> None:
    """Signals come under the class that was saved."""
    with isolate_apps("chat"):

        class Colleague(User):
            class Meta:
                proxy = True
                app_label = "chat"

    Colleague(username="Carol").save()
    assert name_is_taken("carol")


def test_a_name_of_the_longest_kind_fits(rooms: None) -> None:
    """An account's name may have 150 characters, of which one may become eighteen."""
    name = "\ufdfa" * 150
    # Not by the form, which would write it out.
    User(username=name).save()
    assert name_is_taken(name)


# --- Many guests at once ---


async def crowd(asked: NameLookup, count: int) -> list[bool]:
    return list(await asyncio.gather(*(asked.is_taken(f"guest {number}") for number in range(count))))


async def accounts(*usernames: str) -> None:
    def make() -> None:
        User.objects.bulk_create(User(username=username) for username in usernames)
        add_missing_names()

    await database.run_write(make)


@pytest.fixture
async def asked(rooms: None) -> AsyncIterator[NameLookup]:
    yield loops.current(NameLookup)
    await loops.close_current()


async def test_who_asks_at_once_shares_queries(asked: NameLookup, statements: list[str]) -> None:
    """A thousand guests who come back together cost five queries at most, and each gets their own answer."""
    await accounts("guest 7", "GUEST-500")
    statements.clear()
    answers = await crowd(asked, 1_000)
    assert [number for number, answer in enumerate(answers) if answer] == [7, 500]
    assert len([sql for sql in statements if "accountname" in sql]) <= 5


async def test_an_answer_is_not_older_than_its_question(
    asked: NameLookup, monkeypatch: pytest.MonkeyPatch, statements: list[str]
) -> None:
    """A caller during a query waits for the next one: changes in between count."""
    running, ready = asyncio.Event(), asyncio.Event()
    plain = database.run_read

    async def slow(call: Callable[[], Any]) -> Any:
        answer = await plain(call)
        running.set()
        await ready.wait()
        return answer

    monkeypatch.setattr(account_names, "run_read", slow)
    first = asyncio.create_task(asked.is_taken("Alice"))
    await running.wait()
    await accounts("Alice")
    second = asyncio.create_task(asked.is_taken("Alice"))
    ready.set()
    assert (await first, await second) == (False, True)


async def test_one_who_goes_takes_no_answer_along(asked: NameLookup) -> None:
    """Two callers ask for the same name, one of them is cancelled: the other gets the result."""
    await accounts("Alice")
    one, other = (asyncio.create_task(asked.is_taken("Alice")) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert await other
    assert one.cancelled()


async def test_who_asks_hears_of_a_database_that_is_away(asked: NameLookup, outage: Outage) -> None:
    """The error goes to all who asked, and the next question is asked again."""
    with outage.begin():
        answers = await asyncio.gather(*(asked.is_taken(f"g{n}") for n in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OperationalError] * 3
    assert not await asked.is_taken("g1")


async def test_closing_ends_the_waiting(asked: NameLookup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left that waits, or that would be asked later."""
    running = asyncio.Event()

    async def endless(call: Callable[[], Any]) -> Any:
        running.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(account_names, "run_read", endless)
    first = asyncio.create_task(asked.is_taken("Alice"))
    await running.wait()
    second = asyncio.create_task(asked.is_taken("Bob"))
    await asyncio.sleep(0)
    await asked.close()
    await until(lambda: first.done() and second.done())
    assert first.cancelled()
    assert second.cancelled()
