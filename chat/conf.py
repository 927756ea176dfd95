"""The app's settings: one dict, ``CHAT``, read lazily so that ``override_settings`` works.

    CHAT = {"GRACE": 10.0}

``chat_settings().GRACE`` reads one. A key that is not listed here, or a value of another type or out of range,
raises ImproperlyConfigured with the key's name and what is right; chat.checks makes a system check error of it.
"""

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed


def _setting(default: Any, least: float, most: float, unit: str, meaning: str) -> Any:
    return dataclasses.field(
        default=default, metadata={"least": least, "most": most, "unit": unit, "meaning": meaning}
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Each setting with its default, its range, its unit and what it means."""

    GRACE: float = _setting(
        5.0,
        0,
        300,
        "seconds",
        "How long a person whose last socket was lost stays in the room; a reconnect cancels the leave.",
    )
    USER_LIST_NAMES: int = _setting(
        200,
        1,
        2_000,
        "names",
        "The most names in one `userList`. A room with more people announces no single joins and leaves.",
    )
    USER_LIST_INTERVAL: float = _setting(
        0.25,
        0,
        60,
        "seconds",
        "The least time between two `userList` events of one room.",
    )
    USER_LIST_BANDWIDTH: int = _setting(
        4_000_000,
        1_000,
        1_000_000_000,
        "bytes/second",
        "The most that one room's `userList` events cost, all members together: a big room's list goes out "
        "less often.",
    )
    ROOMS_PER_SOCKET: int = _setting(50, 1, 10_000, "rooms", "How many rooms one socket may be in.")
    OUTBOX: int = _setting(
        262_144,
        1_024,
        1 << 30,
        "bytes",
        "How much may wait for one socket; past it the socket gets nothing more until it has read that, and is "
        "then caught up. On our own server at least 65536.",
    )
    STUCK: float = _setting(
        30.0,
        0.1,
        600,
        "seconds",
        "How long a socket may read nothing of what waits for it before it is closed with 4008.",
    )
    LOG_QUEUE: int = _setting(
        10_000,
        1,
        1_000_000,
        "changes",
        "How many messages and other changes may wait for the database; past it they are refused with `busy`.",
    )
    RING: int = _setting(
        500,
        1,
        100_000,
        "changes",
        "How many of a room's latest changes are kept in memory for those who come back; those before are read "
        "from the database.",
    )
    CATCH_UP: int = _setting(
        5_000,
        1,
        1_000_000,
        "changes",
        "The most that one who comes back is told of what was missed; who missed more starts over from the latest "
        "page.",
    )
    PIPELINE: int = _setting(
        128,
        1,
        10_000,
        "commands",
        "How many messages and other changes one socket may have waiting for the database; past it the socket is "
        "not listened to until some are kept.",
    )
    INVALID_FRAMES: int = _setting(
        10,
        1,
        1_000,
        "frames",
        "How many invalid frames in a row close a socket, with 4400.",
    )
    TYPING_INTERVAL: float = _setting(
        1.0,
        0,
        60,
        "seconds",
        "The least time between two `typing` events of one socket in one room; more are dropped.",
    )
    JOIN_TIMEOUT: float = _setting(
        60.0, 1, 3_600, "seconds", "How long a socket may stay open without having joined any room.",
    )  # fmt: skip


FIELDS = {field.name: field for field in dataclasses.fields(ChatSettings)}


def chat_settings() -> ChatSettings:
    """The settings in force, checked."""
    return _checked()


@cache
def _checked() -> ChatSettings:
    given = getattr(settings, "CHAT", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"CHAT must be a dict, not {type(given).__name__}.")
    checked: dict[str, Any] = {name: _value(name, value, f"CHAT[{name!r}]") for name, value in given.items()}
    return ChatSettings(**checked)


def _value(name: str, value: object, shown: str) -> float:
    """``value`` if it is right for the setting ``name``; ``shown`` is what the user wrote it as."""
    if name not in FIELDS:
        raise ImproperlyConfigured(f"{shown} is not a setting of chat. Known: {', '.join(FIELDS)}.")
    field, facts = FIELDS[name], FIELDS[name].metadata
    numbers: tuple[type, ...] = (int,) if field.type is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, numbers) or not facts["least"] <= value <= facts["most"]:
        kind = "a whole number" if field.type is int else "a number"
        raise ImproperlyConfigured(
            f"{shown} must be {kind} of {facts['unit']} from {facts['least']} to {facts['most']}, not {value!r}."
        )
    return value  # type: ignore[return-value]  # isinstance of a computed tuple tells mypy nothing


def from_environment(environment: Mapping[str, str]) -> dict[str, float]:
    """The ``CHAT`` dict that the variables ``CHAT_<SETTING>`` make. A bad one stops with its name."""
    return {
        name.removeprefix("CHAT_"): _value(name.removeprefix("CHAT_"), _number(text), name)
        for name, text in environment.items()
        if name.startswith("CHAT_")
    }


def _number(text: str) -> float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "CHAT":
        _checked.cache_clear()


setting_changed.connect(_forget, dispatch_uid="chat.conf")
