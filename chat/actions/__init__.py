"""The verbs: what a person may do in a room, and what follows from it.

Each door (the socket, the pages, a command) calls these; every rule stands in chat.access.permissions.
"""

from chat.actions.directory import Entry, Listing, everybodys, own
from chat.actions.dispatch import Managing, manage
from chat.actions.enforcement import AccessEnforcer
from chat.actions.joining import join, leave
from chat.actions.messages import Done, delete, edit, post, react, read, typing
from chat.actions.queries import history, members, search, sharing
from chat.actions.rooms import accept, create, direct, invitation, open_titled
from chat.actions.tokens import show
from chat.actions.visibility import visible

__all__ = [
    "AccessEnforcer",
    "Done",
    "Entry",
    "Listing",
    "Managing",
    "accept",
    "create",
    "delete",
    "direct",
    "edit",
    "everybodys",
    "history",
    "invitation",
    "join",
    "leave",
    "manage",
    "members",
    "open_titled",
    "own",
    "post",
    "react",
    "read",
    "search",
    "sharing",
    "show",
    "typing",
    "visible",
]
