"""The app's settings: one dict, ``CHAT``, read lazily so that ``override_settings`` works.

    CHAT = {"GRACE": 10.0}

``chat_settings().GRACE`` reads one. A key that is not listed here, or a value of another type or out of range,
raises ImproperlyConfigured with the key's name and what is right; chat.checks makes a system check error of it.
"""

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from chat.conf import options


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Each setting with its default, what it may be, and what it means."""

    # --- What it holds ---
    GRACE: float = options.number(
        5.0,
        0,
        300,
        "seconds",
        "How long a person whose last socket was lost stays in the room; a reconnect cancels the leave.",
    )
    USER_LIST_NAMES: int = options.number(
        200,
        1,
        2_000,
        "names",
        "The most names in one `userList`. A room with more people announces no single joins and leaves.",
    )
    USER_LIST_INTERVAL: float = options.number(
        0.25,
        0,
        60,
        "seconds",
        "The least time between two `userList` events of one room.",
    )
    USER_LIST_BANDWIDTH: int = options.number(
        4_000_000,
        1_000,
        1_000_000_000,
        "bytes/second",
        "The most that one room's `userList` events cost, all members together: a big room's list goes out "
        "less often.",
    )
    ROOMS_PER_SOCKET: int = options.number(50, 1, 10_000, "rooms", "How many rooms one socket may be in.")
    OUTBOX: int = options.number(
        262_144,
        1_024,
        1 << 30,
        "bytes",
        "How much may wait for one socket; past it the socket gets nothing more until it has read that, and is "
        "then caught up. On our own server at least 65536.",
    )
    STUCK: float = options.number(
        30.0,
        0.1,
        600,
        "seconds",
        "How long a socket may read nothing of what waits for it before it is closed with 4008.",
    )
    LOG_QUEUE: int = options.number(
        10_000,
        1,
        1_000_000,
        "changes",
        "How many messages and other changes may wait for the database; past it they are refused with `busy`.",
    )
    RING: int = options.number(
        500,
        1,
        100_000,
        "changes",
        "How many of a room's latest changes are kept in memory for those who come back; those before are read "
        "from the database.",
    )
    CATCH_UP: int = options.number(
        5_000,
        1,
        1_000_000,
        "changes",
        "The most that one who comes back is told of what was missed; who missed more starts over from the latest "
        "page.",
    )
    PIPELINE: int = options.number(
        128,
        1,
        10_000,
        "commands",
        "How many messages and other changes one socket may have waiting for the database; past it the socket is "
        "not listened to until some are kept.",
    )
    INVALID_FRAMES: int = options.number(
        10,
        1,
        1_000,
        "frames",
        "How many invalid frames in a row close a socket, with 4400.",
    )
    TYPING_INTERVAL: float = options.number(
        1.0,
        0,
        60,
        "seconds",
        "The least time between two `typing` events of one socket in one room; more are dropped.",
    )
    JOIN_TIMEOUT: float = options.number(
        15.0,
        1,
        3_600,
        "seconds",
        "How long a socket may stay open without having joined any room.",
    )
    # --- Who ---
    GUESTS: bool = options.switch("May people without an account come in? They say a name.", default=True)
    CREATE_ROOMS: str = options.choice(
        "anyone",
        ("anyone", "accounts", "staff"),
        "Who may make a public room, by entering it.",
    )
    RECHECK: float = options.number(
        60.0,
        1,
        86_400,
        "seconds",
        "How often each socket's session or token is looked at again. What Django's signals tell reaches sockets "
        "at once; this finds what went past them.",
    )
    JWT_KEY: str = options.secret(
        "The key that tokens are signed with: a secret of at least 32 bytes for HS256, a public key in PEM for "
        "the others. Where it is empty, and JWT_JWKS too, one is made from SECRET_KEY.",
    )
    JWT_JWKS: str = options.text(
        "", "The keys that tokens are signed with, as a JWK set: a file's path, or an https URL."
    )
    JWT_ALGORITHMS: tuple[str, ...] = options.texts(
        ("HS256",),
        "The algorithms that tokens may be signed with.",
        ("HS256", "RS256", "ES256", "EdDSA"),
    )
    JWT_AUDIENCE: str = options.text("chat", "The `aud` that a token must have.")
    JWT_ISSUER: str = options.text("", "The `iss` that a token must have; empty: none is asked for.")
    JWT_USER_FIELD: str = options.text("pk", "The field of the user model that a token's `sub` is.")
    JWT_LEEWAY: float = options.number(
        10.0, 0, 300, "seconds", "How far the clocks of issuer and server may differ."
    )
    JWT_WARNING: float = options.number(
        60.0,
        0,
        3_600,
        "seconds",
        "How long before its token expires a socket is told so.",
    )
    # --- How much ---
    LIMITS: bool = options.switch("Are there limits at all? Off is for benchmarks.", default=True)
    SOCKET_RATE: float = options.number(
        10.0,
        0.01,
        1e6,
        "tokens/second",
        "What one socket may spend on its commands; a message costs 1.",
    )
    SOCKET_BURST: float = options.number(60.0, 1, 1e6, "tokens", "What one socket may spend at once.")
    PERSON_RATE: float = options.number(
        15.0,
        0.01,
        1e6,
        "tokens/second",
        "What one person may spend, on all their sockets together.",
    )
    PERSON_BURST: float = options.number(120.0, 1, 1e6, "tokens", "What one person may spend at once.")
    ADDRESS_RATE: float = options.number(
        100.0,
        0.01,
        1e6,
        "tokens/second",
        "What one address may spend, all who come from there together.",
    )
    ADDRESS_BURST: float = options.number(1_000.0, 1, 1e6, "tokens", "What one address may spend at once.")
    CONNECT_RATE: float = options.number(
        20.0,
        0.01,
        1e6,
        "connections/second",
        "How many connections one address may open.",
    )
    CONNECT_BURST: float = options.number(400.0, 1, 1e6, "connections", "How many one address may open at once.")
    REQUEST_RATE: float = options.number(
        100.0,
        0.01,
        1e6,
        "tokens/second",
        "Tokens that one address may spend on HTTP requests: a page costs 10, a sent form 20, a static file 0.5.",
    )
    REQUEST_BURST: float = options.number(4_000.0, 20, 1e6, "tokens", "Most that one address may spend at once.")
    GUEST_RATE: float = options.number(
        1.0, 0.001, 1e6, "guests/second", "How many guests may choose a name on the page, from one address."
    )
    GUEST_BURST: float = options.number(100.0, 1, 1e6, "guests", "How many of them at once.")
    ROOM_RATE: float = options.number(
        0.2, 0.001, 1e6, "rooms/second", "How many rooms may come into being by entering them, from one address."
    )
    ROOM_BURST: float = options.number(30.0, 1, 1e6, "rooms", "How many of them at once.")
    SOCKETS_PER_PERSON: int = options.number(
        20, 1, 1_000_000, "sockets", "How many sockets one person may have open."
    )
    SOCKETS_PER_ADDRESS: int = options.number(
        500,
        1,
        1_000_000,
        "sockets",
        "How many sockets may be open from one address.",
    )
    SOCKETS: int = options.number(20_000, 1, 1_000_000, "sockets", "How many sockets one process takes.")
    REFUSALS: int = options.number(
        10,
        1,
        1_000,
        "commands",
        "How many commands are refused for too many (one that is not makes one good) before the socket is read "
        "slowly.",
    )
    REFUSALS_CLOSE: int = options.number(
        30,
        1,
        10_000,
        "commands",
        "How many commands are refused for too many (one that is not makes one good) before the socket is "
        "closed, with 4029.",
    )
    SIGN_IN_RATE: float = options.number(
        0.1,
        0.001,
        1e6,
        "tries/second",
        "How often a wrong password may be tried: from one network, for one name in one network, and by a browser "
        "that the account has signed in with.",
    )
    SIGN_IN_BURST: float = options.number(10.0, 1, 1e6, "tries", "How many tries at once.")
    HASHES: int = options.number(
        2,
        1,
        64,
        "passwords",
        "How many passwords one process hashes at once; the others wait, for some seconds at most.",
    )
    PROXIES: tuple[str, ...] = options.networks(
        "The networks of the proxies in front (`127.0.0.1`, `10.0.0.0/8`): only their X-Forwarded-For counts.",
    )
    # --- What is allowed ---
    FILTERS: tuple[str, ...] = options.texts(
        (),
        "Dotted names of functions that see each text before it is kept, and may change or refuse it.",
    )
    MEMBERS: int = options.number(1_000, 2, 100_000, "members", "How many members a room may have.")
    INVITE_LIFE: float = options.number(7.0, 0.01, 365, "days", "How long an invitation's link works.")
    KICK: float = options.number(60.0, 0, 86_400, "seconds", "How long somebody who was kicked stays out.")
    # --- What it tells its operator ---
    METRICS_TOKEN: str = options.secret(
        "Who has it may read `/metrics`, with `Authorization: Bearer`. Empty: there is no such page.", least=16
    )


FIELDS = {field.name: field for field in dataclasses.fields(ChatSettings)}


def option_of(name: str) -> options.Option:
    option: options.Option = FIELDS[name].metadata["option"]
    return option


@cache
def chat_settings() -> ChatSettings:
    """The settings in force, checked."""
    given = getattr(settings, "CHAT", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"CHAT must be a dict, not {type(given).__name__}.")
    checked: dict[str, Any] = {name: _value(name, value, f"CHAT[{name!r}]") for name, value in given.items()}
    return ChatSettings(**checked)


def _value(name: str, value: object, shown: str) -> Any:
    """``value`` if it is right for the setting ``name``; ``shown`` is what the user wrote it as."""
    if name not in FIELDS:
        near = "".join(f" Do you mean {one}?" for one in get_close_matches(str(name).upper(), FIELDS, n=1))
        raise ImproperlyConfigured(f"{shown} is not a setting of chat.{near} chat/conf lists them.")
    option = option_of(name)
    if not option.accepts(value):
        written = "what it is" if isinstance(option, options.Secret) else repr(value)
        raise ImproperlyConfigured(f"{shown} must be {option.right}, not {written}.")
    return tuple(value) if isinstance(value, list) else value


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The ``CHAT`` dict that the variables ``CHAT_<SETTING>`` make. A bad one stops with its name."""
    found: dict[str, Any] = {}
    for variable, text in environment.items():
        if variable.startswith("CHAT_"):
            name = variable.removeprefix("CHAT_")
            found[name] = _value(name, option_of(name).read(text) if name in FIELDS else text, variable)
    return found


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "CHAT":
        chat_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="chat.conf")
