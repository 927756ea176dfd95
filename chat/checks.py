"""System checks: what is wrong with a project's settings, before the first socket finds out."""

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import get_hashers
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 Django's own name
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from chat.auth import trusted
from chat.auth.hashers import Bounded
from chat.auth.password_attempts import CountedTries
from chat.conf import ChatSettings, chat_settings
from chat.presence.registry import is_shared

OURS = "chat.layers.ProcessChannelLayer"
IN_MEMORY = "channels.layers.InMemoryChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
CORE = "channels_redis.core.RedisChannelLayer"
BACKEND = "chat.auth.password_attempts.CountedTries"
MIDDLEWARE = "chat.middleware.SignIns"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
# The capacity of each in-memory layer where none is set.
CAPACITIES = {OURS: 10_000, IN_MEMORY: 100}
LEAST_CAPACITY = 1_000

FLOORS = {"django": (5, 2, 19), "daphne": (4, 2, 3), "autobahn": (26, 10, 1), "pyjwt": (2, 15)}
"""What pyproject.toml asks for at least, for those who installed something else."""
TOKENS = "See the settings JWT_* in chat/conf/; with JWT_ALGORITHMS = [] no token is let in."


@register("chat")
def check_chat_settings(**_: Any) -> list[CheckMessage]:
    """chat.E001: CHAT has a key or value that isn't right."""
    try:
        chat_settings()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="See chat/conf/ for each setting.", id="chat.E001")]
    return []


@register("chat")
def check_channel_layer(**_: Any) -> list[CheckMessage]:
    """chat.E002: there is no layer. chat.W001, chat.W010: it drops early. chat.W002: it is not for presence."""
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default")
    if not layer:
        hint = f'Set CHANNEL_LAYERS = {{"default": {{"BACKEND": "{OURS}"}}}}.'
        return [Error("CHANNEL_LAYERS has no default layer.", hint=hint, id="chat.E002")]
    backend = layer["BACKEND"]
    if backend not in CAPACITIES and not is_shared(layer):
        return [
            Warning(
                f"Who is here can't be shared through {backend}: run one process.",
                hint=f"Several need {PUBSUB}. Silence chat.W002 if you run one.",
                id="chat.W002",
            )
        ]
    if backend == CORE:
        return [
            Warning(
                f"{backend} drops what comes in a burst: others hear it late, from the database.",
                hint=f"Take {PUBSUB}.",
                id="chat.W010",
            )
        ]
    if backend in CAPACITIES and layer.get("CONFIG", {}).get("capacity", CAPACITIES[backend]) < LEAST_CAPACITY:
        return [
            Warning(
                f"The in-memory channel layer drops what comes past its capacity, here under {LEAST_CAPACITY}.",
                hint='Set "CONFIG": {"capacity": 10000}: it is per process, for the hub is its only member.',
                id="chat.W001",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def check_origins(**_: Any) -> list[CheckMessage]:
    """chat.W003: sockets are let in from pages that came without TLS."""
    plain = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if origin.startswith("http://")]
    if settings.SESSION_COOKIE_SECURE and not plain:
        return []
    return [
        Warning(
            "WebSockets are accepted from pages served over plain http.",
            hint="Serve https, set SESSION_COOKIE_SECURE and list only https origins in CSRF_TRUSTED_ORIGINS.",
            id="chat.W003",
        )
    ]


@register("chat")
def check_tokens(**_: Any) -> list[CheckMessage]:
    """chat.E003: a token could not be checked, or not safely. chat.W006: its `sub` may be several accounts'."""
    given = _given()
    if given is None or not given.JWT_ALGORITHMS:
        return []
    found: list[CheckMessage] = [Error(fault, hint=TOKENS, id="chat.E003") for fault in trusted.faults()]
    name = given.JWT_USER_FIELD
    if trusted.is_user_field(name) and not trusted.is_user_field(name, unique=True):
        said = f"JWT_USER_FIELD is {name!r}, which several accounts may have: tokens let none of them in then."
        hint = "Name a unique field, and one that people can't set to somebody else's."
        found.append(Warning(said, hint=hint, id="chat.W006"))
    return found


@register("chat")
def check_limits(**_: Any) -> list[CheckMessage]:
    """chat.W004: the limits are off. Not for deployment only: each start says so."""
    given = _given()
    if given is None or given.LIMITS:
        return []
    said = "LIMITS is off: anybody may send, connect and try passwords as often as they like."
    return [Warning(said, hint="Take LIMITS out of CHAT; it is for benchmarks.", id="chat.W004")]


@register("chat")
def check_tries(**_: Any) -> list[CheckMessage]:
    """chat.W011, chat.W012, chat.W013: passwords may be tried without end at some door, or hashed all at once."""
    found: list[CheckMessage] = []
    first = next(iter(settings.AUTHENTICATION_BACKENDS), None)
    if first is None or import_string(first) is not CountedTries:
        said = "Passwords may be tried without end: the first of AUTHENTICATION_BACKENDS does not count tries."
        found.append(Warning(said, hint=f'Let the list begin with "{BACKEND}".', id="chat.W011"))
    middleware = list(settings.MIDDLEWARE)
    before = middleware[: middleware.index(SESSIONS)] if SESSIONS in middleware else middleware
    if MIDDLEWARE not in before:
        said = (
            "Refused tries of passwords are not answered with 429, and no browser is known again: banned people "
        )
        said += "come back under another name, and owners wait for what others tried in their name."
        found.append(Warning(said, hint=f'Put "{MIDDLEWARE}" into MIDDLEWARE, before {SESSIONS}.', id="chat.W012"))
    if not all(isinstance(hasher, Bounded) for hasher in get_hashers()):
        said = "Any number of passwords is hashed at once, and old passwords in forms are not counted."
        hint = 'Take those of chat.auth.hashers for PASSWORD_HASHERS: "chat.auth.hashers.Argon2", and so on.'
        found.append(Warning(said, hint=hint, id="chat.W013"))
    return found


@register(Tags.security, deploy=True)
def check_versions(**_: Any) -> list[CheckMessage]:
    """chat.W005: something that reads what strangers send is older than its last security fix that we know of."""
    return [
        Warning(
            f"{name} {found} has known security faults.",
            hint=f"Install {name} {'.'.join(map(str, floor))} or newer.",
            id="chat.W005",
        )
        for name, floor in FLOORS.items()
        if (found := _installed(name)) and _numbers(found) < floor
    ]


@register(Tags.security, deploy=True)
def check_sessions(**_: Any) -> list[CheckMessage]:
    """chat.W007: a session that only the cookie holds can't be ended, so neither can its sockets."""
    if settings.SESSION_ENGINE != "django.contrib.sessions.backends.signed_cookies":
        return []
    said = "Sessions are kept in signed cookies: signing out ends neither a copied session nor its sockets."
    return [Warning(said, hint="Take the engine db, cached_db or cache for SESSION_ENGINE.", id="chat.W007")]


@register(Tags.security, deploy=True)
def check_hosts(**_: Any) -> list[CheckMessage]:
    """chat.W008: the Origin must be the host that was asked for, and that may be any."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    said = 'ALLOWED_HOSTS has "*": a name that somebody else points at this server is then a host of ours too.'
    return [Warning(said, hint="List the site's own names.", id="chat.W008")]


@register(Tags.security, deploy=True)
def check_proxies(**_: Any) -> list[CheckMessage]:
    """chat.W009: behind a proxy that is not named all people come from one address, and share its limits."""
    given = _given()
    if given is None or given.PROXIES or not given.LIMITS or not settings.SECURE_PROXY_SSL_HEADER:
        return []
    said = "There is a proxy in front (SECURE_PROXY_SSL_HEADER), and its address is not in CHAT['PROXIES']."
    hint = "Name its network there (127.0.0.1), or everybody shares the limits of the proxy's address."
    return [Warning(said, hint=hint, id="chat.W009")]


def _given() -> ChatSettings | None:
    """The settings; None where chat.E001 tells that they are wrong."""
    try:
        return chat_settings()
    except ImproperlyConfigured:
        return None


def _installed(name: str) -> str | None:
    """The version of a package; None where it is not there: another server may be in its place."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: what comes after them is no fix."""
    leading = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()
