"""Signers of tokens: pairs of keys, tokens of every kind, JWK sets, and a server on loopback that has one."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from chat.auth.keys import PrivateKey

JWK_OF = {"RS256": RSAAlgorithm.to_jwk, "ES256": ECAlgorithm.to_jwk, "EdDSA": OKPAlgorithm.to_jwk}


@dataclass
class Signer:
    """Somebody with a private key."""

    algorithm: str
    private: PrivateKey
    kid: str | None = None

    @cached_property
    def public_pem(self) -> str:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @cached_property
    def private_pem(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def jwk(self, **members: Any) -> dict[str, Any]:
        """The public key as a JWK."""
        found: dict[str, Any] = JWK_OF[self.algorithm](self.private.public_key(), as_dict=True)  # type: ignore[operator]
        return found | ({"kid": self.kid} if self.kid else {}) | members

    def sign(self, payload: dict[str, Any], **header: Any) -> str:
        names = {"kid": self.kid} if self.kid else {}
        return jwt.encode(payload, self.private, self.algorithm, {**names, **header})


def rsa_signer(kid: str | None = None, bits: int = 2_048) -> Signer:
    return Signer("RS256", rsa.generate_private_key(65_537, bits), kid)


def ec_signer(kid: str | None = None) -> Signer:
    return Signer("ES256", ec.generate_private_key(ec.SECP256R1()), kid)


def ed_signer(kid: str | None = None) -> Signer:
    return Signer("EdDSA", ed25519.Ed25519PrivateKey.generate(), kid)


def jwk_set(*signers: Signer) -> bytes:
    return json.dumps({"keys": [signer.jwk() for signer in signers]}).encode()


def payload(**claims: Any) -> dict[str, Any]:
    """The claims of a valid token, for an hour; None removes a claim."""
    now = int(time.time())
    full = {"sub": "1", "aud": "chat", "iat": now, "exp": now + 3_600, **claims}
    return {name: value for name, value in full.items() if value is not None}


def segment(value: Any) -> str:
    """A part of a token: JSON, or bytes as they are."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Issuer:
    """The response of a server on loopback, and its number of requests."""

    url: str = ""
    answer: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    asked: int = 0


@contextmanager
def issuer() -> Iterator[Issuer]:
    """A server that answers every GET with ``answer``."""
    told = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.answer)))
            self.end_headers()
            self.wfile.write(told.answer)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
