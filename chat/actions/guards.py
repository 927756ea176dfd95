"""Checks that come before an action. Each raises ``Invalid`` if the action is not allowed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction

from chat import models
from chat.access.permissions import role_of
from chat.access.policy import Policy, build_policy
from chat.actions.chat_room import ChatRoom, open_room
from chat.auth import Identity
from chat.auth.usernames import account_named
from chat.hub import Hub, Socket
from chat.protocol import ErrorCode, Invalid, no_room, quoted

# --- On the event loop ---


def require_joined(hub: Hub, socket: Socket, slug: str) -> tuple[ChatRoom, str]:
    """The room, and the socket's name in it. Raises Invalid: not_joined."""
    room = open_room(hub, slug)
    if slug not in socket.rooms or socket.username is None or room is None:
        raise Invalid(ErrorCode.NOT_JOINED, f"room: join {slug!r} first", field="room")
    return room, socket.username


def require_lasting_identity(hub: Hub, socket: Socket, slug: str) -> tuple[ChatRoom, str]:
    """Like require_joined, and also requires an account or a session: anyone can claim a bare name.

    Raises Invalid: not_joined, forbidden.
    """
    found = require_joined(hub, socket, slug)
    if not socket.identity.lasting:
        message = "To change messages or react to them, sign in or enter through the chat's page."
        raise Invalid(ErrorCode.FORBIDDEN, message)
    return found


# --- On a thread that may use the ORM ---


def require_account(identity: Identity) -> Any:
    """The account's primary key. Raises Invalid: sign_in."""
    if identity.account is None:
        raise Invalid(ErrorCode.SIGN_IN, "Only people with an account can do this: sign in.")
    return identity.account


def require_user(username: str) -> AbstractBaseUser:
    """The active account with this name. Raises Invalid: no_person."""
    user = account_named(username)
    if user is None or not user.is_active:
        message = f"username: nobody here has an account {quoted(username)}"
        raise Invalid(ErrorCode.NO_PERSON, message, field="username")
    return user


@contextmanager
def changing_policy(
    slug: str, identity: Identity, known: Policy | None = None
) -> Iterator[tuple[models.Room, Policy]]:
    """Lock the room's row for a transaction that changes its policy. Yields the row and the policy as it is now.

    ``known``: the policy of the open room. It is used if the row has the same epoch and counter ``rules``: every
    change of a policy counts, so nothing has changed since. Else the policy is built from the rows. Rows that are
    saved or deleted reach the open connections by signals (chat.signals). Raises Invalid: no_room.
    """
    with transaction.atomic(using=router.db_for_write(models.Room)):
        row = models.Room.objects.filter(slug=slug).locked().first()
        if row is None:
            raise no_room(slug)
        policy = known if known and known.is_of(row) else build_policy(row, [identity])
        if role_of(policy, identity) is None:
            raise no_room(slug)
        yield row, policy
