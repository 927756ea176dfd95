"""The types of settings: a number in a range, a switch, a choice, a text, a list of texts."""

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

BOOLEANS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


@dataclass(frozen=True, slots=True)
class Option:
    """The type of a setting: which values it accepts, and how to read them from an environment variable."""

    # The accepted values, for error messages.
    expected: str
    # The accepted values, for the table of settings in docs/operations.md.
    documented: str

    def accepts(self, value: Any) -> bool:
        raise NotImplementedError

    def read(self, text: str) -> Any:
        """The value of an environment variable, or the text itself if it can't be read: ``accepts`` refuses it."""
        return text


@dataclass(frozen=True, slots=True)
class Number(Option):
    minimum: float = 0
    maximum: float = 0
    whole: bool = False

    def accepts(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return self.minimum <= value <= self.maximum

    def read(self, text: str) -> Any:
        for option in (int, float):
            try:
                return option(text)
            except ValueError:
                continue
        return text


@dataclass(frozen=True, slots=True)
class Switch(Option):
    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)

    def read(self, text: str) -> Any:
        return BOOLEANS.get(text.strip().lower(), text)


@dataclass(frozen=True, slots=True)
class Choice(Option):
    choices: tuple[str, ...] = ()

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.choices


@dataclass(frozen=True, slots=True)
class Text(Option):
    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)


@dataclass(frozen=True, slots=True)
class Secret(Text):
    """A text that no error may show: empty, or with a minimum of characters."""

    minimum: int = 0

    def accepts(self, value: Any) -> bool:
        # ``super()`` does not work here: a dataclass with slots replaces the class that it refers to.
        return Text.accepts(self, value) and (not value or len(value) >= self.minimum)


@dataclass(frozen=True, slots=True)
class Texts(Option):
    """A tuple or list of texts; separated by commas in the environment."""

    choices: tuple[str, ...] = ()

    def accepts(self, value: Any) -> bool:
        return isinstance(value, tuple | list) and all(
            isinstance(one, str) and (not self.choices or one in self.choices) for one in value
        )

    def read(self, text: str) -> Any:
        return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class Networks(Texts):
    """A list of IP addresses and networks."""

    def accepts(self, value: Any) -> bool:
        # See ``Secret``.
        return Texts.accepts(self, value) and all(_is_network(one) for one in value)


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def number(default: float, minimum: float, maximum: float, unit: str, meaning: str) -> Any:
    """A number in a range; a whole number if the default is an int."""
    whole = isinstance(default, int)
    expected = f"a {'whole ' if whole else ''}number of {unit} from {minimum} to {maximum}"
    return _setting(
        default, Number(expected, f"{minimum:,} to {maximum:,} {unit}", minimum, maximum, whole), meaning
    )


def switch(meaning: str, *, default: bool) -> Any:
    return _setting(default, Switch("True or False", "True or False"), meaning)


def choice(default: str, choices: tuple[str, ...], meaning: str) -> Any:
    listed = ", ".join(choices)
    return _setting(default, Choice(f"one of {listed}", listed, choices), meaning)


def text(default: str, meaning: str) -> Any:
    return _setting(default, Text("a text", "text"), meaning)


def secret(meaning: str, minimum: int = 0) -> Any:
    length = f" of at least {minimum} characters" if minimum else ""
    return _setting("", Secret(f"a text{length}", f"text{length}", minimum), meaning)


def texts(default: tuple[str, ...], meaning: str, choices: tuple[str, ...] = ()) -> Any:
    listed = ", ".join(choices)
    expected = f"a list of {listed}" if choices else "a list of texts"
    return _setting(default, Texts(expected, f"list of {listed or 'texts'}", choices), meaning)


def networks(meaning: str) -> Any:
    expected = "a list of networks, each like 127.0.0.1, 10.0.0.0/8 or fd00::/8"
    return _setting((), Networks(expected, "list of networks"), meaning)


def _setting(default: Any, option: Option, meaning: str) -> Any:
    return field(default=default, metadata={"option": option, "meaning": meaning})
