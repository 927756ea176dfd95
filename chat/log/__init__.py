"""A log: each change of a room gets the room's next number and is committed before it is acknowledged.

The layer that all kinds of rooms stand on. It knows no messages: chat.message_log is the chat's log.
"""

from chat.log.changes import Change, LogSlice, void_change, within_page
from chat.log.database_calls import read_or_busy, write_or_busy
from chat.log.log import BatchWriter, Log
from chat.log.room_log import RoomCounters, RoomLog
from chat.log.source import Source
from chat.log.write_queue import BATCH
from chat.log.writes import HELD, Held, Outcome, Write, Written, ref_reused, unavailable

__all__ = [
    "BATCH",
    "HELD",
    "BatchWriter",
    "Change",
    "Held",
    "Log",
    "LogSlice",
    "Outcome",
    "RoomCounters",
    "RoomLog",
    "Source",
    "Write",
    "Written",
    "read_or_busy",
    "ref_reused",
    "unavailable",
    "void_change",
    "within_page",
    "write_or_busy",
]
