"""The first name of chat.message_log.maintenance, for projects that call it."""

from chat.message_log.maintenance import hide, post, prune

__all__ = ["hide", "post", "prune"]
