"""The environment's variables, read with their type. A bad one stops the start with its name and what is right."""

import os
import secrets
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def boolean(name: str, *, default: bool) -> bool:
    words = {"": default, "1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    try:
        return words[text(name).lower()]
    except KeyError:
        raise ImproperlyConfigured(
            f"{name} must be 1, true, yes, on or 0, false, no, off, not {text(name)!r}."
        ) from None


def listed(name: str, default: str = "") -> list[str]:
    """Comma-separated."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def origins(name: str) -> list[str]:
    """Comma-separated origins: scheme://host[:port] and nothing after."""
    found = listed(name)
    for origin in found:
        parts = urlsplit(origin)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.netloc
            or origin != f"{parts.scheme}://{parts.netloc}"
        ):
            raise ImproperlyConfigured(f"{name} must list origins like https://chat.example.com, not {origin!r}.")
    return found


def database(name: str, default: str) -> dict[str, Any]:
    """A Django DATABASES entry from a URL: sqlite:///path or postgres://user:password@host/name."""
    url = text(name, default)
    if urlsplit(url).scheme not in {"sqlite", "postgres", "postgresql"}:
        raise ImproperlyConfigured(
            f"{name} must be sqlite:///path or postgres://user:password@host:port/name, not {_shown(url)}."
        )
    config: dict[str, Any] = environ.Env.db_url_config(url)
    if not config.get("NAME"):
        raise ImproperlyConfigured(f"{name} names no database: {_shown(url)}.")
    return config


def redis_url(name: str) -> str:
    url = text(name)
    if url and (urlsplit(url).scheme not in {"redis", "rediss"} or not urlsplit(url).hostname):
        raise ImproperlyConfigured(f"{name} must be redis://host:port/0 or rediss://..., not {_shown(url)}.")
    return url


def secret_key(name: str, kept_in: Path) -> str:
    """The variable, or a key that is made once and kept in a file that only the owner reads."""
    key = text(name)
    if key:
        least = 32
        if len(key) < least:
            raise ImproperlyConfigured(f"{name} must have at least {least} characters, not {len(key)}.")
        return key
    if not kept_in.exists():
        kept_in.parent.mkdir(parents=True, exist_ok=True)
        kept_in.touch(mode=0o600)
        kept_in.write_text(secrets.token_urlsafe(50))
    return kept_in.read_text().strip()


def command() -> str:
    """The management command that runs, "pytest" under pytest, else "" (an ASGI server imported us)."""
    if "pytest" in sys.modules:
        return "pytest"
    if Path(sys.argv[0]).name in {"manage.py", "django-admin"}:
        return sys.argv[1] if len(sys.argv) > 1 else "help"
    return ""


def _shown(url: str) -> str:
    """The URL without its password: it goes to a terminal or a log."""
    parts = urlsplit(url)
    return repr(url.replace(f":{parts.password}@", ":***@") if parts.password else url)
