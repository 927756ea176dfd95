"""One dashboard, kept in three ways."""

from typing import Any

from chat.topics import Event, Latest, Log, Memory, Topic, topic


class Reading(Event, tag="reading"):
    value: float
    at: int


class Board(Topic):
    events = Reading

    def may_subscribe(self, user: Any, key: str) -> bool:  # noqa: ARG002 everybody may
        return True

    def may_publish(self, user: Any, key: str, event: Event | None) -> bool:  # noqa: ARG002 everybody may
        return True


@topic("latest")
class LatestBoard(Board):
    keep = Latest()
    every = 0.25


@topic("memory")
class MemoryBoard(Board):
    keep = Memory()
    every = 0.25


@topic("each")
class EachBoard(Board):
    """Every reading is sent."""

    keep = Memory()


@topic("stored")
class EachStored(Board):
    """Every reading is stored and sent."""

    keep = Log()
