"""System checks: what is wrong with a project's settings, before the first socket finds out."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 Django's own name
from django.core.exceptions import ImproperlyConfigured

from chat.conf import chat_settings

OURS = "chat.layers.ProcessChannelLayer"
IN_MEMORY = "channels.layers.InMemoryChannelLayer"
# The capacity of each in-memory layer where none is set.
CAPACITIES = {OURS: 10_000, IN_MEMORY: 100}
LEAST_CAPACITY = 1_000


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
    """chat.E002: there is no layer to broadcast through. chat.W001: it drops early. chat.W002: see below."""
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default")
    if not layer:
        hint = f'Set CHANNEL_LAYERS = {{"default": {{"BACKEND": "{OURS}"}}}}.'
        return [Error("CHANNEL_LAYERS has no default layer.", hint=hint, id="chat.E002")]
    backend = layer["BACKEND"]
    if backend not in CAPACITIES:
        return [
            Warning(
                "Who is here is kept in each process's memory: run one process, whatever the channel layer.",
                hint="Silence chat.W002 if you do.",
                id="chat.W002",
            )
        ]
    if layer.get("CONFIG", {}).get("capacity", CAPACITIES[backend]) < LEAST_CAPACITY:
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
