"""The environment's variables, read with their type. A bad one stops the start with its name and what is right."""

import contextlib
import os
import re
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

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


def log_level(name: str, default: str) -> str:
    level = text(name, default).upper()
    known = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    if level not in known:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(known)}, not {level!r}.")
    return level


def choice(name: str, default: str, known: tuple[str, ...]) -> str:
    """One of some words, in small letters."""
    word = text(name, default).lower() or default
    if word not in known:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(known)}, not {word!r}.")
    return word


def listed(name: str, default: str = "") -> list[str]:
    """Comma-separated."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def origins(name: str) -> list[str]:
    """Comma-separated origins as browsers send them: scheme://host[:port], small letters and nothing after."""
    found = listed(name)
    for origin in found:
        parts = _split(name, origin)
        known = parts.scheme in {"http", "https"} and parts.hostname
        if not known or origin != f"{parts.scheme}://{_host_and_port(parts)}":
            raise ImproperlyConfigured(
                f"{name} must list origins like https://chat.example.com, not {_shown(origin)}."
            )
    return found


def database(name: str, default: str) -> dict[str, Any]:
    """A Django DATABASES entry from a URL: sqlite:///path or postgres://user:password@host/name."""
    url = text(name, default)
    if _split(name, url).scheme not in {"sqlite", "postgres", "postgresql"}:
        raise ImproperlyConfigured(
            f"{name} must be sqlite:///path or postgres://user:password@host:port/name, not {_shown(url)}."
        )
    config: dict[str, Any] = environ.Env.db_url_config(url)
    if not config.get("NAME"):
        raise ImproperlyConfigured(f"{name} names no database: {_shown(url)}.")
    return config


def redis_url(name: str) -> str:
    url = text(name)
    if url and (_split(name, url).scheme not in {"redis", "rediss"} or not _split(name, url).hostname):
        raise ImproperlyConfigured(f"{name} must be redis://host:port/0 or rediss://..., not {_shown(url)}.")
    return url


def prefix(name: str, default: str) -> str:
    """What names begin with."""
    found = text(name) or default
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,40}", found):
        raise ImproperlyConfigured(f"{name} must be 1-40 letters, digits, _ . : or -, not {found!r}.")
    return found


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
        _write_once(kept_in, secrets.token_urlsafe(50))
    if kept := kept_in.read_text().strip():
        return kept
    raise ImproperlyConfigured(f"{name} is not set, and the file that keeps it is empty: delete {kept_in}.")


def _write_once(path: Path, content: str) -> None:
    """Make a file that only the owner reads, whole or not at all. Of two processes, the first one's stays."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        Path(draft).unlink()


def command() -> str:
    """The management command that runs, "pytest" under pytest, else "" (an ASGI server imported us)."""
    if "pytest" in sys.modules:
        return "pytest"
    if Path(sys.argv[0]).name in {"manage.py", "django-admin"}:
        return sys.argv[1] if len(sys.argv) > 1 else "help"
    return ""


def _split(name: str, url: str) -> SplitResult:
    """The URL's parts, its port a number."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # Its own words may have a part of the password.
        raise ImproperlyConfigured(f"{name} is not a URL: {_shown(url)}.") from None
    return parts


def _host_and_port(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port is None else f"{host}:{parts.port}"


def _shown(url: str) -> str:
    """The URL without its password, or what a slip made of one: it goes to a terminal or a log."""
    return repr(re.sub(r"^(\w+://)?.*@", r"\1***@", url, flags=re.DOTALL).partition("?")[0])
