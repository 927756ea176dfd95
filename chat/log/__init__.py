"""The room log: every change of a room gets the room's next number and is durable before it is acknowledged."""

from chat.log.calls import answered, done
from chat.log.changes import Change, Stretch, nothing
from chat.log.log import Log
from chat.log.queries import Page, RoomLog, Standing
from chat.log.search import Results
from chat.log.writer import Writer
from chat.log.writes import (
    EditText,
    Emoji,
    Erase,
    HasRead,
    Hide,
    NewMessage,
    OfMessage,
    Outcome,
    Write,
    Written,
    unavailable,
)

__all__ = [
    "Change",
    "EditText",
    "Emoji",
    "Erase",
    "HasRead",
    "Hide",
    "Log",
    "NewMessage",
    "OfMessage",
    "Outcome",
    "Page",
    "Results",
    "RoomLog",
    "Standing",
    "Stretch",
    "Write",
    "Writer",
    "Written",
    "answered",
    "done",
    "nothing",
    "unavailable",
]
