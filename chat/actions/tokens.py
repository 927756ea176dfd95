"""A token on a live socket: in its first `join`, and a newer one before that expires."""

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
    """The socket is from now on whose the token is. Raises Invalid: bad_token, token_expired, name_fixed.

    A socket does not change hands: where it is an account's already, or in a room, the token must be of the same.
    """
    enforcer = current(AccessEnforcer)
    events = enforcer.events
    found = await read_or_busy(partial(_of_token, token))
    now = socket.identity
    # A guest who shows a token stays one that the browser has been.
    who = replace(found, browser=tuple(dict.fromkeys((*now.browser, now.person))))
    if now.key != who.key and (now.account is not None or socket.username is not None):
        message = f"token: this socket speaks as {quoted(now.name or socket.username or '')} already"
        raise Invalid(ErrorCode.NAME_FIXED, message, field="token")
    if not socket.claim(who):
        raise Invalid(ErrorCode.TOO_MANY, "This account has as many sockets open as it may have.")
    if enforcer.events != events:
        enforcer.recheck([socket])


def _of_token(token: str) -> Identity:
    user, claims = authenticate(token)
    # Of another issuer's token it is that one's to say whether it outlives a change of password here.
    return account(user, expires=claims.expires, sealed=claims.hash is not None)
