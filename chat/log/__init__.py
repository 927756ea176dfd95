"""The room log: each change of a room gets the room's next number and is committed before it is acknowledged."""

from chat.log.changes import Change, LogSlice, void_change
from chat.log.database_calls import read_or_busy, write_or_busy
from chat.log.log import Log
from chat.log.queries import Page, RoomCounters, RoomLog
from chat.log.search import SearchResults
from chat.log.writer import Writer
from chat.log.writes import (
    DeleteMessage,
    EditText,
    MarkRead,
    MessageChange,
    NewMessage,
    Outcome,
    SetHidden,
    SetReaction,
    Write,
    Written,
    unavailable,
)

__all__ = [
    "Change",
    "DeleteMessage",
    "EditText",
    "Log",
    "LogSlice",
    "MarkRead",
    "MessageChange",
    "NewMessage",
    "Outcome",
    "Page",
    "RoomCounters",
    "RoomLog",
    "SearchResults",
    "SetHidden",
    "SetReaction",
    "Write",
    "Writer",
    "Written",
    "read_or_busy",
    "unavailable",
    "void_change",
    "write_or_busy",
]
