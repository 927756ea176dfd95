"""The app's settings: one dict, ``CHAT``, read on use so that ``override_settings`` works.

    CHAT = {"GRACE": 10.0}

``chat_settings().GRACE`` reads one. An unknown key, or a value with a wrong type or out of range, raises
ImproperlyConfigured with the key and the accepted values. chat.checks reports it as a system check error.
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
    """Each setting with its default, the values it accepts, and its meaning."""

    # --- Presence, queues and memory ---
    GRACE: float = options.number(
        5.0,
        0,
        300,
        "seconds",
        "How long a person stays in a room after their last connection is lost. A reconnect cancels the leave.",
    )
    USER_LIST_NAMES: int = options.number(
        200,
        1,
        2_000,
        "names",
        "Most names in one `userList`. A room with more people sends no `join` and `leave` events.",
    )
    USER_LIST_INTERVAL: float = options.number(
        0.25,
        0,
        60,
        "seconds",
        "Shortest time between two `userList` events of a room.",
    )
    USER_LIST_BANDWIDTH: int = options.number(
        4_000_000,
        1_000,
        1_000_000_000,
        "bytes/second",
        "Bandwidth of one room's `userList` events, over all members. A big room gets its list less often.",
    )
    ROOMS_PER_SOCKET: int = options.number(50, 1, 10_000, "rooms", "Most rooms that one socket may be in.")
    TOPICS_PER_SOCKET: int = options.number(
        100, 1, 10_000, "topics", "Most topics that one socket may subscribe to."
    )
    OUTBOX: int = options.number(
        262_144,
        1_024,
        1 << 30,
        "bytes",
        "Most bytes that may wait for one slow socket. Past that it gets nothing more until it has read them, "
        "and then catches up. At least 65536 with this project's own server.",
    )
    STUCK: float = options.number(
        30.0,
        0.1,
        600,
        "seconds",
        "How long a socket may read none of the bytes that wait for it, before it is closed with 4008.",
    )
    LOG_QUEUE: int = options.number(
        10_000,
        1,
        1_000_000,
        "changes",
        "Most messages and other changes that may wait for the database. Past that they are refused with `busy`.",
    )
    RING: int = options.number(
        500,
        1,
        100_000,
        "changes",
        "How many of a room's latest changes are kept in memory for clients that reconnect. Older changes are "
        "read from the database.",
    )
    CATCH_UP: int = options.number(
        5_000,
        1,
        1_000_000,
        "changes",
        "Most missed changes that a reconnecting client gets. A client that missed more starts over from the "
        "latest page.",
    )
    PIPELINE: int = options.number(
        128,
        1,
        10_000,
        "commands",
        "Most messages and other changes of one socket that may wait for the database. Past that the server "
        "stops reading from the socket until some are stored.",
    )
    INVALID_FRAMES: int = options.number(
        10,
        1,
        1_000,
        "frames",
        "Number of invalid frames in a row after which a socket is closed with 4400.",
    )
    TYPING_INTERVAL: float = options.number(
        1.0,
        0,
        60,
        "seconds",
        "Shortest time between two `typing` events of one socket in one room. More are dropped.",
    )
    JOIN_TIMEOUT: float = options.number(
        15.0,
        1,
        3_600,
        "seconds",
        "How long a socket may stay open before it joins a room.",
    )
    # --- Users and sign-ins ---
    GUESTS: bool = options.switch("Whether people without an account may join. They give a name.", default=True)
    CREATE_ROOMS: str = options.choice(
        "anyone",
        ("anyone", "accounts", "staff"),
        "Users who may create a public room by joining it.",
    )
    RECHECK: float = options.number(
        60.0,
        1,
        86_400,
        "seconds",
        "How often the session or token of each socket is checked again. Changes that send Django's signals reach "
        "sockets at once; this check finds the others.",
    )
    JWT_KEY: str = options.secret(
        "The key that checks tokens: a secret of at least 32 bytes for HS256, a public key in PEM for the other "
        "algorithms. If both this and JWT_JWKS are empty, a key is derived from SECRET_KEY.",
    )
    JWT_JWKS: str = options.text(
        "", "The keys that check tokens, as a JWK set: the path of a file, or an https URL."
    )
    JWT_ALGORITHMS: tuple[str, ...] = options.texts(
        ("HS256",),
        "Algorithms that tokens may be signed with.",
        ("HS256", "RS256", "ES256", "EdDSA"),
    )
    JWT_AUDIENCE: str = options.text("chat", "The `aud` that a token must have.")
    JWT_ISSUER: str = options.text("", "The `iss` that a token must have. Empty: it is not checked.")
    JWT_USER_FIELD: str = options.text("pk", "The field of the user model that a token's `sub` names.")
    JWT_LEEWAY: float = options.number(
        10.0, 0, 300, "seconds", "How far the clocks of the issuer and the server may differ."
    )
    JWT_WARNING: float = options.number(
        60.0,
        0,
        3_600,
        "seconds",
        "How long before its token expires a socket gets a warning.",
    )
    # --- Limits ---
    LIMITS: bool = options.switch("Whether limits are enforced. False is for benchmarks.", default=True)
    SOCKET_RATE: float = options.number(
        10.0,
        0.01,
        1e6,
        "tokens/second",
        "Tokens that one socket may spend on commands. A message costs 1.",
    )
    SOCKET_BURST: float = options.number(60.0, 1, 1e6, "tokens", "Most tokens that one socket may spend at once.")
    PERSON_RATE: float = options.number(
        15.0,
        0.01,
        1e6,
        "tokens/second",
        "Tokens that one person may spend, over all their sockets.",
    )
    PERSON_BURST: float = options.number(120.0, 1, 1e6, "tokens", "Most tokens that one person may spend at once.")
    ADDRESS_RATE: float = options.number(
        100.0,
        0.01,
        1e6,
        "tokens/second",
        "Tokens that one address may spend, over all its users.",
    )
    ADDRESS_BURST: float = options.number(
        1_000.0, 1, 1e6, "tokens", "Most tokens that one address may spend at once."
    )
    CONNECT_RATE: float = options.number(
        20.0,
        0.01,
        1e6,
        "connections/second",
        "Connections that one address may open.",
    )
    CONNECT_BURST: float = options.number(
        400.0, 1, 1e6, "connections", "Most connections that one address may open at once."
    )
    REQUEST_RATE: float = options.number(
        100.0,
        0.01,
        1e6,
        "tokens/second",
        "Tokens that one address may spend on HTTP requests. A page costs 10, a form 20, a static file 0.5.",
    )
    REQUEST_BURST: float = options.number(
        4_000.0, 20, 1e6, "tokens", "Most tokens that one address may spend on HTTP requests at once."
    )
    GUEST_RATE: float = options.number(
        1.0, 0.001, 1e6, "guests/second", "Guests from one address that may choose a name on the page."
    )
    GUEST_BURST: float = options.number(100.0, 1, 1e6, "guests", "Most guests from one address at once.")
    ROOM_RATE: float = options.number(
        0.2, 0.001, 1e6, "rooms/second", "Rooms that users of one address may create by joining them."
    )
    ROOM_BURST: float = options.number(30.0, 1, 1e6, "rooms", "Most rooms that one address may create at once.")
    SOCKETS_PER_PERSON: int = options.number(20, 1, 1_000_000, "sockets", "Most open sockets of one person.")
    SOCKETS_PER_ADDRESS: int = options.number(
        500,
        1,
        1_000_000,
        "sockets",
        "Most open sockets from one address.",
    )
    SOCKETS: int = options.number(20_000, 1, 1_000_000, "sockets", "Most open sockets in one process.")
    REFUSALS: int = options.number(
        10,
        1,
        1_000,
        "commands",
        "Number of commands refused by a rate limit after which the socket is read slowly. Each accepted command "
        "takes one off the number.",
    )
    REFUSALS_CLOSE: int = options.number(
        30,
        1,
        10_000,
        "commands",
        "Number of commands refused by a rate limit after which the socket is closed with 4029. Each accepted "
        "command takes one off the number.",
    )
    SIGN_IN_RATE: float = options.number(
        0.1,
        0.001,
        1e6,
        "tries/second",
        "Wrong passwords that may be tried: from one network, for one name in one network, and in a browser that "
        "the account has signed in with.",
    )
    SIGN_IN_BURST: float = options.number(10.0, 1, 1e6, "tries", "Most wrong passwords at once.")
    HASHES: int = options.number(
        2,
        1,
        64,
        "passwords",
        "Passwords that one process hashes at once. The others wait for at most some seconds.",
    )
    PROXIES: tuple[str, ...] = options.networks(
        "Networks of the proxies in front (`127.0.0.1`, `10.0.0.0/8`). Only their X-Forwarded-For is trusted.",
    )
    # --- Content and moderation ---
    FILTERS: tuple[str, ...] = options.texts(
        (),
        "Dotted names of functions that get each text before it is stored, and may change or refuse it.",
    )
    AUTHORIZE: str = options.text(
        "",
        "The dotted name of a function with the project's own rules on rooms: `authorize(user, room, action)` "
        "returns whether the user may `see`, `enter` or `post` in the room.",
    )
    MEMBERS: int = options.number(1_000, 2, 100_000, "members", "Most members of a room.")
    INVITE_LIFE: float = options.number(7.0, 0.01, 365, "days", "How long the link of an invitation works.")
    KICK: float = options.number(60.0, 0, 86_400, "seconds", "How long a kicked user can't join again.")
    # --- Monitoring ---
    METRICS_TOKEN: str = options.secret(
        "The bearer token for `/metrics` (`Authorization: Bearer`). Empty: the page does not exist.", minimum=16
    )


FIELDS = {field.name: field for field in dataclasses.fields(ChatSettings)}


def option_of(name: str) -> options.Option:
    option: options.Option = FIELDS[name].metadata["option"]
    return option


@cache
def chat_settings() -> ChatSettings:
    """The current settings, checked. Raises ImproperlyConfigured."""
    given = getattr(settings, "CHAT", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"CHAT must be a dict, not {type(given).__name__}.")
    checked: dict[str, Any] = {name: _value(name, value, f"CHAT[{name!r}]") for name, value in given.items()}
    return ChatSettings(**checked)


def _value(name: str, value: object, shown: str) -> Any:
    """``value``, checked for the setting ``name``. ``shown`` names it in errors, as the user wrote it."""
    if name not in FIELDS:
        near = "".join(f" Do you mean {key}?" for key in get_close_matches(str(name).upper(), FIELDS, n=1))
        raise ImproperlyConfigured(f"{shown} is not a setting of chat.{near} chat/conf lists the settings.")
    option = option_of(name)
    if not option.accepts(value):
        found = "the present value" if isinstance(option, options.Secret) else repr(value)
        raise ImproperlyConfigured(f"{shown} must be {option.expected}, not {found}.")
    return tuple(value) if isinstance(value, list) else value


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The ``CHAT`` dict of the variables ``CHAT_<SETTING>``. Raises ImproperlyConfigured with a bad one's name."""
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
