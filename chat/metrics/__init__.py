"""The counters of one process, and their export to Prometheus."""

from chat.metrics.prometheus import exposition, forget, registry

__all__ = ["exposition", "forget", "registry"]
