"""The system checks: each finding by its id, none for valid settings."""

import os
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from pytest_django import Settings
from servers import ROOT

from chat import checks

IN_MEMORY = {"BACKEND": checks.IN_MEMORY, "CONFIG": {"capacity": 10_000}}


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def found() -> list[str | None]:
    """The chat's findings of ``manage.py check``."""
    return ids(list(run_checks(tags=["chat"])))


@pytest.fixture(autouse=True)
def _valid_settings(settings: Settings) -> None:
    settings.CHAT = {}
    settings.CHANNEL_LAYERS = {"default": IN_MEMORY}
    settings.SESSION_COOKIE_SECURE = True
    settings.CSRF_TRUSTED_ORIGINS = ["https://chat.example.com"]


def test_a_good_project_has_no_findings() -> None:
    """Valid settings have no findings."""
    assert found() == []
    assert checks.check_origins() == []


@pytest.mark.parametrize("chat", [{"GRAZE": 5}, {"GRACE": -1}, None])
def test_a_bad_setting_is_an_error(settings: Settings, chat: Any) -> None:
    """CHAT is checked before the first socket uses it; the message names the setting."""
    settings.CHAT = chat
    assert found() == ["chat.E001"]
    assert "CHAT" in checks.check_chat_settings()[0].msg


@pytest.mark.parametrize("layers", [{}, {"other": IN_MEMORY}, {"default": {}}])
def test_no_layer_is_an_error(settings: Settings, layers: dict[str, Any]) -> None:
    """Without a default layer no room can be opened; the hint is valid Python that sets one."""
    settings.CHANNEL_LAYERS = layers
    assert found() == ["chat.E002"]
    hint = checks.check_channel_layer()[0].hint
    assert hint
    scope: dict[str, Any] = {}
    exec(hint.removeprefix("Set ").removesuffix("."), scope)  # noqa: S102 the hint is ours, and is Python
    settings.CHANNEL_LAYERS = scope["CHANNEL_LAYERS"]
    assert found() == []


def test_no_layers_setting_is_an_error(settings: Settings) -> None:
    """Channels has no default layer, so a project without the setting gets the error too."""
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
    """The in-memory layer drops messages above its capacity without an error; the default is 100."""
    layer = {"BACKEND": checks.IN_MEMORY} | ({} if config is None else {"CONFIG": config})
    settings.CHANNEL_LAYERS = {"default": layer}
    assert found() == expected


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        (checks.PUBSUB_LAYER, []),
        (checks.CORE_LAYER, ["chat.W010"]),
        ("channels_postgres.core.PostgresChannelLayer", ["chat.W002"]),
    ],
)
def test_a_layer_that_is_not_for_several_processes_is_a_warning(
    settings: Settings, backend: str, expected: list[str]
) -> None:
    """Presence is shared only through Redis, and the core layer loses messages in a burst."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    assert found() == expected


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
    """``check --deploy`` warns if a page without TLS may open a socket."""
    settings.SESSION_COOKIE_SECURE = secure
    settings.CSRF_TRUSTED_ORIGINS = origins
    deployed = run_checks(tags=[Tags.security], include_deployment_checks=True)
    assert [id_ for id_ in ids(list(deployed)) if id_ and id_.startswith("chat.")] == expected
    developed = run_checks(tags=[Tags.security])
    assert [id_ for id_ in ids(list(developed)) if id_ and id_.startswith("chat.")] == []


def test_every_finding_has_a_hint(settings: Settings) -> None:
    """The hint of a finding names the fix."""
    settings.CHAT = {"GRACE": -1}
    settings.SESSION_COOKIE_SECURE = False
    messages = [*checks.check_chat_settings(), *checks.check_origins()]
    for backend in ("", "elsewhere.Layer", checks.CORE_LAYER, checks.IN_MEMORY):
        layers = {"default": {"BACKEND": backend}} if backend else {}
        settings.CHANNEL_LAYERS = layers
        messages += checks.check_channel_layer()
    assert ids(messages) == ["chat.E001", "chat.W003", "chat.E002", "chat.W002", "chat.W010", "chat.W001"]
    assert all(message.hint for message in messages)


def test_our_own_layer_needs_no_configuration(settings: Settings) -> None:
    """The process layer is valid without a configuration; a small capacity gets a warning."""
    layer: dict[str, Any] = {"BACKEND": checks.PROCESS_LAYER}
    settings.CHANNEL_LAYERS = {"default": layer}
    assert found() == []
    layer["CONFIG"] = {"capacity": 100}
    assert found() == ["chat.W001"]


def deployed() -> list[str | None]:
    """The chat's security findings of ``check --deploy``."""
    found = run_checks(tags=[Tags.security], include_deployment_checks=True)
    return [id_ for id_ in ids(list(found)) if id_ and id_.startswith("chat.")]


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ({"JWT_KEY": "short"}, "JWT_KEY must have at least 32 bytes"),
        ({"JWT_KEY": "-----BEGIN PUBLIC KEY-----", "JWT_ALGORITHMS": ["RS256"]}, "JWT_KEY can't be read"),
        ({"JWT_KEY": "-----BEGIN PUBLIC KEY-----"}, "JWT_ALGORITHMS has HS256"),
        ({"JWT_JWKS": "/nowhere/jwks.json", "JWT_ALGORITHMS": ["RS256"]}, "JWT_JWKS: /nowhere/jwks.json can't be"),
        ({"JWT_JWKS": "http://id.example.com/", "JWT_ALGORITHMS": ["RS256"]}, "JWT_JWKS must be an https URL"),
        ({"JWT_ALGORITHMS": ["RS256"]}, "JWT_ALGORITHMS has RS256"),
        ({"JWT_USER_FIELD": "nickname"}, "JWT_USER_FIELD must be a field"),
    ],
)
def test_tokens_that_can_not_be_verified_are_an_error(
    settings: Settings, chat: dict[str, Any], message: str
) -> None:
    """The error comes before the first token, and names its setting."""
    settings.CHAT = chat
    assert set(found()) == {"chat.E003"}
    assert any(finding.msg.startswith(message) for finding in checks.check_tokens())
    assert all(finding.hint for finding in checks.check_tokens())


def test_the_secret_key_must_not_sign_tokens(settings: Settings) -> None:
    """SECRET_KEY signs sessions, so no other service may have it."""
    settings.CHAT = {"JWT_KEY": settings.SECRET_KEY}
    assert found() == ["chat.E003"]
    assert settings.SECRET_KEY not in str(checks.check_tokens())


def test_settings_of_tokens_are_not_checked_without_tokens(settings: Settings) -> None:
    """A project that turned tokens off need not correct their settings."""
    settings.CHAT = {"JWT_ALGORITHMS": [], "JWT_KEY": "short", "JWT_USER_FIELD": "email"}
    assert found() == []


@pytest.mark.parametrize(
    ("field", "expected"), [("pk", []), ("id", []), ("username", []), ("email", ["chat.W006"])]
)
def test_a_user_field_that_is_not_unique_is_a_warning(settings: Settings, field: str, expected: list[str]) -> None:
    """Two accounts with one email address would both match a token."""
    settings.CHAT = {"JWT_USER_FIELD": field}
    assert found() == expected


def test_limits_that_are_off_are_a_warning_at_each_start(settings: Settings) -> None:
    """The warning is not for deployments only, because a benchmark's setting is easily forgotten."""
    settings.CHAT = {"LIMITS": False}
    assert found() == ["chat.W004"]


def test_a_bad_setting_is_reported_once(settings: Settings) -> None:
    """Checks that need the settings have no findings if the settings are invalid."""
    settings.CHAT = {"LIMITS": False, "JWT_KEY": "short", "GRACE": -1}
    assert found() == ["chat.E001"]


@pytest.mark.parametrize(
    ("name", "installed", "expected"),
    [
        ("django", "5.2.18", ["chat.W005"]),
        ("django", "4.2", ["chat.W005"]),
        ("django", "5.2.19", []),
        ("django", "6.0", []),
        ("daphne", "4.2.2", ["chat.W005"]),
        ("daphne", "4.10.0", []),
        ("autobahn", "26.10", ["chat.W005"]),
        ("autobahn", "26.10.1rc1", []),
        ("pyjwt", "2.14.9", ["chat.W005"]),
        ("pyjwt", "unknown", ["chat.W005"]),
        ("daphne", None, []),
    ],
)
def test_an_old_version_is_a_warning_on_deployment(
    monkeypatch: pytest.MonkeyPatch, name: str, installed: str | None, expected: list[str]
) -> None:
    """Versions are compared by their numbers, not as text; a missing package is not old."""
    installed_version = checks._installed
    monkeypatch.setattr(
        checks, "_installed", lambda other: installed if other == name else installed_version(other)
    )
    assert deployed() == expected


def test_a_missing_package_has_no_version() -> None:
    """Daphne may be missing if another server runs the site."""
    assert checks._installed("no-such-package-of-ours") is None


def test_the_minimum_versions_are_those_of_the_project() -> None:
    """The check and pyproject.toml have the same minimum versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lines = [re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+).*", line) for line in project]
    minimums = {line[1]: checks._numbers(line[2]) for line in lines if line}
    assert {name: minimums[name] for name in checks.MIN_VERSIONS} == checks.MIN_VERSIONS


@pytest.mark.parametrize(
    ("engine", "expected"), [("signed_cookies", ["chat.W007"]), ("db", []), ("cached_db", []), ("cache", [])]
)
def test_sessions_in_cookies_are_a_warning_on_deployment(
    settings: Settings, engine: str, expected: list[str]
) -> None:
    """The server can't end a session that only the browser has."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    assert deployed() == expected


@pytest.mark.parametrize(
    ("hosts", "expected"), [(["*"], ["chat.W008"]), (["a.example", "*"], ["chat.W008"]), ([".example.com"], [])]
)
def test_any_host_is_a_warning_on_deployment(settings: Settings, hosts: list[str], expected: list[str]) -> None:
    """The Origin check compares with the request's host."""
    settings.ALLOWED_HOSTS = hosts
    assert deployed() == expected


@pytest.mark.parametrize(
    ("header", "chat", "expected"),
    [
        (("HTTP_X_FORWARDED_PROTO", "https"), {"LIMITS": True}, ["chat.W009"]),
        (("HTTP_X_FORWARDED_PROTO", "https"), {"LIMITS": True, "PROXIES": ["127.0.0.1"]}, []),
        (None, {"LIMITS": True}, []),
    ],
)
def test_an_unknown_proxy_is_a_warning_on_deployment(
    settings: Settings, header: tuple[str, str] | None, chat: dict[str, object], expected: list[str]
) -> None:
    """All clients would share the limits of one address."""
    settings.SECURE_PROXY_SSL_HEADER, settings.CHAT = header, chat
    assert deployed() == expected


def test_the_site_itself_is_fit_for_deployment() -> None:
    """With HTTPS=1 and the proxy's address, `check --deploy` finds nothing in the site's settings."""
    environment = {
        **os.environ,
        "HTTPS": "1",
        "CHAT_PROXIES": "127.0.0.1",
        "SECRET_KEY": "x" * 25 + "abcdefghijklmnopqrstuvwxyz",
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_start_without_limits_warns() -> None:
    """Every command that starts with CHAT_LIMITS=off prints the warning, `serve` too."""
    environment = {**os.environ, "CHAT_LIMITS": "off"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "(chat.W004) LIMITS is off" in done.stderr
