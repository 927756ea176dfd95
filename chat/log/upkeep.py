"""The former name of chat.log.maintenance, for projects that call it."""

from chat.log.maintenance import hide, post, prune

__all__ = ["hide", "post", "prune"]
