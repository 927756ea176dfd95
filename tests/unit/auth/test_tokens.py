"""Tokens: what lets in, what never does, where the keys come from, and the command that prints one."""

import hashlib
import hmac
import io
import json
import logging
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm
from pytest_django import Settings
from signers import Signer, ec_signer, ed_signer, issuer, jwk_set, payload, rsa_signer, segment
from tables import table

from chat.auth import jwks, keys, tokens, trusted
from chat.protocol import ErrorCode, Invalid

SENTENCE = "token: is not valid here"
ANY = ["HS256", "RS256", "ES256", "EdDSA"]
RSA = rsa_signer("rsa-1")
EC = ec_signer("ec-1")
ED = ed_signer("ed-1")
MALLORY = rsa_signer("rsa-1")
PASSWORD = "a password of her own"


@pytest.fixture(autouse=True)
def _nothing_set(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings as they come; sources of keys that no other test has used; no proxy on the way to loopback."""
    settings.CHAT = {}
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    monkeypatch.setenv("no_proxy", "*")
    jwks.source.cache_clear()
    yield
    jwks.source.cache_clear()


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("Alice", password=PASSWORD)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file that the settings may name as JWT_JWKS."""
    return tmp_path / "jwks.json"


def trust(settings: Settings, **chat: Any) -> None:
    """Take these settings of tokens."""
    settings.CHAT = {f"JWT_{name}": value for name, value in chat.items()}


def refusal(token: str) -> Invalid:
    with pytest.raises(Invalid) as refused:
        tokens.authenticate(token)
    return refused.value


def own(header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token with the site's own secret's signature."""
    return jwt.encode(payload(**claims), trusted.signing_secret(), "HS256", header)


def hand_made(header: Any, content: Any, secret: bytes | None = None) -> str:
    """A token that no library makes, signed all the same."""
    signed = f"{segment(header)}.{segment(content)}"
    mac = hmac.new(secret or trusted.signing_secret(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{segment(mac)}"


HS = {"alg": "HS256", "typ": "JWT"}


# --- What lets in ---


def test_a_minted_token_is_the_account(alice: User) -> None:
    """With nothing set the site signs with a key of its own, and takes what it has signed."""
    before = time.time()
    user, claims = tokens.authenticate(tokens.mint(alice, hours=2))
    assert user == alice
    assert claims.subject == str(alice.pk)
    assert before + 7_199 <= claims.expires <= time.time() + 7_200
    assert claims.hash is not None


def test_the_own_key_is_not_the_secret_key(settings: Settings) -> None:
    """The key of tokens reveals nothing of SECRET_KEY."""
    secret = trusted.signing_secret()
    assert len(secret) >= keys.MIN_SECRET_BYTES
    assert secret != settings.SECRET_KEY.encode()


def test_what_django_signs_is_no_token(settings: Settings, alice: User) -> None:
    """A token that is signed with SECRET_KEY itself is not valid."""
    assert (
        refusal(jwt.encode(payload(sub=str(alice.pk)), settings.SECRET_KEY, "HS256")).code == ErrorCode.BAD_TOKEN
    )


def test_a_new_secret_key_takes_the_fallback_s_tokens(settings: Settings, alice: User) -> None:
    """While SECRET_KEY_FALLBACKS has the key before, its tokens go on; then they end."""
    token = tokens.mint(alice, hours=1)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, as long as a key must be"
    assert tokens.authenticate(token)[0] == alice
    settings.SECRET_KEY_FALLBACKS = []
    assert refusal(token).message == SENTENCE


@pytest.mark.parametrize("key", [b"a key of bytes, as Django allows one too"])
def test_a_secret_key_may_be_bytes(settings: Settings, alice: User, key: bytes) -> None:
    """As Django takes it."""
    settings.SECRET_KEY = key
    assert tokens.authenticate(tokens.mint(alice, hours=1))[0] == alice


@pytest.mark.parametrize("signer", [RSA, EC, ED], ids=lambda signer: signer.algorithm)
def test_a_public_key_checks_another_s_tokens(settings: Settings, alice: User, signer: Signer) -> None:
    """Each kind of key is for its own algorithm; the token need not name the key."""
    trust(settings, KEY=signer.public_pem, ALGORITHMS=[signer.algorithm])
    token = signer.sign(payload(sub=str(alice.pk)))
    user, claims = tokens.authenticate(token)
    assert (user, claims.hash) == (alice, None)


def test_a_key_s_line_breaks_may_be_written(settings: Settings, alice: User) -> None:
    r"""Files of environment variables have no room for line breaks: ``\n`` stands for one."""
    trust(settings, KEY=ED.public_pem.replace("\n", "\\n"), ALGORITHMS=["EdDSA"])
    assert tokens.authenticate(ED.sign(payload(sub=str(alice.pk))))[0] == alice


def test_a_secret_of_two_services_checks_tokens(settings: Settings, alice: User) -> None:
    """JWT_KEY may be a secret that another service signs with; the site's own key is none any more."""
    token = own(sub=str(alice.pk))
    secret = "a secret that two services have in common"
    trust(settings, KEY=secret)
    assert tokens.authenticate(jwt.encode(payload(sub=str(alice.pk)), secret, "HS256"))[0] == alice
    assert refusal(token).message == SENTENCE
    assert tokens.authenticate(tokens.mint(alice, hours=1))[0] == alice


def test_the_subject_may_be_another_field(settings: Settings, alice: User) -> None:
    """JWT_USER_FIELD says what an issuer's `sub` is."""
    trust(settings, USER_FIELD="username")
    assert tokens.authenticate(own(sub="Alice"))[0] == alice
    assert tokens.authenticate(tokens.mint(alice, hours=1))[1].subject == "Alice"
    assert refusal(own(sub=str(alice.pk))).message == SENTENCE


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["علی\u200cرض", "ශ්\u200dරීමාලි", "Ann \U0001fac6", "\U000323b0"])
def test_a_subject_may_be_any_name(settings: Settings, name: str) -> None:
    """Also one with joiners, or of a newer Unicode than this Python knows."""
    trust(settings, USER_FIELD="username")
    user = User.objects.create_user(name)
    assert tokens.authenticate(own(sub=name))[0] == user


@pytest.mark.parametrize("audience", ["chat", ["chat"], ["other", "chat"]])
def test_the_audience_may_be_one_of_several(alice: User, audience: Any) -> None:
    """`aud` is a text or a list (RFC 7519, section 4.1.3)."""
    assert tokens.authenticate(own(sub=str(alice.pk), aud=audience))[0] == alice


def test_the_issuer_must_be_the_one_that_is_set(settings: Settings, alice: User) -> None:
    """Where JWT_ISSUER is set, `iss` must be it; minted tokens have it."""
    trust(settings, ISSUER="https://id.example.com")
    assert tokens.authenticate(own(sub=str(alice.pk), iss="https://id.example.com"))[0] == alice
    assert tokens.authenticate(tokens.mint(alice, hours=1))[0] == alice
    assert refusal(own(sub=str(alice.pk), iss="https://id.example.com.evil.example")).message == SENTENCE
    assert refusal(own(sub=str(alice.pk))).message == SENTENCE


def test_clocks_may_differ_a_little(settings: Settings, alice: User) -> None:
    """JWT_LEEWAY is for the future and for the past."""
    now = int(time.time())
    trust(settings, LEEWAY=100)
    near: list[dict[str, Any]] = [{"nbf": now + 50}, {"iat": now + 50}, {"exp": now - 50}]
    far: list[dict[str, Any]] = [{"nbf": now + 150}, {"iat": now + 150}]
    for claims in near:
        assert tokens.authenticate(own(sub=str(alice.pk), **claims))[0] == alice
    for claims in far:
        assert refusal(own(sub=str(alice.pk), **claims)).code == ErrorCode.BAD_TOKEN
    assert refusal(own(sub=str(alice.pk), exp=now - 150)).code == ErrorCode.TOKEN_EXPIRED


# --- What never does ---


def confused(_: str) -> str:
    """A public key, used as the secret of an HMAC."""
    return hand_made(HS, payload(), RSA.public_pem.encode())


BAD: dict[str, Callable[[str], str]] = {
    "empty": lambda pk: "",
    "a word": lambda pk: "token",
    "two segments": lambda pk: ".".join(own(sub=pk).split(".")[:2]),
    "four segments": lambda pk: own(sub=pk) + ".x",
    "dots": lambda pk: "..",
    "no base64": lambda pk: "!!!.???.***",
    "no JSON": lambda pk: hand_made(b"{", payload(sub=pk)),
    "a header that is a list": lambda pk: hand_made(["HS256"], payload(sub=pk)),
    "a payload that is a list": lambda pk: hand_made(HS, [pk]),
    "a payload that is no UTF-8": lambda pk: hand_made(HS, b'{"sub": "\xff"}'),
    "JSON without end": lambda pk: hand_made(HS, b"[" * 4_000),
    "not ASCII": lambda pk: own(sub=pk) + "\N{SNOWMAN}",
    "a lone surrogate": lambda pk: own(sub=pk) + "\ud800",
    "100 KB": lambda pk: own(sub=pk, filler="x" * 100_000),
    "alg none": lambda pk: jwt.encode(payload(sub=pk), "", "none"),
    "alg None": lambda pk: hand_made({"alg": "None"}, payload(sub=pk)),
    "alg none with a signature": lambda pk: hand_made({"alg": "none"}, payload(sub=pk)),
    "no alg": lambda pk: hand_made({"typ": "JWT"}, payload(sub=pk)),
    "alg that is a list": lambda pk: hand_made({"alg": ["HS256"]}, payload(sub=pk)),
    "HS512": lambda pk: jwt.encode(payload(sub=pk), b"x" * 64, "HS512"),
    "an algorithm that isn't set": lambda pk: RSA.sign(payload(sub=pk)),
    "a public key for a secret": confused,
    "no signature": lambda pk: own(sub=pk).rpartition(".")[0] + ".",
    "another's signature": lambda pk: own(sub=pk).rpartition(".")[0] + "." + own(sub=f"{pk}0").rpartition(".")[2],
    "another payload": lambda pk: own(sub=pk).replace(own(sub=pk).split(".")[1], segment(payload(sub=pk, x=1))),
    "another secret": lambda pk: jwt.encode(payload(sub=pk), b"x" * 32, "HS256"),
    "crit": lambda pk: hand_made({**HS, "crit": ["exp"], "exp": 1}, payload(sub=pk)),
    "crit that PyJWT knows": lambda pk: hand_made({**HS, "crit": ["b64"], "b64": True}, payload(sub=pk)),
    "b64 false": lambda pk: hand_made({**HS, "crit": ["b64"], "b64": False}, b""),
    "a kid that is no text": lambda pk: hand_made({**HS, "kid": 1}, payload(sub=pk)),
    "another audience": lambda pk: own(sub=pk, aud="shop"),
    "a longer audience": lambda pk: own(sub=pk, aud="chat2"),
    "no audience": lambda pk: own(sub=pk, aud=None),
    "an empty audience": lambda pk: own(sub=pk, aud=[]),
    "an audience of numbers": lambda pk: own(sub=pk, aud=[1]),
    "not before an hour from now": lambda pk: own(sub=pk, nbf=int(time.time()) + 3_600),
    "issued an hour from now": lambda pk: own(sub=pk, iat=int(time.time()) + 3_600),
    "no end": lambda pk: own(sub=pk, exp=None),
    "an end that is null": lambda pk: hand_made(HS, {**payload(sub=pk), "exp": None}),
    "an end that is text": lambda pk: hand_made(HS, {**payload(sub=pk), "exp": "9999999999"}),
    "an end that is True": lambda pk: hand_made(HS, {**payload(sub=pk), "exp": True}),
    "an end without end": lambda pk: hand_made(HS, {**payload(sub=pk), "exp": float("inf")}),
    "an end that is no number": lambda pk: hand_made(HS, {**payload(sub=pk), "exp": float("nan")}),
    "an end in the year 10^300": lambda pk: own(sub=pk, exp=10**300),
    "an end of 5,000 digits": lambda pk: hand_made(
        HS, b'{"aud": "chat", "sub": "1", "exp": ' + b"9" * 5_000 + b"}"
    ),
    "a start that is text": lambda pk: own(sub=pk, nbf="1"),
    "a start that is a list": lambda pk: own(sub=pk, nbf=[1]),
    "no subject": lambda pk: own(sub=None),
    "an empty subject": lambda pk: own(sub=""),
    "a subject that is a number": lambda pk: hand_made(HS, payload(sub=int(pk))),
    "a subject that is a lookup": lambda pk: hand_made(HS, payload(sub={"gt": 0})),
    "a subject of no account": lambda pk: own(sub="999999"),
    "a subject that is no key": lambda pk: own(sub="Alice"),
    "a subject past every key": lambda pk: own(sub="9" * 40),
    "a subject with a NUL": lambda pk: own(sub=f"{pk}\x00"),
    "a subject with a surrogate": lambda pk: hand_made(HS, payload(sub="\ud800")),
    "another hash": lambda pk: own(sub=pk, hash="0" * 32),
    "an empty hash": lambda pk: own(sub=pk, hash=""),
    "a hash that is no text": lambda pk: own(sub=pk, hash=1),
    "a hash with a surrogate": lambda pk: hand_made(HS, payload(sub=pk, hash="\ud800")),
}


@table("name", BAD)
def test_a_bad_token_is_refused_with_one_sentence(
    alice: User, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """For any fault, the sender learns only that the token is invalid; one line in the log has the reason, without
    the token.
    """
    caplog.set_level(logging.INFO, "chat.auth")
    caplog.clear()
    token = BAD[name](str(alice.pk))
    refused = refusal(token)
    assert (refused.code, refused.message, refused.field) == (ErrorCode.BAD_TOKEN, SENTENCE, "token")
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith("refused a token: ")
    assert "\n" not in line
    assert len(line) < 200
    assert all(part not in line for part in token.split(".") if len(part) > 8)


def test_the_right_token_of_that_table_is_let_in(alice: User) -> None:
    """The valid counterparts of the invalid ones, by the same signers, are accepted."""
    pk = str(alice.pk)
    for token in (own(sub=pk), hand_made(HS, payload(sub=pk)), own(sub=pk, nbf=1), own(sub=pk, hash=None)):
        assert tokens.authenticate(token)[0] == alice


def test_an_account_that_is_closed_is_not_let_in(alice: User) -> None:
    """Not active, or deleted: the token is not valid any more."""
    token = tokens.mint(alice, hours=1)
    alice.is_active = False
    alice.save()
    assert refusal(token).message == SENTENCE
    alice.delete()
    assert refusal(token).message == SENTENCE


def test_a_new_password_ends_minted_tokens(alice: User) -> None:
    """As it ends sessions. Another issuer's tokens are the issuer's to end."""
    minted, other = tokens.mint(alice, hours=1), own(sub=str(alice.pk))
    alice.set_password("another password")
    alice.save()
    assert refusal(minted).message == SENTENCE
    assert tokens.authenticate(other)[0] == alice


def test_claims_can_be_looked_at_again(alice: User) -> None:
    """Claims can be checked again without the token."""
    claims = tokens.verify(tokens.mint(alice, hours=1))
    assert tokens.account_of(claims) == alice
    alice.set_password("another password")
    alice.save()
    with pytest.raises(Invalid, match=SENTENCE):
        tokens.account_of(claims)


def test_a_minted_token_tells_nothing_of_the_password(alice: User) -> None:
    """Its hash is neither the password's nor the session's."""
    seal = tokens.verify(tokens.mint(alice, hours=1)).hash
    assert seal
    assert seal not in alice.password + alice.get_session_auth_hash()


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({}, ErrorCode.TOKEN_EXPIRED),
        ({"aud": "shop"}, ErrorCode.BAD_TOKEN),
        ({"nbf": 2**40}, ErrorCode.BAD_TOKEN),
        ({"sub": ""}, ErrorCode.BAD_TOKEN),
    ],
)
def test_only_a_right_token_is_told_that_it_expired(alice: User, claims: dict[str, Any], code: ErrorCode) -> None:
    """Any further fault is reported first, also a wrong signature."""
    expired = {"sub": str(alice.pk), "exp": int(time.time()) - 60}
    assert refusal(own(**{**expired, **claims})).code == code
    forged = jwt.encode(payload(**expired), b"x" * 32, "HS256")
    assert refusal(forged).code == ErrorCode.BAD_TOKEN


def test_two_accounts_of_one_subject_are_none(
    settings: Settings, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    """Where JWT_USER_FIELD does not tell one account, the token lets nobody in."""
    trust(settings, USER_FIELD="email")
    caplog.set_level(logging.INFO, "chat.auth")
    User.objects.create_user("Bob", email="same@example.com")
    User.objects.create_user("Charlie", email="same@example.com")
    assert refusal(own(sub="same@example.com")).message == SENTENCE
    assert "JWT_USER_FIELD must be unique" in caplog.text


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c"])
def test_a_header_brings_no_key(
    settings: Settings, alice: User, key_file: Path, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    """A token's own location of its key is ignored, and nothing is fetched."""

    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", fetched)
    key_file.write_bytes(jwk_set(RSA))
    trust(settings, JWKS=str(key_file), ALGORITHMS=["RS256"])
    offered = {"jku": "https://evil.example/", "x5u": "https://evil.example/", "jwk": MALLORY.jwk(), "x5c": ["x"]}
    token = MALLORY.sign(payload(sub=str(alice.pk)), **{header: offered[header]})
    assert refusal(token).message == SENTENCE
    assert tokens.authenticate(RSA.sign(payload(sub=str(alice.pk)), **{header: offered[header]}))[0] == alice


def test_a_public_key_is_no_secret(settings: Settings, alice: User) -> None:
    """The public key, used as an HMAC's secret, signs nothing, whatever algorithm the token says."""
    trust(settings, KEY=RSA.public_pem, ALGORITHMS=["RS256"])
    for algorithm in ("HS256", "RS256"):
        for secret in (RSA.public_pem, RSA.public_pem.strip()):
            token = hand_made({"alg": algorithm}, payload(sub=str(alice.pk)), secret.encode())
            assert refusal(token).message == SENTENCE


def test_no_algorithm_means_no_tokens(settings: Settings, alice: User) -> None:
    """JWT_ALGORITHMS = [] turns tokens off, and is no fault."""
    token = tokens.mint(alice, hours=1)
    trust(settings, ALGORITHMS=[])
    assert refusal(token).message == SENTENCE
    assert trusted.faults() == []


@given(
    st.text(max_size=300)
    | st.binary(max_size=200).map(lambda data: f"{segment(HS)}.{segment(data)}.{segment(data)}")
)
def test_no_text_whatever_breaks_it(text: str) -> None:
    """Any text is a token that is not valid, without a query."""
    with pytest.raises(Invalid, match=SENTENCE):
        tokens.authenticate(text)


# --- A set of keys in a file ---


def test_a_set_has_keys_of_several_kinds(settings: Settings, alice: User, key_file: Path) -> None:
    """Each token is checked with the key that it names, and with those of its algorithm if it names none."""
    key_file.write_bytes(jwk_set(RSA, EC, ED, rsa_signer("rsa-2")))
    trust(settings, JWKS=str(key_file), ALGORITHMS=["RS256", "ES256", "EdDSA"])
    for signer in (RSA, EC, ED):
        right = payload(sub=str(alice.pk))
        assert tokens.authenticate(signer.sign(right))[0] == alice
        assert tokens.authenticate(Signer(signer.algorithm, signer.private).sign(right))[0] == alice
        assert refusal(signer.sign(right, kid="another")).message == SENTENCE
        assert refusal(signer.sign(right, kid="rsa-2")).message == SENTENCE
    assert refusal(MALLORY.sign(payload(sub=str(alice.pk)))).message == SENTENCE


def test_only_the_algorithms_that_are_set_count(settings: Settings, alice: User, key_file: Path) -> None:
    """A key that is in the set but not for one of JWT_ALGORITHMS lets nobody in."""
    key_file.write_bytes(jwk_set(RSA, EC))
    trust(settings, JWKS=str(key_file), ALGORITHMS=["ES256"])
    assert tokens.authenticate(EC.sign(payload(sub=str(alice.pk))))[0] == alice
    assert refusal(RSA.sign(payload(sub=str(alice.pk)))).message == SENTENCE
    assert list(trusted.candidates("RS256", "rsa-1")) == []


def test_a_secret_and_a_set_may_be_trusted_together(settings: Settings, alice: User, key_file: Path) -> None:
    """The site's programs with the secret, people with the issuer's keys; neither key does the other's work."""
    key_file.write_bytes(jwk_set(RSA))
    trust(
        settings, JWKS=str(key_file), KEY="a secret that the site's programs have", ALGORITHMS=["HS256", "RS256"]
    )
    assert tokens.authenticate(tokens.mint(alice, hours=1))[0] == alice
    assert tokens.authenticate(RSA.sign(payload(sub=str(alice.pk))))[0] == alice
    assert refusal(confused("")).message == SENTENCE


USELESS: dict[str, dict[str, Any]] = {
    "for encryption": RSA.jwk(use="enc"),
    "to sign with": RSA.jwk(key_ops=["sign"]),
    "for another algorithm": RSA.jwk(alg="RS512"),
    "for HMAC": {"kty": "oct", "k": segment(b"x" * 32), "alg": "HS256", "kid": "rsa-1"},
    "of no kind": {"kid": "rsa-1"},
    "of an unknown kind": {"kty": "XYZ", "kid": "rsa-1"},
    "without its numbers": {"kty": "RSA", "kid": "rsa-1"},
    "with numbers that are none": {"kty": "RSA", "n": "!!", "e": 3, "kid": "rsa-1"},
    "too short": rsa_signer("rsa-1", bits=1_024).jwk(),
    "on another curve": Signer("ES256", ec.generate_private_key(ec.SECP384R1()), "rsa-1").jwk(),
    "off its curve": EC.jwk(x=segment(b"\x01" * 32)),
    "of Ed448": {
        **ED.jwk(),
        "crv": "Ed448",
        "x": segment(ed448.Ed448PrivateKey.generate().public_key().public_bytes_raw()),
    },
}


@pytest.mark.parametrize("name", USELESS)
def test_a_key_of_no_use_is_passed_over(name: str) -> None:
    """Issuers have keys of other kinds in their sets; those that are of use count."""
    found = jwks.read_set(json.dumps({"keys": [USELESS[name], "no key", EC.jwk()]}).encode())
    assert [(key.algorithm, key.kid) for key in found] == [("ES256", "ec-1")]
    with pytest.raises(ValueError, match="has no key that is RSA"):
        jwks.read_set(json.dumps({"keys": [USELESS[name]]}).encode())


def test_of_a_private_key_in_a_set_only_the_public_part_is_read() -> None:
    """Somebody's slip gives us nothing to sign with."""
    assert isinstance(RSA.private, RSAPrivateKey)
    private = RSAAlgorithm.to_jwk(RSA.private, as_dict=True)
    del private["key_ops"]
    assert "d" in private
    (key,) = jwks.read_set(json.dumps({"keys": [private]}).encode())
    assert isinstance(key.material, RSAPublicKey)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b"[" * 100_000,
        b"\xff",
        b" " * (jwks.SIZE_LIMIT + 1),
    ],
)
def test_what_is_no_set_is_an_error(data: bytes) -> None:
    """And nothing worse, whatever it is."""
    with pytest.raises(ValueError, match=r"is not|has no|longer"):
        jwks.read_set(data)


def test_a_set_s_keys_are_bounded() -> None:
    """So that a token which names no key costs no more than some signatures."""
    many = json.dumps({"keys": [EC.jwk(kid=str(number)) for number in range(100)]})
    assert len(jwks.read_set(many.encode())) == jwks.KEYS_LIMIT


def test_a_file_is_read_again_when_it_changes(settings: Settings, alice: User, key_file: Path) -> None:
    """A key is added, and the old one taken away, while the site runs."""
    trust(settings, JWKS=str(key_file), ALGORITHMS=["RS256"])
    old, new = RSA, rsa_signer("rsa-2")
    right = payload(sub=str(alice.pk))
    write(key_file, jwk_set(old), at=1)
    assert tokens.authenticate(old.sign(right))[0] == alice
    assert refusal(new.sign(right)).message == SENTENCE
    write(key_file, jwk_set(old, new), at=2)
    assert tokens.authenticate(new.sign(right))[0] == alice
    write(key_file, jwk_set(new), at=3)
    assert refusal(old.sign(right)).message == SENTENCE


def write(path: Path, data: bytes, *, at: int) -> None:
    """Write a file, as of a time of its own."""
    path.write_bytes(data)
    os.utime(path, (at, at))


def test_a_file_is_not_read_again_while_it_is_the_same(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand tokens read it once."""
    key_file.write_bytes(jwk_set(RSA))
    read: list[Path] = []
    plain = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path)
        return plain(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    source = jwks.JwksFile(key_file)
    for kid in ("rsa-1", None, "unknown"):
        assert [key.kid for key in source.keys(kid)] == ["rsa-1"]
    assert read == [key_file]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"keys": []}', None])
def test_a_file_that_is_damaged_keeps_the_old_keys(
    key_file: Path, caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    """Half of a file, or none: the keys stay, and one line says so, not one for each token."""
    write(key_file, jwk_set(RSA), at=1)
    source = jwks.JwksFile(key_file)
    before = source.keys(None)
    if damage is None:
        key_file.unlink()
    else:
        write(key_file, damage, at=2)
    assert source.keys(None) == source.keys(None) == before
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(key_file) in record.getMessage()
    write(key_file, jwk_set(EC), at=3)
    assert [key.kid for key in source.keys(None)] == ["ec-1"]


def test_a_file_that_never_was_there_is_a_wrong_setting(settings: Settings, key_file: Path) -> None:
    """A token is not refused for it: the operator gets a warning."""
    trust(settings, JWKS=str(key_file), ALGORITHMS=["RS256"])
    with pytest.raises(ImproperlyConfigured, match="JWT_JWKS"):
        tokens.verify(RSA.sign(payload()))


# --- A set of keys at a URL ---


class Clock:
    """Stands still until it is moved on."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_set_is_fetched_from_a_server(settings: Settings, alice: User) -> None:
    """Once for many tokens; http is let pass for localhost."""
    with issuer() as served:
        served.answer = jwk_set(RSA, EC)
        trust(settings, JWKS=served.url, ALGORITHMS=["RS256", "ES256"])
        for signer in (RSA, EC, RSA):
            assert tokens.authenticate(signer.sign(payload(sub=str(alice.pk))))[0] == alice
        assert served.asked == 1
        assert refusal(MALLORY.sign(payload(sub=str(alice.pk)))).message == SENTENCE


def test_an_unknown_key_is_asked_for_once_a_minute() -> None:
    """A new key is found by the first token that names it; a made-up name costs one request a minute."""
    clock, asked = Clock(), []
    answers = [jwk_set(RSA), jwk_set(RSA), jwk_set(RSA, EC)]

    def fetch(url: str) -> bytes:
        asked.append(url)
        return answers[min(len(asked), len(answers)) - 1]

    source = jwks.JwksUrl("https://id.example.com/jwks", clock=clock, fetch=fetch)
    for kid in ("rsa-1", None, "ec-1", "made-up", "ec-1"):
        assert [key.kid for key in source.keys(kid)] == ["rsa-1"]
    assert len(asked) == 1
    clock.now += jwks.REFETCH_INTERVAL
    for kid in ("made-up", "ec-1"):
        assert [key.kid for key in source.keys(kid)] == ["rsa-1"]
    assert len(asked) == 2
    clock.now += jwks.REFETCH_INTERVAL - 0.1
    source.keys("ec-1")
    assert len(asked) == 2
    clock.now += 0.1
    assert [key.kid for key in source.keys("ec-1")] == ["rsa-1", "ec-1"]
    for _ in range(5):
        clock.now += jwks.REFETCH_INTERVAL
        source.keys("ec-1")
    assert len(asked) == 3


def test_a_set_is_fetched_again_when_it_is_old() -> None:
    """A key that the issuer took back is gone within the hour, though nobody asked for another."""
    clock, answers = Clock(), [jwk_set(RSA, EC), jwk_set(EC)]
    source = jwks.JwksUrl("https://id.example.com/jwks", clock=clock, fetch=lambda _: answers.pop(0))
    assert len(source.keys("ec-1")) == 2
    clock.now += jwks.MAX_AGE - 1
    assert len(source.keys("ec-1")) == 2
    clock.now += 1
    assert [key.kid for key in source.keys("ec-1")] == ["ec-1"]


@pytest.mark.parametrize("failure", [OSError("no route"), TimeoutError(), ValueError("x"), b"<html>\nsorry"])
def test_a_failing_issuer_keeps_the_old_keys(failure: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Those who have a known key's token come in; the issuer is asked again a minute later, not for each."""
    clock, asked = Clock(), []

    def fetch(_: str) -> bytes:
        asked.append(1)
        if len(asked) == 1:
            return jwk_set(RSA)
        if isinstance(failure, Exception):
            raise failure
        return bytes(failure)

    source = jwks.JwksUrl("https://id.example.com/jwks", clock=clock, fetch=fetch)
    before = source.keys("rsa-1")
    clock.now += jwks.MAX_AGE
    for kid in ("rsa-1", "made-up", None):
        assert source.keys(kid) == before
    assert len(asked) == 2
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    clock.now += jwks.REFETCH_INTERVAL
    source.keys("rsa-1")
    assert len(asked) == 3


def test_an_issuer_that_never_answered_is_asked_again_soon() -> None:
    """Until there are keys nobody can be told whether their token is right."""
    clock, asked = Clock(), []

    def fetch(_: str) -> bytes:
        asked.append(1)
        if len(asked) < 3:
            raise OSError
        return jwk_set(RSA)

    source = jwks.JwksUrl("https://id.example.com/jwks", clock=clock, fetch=fetch)
    for _ in range(2):
        for _ in range(3):
            with pytest.raises(jwks.KeySetUnavailable):
                source.keys("rsa-1")
        clock.now += jwks.RETRY_INTERVAL
    assert len(asked) == 2
    assert source.keys("rsa-1")


def test_without_keys_a_token_may_be_tried_again(settings: Settings) -> None:
    """The issuer is away: that is not the token's fault, so its sender is told to come back."""
    with issuer() as served:
        served.status = 503
        trust(settings, JWKS=served.url, ALGORITHMS=["RS256"])
        refused = refusal(RSA.sign(payload()))
        assert (refused.code, refused.retry_after) == (ErrorCode.BUSY, 5_000)
        assert served.asked == 1


def test_only_one_thread_fetches() -> None:
    """While one waits for the issuer, the others go on with the keys that there are."""
    clock, asked = Clock(), []
    started, go = threading.Event(), threading.Event()

    def fetch(_: str) -> bytes:
        asked.append(1)
        if len(asked) > 1:
            started.set()
            assert go.wait(10)
        return jwk_set(RSA, EC) if len(asked) > 1 else jwk_set(RSA)

    source = jwks.JwksUrl("https://id.example.com/jwks", clock=clock, fetch=fetch)
    source.keys("rsa-1")
    clock.now += jwks.REFETCH_INTERVAL
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(source.keys, "ec-1")
        assert started.wait(10)
        assert [key.kid for key in pool.submit(source.keys, "ec-1").result(10)] == ["rsa-1"]
        go.set()
        assert [key.kid for key in first.result(10)] == ["rsa-1", "ec-1"]
    assert len(asked) == 2


def test_a_redirect_is_not_followed() -> None:
    """It could lead to a place without TLS, or to one inside."""
    with issuer() as elsewhere, issuer() as served:
        elsewhere.answer = jwk_set(MALLORY)
        served.status, served.headers = 302, {"Location": elsewhere.url}
        with pytest.raises(OSError, match="302"):
            jwks.download(served.url)
        assert (served.asked, elsewhere.asked) == (1, 0)


def test_what_is_fetched_is_bounded() -> None:
    """An endless answer is cut off, and then it is too long."""
    with issuer() as served:
        served.answer = b" " * (4 * jwks.SIZE_LIMIT)
        data = jwks.download(served.url)
        assert jwks.SIZE_LIMIT < len(data) <= 2 * jwks.SIZE_LIMIT
        with pytest.raises(ValueError, match="longer than"):
            jwks.read_set(data)


def test_a_slow_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for all of it, not for each byte."""
    monkeypatch.setattr(jwks.time, "monotonic", iter(range(0, 1_000, 10)).__next__)  # type: ignore[attr-defined]
    response = io.BytesIO(b"x" * 100)
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", lambda *_, **__: response)
    with pytest.raises(TimeoutError, match="longer than 5"):
        jwks.download("https://id.example.com/jwks")


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://id.example.com/jwks.json", True),
        ("http://localhost:8080/jwks.json", True),
        ("http://127.0.0.1/jwks.json", True),
        ("http://[::1]/jwks.json", True),
        ("http://id.example.com/jwks.json", False),
        ("http://localhost.evil.example/", False),
        ("http://localhost@evil.example/", False),
        ("file:///etc/passwd", False),
        ("ftp://localhost/jwks.json", False),
        ("https://", False),
        ("https://[", False),
    ],
)
def test_keys_come_by_tls(settings: Settings, url: str, right: bool) -> None:
    """Keys without TLS could be anyone's: such a URL is a fault of the settings, and never fetched."""
    trust(settings, JWKS=url, ALGORITHMS=["RS256"])
    assert trusted.faults() == ([] if right else [f"JWT_JWKS {jwks.url_fault(url)}."])
    if not right:
        with pytest.raises(ImproperlyConfigured, match="JWT_JWKS"):
            tokens.verify(RSA.sign(payload()))
        with pytest.raises(ValueError, match=r"https|URL"):
            jwks.download(url)


# --- What is wrong with the settings ---


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a short secret": ({"KEY": "x" * 31}, "JWT_KEY must have at least 32 bytes for HS256, not 31"),
    "a public key for HS256": (
        {"KEY": RSA.public_pem, "ALGORITHMS": ANY},
        "JWT_ALGORITHMS has HS256, but JWT_KEY is",
    ),
    "a public key, the rest as it comes": ({"KEY": RSA.public_pem}, "JWT_ALGORITHMS has HS256, but JWT_KEY is"),
    "a private key": ({"KEY": RSA.private_pem.decode(), "ALGORITHMS": ["RS256"]}, "JWT_KEY can't be read"),
    "half a key": ({"KEY": RSA.public_pem[:80], "ALGORITHMS": ["RS256"]}, "JWT_KEY can't be read"),
    "a short key": ({"KEY": rsa_signer(bits=1_024).public_pem, "ALGORITHMS": ["RS256"]}, "JWT_KEY can't be read"),
    "a key of another algorithm": ({"KEY": EC.public_pem, "ALGORITHMS": ["RS256"]}, "JWT_ALGORITHMS lacks ES256"),
    "a secret for RS256": ({"KEY": "x" * 32, "ALGORITHMS": ["RS256"]}, "JWT_ALGORITHMS has RS256, which needs"),
    "no key for RS256": ({"ALGORITHMS": ["HS256", "RS256"]}, "JWT_ALGORITHMS has RS256, which needs"),
    "a set, the rest as it comes": (
        {"JWKS": "https://id.example.com"},
        "JWT_ALGORITHMS has HS256, but the keys of",
    ),
    "a secret of no use": (
        {"KEY": "x" * 32, "JWKS": "https://id.example.com", "ALGORITHMS": ["RS256"]},
        "JWT_KEY is a secret",
    ),
    "no audience": ({"AUDIENCE": ""}, "JWT_AUDIENCE must not be empty"),
    "no such field": ({"USER_FIELD": "nickname"}, "JWT_USER_FIELD must be a field of the user model"),
    "a lookup for a field": ({"USER_FIELD": "email__iexact"}, "JWT_USER_FIELD must be a field of the user model"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_setting_is_named(settings: Settings, name: str) -> None:
    """It is found by the check, and nobody is let in by it; no error shows a key."""
    wrong, said = FAULTS[name]
    trust(settings, **wrong)
    found = trusted.faults()
    assert any(fault.startswith(said) for fault in found)
    with pytest.raises(ImproperlyConfigured, match="JWT_") as raised:
        tokens.verify(RSA.sign(payload()))
    assert all("xxxx" not in text and "MII" not in text for text in [*found, str(raised.value)])


def test_the_secret_key_is_no_key_of_tokens(settings: Settings) -> None:
    """With a key that others have too, those could sign sessions."""
    for key in ("k" * 50, "j" * 50):
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "k" * 50, ["j" * 50]
        trust(settings, KEY=key)
        assert [fault.partition(",")[0] for fault in trusted.faults()] == ["JWT_KEY must not be SECRET_KEY"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "can't be read: No such file"), (b"{}", "is not a JWK set"), (b"x", "is not a JSON")],
)
def test_the_file_is_checked_too(settings: Settings, key_file: Path, content: bytes | None, said: str) -> None:
    """Before the first token finds it wrong."""
    if content is not None:
        key_file.write_bytes(content)
    trust(settings, JWKS=str(key_file), ALGORITHMS=["RS256"])
    (fault,) = trusted.faults()
    assert fault.startswith(f"JWT_JWKS: {key_file} {said}")


def test_right_settings_have_no_faults(settings: Settings, key_file: Path) -> None:
    """Each way to have keys; a URL is not fetched for it."""
    key_file.write_bytes(jwk_set(RSA))
    for right in (
        {},
        {"KEY": "x" * 32},
        {"KEY": RSA.public_pem, "ALGORITHMS": ["RS256"]},
        {"KEY": RSA.public_pem, "ALGORITHMS": ["RS256", "ES256"], "JWKS": str(key_file)},
        {"JWKS": str(key_file), "ALGORITHMS": ["RS256", "ES256", "EdDSA"]},
        {"JWKS": "https://id.example.com/jwks.json", "ALGORITHMS": ["RS256"]},
        {"JWKS": str(key_file), "KEY": "x" * 32, "ALGORITHMS": ["HS256", "RS256"]},
    ):
        trust(settings, **right)
        assert trusted.faults() == []


# --- The command ---


def printed(*args: str) -> str:
    """Only the output of chat_token."""
    out = io.StringIO()
    call_command("chat_token", *args, stdout=out)
    return out.getvalue().removesuffix("\n")


def failure(*args: str) -> str:
    with pytest.raises(CommandError) as failed:
        printed(*args)
    return str(failed.value)


def test_the_command_prints_a_token(alice: User) -> None:
    """Nothing but the token, for a day."""
    user, claims = tokens.authenticate(printed("Alice"))
    assert user == alice
    assert time.time() + 86_390 < claims.expires <= time.time() + 86_400


def test_the_command_says_how_long(alice: User) -> None:
    """In hours, and parts of them."""
    assert tokens.verify(printed("Alice", "--hours", "0.5")).expires <= time.time() + 1_800
    for hours in ("0", "-1", "9000", "nan", "inf"):
        assert failure("Alice", "--hours", hours).startswith("--hours must be more than 0 and at most 8784, not")


@pytest.mark.parametrize("signer", [RSA, EC, ED], ids=lambda signer: signer.algorithm)
def test_the_command_signs_with_a_private_key(
    settings: Settings, alice: User, tmp_path: Path, signer: Signer
) -> None:
    """The site needs the public one only."""
    trust(settings, KEY=signer.public_pem, ALGORITHMS=[signer.algorithm])
    path = tmp_path / "private.pem"
    path.write_bytes(signer.private_pem)
    token = printed("Alice", "--key", str(path), "--alg", signer.algorithm)
    assert tokens.authenticate(token)[0] == alice
    assert jwt.get_unverified_header(token)["alg"] == signer.algorithm
    assert failure("Alice").startswith("The site has no secret to sign tokens with")


def test_the_command_s_errors_are_for_people(settings: Settings, alice: User, tmp_path: Path) -> None:
    """Each says what is wrong: the name, the account, the key, the site's settings."""
    User.objects.create_user("Bob", is_active=False)
    assert failure("Charlie") == "There is no account 'Charlie'."
    assert failure("Bob") == "The account 'Bob' is not active."
    assert failure("Alice", "--alg", "RS256").startswith("--alg needs --key")
    path = tmp_path / "key.pem"
    assert failure("Alice", "--key", str(path)) == f"--key: {path} can't be read: No such file or directory."
    locked = RSA.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    for content, said in (
        (b"x", "is not a private key in PEM"),
        (RSA.public_pem.encode(), "is not a private key in PEM"),
        (locked, "is locked with a password"),
        (rsa_signer(bits=1_024).private_pem, "must be RSA of at least 2048 bits"),
    ):
        path.write_bytes(content)
        assert failure("Alice", "--key", str(path)).startswith(f"--key: {path} {said}")
    path.write_bytes(EC.private_pem)
    assert failure("Alice", "--key", str(path), "--alg", "RS256").endswith("is a key for ES256, not for RS256.")
    assert failure("Alice", "--key", str(path)).startswith("This site would refuse the token")
    trust(settings, KEY="short")
    assert failure("Alice").startswith("JWT_KEY must have at least 32 bytes")


def test_the_command_makes_no_token_of_somebody_else(settings: Settings, alice: User) -> None:
    """Where JWT_USER_FIELD names no single account, there is no token."""
    trust(settings, USER_FIELD="last_name")
    User.objects.create_user("Bob", last_name="Smith")
    User.objects.create_user("Carol", last_name="Smith")
    assert failure("Bob").startswith("This site would refuse the token")
