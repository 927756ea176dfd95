"""Topics: publish from anywhere in Django, inside the transaction, to every subscriber (docs/topics.md)."""

from chat.topics.declare import Latest, Log, Memory, Topic, declared, find, topic
from chat.topics.events import Event
from chat.topics.publishing import apublish, aremove, asignal, publish, publish_many, recheck, remove, signal

__all__ = [
    "Event",
    "Latest",
    "Log",
    "Memory",
    "Topic",
    "apublish",
    "aremove",
    "asignal",
    "declared",
    "find",
    "publish",
    "publish_many",
    "recheck",
    "remove",
    "signal",
    "topic",
]
