"""A JWK set (RFC 7517): the public keys of the tokens' issuer, in a file or at a URL. Changes are picked up."""

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

from chat.auth.keys import KEY_KINDS, Key, key_of_jwk

logger = logging.getLogger("chat.auth")

SIZE_LIMIT = 262_144
"""Largest set, in bytes."""
KEYS_LIMIT = 32
"""Most keys of a set: a token without a key id is checked with each key of its algorithm."""
FETCH_TIMEOUT = 5.0
"""Seconds that a fetch may take, from the first to the last byte."""
REFETCH_INTERVAL = 60.0
"""Least seconds between two fetches. Unknown key ids in tokens can't cause more."""
RETRY_INTERVAL = 5.0
"""Least seconds between two fetches until the first one succeeds."""
MAX_AGE = 3_600.0
"""Seconds after which a set is fetched again in any case: issuers also revoke keys."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

Keys = tuple[Key, ...]


class KeySetUnavailable(Exception):  # noqa: N818 the name states the condition
    """The set could not be fetched yet."""


class Source(Protocol):
    def keys(self, kid: str | None) -> Keys:
        """All keys of the set, read again if no key has the id ``kid``. Safe to call from any thread."""


@lru_cache(maxsize=8)
def source(location: str) -> Source:
    """The source of a set. There is one per location, which caches the keys."""
    return JwksUrl(location) if is_url(location) else JwksFile(Path(location))


def is_url(location: str) -> bool:
    return "://" in location


def url_fault(url: str) -> str | None:
    """The fault in the URL of a set, or None. Without TLS an attacker could replace the keys."""
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
    """The supported keys of a set; others are skipped. Raises ValueError if there is none."""
    if len(data) > SIZE_LIMIT:
        raise ValueError(f"is longer than {SIZE_LIMIT} bytes")
    try:
        members = msgspec.json.decode(data, type=dict[str, Any]).get("keys")
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("is not a JSON object") from None
    if not isinstance(members, list):
        raise ValueError('is not a JWK set: it has no list "keys"')  # noqa: TRY004 the fault is in the content, not in the caller
    keys = tuple(key for member in members if isinstance(member, dict) and (key := key_of_jwk(member)))
    if not keys:
        raise ValueError(f"has no key that is {KEY_KINDS}")
    return keys[:KEYS_LIMIT]


class JwksFile:
    """A set in a file, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._keys: Keys = ()
        # Stamp of the file at the last read, successful or not; None if the file never existed.
        self._stamp: tuple[int, int, int] | None = None

    def keys(self, kid: str | None) -> Keys:  # noqa: ARG002 as Source
        with self._lock:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._stamp = stamp
                self._read()
            if not self._keys:
                raise ImproperlyConfigured(f"JWT_JWKS: {self._path} can't be read, or has no supported keys.")
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
            logger.warning(
                "JWT_JWKS: the file %s can't be used, so the keys read before stay in use: %s",
                self._path,
                _short(error),
            )


class JwksUrl:
    """A set at a URL, fetched when a key is needed first, when a token names an unknown key, and after MAX_AGE.

    One thread fetches. Others go on with the keys of the last fetch, or get KeySetUnavailable before the first
    one.
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
        # Time of the last successful fetch, and earliest time of the next one (by ``clock``).
        self._since = 0.0
        self._not_before = float("-inf")

    def keys(self, kid: str | None) -> Keys:
        """Raises Unavailable."""
        if self._is_due(kid) and self._fetching.acquire(blocking=False):
            try:
                # Another thread may have fetched the set in between.
                if self._is_due(kid):
                    self._refresh()
            finally:
                self._fetching.release()
        if not self._keys:
            raise KeySetUnavailable
        return self._keys

    def _is_due(self, kid: str | None) -> bool:
        now = self._clock()
        if now < self._not_before:
            return False
        is_unknown = kid is not None and all(key.kid != kid for key in self._keys)
        return not self._keys or is_unknown or now >= self._since + MAX_AGE

    def _refresh(self) -> None:
        now = self._clock()
        self._not_before = now + (REFETCH_INTERVAL if self._keys else RETRY_INTERVAL)
        try:
            self._keys = read_set(self._fetch(self._url))
        except (OSError, http.client.HTTPException, ValueError) as error:
            logger.warning(
                "JWT_JWKS: the set was not fetched, so the keys of the last fetch stay in use: %s", _short(error)
            )
        else:
            self._since, self._not_before = now, now + REFETCH_INTERVAL


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Makes a redirect an error: it could lead to a URL without TLS."""

    def redirect_request(self, *_: Any) -> None: ...


_opener = urllib.request.build_opener(_NoRedirects)


def download(url: str) -> bytes:
    """The set's bytes, read until they exceed SIZE_LIMIT, in FETCH_TIMEOUT. Raises OSError, HTTPException,
    ValueError.
    """
    if fault := url_fault(url):
        raise ValueError(fault)
    deadline = time.monotonic() + FETCH_TIMEOUT
    headers = {"Accept": "application/json", "User-Agent": "chat"}
    data = bytearray()
    with _opener.open(urllib.request.Request(url, headers=headers), timeout=FETCH_TIMEOUT) as response:  # noqa: S310 see url_fault
        # The timeout holds for each read: a server that sends a byte now and then would block us forever.
        while len(data) <= SIZE_LIMIT and (part := response.read1(SIZE_LIMIT)):
            data += part
            if time.monotonic() > deadline:
                raise TimeoutError(f"it took longer than {FETCH_TIMEOUT} seconds")
    return bytes(data)


def _short(error: Exception) -> str:
    """The error in one line, whatever the server answered."""
    return f"{type(error).__name__}: {str(error)[:200]!r}"
