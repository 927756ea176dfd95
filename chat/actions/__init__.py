"""The operations of a user in a room, and the enforcement of lost access.

The socket, the pages and the commands call these. Every rule stands in chat.access.permissions.
"""

from chat.actions.directory import Listing, RoomEntry, joinable_rooms, own_rooms
from chat.actions.dispatch import RoomCommand, run_command
from chat.actions.enforcement import AccessEnforcer
from chat.actions.joining import join, leave
from chat.actions.members import accept, invitation
from chat.actions.messages import OnCommit, delete, edit, post, react, read, typing
from chat.actions.queries import get_history, get_members, get_sharing, search
from chat.actions.rooms import create, create_titled, open_direct
from chat.actions.tokens import use_token

__all__ = [
    "AccessEnforcer",
    "Listing",
    "OnCommit",
    "RoomCommand",
    "RoomEntry",
    "accept",
    "create",
    "create_titled",
    "delete",
    "edit",
    "get_history",
    "get_members",
    "get_sharing",
    "invitation",
    "join",
    "joinable_rooms",
    "leave",
    "open_direct",
    "own_rooms",
    "post",
    "react",
    "read",
    "run_command",
    "search",
    "typing",
    "use_token",
]
