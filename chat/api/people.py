"""The people of a room: members, users who are present, and their connections."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from asgiref.sync import async_to_sync, sync_to_async

from chat import loops, models
from chat.hub import Hub
from chat.log.queries import open_room
from chat.presence import Presence, registry
from chat.protocol import CloseCode, Role
from chat.protocol.events import Member

T = TypeVar("T")


def members(room: models.Room | str) -> list[Member]:
    """The members of a room and their roles, by name. Raises chat.protocol.Invalid: no_room."""
    slug = room if isinstance(room, str) else room.slug
    row = open_room(slug, make=False)
    found = models.Membership.objects.filter(room=row.pk).select_related("user")
    return sorted(
        (Member(one.user.get_username(), cast(Role, one.role)) for one in found), key=lambda one: one.username
    )


def presence(room: models.Room | str) -> list[str]:
    """The names of the users who are in a room now, in all processes.

    A process without a server of its own asks Redis. Without Redis it can't know, and raises RuntimeError.
    """
    slug = room if isinstance(room, str) else room.slug
    return sorted({name for _key, name in _present(slug)})


def is_online(user: Any) -> bool:
    """Has the account a connection to this process, or with Redis to any, in one of its rooms?"""
    key = models.account_key(user.pk)
    if any(
        socket.identity.key == key for _loop, hub in loops.all_loops(Hub) for socket in list(hub.sockets.values())
    ):
        return True
    slugs = models.Room.objects.filter(memberships__user=user.pk).values_list("slug", flat=True)
    return registry.shared() is not None and any(found == key for slug in slugs for found, _ in _present(slug))


def disconnect(user: Any) -> None:
    """Close all connections of an account, in all processes. It may connect again."""
    key = models.account_key(user.pk)
    for loop, hub in loops.all_loops(Hub):
        loop.call_soon_threadsafe(_close, hub, key)


def _close(hub: Hub, key: str) -> None:
    for socket in [socket for socket in hub.sockets.values() if socket.identity.key == key]:
        hub.disconnect(socket.id, CloseCode.FORBIDDEN)


def _present(slug: str) -> list[tuple[str, str]]:
    """The keys and names of those in a room."""
    for loop, there in loops.all_loops(Presence):
        return _on(loop, _people(there, slug))
    store = registry.shared()
    if store is None:
        raise RuntimeError("presence: this process has no server, and there is no Redis to ask")

    async def read() -> list[tuple[str, str]]:
        try:
            _life, _version, places = await store.read(slug)
            return [(entry.identity_key, entry.name) for _node, _key, entry in places]
        finally:
            await store.close()

    return async_to_sync(read)()


async def _people(there: Presence, slug: str) -> list[tuple[str, str]]:
    return [(one.identity.key, one.name) for one in there.people(slug)]


def _on(loop: asyncio.AbstractEventLoop, call: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(call, loop).result(timeout=5)


amembers = sync_to_async(members, thread_sensitive=False)
apresence = sync_to_async(presence, thread_sensitive=False)
ais_online = sync_to_async(is_online, thread_sensitive=False)
adisconnect = sync_to_async(disconnect, thread_sensitive=False)
