"""Public and private keys for tokens: each key is for one algorithm, which its own kind tells and never a token.

A key that could be used with another algorithm than its own is how forged tokens pass (RFC 8725, section 2.1).
"""

from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

Public = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
Private = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

HS256 = "HS256"
LEAST_SECRET = 32
"""Bytes of a secret for HS256 (RFC 7518, section 3.2)."""
LEAST_RSA = 2_048
"""Bits of an RSA key (RFC 7518, section 3.3)."""
KINDS = f"RSA of at least {LEAST_RSA} bits, EC on the curve P-256, or Ed25519"

_JWK_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}
_PUBLIC_MEMBERS = ("kty", "crv", "n", "e", "x", "y")


@dataclass(frozen=True, slots=True)
class Key:
    """What a signature is checked with."""

    algorithm: str
    # A secret for HS256, else a public key.
    material: Public | bytes
    # What a token's header calls it; None for a key that isn't of a JWK set.
    kid: str | None = None


def algorithm_of(key: object) -> str | None:
    """The algorithm of a public key; None for a key of no kind that is used here, or one that is too short."""
    if isinstance(key, RSAPublicKey) and key.key_size >= LEAST_RSA:
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    return "EdDSA" if isinstance(key, Ed25519PublicKey) else None


def is_pem(text: str) -> bool:
    return "-----BEGIN" in text


def public_key(pem: str) -> Key:
    r"""The public key in a PEM text, whose line breaks may be written ``\n``. Raises ValueError."""
    try:
        found: Any = load_pem_public_key(pem.replace("\\n", "\n").encode())
    except UnsupportedAlgorithm:
        found = None
    algorithm = algorithm_of(found)
    if algorithm is None:
        raise ValueError(f"must be {KINDS}")
    return Key(algorithm, found)


def private_key(pem: bytes) -> tuple[str, Private]:
    """The private key in a PEM file, and its algorithm. Raises ValueError with what is wrong."""
    try:
        found: Any = load_pem_private_key(pem, password=None)
        algorithm = algorithm_of(found.public_key())
    except TypeError:
        raise ValueError("is locked with a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is not a private key in PEM that can be read") from None
    if algorithm is None:
        raise ValueError(f"must be {KINDS}")
    return algorithm, found


def key_of_jwk(jwk: dict[str, Any]) -> Key | None:
    """The public key in a JWK (RFC 7517); None where it is not for signatures, or of no kind that is used here."""
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        return None
    reader = _JWK_READERS.get(str(jwk.get("kty")))
    if reader is None:
        # A symmetric key, above all: a set is for everybody to read, a secret is not.
        return None
    try:
        found = reader({name: jwk[name] for name in _PUBLIC_MEMBERS if name in jwk})
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError):
        return None
    algorithm = algorithm_of(found)
    if algorithm is None or jwk.get("alg", algorithm) != algorithm:
        return None
    kid = jwk.get("kid")
    return Key(algorithm, found, kid if isinstance(kid, str) else None)  # type: ignore[arg-type]  # algorithm_of knows
