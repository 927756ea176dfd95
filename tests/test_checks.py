"""The system checks: each finding by its id, none where all is right."""

from typing import Any

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from pytest_django import Settings

from chat import checks

IN_MEMORY = {"BACKEND": checks.IN_MEMORY, "CONFIG": {"capacity": 10_000}}
REDIS = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": ["redis://localhost"]}}


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def found() -> list[str | None]:
    """What ``manage.py check`` finds in chat."""
    return ids(list(run_checks(tags=["chat"])))


@pytest.fixture(autouse=True)
def _all_right(settings: Settings) -> None:
    settings.CHAT = {}
    settings.CHANNEL_LAYERS = {"default": IN_MEMORY}
    settings.SESSION_COOKIE_SECURE = True
    settings.CSRF_TRUSTED_ORIGINS = ["https://chat.example.com"]


def test_a_good_project_has_no_findings() -> None:
    """Nothing is said where nothing is wrong."""
    assert found() == []
    assert checks.check_origins() == []


@pytest.mark.parametrize("chat", [{"GRAZE": 5}, {"GRACE": -1}, None])
def test_a_bad_setting_is_an_error(settings: Settings, chat: Any) -> None:
    """CHAT is checked before the first socket reads it; the message is the setting's own."""
    settings.CHAT = chat
    assert found() == ["chat.E001"]
    assert "CHAT" in checks.check_chat_settings()[0].msg


@pytest.mark.parametrize("layers", [{}, {"other": IN_MEMORY}, {"default": {}}])
def test_no_layer_is_an_error(settings: Settings, layers: dict[str, Any]) -> None:
    """Without a default layer no room could be opened; the hint is what to write."""
    settings.CHANNEL_LAYERS = layers
    assert found() == ["chat.E002"]
    hint = checks.check_channel_layer()[0].hint
    assert hint
    scope: dict[str, Any] = {}
    exec(hint.removeprefix("Set ").removesuffix("."), scope)  # noqa: S102 the hint is ours, and is Python
    settings.CHANNEL_LAYERS = scope["CHANNEL_LAYERS"]
    assert found() == []


def test_no_layers_setting_is_an_error(settings: Settings) -> None:
    """Channels has no default: a project that never heard of layers is told."""
    del settings.CHANNEL_LAYERS
    assert found() == ["chat.E002"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, ["chat.W001"]),
        ({}, ["chat.W001"]),
        ({"capacity": 999}, ["chat.W001"]),
        ({"capacity": 1_000}, []),
        ({"capacity": 10_000, "expiry": 60}, []),
    ],
)
def test_a_small_in_memory_layer_is_a_warning(
    settings: Settings, config: dict[str, Any] | None, expected: list[str]
) -> None:
    """The in-memory layer drops in silence past its capacity, 100 where nothing is set."""
    layer = {"BACKEND": checks.IN_MEMORY} | ({} if config is None else {"CONFIG": config})
    settings.CHANNEL_LAYERS = {"default": layer}
    assert found() == expected


def test_another_layer_is_a_warning(settings: Settings) -> None:
    """A layer between processes looks as if several could serve one room: they can't yet."""
    settings.CHANNEL_LAYERS = {"default": REDIS}
    assert found() == ["chat.W002"]


@pytest.mark.parametrize(
    ("secure", "origins", "expected"),
    [
        (False, [], ["chat.W003"]),
        (True, ["http://chat.example.com"], ["chat.W003"]),
        (True, ["https://a.example.com", "http://b.example.com"], ["chat.W003"]),
        (True, [], []),
    ],
)
def test_sockets_from_plain_pages_are_a_warning_on_deployment(
    settings: Settings,
    secure: bool,
    origins: list[str],
    expected: list[str],
) -> None:
    """``check --deploy`` tells where a page without TLS may open a socket."""
    settings.SESSION_COOKIE_SECURE = secure
    settings.CSRF_TRUSTED_ORIGINS = origins
    deployed = run_checks(tags=[Tags.security], include_deployment_checks=True)
    assert [id_ for id_ in ids(list(deployed)) if id_ and id_.startswith("chat.")] == expected
    developed = run_checks(tags=[Tags.security])
    assert [id_ for id_ in ids(list(developed)) if id_ and id_.startswith("chat.")] == []


def test_every_finding_has_a_hint(settings: Settings) -> None:
    """Whoever reads a finding is told what to do."""
    settings.CHAT = {"GRACE": -1}
    settings.SESSION_COOKIE_SECURE = False
    messages = [*checks.check_chat_settings(), *checks.check_origins()]
    for layers in ({}, {"default": REDIS}, {"default": {"BACKEND": checks.IN_MEMORY}}):
        settings.CHANNEL_LAYERS = layers
        messages += checks.check_channel_layer()
    assert ids(messages) == ["chat.E001", "chat.W003", "chat.E002", "chat.W002", "chat.W001"]
    assert all(message.hint for message in messages)


def test_our_own_layer_needs_no_configuration(settings: Settings) -> None:
    """The process layer is right as it comes, and warned of where it was made too small."""
    layer: dict[str, Any] = {"BACKEND": checks.OURS}
    settings.CHANNEL_LAYERS = {"default": layer}
    assert found() == []
    layer["CONFIG"] = {"capacity": 100}
    assert found() == ["chat.W001"]
