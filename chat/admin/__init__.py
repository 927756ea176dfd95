"""What the staff sees and may do: the rooms, what was said in them, and who is here now.

Nothing here writes past the log: messages are hidden and pruned by chat.log, so that its numbers stay whole and
whoever is in the room hears of it.
"""

from chat.admin import connections, messages, rooms

__all__ = ["connections", "messages", "rooms"]
