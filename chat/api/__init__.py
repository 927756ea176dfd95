"""The chat's operations for Python: from a view, a task, a command, in any process (docs/api.md).

Each function has an async twin, with an ``a`` in front.
"""

from chat.api.orders import Posted
from chat.api.people import (
    adisconnect,
    ais_online,
    amembers,
    apresence,
    disconnect,
    is_online,
    members,
    presence,
)
from chat.api.posting import Bot, adelete, aedit, apost, areact, delete, edit, post, react
from chat.api.rooms import (
    aget_or_create_room,
    ahistory,
    asend_event,
    atoken_for,
    get_or_create_room,
    history,
    send_event,
    token_for,
)
from chat.api.signals import (
    message_deleted,
    message_edited,
    message_posted,
    room_created,
    user_joined,
    user_left,
)

__all__ = [
    "Bot",
    "Posted",
    "adelete",
    "adisconnect",
    "aedit",
    "aget_or_create_room",
    "ahistory",
    "ais_online",
    "amembers",
    "apost",
    "apresence",
    "areact",
    "asend_event",
    "atoken_for",
    "delete",
    "disconnect",
    "edit",
    "get_or_create_room",
    "history",
    "is_online",
    "members",
    "message_deleted",
    "message_edited",
    "message_posted",
    "post",
    "presence",
    "react",
    "room_created",
    "send_event",
    "token_for",
    "user_joined",
    "user_left",
]
