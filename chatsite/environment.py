"""Typed readers of environment variables. A bad value raises an error that names the variable and valid values."""

import contextlib
import os
import re
import secrets
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

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
    """One of the known words, in lower case."""
    word = text(name, default).lower() or default
    if word not in known:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(known)}, not {word!r}.")
    return word


def listed(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def origins(name: str) -> list[str]:
    """Comma-separated origins as browsers send them: scheme://host[:port], in lower case, without a path."""
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


SENTINEL_PORT = 26_379
SENTINEL_TIMEOUT = 5
"""Seconds that a Sentinel may take to answer."""
SENTINELS = re.compile(
    r"(?P<tls>rediss?)\+sentinel://(?:(?P<user>[^:@/]*):(?P<password>[^@/]*)@)?"
    r"(?P<hosts>[^/@?]+)/(?P<master>[\w.-]+)(?:/(?P<db>\d+))?/?"
)


def redis(name: str) -> dict[str, Any]:
    """A Redis host for channels-redis; empty if the variable is not set.

    The variable has the form redis://host:port/0, rediss://... or redis+sentinel://host:port,host:port/master/0.
    """
    url = text(name)
    if not url:
        return {}
    if found := SENTINELS.fullmatch(url):
        return _of_sentinels(name, url, found)
    if _split(name, url).scheme not in {"redis", "rediss"} or not _split(name, url).hostname:
        raise ImproperlyConfigured(
            f"{name} must be redis://host:port/0, rediss://... or redis+sentinel://host:port,host:port/master/0, "
            f"not {_shown(url)}."
        )
    return {"address": url}


def _of_sentinels(name: str, url: str, found: re.Match[str]) -> dict[str, Any]:
    hosts = [_split(name, f"redis://{host}") for host in found["hosts"].split(",")]
    if not all(host.hostname for host in hosts):
        raise ImproperlyConfigured(f"{name} names a Sentinel without a host: {_shown(url)}.")
    user = {"username": unquote(found["user"] or ""), "password": unquote(found["password"] or "")}
    given = {key: value for key, value in user.items() if value}
    # The pool has its own name for TLS. Connections to the Sentinels use redis-py's.
    tls = found["tls"] == "rediss"
    return {
        "sentinels": [(host.hostname, host.port or SENTINEL_PORT) for host in hosts],
        "master_name": found["master"],
        "db": int(found["db"] or 0),
        **given,
        "sentinel_kwargs": {"socket_timeout": SENTINEL_TIMEOUT, **({"ssl": True} if tls else {})},
        **({"ssl": True} if tls else {}),
    }


def tcp_options(**options: int) -> dict[int, int]:
    """The TCP options that this system has, by their numbers."""
    return {getattr(socket, name): value for name, value in options.items() if hasattr(socket, name)}


def prefix(name: str, default: str) -> str:
    """A prefix of names."""
    found = text(name) or default
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,40}", found):
        raise ImproperlyConfigured(f"{name} must be 1-40 letters, digits, _ . : or -, not {found!r}.")
    return found


def secret_key(name: str, kept_in: Path) -> str:
    """The variable, or a key that is generated once and kept in a file that only its owner can read."""
    key = text(name)
    if key:
        least = 32
        if len(key) < least:
            raise ImproperlyConfigured(f"{name} must have at least {least} characters, not {len(key)}.")
        return key
    if not kept_in.exists():
        kept_in.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_once(kept_in, secrets.token_urlsafe(50))
    if kept := kept_in.read_text().strip():
        return kept
    raise ImproperlyConfigured(f"{name} is not set, and the file that keeps it is empty: delete {kept_in}.")


def _write_once(path: Path, content: str) -> None:
    """Create a file that only its owner can read, whole or not at all. An existing file stays."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        Path(draft).unlink()


def command() -> str:
    """The running management command, "pytest" under pytest, or "" in another ASGI server."""
    if "pytest" in sys.modules:
        return "pytest"
    if Path(sys.argv[0]).name in {"manage.py", "django-admin"}:
        return sys.argv[1] if len(sys.argv) > 1 else "help"
    return ""


def _split(name: str, url: str) -> SplitResult:
    """The URL's parts. Its port must be a number."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # urlsplit's message may have a part of the password.
        raise ImproperlyConfigured(f"{name} is not a URL: {_shown(url)}.") from None
    return parts


def _host_and_port(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port is None else f"{host}:{parts.port}"


def _shown(url: str) -> str:
    """The URL for a terminal or a log: without its password, even in a malformed URL."""
    return repr(re.sub(r"^(\w+://)?.*@", r"\1***@", url, flags=re.DOTALL).partition("?")[0])
