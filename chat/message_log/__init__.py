"""The log of the chat's rooms, on chat.log: messages, their changes, history, search and read positions."""

from chat.message_log.log import MessageLog
from chat.message_log.queries import Page
from chat.message_log.search import SearchResults
from chat.message_log.writer import Writer
from chat.message_log.writes import (
    DeleteMessage,
    EditText,
    MarkRead,
    MessageChange,
    NewMessage,
    SetHidden,
    SetReaction,
)

__all__ = [
    "DeleteMessage",
    "EditText",
    "MarkRead",
    "MessageChange",
    "MessageLog",
    "NewMessage",
    "Page",
    "SearchResults",
    "SetHidden",
    "SetReaction",
    "Writer",
]
