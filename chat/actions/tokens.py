"""Tokens on an open socket: one in its first `join`, and a newer one before that expires."""

from dataclasses import replace
from functools import partial

from chat.actions.enforcement import AccessEnforcer
from chat.auth import Identity, account
from chat.auth.tokens import authenticate
from chat.hub import Socket
from chat.log import read_or_busy
from chat.loops import current
from chat.protocol import ErrorCode, Invalid, quoted


async def use_token(socket: Socket, token: str) -> None:
    """Sign the socket in as the token's account. Raises Invalid: bad_token, token_expired, name_fixed, too_many.

    A socket keeps its person: if it has an account already, or is in a room, the token must be of the same one.
    """
    enforcer = current(AccessEnforcer)
    events = enforcer.events
    found = await read_or_busy(partial(_identity_of, token))
    now = socket.identity
    # A guest who signs in by a token stays one of the identities that the browser has had.
    identity = replace(found, browser=tuple(dict.fromkeys((*now.browser, now.person))))
    if now.key != identity.key and (now.account is not None or socket.username is not None):
        message = f"token: this socket speaks as {quoted(now.name or socket.username or '')} already"
        raise Invalid(ErrorCode.NAME_FIXED, message, field="token")
    if not socket.claim(identity):
        raise Invalid(ErrorCode.TOO_MANY, "This account has as many sockets open as it may have.")
    if enforcer.events != events:
        # Sign-ins may have ended while this token was read.
        enforcer.recheck([socket])


def _identity_of(token: str) -> Identity:
    user, claims = authenticate(token)
    # A token of another issuer has no hash. Its issuer decides whether it outlives a change of password here.
    return account(user, expires=claims.expires, sealed=claims.hash is not None)
