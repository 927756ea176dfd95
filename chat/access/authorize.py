"""The project's own rules on rooms: the function that CHAT["AUTHORIZE"] names.

It is asked beside the chat's rules, and can only forbid more. A room's policy keeps its answers about the users in
the room. So it is asked when a user enters, when the room's rules change, and when a sign-in is rechecked.
Messages cost nothing more.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from django.utils.module_loading import import_string

from chat import models
from chat.auth import Identity, accounts_of
from chat.conf import chat_settings

logger = logging.getLogger("chat.access")

Action: TypeAlias = Literal["see", "enter", "post"]
Authorize: TypeAlias = Callable[[Any, models.Room, Action], bool]
"""The project's function: ``user`` is Django's, also AnonymousUser. It may use the ORM."""


class Verdict(NamedTuple):
    """The actions that the project allows an identity in a room. Each one needs those before it."""

    see: bool = False
    enter: bool = False
    post: bool = False


ALLOWED = Verdict(see=True, enter=True, post=True)
"""The verdict of a project without rules of its own."""
DENIED = Verdict()
"""The verdict for an identity that the project was not asked about."""


def project_function() -> Authorize | None:
    """The project's function, or None. Raises ImproperlyConfigured if the setting is wrong."""
    name = chat_settings().AUTHORIZE
    if not name:
        return None
    try:
        found = import_string(name)
    except ImportError as error:
        raise ImproperlyConfigured(f"CHAT['AUTHORIZE'] must name a function, not {name!r}: {error}") from None
    if not callable(found):
        raise ImproperlyConfigured(f"CHAT['AUTHORIZE'] must name a function, and {name!r} is none.")
    function: Authorize = found
    return function


def verdicts(room: models.Room, identities: Iterable[Identity]) -> dict[str, Verdict] | None:
    """The project's verdicts by the identities' keys; None if it has no function. For a thread with the ORM."""
    function = project_function()
    if function is None:
        return None
    asked = {identity.key: identity for identity in identities}
    users = accounts_of(asked.values())
    return {key: _ask(function, users, room, identity) for key, identity in asked.items()}


def verdicts_by_room(
    identities: Mapping[int, Sequence[Identity]],
) -> dict[int, dict[str, Verdict] | None]:
    """``verdicts`` for several rooms, by their primary keys. Rooms that are gone are left out."""
    rooms = models.Room.objects.filter(pk__in=list(identities))
    return {room.pk: verdicts(room, identities[room.pk]) for room in rooms}


def visible(identity: Identity | None, rooms: Sequence[models.Room]) -> list[models.Room]:
    """Those rooms that the project lets the identity see. None: a visitor without a name."""
    function = project_function()
    if function is None:
        return list(rooms)
    who = identity or Identity("guest")
    users = accounts_of([who])
    return [room for room in rooms if _ask(function, users, room, who).see]


def _ask(function: Authorize, users: dict[str, Any], room: models.Room, identity: Identity) -> Verdict:
    user = AnonymousUser() if identity.account is None else users.get(identity.account)
    if user is None:
        # The account was deleted.
        return DENIED
    try:
        see = bool(function(user, room, "see"))
        enter = see and bool(function(user, room, "enter"))
        return Verdict(see, enter, enter and bool(function(user, room, "post")))
    except Error:
        # The database is away. Nobody loses a right by that: the caller is busy, and asks again.
        raise
    except Exception:
        # A rule that fails allows nothing.
        logger.exception("CHAT['AUTHORIZE'] failed", extra={"room": room.slug})
        return DENIED
