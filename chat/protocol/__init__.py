"""The wire protocol, version 1. Pure: no Django, no I/O.

Three kinds of message, each one JSON object in one text frame, told apart by ``type``:

- a *command* goes from client to server and may carry a ``ref`` (commands);
- a *reply* (``Ack``, ``Error``, ``Pong``, ``History``, ``Found``, ``Members``, ``Invited``, ``Welcome``) carries
  that ``ref`` back to one socket (outgoing);
- an *event* goes to everyone in a room (outgoing).

``decode`` turns any text whatever into a command, or raises ``Invalid``, which names the field. ``encode``
turns a reply or an event into text. Field names are camelCase on the wire, times are integer milliseconds
since 1970. docs/protocol.md, its JSON Schema and the AsyncAPI document are generated from this package.
"""

import time

from chat.protocol.codes import CloseCode, ErrorCode, Invalid
from chat.protocol.commands import (
    AnyCommand,
    Appoint,
    Ban,
    Command,
    Configure,
    Create,
    Delete,
    Direct,
    Edit,
    GetHistory,
    GetMembers,
    Invite,
    Join,
    Kick,
    Leave,
    Mute,
    Ping,
    Post,
    React,
    Read,
    Report,
    Restrict,
    Search,
    ShowToken,
    Typing,
)
from chat.protocol.fields import Epoch, Number, Ref, Role, Room, RoomKind, Timestamp
from chat.protocol.limits import (
    BIGGEST,
    CONTENT_LIMIT,
    EMOJI_LIMIT,
    EMOJIS_LIMIT,
    FRAME_LIMIT,
    HIDDEN,
    HISTORY_LIMIT,
    LOBBY,
    NAME_LIMIT,
    PUBLIC_PATTERN,
    QUERY_LIMIT,
    REACTORS_LIMIT,
    REASON_LIMIT,
    ROOM_PATTERN,
    SLOW_LIMIT,
    TITLE_LIMIT,
    VERSION,
)
from chat.protocol.outgoing import (
    AboutRoom,
    Ack,
    AnyOutgoing,
    Change,
    Deleted,
    Edited,
    Error,
    Expiring,
    Found,
    History,
    Invited,
    Joined,
    Left,
    Member,
    Members,
    Message,
    Outgoing,
    Pong,
    Position,
    Reacted,
    Reaction,
    ReadUpTo,
    Reconnect,
    Removed,
    Restricted,
    RoomChanged,
    TypingNow,
    UserList,
    Welcome,
)
from chat.protocol.reading import COMMANDS, OUTGOING, decode, decode_outgoing, encode, frame
from chat.protocol.text import clean_name, is_emoji, name_key, visible


def is_hidden(room: str) -> bool:
    """Is it the name of a room that is not public? Nobody can guess one."""
    return room.startswith(HIDDEN)


def now() -> int:
    """The wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


__all__ = [
    "BIGGEST",
    "COMMANDS",
    "CONTENT_LIMIT",
    "EMOJIS_LIMIT",
    "EMOJI_LIMIT",
    "FRAME_LIMIT",
    "HIDDEN",
    "HISTORY_LIMIT",
    "LOBBY",
    "NAME_LIMIT",
    "OUTGOING",
    "PUBLIC_PATTERN",
    "QUERY_LIMIT",
    "REACTORS_LIMIT",
    "REASON_LIMIT",
    "ROOM_PATTERN",
    "SLOW_LIMIT",
    "TITLE_LIMIT",
    "VERSION",
    "AboutRoom",
    "Ack",
    "AnyCommand",
    "AnyOutgoing",
    "Appoint",
    "Ban",
    "Change",
    "CloseCode",
    "Command",
    "Configure",
    "Create",
    "Delete",
    "Deleted",
    "Direct",
    "Edit",
    "Edited",
    "Epoch",
    "Error",
    "ErrorCode",
    "Expiring",
    "Found",
    "GetHistory",
    "GetMembers",
    "History",
    "Invalid",
    "Invite",
    "Invited",
    "Join",
    "Joined",
    "Kick",
    "Leave",
    "Left",
    "Member",
    "Members",
    "Message",
    "Mute",
    "Number",
    "Outgoing",
    "Ping",
    "Pong",
    "Position",
    "Post",
    "React",
    "Reacted",
    "Reaction",
    "Read",
    "ReadUpTo",
    "Reconnect",
    "Ref",
    "Removed",
    "Report",
    "Restrict",
    "Restricted",
    "Role",
    "Room",
    "RoomChanged",
    "RoomKind",
    "Search",
    "ShowToken",
    "Timestamp",
    "Typing",
    "TypingNow",
    "UserList",
    "Welcome",
    "clean_name",
    "decode",
    "decode_outgoing",
    "encode",
    "frame",
    "is_emoji",
    "is_hidden",
    "name_key",
    "now",
    "visible",
]
