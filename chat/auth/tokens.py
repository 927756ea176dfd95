"""Tokens: a JWT (RFC 7519) that says which account a socket is, for programs and for pages of other sites.

Whoever shows a wrong one is told one sentence, whatever is wrong: the log has the reason, and never the token.
RFC 8725 is what this follows: the algorithms are ours to choose, each key is for one of them, and nothing that a
header points to (``jku``, ``x5u``, ``jwk``) is looked at.
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
from chat.auth.keys import HS256, Private
from chat.conf import chat_settings
from chat.protocol import MAX_INTEGER, ErrorCode, Invalid
from chat.protocol.text import CONTROL

logger = logging.getLogger("chat.auth")

TOKEN_LIMIT = 8_192
"""Characters of a token; those of the big identity providers have up to 4,000."""
_OPTIONS: Any = {
    "require": ["exp", "aud", "sub"],
    # What has expired is told apart from what is wrong: that comes last, and here.
    "verify_exp": False,
    "enforce_minimum_key_length": True,
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that is right says."""

    # The account's JWT_USER_FIELD, as text.
    subject: str
    # Seconds since 1970.
    expires: float
    # Of the account's password and the like, as they were when the site itself signed it; None for other issuers.
    hash: str | None = None


class _Refusal(Exception):  # noqa: N818 it never leaves this module
    """Why a token is refused, for the log."""


def authenticate(token: str) -> tuple[AbstractBaseUser, Claims]:
    """The account that a token is of. Reads the database, and perhaps the issuer's keys. Raises as ``verify``."""
    claims = verify(token)
    return account_of(claims), claims


def verify(token: str) -> Claims:
    """What a token says, if it is right.

    Raises Invalid: BAD_TOKEN, TOKEN_EXPIRED, or BUSY where the issuer's keys can't be had yet; and
    ImproperlyConfigured where the settings are wrong.
    """
    try:
        claims = _claims(_payload(token))
    except (_Refusal, jwt.PyJWTError) as error:
        raise _refused(error) from None
    except jwks.Unavailable:
        raise Invalid(
            ErrorCode.BUSY,
            "token: can't be checked just now",
            field="token",
            retry_after=int(1_000 * jwks.RETRY),
        ) from None
    if claims.expires <= time.time() - chat_settings().JWT_LEEWAY:
        raise Invalid(ErrorCode.TOKEN_EXPIRED, "token: has expired", field="token")
    return claims


def account_of(claims: Claims) -> AbstractBaseUser:
    """The account, as it is now: there, active, and with the password of when the site signed the token.

    Raises Invalid.
    """
    try:
        return _user(claims)
    except _Refusal as error:
        raise _refused(error) from None


def mint(user: AbstractBaseUser, hours: float, key: tuple[str, Private] | None = None) -> str:
    """A token for ``user``, signed with the site's own secret, or with ``key``: an algorithm and a private key.

    Raises ImproperlyConfigured where the site has no secret of its own.
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
    """A token's content, its signature and claims checked, but for the end of its time."""
    if len(token) > TOKEN_LIMIT or not token.isascii():
        raise _Refusal("it is too long, or not ASCII")
    algorithm, kid = _header(token)
    for key in trusted.candidates(algorithm, kid):
        try:
            return _decoded(token, key.material, algorithm)
        except jwt.InvalidSignatureError:
            continue
    raise _Refusal("no key that is trusted has signed it")


def _header(token: str) -> tuple[str, str | None]:
    """The algorithm and the key's name that a token claims: a question to our own keys, nothing more."""
    header = jwt.get_unverified_header(token)
    if "crit" in header:
        raise _Refusal("it wants an extension that must be understood")
    algorithm = header.get("alg")
    if algorithm not in trusted.algorithms():
        raise _Refusal("its algorithm is none of JWT_ALGORITHMS")
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
            raise _Refusal(f"its {name} is no time")
    subject, seal = payload["sub"], payload.get("hash")
    if not subject or CONTROL.search(subject):
        raise _Refusal("its sub is empty, or has control characters")
    if seal is not None and not (isinstance(seal, str) and seal.isascii()):
        raise _Refusal("its hash is no text of ours")
    return Claims(subject=subject, expires=float(payload["exp"]), hash=seal)


def _is_time(value: object) -> bool:
    """Seconds since 1970 (NumericDate); PyJWT takes more for one."""
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
        raise _Refusal("it is of no account") from None
    except MultipleObjectsReturned:
        raise _Refusal("several accounts have its sub: JWT_USER_FIELD must be unique") from None
    except (ValueError, ValidationError, OverflowError):
        raise _Refusal("its sub is no value of JWT_USER_FIELD") from None
    return user


def _has_hash(user: AbstractBaseUser, seal: str) -> bool:
    now = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(hmac.compare_digest(_hash(one).encode(), seal.encode()) for one in now)


def _hash(session_hash: str) -> str:
    """Changes with what ends the account's sessions (password, SECRET_KEY), and tells nothing of it."""
    return hmac.new(session_hash.encode(), b"chat.auth.tokens", "sha256").hexdigest()[:32]


def _refused(error: Exception) -> Invalid:
    """One sentence for all that is wrong. PyJWT's own words may have a part of the token, so its kind must do."""
    reason = str(error) if isinstance(error, _Refusal) else type(error).__name__
    logger.info("refused a token: %s", reason)
    return Invalid(ErrorCode.BAD_TOKEN, "token: is not valid here", field="token")
