"""The verbs: what a person may do in a room, and what follows from it.

Each door (the socket, the pages, a command) calls these; every rule stands in chat.rooms.permissions.
"""

from chat.rooms.asking import history, members, search, sharing
from chat.rooms.coming import join, leave
from chat.rooms.directory import Entry, Listing, everybodys, own
from chat.rooms.making import accept, create, direct, invitation, open_titled
from chat.rooms.managing import Managing, manage
from chat.rooms.sight import visible
from chat.rooms.signing_in import show
from chat.rooms.speaking import Done, delete, edit, post, react, read, typing
from chat.rooms.warden import Warden

__all__ = [
    "Done",
    "Entry",
    "Listing",
    "Managing",
    "Warden",
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
