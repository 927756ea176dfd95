"""The wire protocol, version 1. Pure: no Django, no I/O.

Three kinds of message, each one JSON object in one text frame, told apart by ``type``:

- a *command* goes from client to server and may carry a ``ref`` (commands);
- a *reply* (``Ack``, ``Error``, ``Pong``, ``History``, ``Found``, ``Welcome``) carries that ``ref`` back to one
  socket (outgoing);
- an *event* goes to everyone in a room (outgoing).

``decode`` turns any text whatever into a command, or raises ``Invalid``, which names the field. ``encode``
turns a reply or an event into text. Field names are camelCase on the wire, times are integer milliseconds
since 1970. docs/protocol.md, its JSON Schema and the AsyncAPI document are generated from this package.
"""

import time

from chat.protocol.codes import CloseCode, ErrorCode, Invalid
from chat.protocol.commands import (
    AnyCommand,
    Command,
    Delete,
    Edit,
    GetHistory,
    Join,
    Leave,
    Ping,
    Post,
    React,
    Read,
    Search,
    Typing,
)
from chat.protocol.fields import Epoch, Number, Ref, Room, Timestamp
from chat.protocol.limits import (
    BIGGEST,
    CONTENT_LIMIT,
    EMOJI_LIMIT,
    EMOJIS_LIMIT,
    FRAME_LIMIT,
    HISTORY_LIMIT,
    LOBBY,
    NAME_LIMIT,
    QUERY_LIMIT,
    REACTORS_LIMIT,
    ROOM_PATTERN,
    VERSION,
)
from chat.protocol.outgoing import (
    Ack,
    AnyOutgoing,
    Change,
    Deleted,
    Edited,
    Error,
    Found,
    History,
    Joined,
    Left,
    Message,
    Outgoing,
    Pong,
    Position,
    Reacted,
    Reaction,
    ReadUpTo,
    Reconnect,
    TypingNow,
    UserList,
    Welcome,
)
from chat.protocol.reading import COMMANDS, OUTGOING, decode, decode_outgoing, encode, frame
from chat.protocol.text import clean_name, is_emoji, name_key, visible


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
    "HISTORY_LIMIT",
    "LOBBY",
    "NAME_LIMIT",
    "OUTGOING",
    "QUERY_LIMIT",
    "REACTORS_LIMIT",
    "ROOM_PATTERN",
    "VERSION",
    "Ack",
    "AnyCommand",
    "AnyOutgoing",
    "Change",
    "CloseCode",
    "Command",
    "Delete",
    "Deleted",
    "Edit",
    "Edited",
    "Epoch",
    "Error",
    "ErrorCode",
    "Found",
    "GetHistory",
    "History",
    "Invalid",
    "Join",
    "Joined",
    "Leave",
    "Left",
    "Message",
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
    "Room",
    "Search",
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
    "name_key",
    "now",
    "visible",
]
