"""A JWK set (RFC 7517): the public keys of whoever signs the tokens, in a file or at a URL, read as it changes."""

import http.client
import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from django.core.exceptions import ImproperlyConfigured

from chat.auth.keys import KINDS, Key, key_of_jwk

logger = logging.getLogger("chat.auth")

SIZE_LIMIT = 262_144
"""Bytes of a set."""
KEYS_LIMIT = 32
"""Keys of a set: a token that names none is checked with each of its algorithm."""
TIMEOUT = 5.0
"""Seconds for fetching a set, from first to last byte."""
REFETCH = 60.0
"""The least seconds between two fetches: an unknown key's name in a token is no reason for more."""
RETRY = 5.0
"""The same, as long as no fetch has succeeded."""
MAX_AGE = 3_600.0
"""Seconds after which a set is fetched again though nothing new was asked for: keys are also taken back."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

Keys = tuple[Key, ...]


class Unavailable(Exception):  # noqa: N818 it names how the set is
    """The set could not be fetched yet."""


class Source(Protocol):
    def keys(self, kid: str | None) -> Keys:
        """All the keys, as new as a token that names ``kid`` needs them. For any thread."""


@lru_cache(maxsize=8)
def source(location: str) -> Source:
    """Where the set is: one object for each place, which keeps what it has read."""
    return JwksUrl(location) if is_url(location) else JwksFile(Path(location))


def is_url(location: str) -> bool:
    return "://" in location


def url_fault(url: str) -> str | None:
    """What is wrong with the URL of a set: what came without TLS could be anybody's keys."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "is not a URL"
    if parts.scheme == "https" and host:
        return None
    if parts.scheme == "http" and host in LOOPBACK:
        return None
    return "must be an https URL (http for localhost only), or a file's path"


def read_set(data: bytes) -> Keys:
    """The keys of a set that are of use here; others are passed over. Raises ValueError where there is none."""
    if len(data) > SIZE_LIMIT:
        raise ValueError(f"is longer than {SIZE_LIMIT} bytes")
    try:
        members = msgspec.json.decode(data, type=dict[str, Any]).get("keys")
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("is not a JSON object") from None
    if not isinstance(members, list):
        raise ValueError('is not a JWK set: it has no list "keys"')  # noqa: TRY004 its content, not our caller's
    keys = tuple(key for member in members if isinstance(member, dict) and (key := key_of_jwk(member)))
    if not keys:
        raise ValueError(f"has no key that is {KINDS}")
    return keys[:KEYS_LIMIT]


class JwksFile:
    """A set in a file, read again whenever the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._keys: Keys = ()
        # Of the file as it was read last, rightly or not; None: it never was there.
        self._stamp: tuple[int, int, int] | None = None

    def keys(self, kid: str | None) -> Keys:  # noqa: ARG002 as Source
        with self._lock:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._stamp = stamp
                self._read()
            if not self._keys:
                raise ImproperlyConfigured(f"JWT_JWKS: {self._path} can't be read, or has no keys of use.")
            return self._keys

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> None:
        try:
            self._keys = read_set(self._path.read_bytes())
        except (OSError, ValueError) as error:
            logger.warning("JWT_JWKS: the file %s, so the keys before it stay: %s", self._path, _short(error))


class JwksUrl:
    """A set at a URL, fetched when its keys are first needed, when an unknown one is, and when it is old.

    One thread fetches; others go on with the keys that there are, or are told that there are none yet.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        fetch: Callable[[str], bytes] | None = None,
    ) -> None:
        self._url = url
        self._clock = clock
        self._fetch = fetch or download
        self._fetching = threading.Lock()
        self._keys: Keys = ()
        # On the clock: when the keys were fetched, and before when they are not fetched again.
        self._since = 0.0
        self._not_before = float("-inf")

    def keys(self, kid: str | None) -> Keys:
        """Raises Unavailable."""
        if self._is_due(kid) and self._fetching.acquire(blocking=False):
            try:
                # Another thread may have been here in between.
                if self._is_due(kid):
                    self._refresh()
            finally:
                self._fetching.release()
        if not self._keys:
            raise Unavailable
        return self._keys

    def _is_due(self, kid: str | None) -> bool:
        now = self._clock()
        if now < self._not_before:
            return False
        is_unknown = kid is not None and all(key.kid != kid for key in self._keys)
        return not self._keys or is_unknown or now >= self._since + MAX_AGE

    def _refresh(self) -> None:
        now = self._clock()
        self._not_before = now + (REFETCH if self._keys else RETRY)
        try:
            self._keys = read_set(self._fetch(self._url))
        except (OSError, http.client.HTTPException, ValueError) as error:
            logger.warning("JWT_JWKS: the set was not fetched, so the keys before it stay: %s", _short(error))
        else:
            self._since, self._not_before = now, now + REFETCH


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to a place without TLS: it is an error."""

    def redirect_request(self, *_: Any) -> None: ...


_opener = urllib.request.build_opener(_NoRedirects)


def download(url: str) -> bytes:
    """At most SIZE_LIMIT bytes and one more, in TIMEOUT. Raises OSError, HTTPException, ValueError."""
    if fault := url_fault(url):
        raise ValueError(fault)
    deadline = time.monotonic() + TIMEOUT
    headers = {"Accept": "application/json", "User-Agent": "chat"}
    data = bytearray()
    with _opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:  # noqa: S310 see url_fault
        # The timeout is for each read: whoever sends a byte now and then would hold us for ever.
        while len(data) <= SIZE_LIMIT and (part := response.read1(SIZE_LIMIT)):
            data += part
            if time.monotonic() > deadline:
                raise TimeoutError(f"it took longer than {TIMEOUT} seconds")
    return bytes(data)


def _short(error: Exception) -> str:
    """One line, whatever a server answered."""
    return f"{type(error).__name__}: {str(error)[:200]!r}"
