"""The verbs: what a person may do in a room, and what follows from it.

Each door (the socket, the pages, a command) calls these; every rule stands in chat.access.permissions.
"""

from chat.actions.directory import Entry, Listing, joinable_rooms, own
from chat.actions.dispatch import RoomCommand, run_command
from chat.actions.enforcement import AccessEnforcer
from chat.actions.joining import join, leave
from chat.actions.messages import OnCommit, delete, edit, post, react, read, typing
from chat.actions.queries import history, members, search, sharing
from chat.actions.rooms import accept, create, create_titled, direct, invitation
from chat.actions.tokens import use_token
from chat.actions.visibility import visible

__all__ = [
    "AccessEnforcer",
    "Entry",
    "Listing",
    "OnCommit",
    "RoomCommand",
    "accept",
    "create",
    "create_titled",
    "delete",
    "direct",
    "edit",
    "history",
    "invitation",
    "join",
    "joinable_rooms",
    "leave",
    "members",
    "own",
    "post",
    "react",
    "read",
    "run_command",
    "search",
    "sharing",
    "typing",
    "use_token",
    "visible",
]
