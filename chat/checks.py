"""System checks: errors in a project's settings, found before the first socket opens."""

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import get_hashers
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 Django's own name
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from chat.access.authorize import project_function
from chat.auth import trusted
from chat.auth.hashers import Bounded
from chat.auth.password_attempts import CountedTries
from chat.conf import ChatSettings, chat_settings
from chat.presence.registry import is_shared

PROCESS_LAYER = "chat.layers.ProcessChannelLayer"
IN_MEMORY = "channels.layers.InMemoryChannelLayer"
PUBSUB_LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"
CORE_LAYER = "channels_redis.core.RedisChannelLayer"
BACKEND = "chat.auth.password_attempts.CountedTries"
MIDDLEWARE = "chat.middleware.SignIns"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
# The default capacity of each in-memory layer.
CAPACITIES = {PROCESS_LAYER: 10_000, IN_MEMORY: 100}
MIN_CAPACITY = 1_000

MIN_VERSIONS = {"django": (5, 2, 19), "daphne": (4, 2, 3), "autobahn": (26, 10, 1), "pyjwt": (2, 15)}
"""The minimum versions in pyproject.toml, for projects that installed the packages in another way."""
TOKENS = "See the settings JWT_* in chat/conf/. JWT_ALGORITHMS = [] turns tokens off."


@register("chat")
def check_chat_settings(**_: Any) -> list[CheckMessage]:
    """chat.E001: CHAT has an unknown key or an invalid value."""
    try:
        chat_settings()
        project_function()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="chat/conf/ describes each setting.", id="chat.E001")]
    return []


@register("chat")
def check_channel_layer(**_: Any) -> list[CheckMessage]:
    """chat.E002: no layer. chat.W001, chat.W010: it drops messages. chat.W002: it can't share presence."""
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default")
    if not layer:
        hint = f'Set CHANNEL_LAYERS = {{"default": {{"BACKEND": "{PROCESS_LAYER}"}}}}.'
        return [Error("CHANNEL_LAYERS must have a default layer.", hint=hint, id="chat.E002")]
    backend = layer["BACKEND"]
    if backend not in CAPACITIES and not is_shared(layer):
        return [
            Warning(
                f"CHANNEL_LAYERS uses {backend}, through which processes can't share presence.",
                hint=f"Several processes need {PUBSUB_LAYER}. If you run one process, silence chat.W002.",
                id="chat.W002",
            )
        ]
    if backend == CORE_LAYER:
        return [
            Warning(
                f"CHANNEL_LAYERS uses {backend}, which drops messages in a burst: they arrive late.",
                hint=f"Use {PUBSUB_LAYER}.",
                id="chat.W010",
            )
        ]
    if backend in CAPACITIES and layer.get("CONFIG", {}).get("capacity", CAPACITIES[backend]) < MIN_CAPACITY:
        return [
            Warning(
                f"CHANNEL_LAYERS has a capacity under {MIN_CAPACITY}: the layer drops messages above it.",
                hint='Set "CONFIG": {"capacity": 10000}. It is per process, whose hub is the only member.',
                id="chat.W001",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def check_origins(**_: Any) -> list[CheckMessage]:
    """chat.W003: sockets are accepted from pages without TLS."""
    plain = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if origin.startswith("http://")]
    if settings.SESSION_COOKIE_SECURE and not plain:
        return []
    return [
        Warning(
            "WebSockets are accepted from pages that are served over plain http.",
            hint="Serve https, set SESSION_COOKIE_SECURE, and list only https origins in CSRF_TRUSTED_ORIGINS.",
            id="chat.W003",
        )
    ]


@register("chat")
def check_tokens(**_: Any) -> list[CheckMessage]:
    """chat.E003: tokens can't be verified, or not safely. chat.W006: a `sub` may match several accounts."""
    chat = _settings_or_none()
    if chat is None or not chat.JWT_ALGORITHMS:
        return []
    found: list[CheckMessage] = [Error(fault, hint=TOKENS, id="chat.E003") for fault in trusted.faults()]
    name = chat.JWT_USER_FIELD
    if trusted.is_user_field(name) and not trusted.is_user_field(name, unique=True):
        text = (
            f"JWT_USER_FIELD is {name!r}, which is not unique. A token that matches several accounts is refused."
        )
        hint = "Set it to a unique field that users can't set to another user's value."
        found.append(Warning(text, hint=hint, id="chat.W006"))
    return found


@register("chat")
def check_limits(**_: Any) -> list[CheckMessage]:
    """chat.W004: the limits are off. Every start warns of it, not only ``check --deploy``."""
    chat = _settings_or_none()
    if chat is None or chat.LIMITS:
        return []
    text = "LIMITS is off: every client may send, connect and try passwords without limit."
    return [Warning(text, hint="Remove LIMITS from CHAT. LIMITS = False is for benchmarks.", id="chat.W004")]


@register("chat")
def check_sign_ins(**_: Any) -> list[CheckMessage]:
    """chat.W011 to chat.W013: attempts at passwords are not counted, not answered with 429, or not bounded."""
    found: list[CheckMessage] = []
    first = next(iter(settings.AUTHENTICATION_BACKENDS), None)
    if first is None or import_string(first) is not CountedTries:
        text = "AUTHENTICATION_BACKENDS does not begin with the backend that limits attempts at passwords."
        found.append(Warning(text, hint=f'Put "{BACKEND}" first.', id="chat.W011"))
    middleware = list(settings.MIDDLEWARE)
    before = middleware[: middleware.index(SESSIONS)] if SESSIONS in middleware else middleware
    if MIDDLEWARE not in before:
        text = (
            "MIDDLEWARE lacks the chat's middleware: refused sign-ins get no 429, browsers are not recognised. "
            "Banned users return under another name, and owners of accounts wait for others' attempts."
        )
        found.append(Warning(text, hint=f'Put "{MIDDLEWARE}" into MIDDLEWARE, before {SESSIONS}.', id="chat.W012"))
    if not all(isinstance(hasher, Bounded) for hasher in get_hashers()):
        text = (
            "PASSWORD_HASHERS hashes any number of passwords at once, and does not count old passwords in forms."
        )
        hint = 'Use the hashers of chat.auth.hashers: "chat.auth.hashers.Argon2", and so on.'
        found.append(Warning(text, hint=hint, id="chat.W013"))
    return found


@register(Tags.security, deploy=True)
def check_versions(**_: Any) -> list[CheckMessage]:
    """chat.W005: a package that parses clients' input lacks a known security fix."""
    return [
        Warning(
            f"{name} {found} has known vulnerabilities.",
            hint=f"Install {name} {'.'.join(map(str, floor))} or newer.",
            id="chat.W005",
        )
        for name, floor in MIN_VERSIONS.items()
        if (found := _installed(name)) and _numbers(found) < floor
    ]


@register(Tags.security, deploy=True)
def check_sessions(**_: Any) -> list[CheckMessage]:
    """chat.W007: a session that is only in a cookie can't be ended, and neither can its sockets."""
    if settings.SESSION_ENGINE != "django.contrib.sessions.backends.signed_cookies":
        return []
    text = "SESSION_ENGINE is signed_cookies: signing out ends neither a copied session nor its sockets."
    return [Warning(text, hint="Set SESSION_ENGINE to the engine db, cached_db or cache.", id="chat.W007")]


@register(Tags.security, deploy=True)
def check_hosts(**_: Any) -> list[CheckMessage]:
    """chat.W008: the Origin is compared with the request's host, which may then be any."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    text = 'ALLOWED_HOSTS has "*": any name that points at this server is then a trusted host.'
    return [Warning(text, hint="List only the site's own host names.", id="chat.W008")]


@register(Tags.security, deploy=True)
def check_proxies(**_: Any) -> list[CheckMessage]:
    """chat.W009: behind an unknown proxy all clients share one address, and its limits."""
    chat = _settings_or_none()
    if chat is None or chat.PROXIES or not chat.LIMITS or not settings.SECURE_PROXY_SSL_HEADER:
        return []
    text = "SECURE_PROXY_SSL_HEADER is set, so there is a proxy, but CHAT['PROXIES'] is empty."
    hint = "Set CHAT['PROXIES'] to its network (127.0.0.1). Otherwise all clients share the limits of its address."
    return [Warning(text, hint=hint, id="chat.W009")]


def _settings_or_none() -> ChatSettings | None:
    """The settings, or None if they are invalid, which chat.E001 reports."""
    try:
        return chat_settings()
    except ImproperlyConfigured:
        return None


def _installed(name: str) -> str | None:
    """The version of a package, or None if it is not installed: the project may run another server."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version, without suffixes such as "rc1"."""
    leading = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()
