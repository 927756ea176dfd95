"""Public and private keys for tokens. Each key is for one algorithm, which follows from the kind of the key.

A token never chooses the algorithm: a key that is used with another one accepts forged tokens (RFC 8725, section
2.1).
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

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

HS256 = "HS256"
MIN_SECRET_BYTES = 32
"""Shortest secret for HS256, in bytes (RFC 7518, section 3.2)."""
MIN_RSA_BITS = 2_048
"""Shortest RSA key, in bits (RFC 7518, section 3.3)."""
KEY_KINDS = f"RSA of at least {MIN_RSA_BITS} bits, EC on the curve P-256, or Ed25519"

_JWK_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}
_PUBLIC_MEMBERS = ("kty", "crv", "n", "e", "x", "y")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that checks signatures."""

    algorithm: str
    # A secret for HS256, else a public key.
    material: PublicKey | bytes
    # The key's id, which a token's header may name; None for a key from outside a JWK set.
    kid: str | None = None


def algorithm_of(key: object) -> str | None:
    """The algorithm of a public key; None if its kind is not supported or it is too short."""
    if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
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
        raise ValueError(f"must be {KEY_KINDS}")
    return Key(algorithm, found)


def private_key(pem: bytes) -> tuple[str, PrivateKey]:
    """The private key in a PEM file, and its algorithm. Raises ValueError with a sentence about the fault."""
    try:
        found: Any = load_pem_private_key(pem, password=None)
        algorithm = algorithm_of(found.public_key())
    except TypeError:
        raise ValueError("is locked with a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is not a private key in PEM that can be read") from None
    if algorithm is None:
        raise ValueError(f"must be {KEY_KINDS}")
    return algorithm, found


def key_of_jwk(jwk: dict[str, Any]) -> Key | None:
    """The public key in a JWK (RFC 7517); None if it is not for signatures or its kind is not supported."""
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        return None
    reader = _JWK_READERS.get(str(jwk.get("kty")))
    if reader is None:
        # For example a symmetric key: everybody can read a set, so it must not hold a secret.
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
