"""The keys that the settings trust, and the faults of these settings. System checks and use share this module."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.utils.crypto import salted_hmac
from django.utils.encoding import force_bytes

from chat.auth import jwks
from chat.auth.keys import HS256, KEY_KINDS, MIN_SECRET_BYTES, Key, is_pem, public_key
from chat.conf import ChatSettings, chat_settings


def algorithms() -> tuple[str, ...]:
    """The algorithms that a token may use. Raises ImproperlyConfigured if the settings are wrong."""
    return _checked_settings().JWT_ALGORITHMS


def candidates(algorithm: str, kid: str | None) -> Iterator[Key]:
    """The keys that a token with this header may have been signed with.

    Raises ImproperlyConfigured if the settings are wrong, and jwks.KeySetUnavailable.
    """
    given = _checked_settings()
    if algorithm not in given.JWT_ALGORITHMS:
        return
    yield from (key for key in _own_keys(given) if key.algorithm == algorithm)
    if given.JWT_JWKS and algorithm != HS256:
        for key in jwks.source(given.JWT_JWKS).keys(kid):
            if key.algorithm == algorithm and kid in (None, key.kid):
                yield key


def signing_secret() -> bytes:
    """The secret that the site signs its own tokens with. Raises ImproperlyConfigured if it has none."""
    for key in _own_keys(_checked_settings()):
        if isinstance(key.material, bytes):
            return key.material
    raise ImproperlyConfigured(
        "The site has no secret to sign tokens with: they are signed with a private key. Pass it with --key."
    )


def faults() -> list[str]:
    """The faults in the settings of tokens, each with the setting's name. Fetches nothing."""
    given = chat_settings()
    found = [*_setting_faults(given, _secret_keys())]
    if given.JWT_ALGORITHMS and given.JWT_JWKS and not jwks.is_url(given.JWT_JWKS):
        found += _file_faults(Path(given.JWT_JWKS))
    return found


def _checked_settings() -> ChatSettings:
    given = chat_settings()
    for fault in _setting_faults(given, _secret_keys()):
        raise ImproperlyConfigured(fault)
    return given


def _secret_keys() -> tuple[bytes, ...]:
    return tuple(force_bytes(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


def _own_keys(given: ChatSettings) -> list[Key]:
    """JWT_KEY; if no key is set, keys derived from SECRET_KEY and SECRET_KEY_FALLBACKS."""
    if given.JWT_KEY:
        return [_given_key(given.JWT_KEY)]
    if given.JWT_JWKS:
        return []
    return [Key(HS256, _made_from(secret)) for secret in _secret_keys()]


@lru_cache(maxsize=8)
def _given_key(text: str) -> Key:
    return public_key(text) if is_pem(text) else Key(HS256, text.encode())


def _made_from(secret_key: bytes) -> bytes:
    """A derived key. An attacker who learns it can forge tokens, but no session and no signed cookie."""
    return salted_hmac("chat.auth.tokens", "HS256", secret=secret_key, algorithm="sha256").digest()


@lru_cache(maxsize=8)
def _setting_faults(given: ChatSettings, secret_keys: tuple[bytes, ...]) -> tuple[str, ...]:
    """The faults, except those in the file of JWT_JWKS, which can change at any time."""
    if not given.JWT_ALGORITHMS:
        # No token is accepted, so nothing else matters.
        return ()
    key_faults = _public_faults(given) if is_pem(given.JWT_KEY) else _secret_faults(given, secret_keys)
    return (*key_faults, *_set_faults(given), *_claim_faults(given))


def _public_faults(given: ChatSettings) -> Iterator[str]:
    if HS256 in given.JWT_ALGORITHMS:
        yield "JWT_ALGORITHMS has HS256, but JWT_KEY is a public key, with which anybody could sign: remove HS256."
    try:
        algorithm = _given_key(given.JWT_KEY).algorithm
    except ValueError:
        yield f"JWT_KEY can't be read: it must be a public key in PEM, {KEY_KINDS}."
        return
    if algorithm not in given.JWT_ALGORITHMS:
        yield f"JWT_ALGORITHMS lacks {algorithm}, which JWT_KEY is a key for."


def _secret_faults(given: ChatSettings, secret_keys: tuple[bytes, ...]) -> Iterator[str]:
    others = [algorithm for algorithm in given.JWT_ALGORITHMS if algorithm != HS256]
    if others and not given.JWT_JWKS:
        yield f"JWT_ALGORITHMS has {others[0]}, which needs JWT_JWKS, or a public key in PEM as JWT_KEY."
    if given.JWT_KEY:
        size = len(given.JWT_KEY.encode())
        if size < MIN_SECRET_BYTES:
            yield f"JWT_KEY must have at least {MIN_SECRET_BYTES} bytes for HS256, not {size}."
        if given.JWT_KEY.encode() in secret_keys:
            yield "JWT_KEY must not be SECRET_KEY, which signs sessions and more: leave it empty, or make another."
        if HS256 not in given.JWT_ALGORITHMS:
            yield "JWT_KEY is a secret, which only HS256 uses: it must be a public key in PEM, or empty."


def _set_faults(given: ChatSettings) -> Iterator[str]:
    if not given.JWT_JWKS:
        return
    if HS256 in given.JWT_ALGORITHMS and not given.JWT_KEY:
        yield "JWT_ALGORITHMS has HS256, but the keys of JWT_JWKS are public: remove HS256, or set JWT_KEY."
    if jwks.is_url(given.JWT_JWKS) and (fault := jwks.url_fault(given.JWT_JWKS)):
        yield f"JWT_JWKS {fault}."


def _claim_faults(given: ChatSettings) -> Iterator[str]:
    if not given.JWT_AUDIENCE:
        yield "JWT_AUDIENCE must not be empty: a token for another service of the issuer would be accepted."
    if not is_user_field(given.JWT_USER_FIELD):
        yield f"JWT_USER_FIELD must be a field of the user model, not {given.JWT_USER_FIELD!r}."


def is_user_field(name: str, *, unique: bool = False) -> bool:
    """True if it is a field of the user model. ``unique``: no two users may have the same value."""
    try:
        field = get_user_model()._meta.get_field(name)  # noqa: SLF001 Django's documented API
    except FieldDoesNotExist:
        return name == "pk"
    return getattr(field, "unique", False) or not unique


def _file_faults(path: Path) -> Iterator[str]:
    try:
        jwks.read_set(path.read_bytes())
    except OSError as error:
        yield f"JWT_JWKS: {path} can't be read: {error.strerror}."
    except ValueError as error:
        yield f"JWT_JWKS: {path} {error}."
