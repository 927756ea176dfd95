"""Where a socket stands: what every verb asks first."""

from typing import TypeVar

from msgspec import UNSET, UnsetType

from chat.hub import Hub, OpenRoom, Socket
from chat.protocol import ErrorCode, Invalid

T = TypeVar("T")


def present(hub: Hub, socket: Socket, slug: str) -> tuple[OpenRoom, str]:
    """The room and the name under which the socket is in it. Raises ``Invalid`` (not_joined) where it isn't."""
    room = hub.room(slug)
    if slug not in socket.rooms or socket.username is None or room is None:
        raise Invalid(ErrorCode.NOT_JOINED, f"room: join {slug!r} first", field="room")
    return room, socket.username


def known(hub: Hub, socket: Socket, slug: str) -> tuple[OpenRoom, str]:
    """As ``present``, for what only somebody may do who can be known again: a name alone anybody can say."""
    found = present(hub, socket, slug)
    if not socket.identity.lasting:
        message = "Only who is signed in, or came in by the page, can change messages or react to them."
        raise Invalid(ErrorCode.FORBIDDEN, message)
    return found


def given(value: T | UnsetType) -> T | None:
    return None if value is UNSET else value
