"""The former name of chat.message_log.maintenance, for projects that call it."""

from chat.message_log.maintenance import count_prunable, hide, in_pieces, post, prune

__all__ = ["count_prunable", "hide", "in_pieces", "post", "prune"]
