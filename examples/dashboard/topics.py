from typing import Any

from chat.topics import Event, Latest, Topic, topic


class Reading(Event, tag="reading"):
    value: float


@topic("board")
class BoardTopic(Topic):
    """The gauges: `board:main`. Each is a key. Viewers get the latest values four times a second."""

    events = Reading
    keep = Latest()
    every = 0.25

    def may_subscribe(self, user: Any, key: str) -> bool:  # noqa: ARG002 everybody may
        return key == "main"
