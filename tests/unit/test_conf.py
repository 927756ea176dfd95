"""The settings: defaults, ranges, and errors that name the key."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from pytest_django import Settings
from tables import table

from chat.conf import FIELDS, ChatSettings, chat_settings, from_environment, option_of
from chat.conf.options import Number

NUMBERS = {name: option for name in FIELDS if isinstance(option := option_of(name), Number)}
NAMES = sorted(NUMBERS)


def bounds(name: str) -> tuple[float, float]:
    return NUMBERS[name].minimum, NUMBERS[name].maximum


def whole(name: str) -> bool:
    return NUMBERS[name].whole


def test_without_settings_the_defaults_apply(settings: Settings) -> None:
    """A project that sets nothing gets every default."""
    settings.CHAT = {}
    assert chat_settings() == ChatSettings()


def test_a_setting_changes_only_itself(settings: Settings) -> None:
    """One key changes one setting."""
    settings.CHAT = {"GRACE": 12}
    assert chat_settings() == ChatSettings(GRACE=12)


def test_override_settings_works_both_ways() -> None:
    """Settings are read lazily: an override holds inside its block and not after it."""
    before = chat_settings()
    with override_settings(CHAT={"GRACE": 0.25, "OUTBOX": 2_048}):
        assert (chat_settings().GRACE, chat_settings().OUTBOX) == (0.25, 2_048)
    assert chat_settings() == before


@table("name", sorted(FIELDS))
def test_a_default_is_in_its_own_range(name: str, settings: Settings) -> None:
    """Each default would be accepted as a value, and each setting has a sentence."""
    settings.CHAT = {name: FIELDS[name].default}
    assert getattr(chat_settings(), name) == FIELDS[name].default
    assert FIELDS[name].metadata["meaning"].endswith(".")


@table("name", NAMES)
def test_both_ends_of_a_range_are_accepted(name: str, settings: Settings) -> None:
    """The range includes its ends."""
    for value in bounds(name):
        settings.CHAT = {name: value}
        assert getattr(chat_settings(), name) == value


@table("name", NAMES)
@table("beyond", [-1, 1])
def test_past_a_range_the_key_is_named(name: str, beyond: int, settings: Settings) -> None:
    """A value past either end is refused with the key, the unit and both ends."""
    least, most = bounds(name)
    settings.CHAT = {name: least - 1 if beyond < 0 else most + 1}
    with pytest.raises(ImproperlyConfigured) as caught:
        chat_settings()
    for fact in (f"CHAT['{name}']", NUMBERS[name].expected, str(least), str(most)):
        assert fact in str(caught.value)


WRONG: list[Any] = ["5", "", None, True, False, [5], {}, float("nan"), float("inf"), 5j]


@table("value", WRONG)
@table("name", NAMES)
def test_a_value_of_another_type_is_refused(name: str, value: object, settings: Settings) -> None:
    """A text, a bool or any other type is not a number."""
    settings.CHAT = {name: value}
    with pytest.raises(ImproperlyConfigured, match=rf"CHAT\['{name}'\] must be a (whole )?number of"):
        chat_settings()


@table("name", [name for name in NAMES if whole(name)])
def test_a_count_is_a_whole_number(name: str, settings: Settings) -> None:
    """A count is not a float, not even 5.0."""
    settings.CHAT = {name: 1.0 * getattr(ChatSettings(), name)}
    with pytest.raises(ImproperlyConfigured, match="must be a whole number"):
        chat_settings()


@pytest.mark.parametrize(
    ("key", "meant"),
    [("GRAZE", "GRACE"), ("grace", "GRACE"), ("SOCKET_RATES", "SOCKET_RATE"), ("", ""), (1, ""), (None, "")],
)
def test_an_unknown_key_is_named_with_the_one_that_is_meant(key: object, meant: str, settings: Settings) -> None:
    """A misspelt key is refused. The error suggests a key, and names the place of the list."""
    settings.CHAT = {key: 1}
    with pytest.raises(ImproperlyConfigured) as caught:
        chat_settings()
    assert f"CHAT[{key!r}]" in str(caught.value)
    assert (f"Do you mean {meant}?" in str(caught.value)) == bool(meant)
    assert "chat/conf" in str(caught.value)


@pytest.mark.parametrize("given", [None, [], "GRACE=5", 5])
def test_chat_must_be_a_dict(given: object, settings: Settings) -> None:
    """The error for another type names the type."""
    settings.CHAT = given
    with pytest.raises(ImproperlyConfigured, match=f"CHAT must be a dict, not {type(given).__name__}"):
        chat_settings()


def test_a_bad_setting_stays_bad(settings: Settings) -> None:
    """An error is not cached as a success."""
    settings.CHAT = {"GRACE": -1}
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured):
            chat_settings()


@pytest.mark.parametrize("value", ["x" * 15, 16 * 10**15, b"x" * 16, None])
def test_a_secret_that_is_too_short_is_not_shown(value: object, settings: Settings) -> None:
    """The error for a wrong secret never has the value, whatever its type."""
    settings.CHAT = {"METRICS_TOKEN": value}
    with pytest.raises(ImproperlyConfigured) as caught:
        chat_settings()
    assert (
        str(caught.value)
        == "CHAT['METRICS_TOKEN'] must be a text of at least 16 characters, not the present value."
    )


@pytest.mark.parametrize("value", ["", "x" * 16])
def test_a_secret_may_be_empty_or_long_enough(value: str, settings: Settings) -> None:
    """An empty secret means that none is set."""
    settings.CHAT = {"METRICS_TOKEN": value}
    assert value == chat_settings().METRICS_TOKEN


# --- From the environment ---


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("0.5", 0.5), (" 5 ", 5), ("1e1", 10.0)],
)
def test_a_variable_becomes_a_number(text: str, value: float) -> None:
    """CHAT_GRACE=5 sets GRACE to 5. Other variables are ignored."""
    assert from_environment({"CHAT_GRACE": text, "GRACE": "x", "CHATTER": "x", "PATH": "/bin"}) == {"GRACE": value}


def test_no_variable_makes_no_setting() -> None:
    """An environment without our variables leaves the defaults."""
    assert from_environment({}) == {}


@pytest.mark.parametrize("text", ["", "five", "-1", "301", "nan", "inf", "-inf", "0x5", "true", "5s", "9" * 5_000])
def test_a_bad_variable_is_named(text: str) -> None:
    """The error has the name of the variable, not of the setting."""
    with pytest.raises(ImproperlyConfigured, match=r"^CHAT_GRACE must be a number of seconds from 0 to 300, not "):
        from_environment({"CHAT_GRACE": text})


@pytest.mark.parametrize("text", ["1.5", "2000.0", "1e4"])
def test_a_counting_variable_is_a_whole_number(text: str) -> None:
    """A count has no fraction in the environment either."""
    with pytest.raises(ImproperlyConfigured, match=r"^CHAT_OUTBOX must be a whole number"):
        from_environment({"CHAT_OUTBOX": text})


@pytest.mark.parametrize("name", ["CHAT_GRAZE", "CHAT_", "CHAT_grace"])
def test_an_unknown_variable_is_named(name: str) -> None:
    """A misspelt variable stops the start instead of being overlooked."""
    with pytest.raises(ImproperlyConfigured, match=f"^{name} is not a setting of chat"):
        from_environment({name: "5"})
