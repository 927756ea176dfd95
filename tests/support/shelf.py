"""Topics for the tests: one of each kind, as a project would declare them."""

from typing import Any

from chat.topics import Event, Latest, Log, Memory, Topic, topic

ALLOWED: dict[str, bool] = {}
"""Users who may not subscribe, by name: False. A test changes it, and clears it at its end."""


class Moved(Event, tag="moved"):
    status: str
    at: int = 0


class Cancelled(Event, tag="cancelled"):
    pass


class Reading(Event, tag="reading"):
    value: float
    label: str = ""


class Open(Topic):
    """Everybody may subscribe, except those in ALLOWED; everybody may publish, except below zero."""

    def may_subscribe(self, user: Any, key: str) -> bool:
        return key != "secret" and ALLOWED.get(user.get_username(), True)

    def may_publish(self, user: Any, key: str, event: Event | None) -> bool:
        return not (isinstance(event, Reading) and event.value < 0)


@topic("shelf-order")
class OrderTopic(Open):
    events = Moved | Cancelled
    keep = Log(depth=100)


@topic("shelf-gauge")
class GaugeTopic(Open):
    events = Reading
    keep = Latest()
    presence = True


@topic("shelf-board")
class BoardTopic(Open):
    events = Reading | Moved
    keep = Latest()
    every = 0.05


@topic("shelf-world")
class WorldTopic(Open):
    events = Reading | Moved
    keep = Memory(depth=10, keys=20)
    every = 0.05


@topic("shelf-closed")
class ClosedTopic(Topic):
    events = Moved
