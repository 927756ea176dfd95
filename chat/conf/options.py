"""What a setting may be: a number in a range, a switch, one word of several, a text, a list of texts."""

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Option:
    """``accepts`` a value or doesn't, and says what is ``right``; ``read`` takes it from an environment's text."""

    right: str
    # The same, for the settings' table in docs/operations.md.
    shown: str

    def accepts(self, value: Any) -> bool:
        raise NotImplementedError

    def read(self, text: str) -> Any:
        """The value, or the text itself where it is none: ``accepts`` refuses that with the right words."""
        return text


@dataclass(frozen=True, slots=True)
class Number(Option):
    least: float = 0
    most: float = 0
    whole: bool = False

    def accepts(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return self.least <= value <= self.most

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
        return WORDS.get(text.strip().lower(), text)


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
    """One that no error may show: empty, or of at least so many characters."""

    least: int = 0

    def accepts(self, value: Any) -> bool:
        # Explicitly: a dataclass with slots is made anew, and a bare ``super()`` would mean the first.
        return Text.accepts(self, value) and (not value or len(value) >= self.least)


@dataclass(frozen=True, slots=True)
class Texts(Option):
    """A tuple or list; in the environment separated by commas."""

    choices: tuple[str, ...] = ()

    def accepts(self, value: Any) -> bool:
        return isinstance(value, tuple | list) and all(
            isinstance(one, str) and (not self.choices or one in self.choices) for one in value
        )

    def read(self, text: str) -> Any:
        return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class Networks(Texts):
    """Texts that are each an address or a network."""

    def accepts(self, value: Any) -> bool:
        # As above.
        return Texts.accepts(self, value) and all(_is_network(one) for one in value)


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def number(default: float, least: float, most: float, unit: str, meaning: str) -> Any:
    """A whole number where the default is one."""
    whole = isinstance(default, int)
    right = f"a {'whole ' if whole else ''}number of {unit} from {least} to {most}"
    return _setting(default, Number(right, f"{least:,} to {most:,} {unit}", least, most, whole), meaning)


def switch(meaning: str, *, default: bool) -> Any:
    return _setting(default, Switch("True or False", "True or False"), meaning)


def choice(default: str, choices: tuple[str, ...], meaning: str) -> Any:
    words = ", ".join(choices)
    return _setting(default, Choice(f"one of {words}", words, choices), meaning)


def text(default: str, meaning: str) -> Any:
    return _setting(default, Text("a text", "text"), meaning)


def secret(meaning: str, least: int = 0) -> Any:
    length = f" of at least {least} characters" if least else ""
    return _setting("", Secret(f"a text{length}", f"text{length}", least), meaning)


def texts(default: tuple[str, ...], meaning: str, choices: tuple[str, ...] = ()) -> Any:
    words = ", ".join(choices)
    right = f"a list of {words}" if choices else "a list of texts"
    return _setting(default, Texts(right, f"list of {words or 'texts'}", choices), meaning)


def networks(meaning: str) -> Any:
    right = "a list of networks, each like 127.0.0.1, 10.0.0.0/8 or fd00::/8"
    return _setting((), Networks(right, "list of networks"), meaning)


def _setting(default: Any, option: Option, meaning: str) -> Any:
    return field(default=default, metadata={"option": option, "meaning": meaning})
