"""What the staff sees and may do: the rooms, what was said in them and reported, who may not, and who is here now.

Nothing here writes past the log: messages are hidden and pruned by chat.log, so that its numbers stay whole and
whoever is in the room hears of it.
"""

from chat.admin import audit, connections, memberships, messages, reports, restrictions, rooms

__all__ = ["audit", "connections", "memberships", "messages", "reports", "restrictions", "rooms"]
