"""Authentication of sockets: the identity, the allowed origins, and the check that a sign-in is still valid."""

from chat.auth.identity import (
    GUEST_NAME,
    Identity,
    Proof,
    account,
    accounts_of,
    guest,
    identify,
    session_digest,
    with_browser,
)
from chat.auth.origin import OriginCheck, refuse
from chat.auth.revalidation import revalidate

__all__ = [
    "GUEST_NAME",
    "Identity",
    "OriginCheck",
    "Proof",
    "account",
    "accounts_of",
    "guest",
    "identify",
    "refuse",
    "revalidate",
    "session_digest",
    "with_browser",
]
