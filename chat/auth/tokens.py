"""Tokens: a JWT (RFC 7519) that names the account of a socket, for programs and for pages of other sites.

A client with an invalid token gets the same sentence whatever is wrong. The log has the reason, and never the
token. As RFC 8725 advises, the settings choose the algorithms, each key is for one of them, and nothing that a
header points to (``jku``, ``x5u``, ``jwk``) is read.
"""

import hmac
import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import jwt
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist, ValidationError

from chat.auth import jwks, trusted
from chat.auth.keys import HS256, PrivateKey
from chat.conf import chat_settings
from chat.protocol import MAX_INTEGER, ErrorCode, Invalid
from chat.protocol.text import CONTROL

logger = logging.getLogger("chat.auth")

TOKEN_LIMIT = 8_192
"""Longest token in characters. Tokens of the big identity providers have up to 4,000."""
_OPTIONS: Any = {
    "require": ["exp", "aud", "sub"],
    # Checked last, and by ``verify``: clients can tell an expired token from an invalid one.
    "verify_exp": False,
    "enforce_minimum_key_length": True,
}


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a valid token."""

    # The value of the account's JWT_USER_FIELD, as text.
    subject: str
    # Seconds since 1970.
    expires: float
    # Digest of the account's session auth hash when the site signed the token; None for other issuers.
    hash: str | None = None


class _Refusal(Exception):  # noqa: N818 it is private to this module
    """The reason to refuse a token, for the log."""


def authenticate(token: str) -> tuple[AbstractBaseUser, Claims]:
    """The account of a token, and its claims. Reads the database, and perhaps the issuer's keys.

    Raises the errors of ``verify``.
    """
    claims = verify(token)
    return account_of(claims), claims


def verify(token: str) -> Claims:
    """The claims of a token.

    Raises Invalid (BAD_TOKEN, TOKEN_EXPIRED, or BUSY before the issuer's keys could be fetched), and
    ImproperlyConfigured if the settings are wrong.
    """
    try:
        claims = _claims(_payload(token))
    except (_Refusal, jwt.PyJWTError) as error:
        raise _refused(error) from None
    except jwks.KeySetUnavailable:
        raise Invalid(
            ErrorCode.BUSY,
            "token: can't be checked just now",
            field="token",
            retry_after=int(1_000 * jwks.RETRY_INTERVAL),
        ) from None
    if claims.expires <= time.time() - chat_settings().JWT_LEEWAY:
        raise Invalid(ErrorCode.TOKEN_EXPIRED, "token: has expired", field="token")
    return claims


def account_of(claims: Claims) -> AbstractBaseUser:
    """The account as it is now. Raises Invalid.

    It must exist and be active, and its password must not have changed since the site signed the token.
    """
    try:
        return _user(claims)
    except _Refusal as error:
        raise _refused(error) from None


def mint(user: AbstractBaseUser, hours: float, key: tuple[str, PrivateKey] | None = None) -> str:
    """A token for ``user``, valid for some hours. Raises ImproperlyConfigured if the site has no secret of its
    own.

    It is signed with the site's secret, or with ``key``: an algorithm and a private key.
    """
    given, now = chat_settings(), time.time()
    algorithm, secret = key or (HS256, trusted.signing_secret())
    payload = {
        "sub": str(user.pk if given.JWT_USER_FIELD == "pk" else getattr(user, given.JWT_USER_FIELD)),
        "aud": given.JWT_AUDIENCE,
        "iat": int(now),
        "exp": int(now + hours * 3_600),
        "hash": _hash(user.get_session_auth_hash()),
    }
    if given.JWT_ISSUER:
        payload["iss"] = given.JWT_ISSUER
    return jwt.encode(payload, secret, algorithm)


def _payload(token: str) -> dict[str, Any]:
    """A token's content. Checks the signature and all claims but the expiry."""
    if len(token) > TOKEN_LIMIT or not token.isascii():
        raise _Refusal("it is too long, or not ASCII")
    algorithm, kid = _header(token)
    for key in trusted.candidates(algorithm, kid):
        try:
            return _decoded(token, key.material, algorithm)
        except jwt.InvalidSignatureError:
            continue
    raise _Refusal("it is not signed with a trusted key")


def _header(token: str) -> tuple[str, str | None]:
    """The algorithm and the key id that a token claims. They only select one of the trusted keys."""
    header = jwt.get_unverified_header(token)
    if "crit" in header:
        raise _Refusal("it has a critical extension")
    algorithm = header.get("alg")
    if algorithm not in trusted.algorithms():
        raise _Refusal("its algorithm is not in JWT_ALGORITHMS")
    return str(algorithm), header.get("kid")


def _decoded(token: str, key: Any, algorithm: str) -> dict[str, Any]:
    given = chat_settings()
    return jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=given.JWT_AUDIENCE,
        issuer=given.JWT_ISSUER or None,
        leeway=given.JWT_LEEWAY,
        options=_OPTIONS,
    )


def _claims(payload: dict[str, Any]) -> Claims:
    for name in ("exp", "nbf", "iat"):
        if name in payload and not _is_time(payload[name]):
            raise _Refusal(f"its {name} is not a time")
    subject, seal = payload["sub"], payload.get("hash")
    if not subject or CONTROL.search(subject):
        raise _Refusal("its sub is empty, or has control characters")
    if seal is not None and not (isinstance(seal, str) and seal.isascii()):
        raise _Refusal("its hash is not ASCII text")
    return Claims(subject=subject, expires=float(payload["exp"]), hash=seal)


def _is_time(value: object) -> bool:
    """True for seconds since 1970 (NumericDate). PyJWT accepts other values too."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value <= MAX_INTEGER
    )


def _user(claims: Claims) -> AbstractBaseUser:
    user = _found(claims.subject)
    if not user.is_active:
        raise _Refusal("the account is not active")
    if claims.hash is not None and not _has_hash(user, claims.hash):
        raise _Refusal("the account's password has changed since")
    return user


def _found(subject: str) -> AbstractBaseUser:
    try:
        user: AbstractBaseUser = get_user_model()._default_manager.get(  # noqa: SLF001 Django's documented API
            **{chat_settings().JWT_USER_FIELD: subject}
        )
    except ObjectDoesNotExist:
        raise _Refusal("no account has its sub") from None
    except MultipleObjectsReturned:
        raise _Refusal("several accounts have its sub: JWT_USER_FIELD must be unique") from None
    except (ValueError, ValidationError, OverflowError):
        raise _Refusal("its sub is not a value of JWT_USER_FIELD") from None
    return user


def _has_hash(user: AbstractBaseUser, seal: str) -> bool:
    now = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(hmac.compare_digest(_hash(one).encode(), seal.encode()) for one in now)


def _hash(session_hash: str) -> str:
    """A digest that changes when the account's sessions end (password, SECRET_KEY) and reveals nothing of them."""
    return hmac.new(session_hash.encode(), b"chat.auth.tokens", "sha256").hexdigest()[:32]


def _refused(error: Exception) -> Invalid:
    """The one error for every fault. Logs only the type of PyJWT's errors: their texts may quote the token."""
    reason = str(error) if isinstance(error, _Refusal) else type(error).__name__
    logger.info("refused a token: %s", reason)
    return Invalid(ErrorCode.BAD_TOKEN, "token: is not valid here", field="token")
