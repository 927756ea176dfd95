"""The people of a room: members, users who are present, and their connections."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from asgiref.sync import async_to_sync
from django.db import router, transaction

from chat import loops, models
from chat.api.async_twins import in_thread
from chat.log import unavailable
from chat.message_log.queries import open_room
from chat.presence import Presence, registry
from chat.presence.pipeline import RegistryUnavailable
from chat.protocol import Role
from chat.protocol.events import Member
from chat.topics.publishing import to_hubs

T = TypeVar("T")

DISCONNECT = "disconnect_person"
"""The event between hubs: close the sockets of an account."""


def members(room: models.Room | str) -> list[Member]:
    """The members of a room and their roles, by name. Raises chat.protocol.Invalid: no_room."""
    row = open_room(room if isinstance(room, str) else room.slug, make=False)
    found = models.Membership.objects.filter(room=row.pk).select_related("user")
    named = [Member(one.user.get_username(), cast(Role, one.role)) for one in found]
    return sorted(named, key=lambda member: member.username)


def presence(room: models.Room | str) -> list[str]:
    """The names of the users who are in a room now, in all processes.

    Without Redis only the server's process knows, and any other one raises RuntimeError. Raises
    chat.protocol.Invalid: busy, if Redis does not answer.
    """
    slug = room if isinstance(room, str) else room.slug
    if store := registry.shared():
        _life, _version, places = _ask(store, lambda: store.read(slug))
        return sorted({entry.name for _node, _key, entry in places})
    return sorted({occupant.name for there in _here() for occupant in there.people(slug)})


def is_online(user: Any) -> bool:
    """Is the account in a room now, in any process? Knows and raises like ``presence``.

    An account whose connection was lost stays for CHAT["GRACE"] seconds.
    """
    key = models.account_key(user.pk)
    if store := registry.shared():
        return bool(_ask(store, lambda: store.is_anywhere(key)))
    return any(there.is_anywhere(key) for there in _here())


def disconnect(user: Any) -> None:
    """Close all connections of an account with 4403, in all processes, when the transaction commits.

    Clients do not come back by themselves, but may. Without Redis only the server's process reaches them.
    """
    key = models.account_key(user.pk)
    transaction.on_commit(lambda: to_hubs(DISCONNECT, key), using=router.db_for_write(models.Outbox))


def _here() -> list[Presence]:
    found = [there for _loop, there in loops.all_loops(Presence)]
    if not found:
        raise RuntimeError("Only the server's process knows who is online: with Redis every process would.")
    return found


def _ask(store: registry.Registry, question: Callable[[], Awaitable[T]]) -> T:
    """The registry's answer, over a connection of its own."""

    async def ask() -> T:
        try:
            return await question()
        finally:
            await store.close()

    try:
        return async_to_sync(ask)()
    except RegistryUnavailable:
        raise unavailable("Redis does not answer.") from None


amembers, apresence = in_thread(members), in_thread(presence)
ais_online, adisconnect = in_thread(is_online), in_thread(disconnect)
