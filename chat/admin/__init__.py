"""The admin: rooms, messages, reports, restrictions, members, open connections, and the audit log.

Messages are hidden and pruned only through chat.message_log. So its numbers stay complete, and open clients are
updated.
"""

from chat.admin import audit, connections, memberships, messages, reports, restrictions, rooms, topics

__all__ = ["audit", "connections", "memberships", "messages", "reports", "restrictions", "rooms", "topics"]
