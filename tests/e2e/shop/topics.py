from typing import Any

from chat.topics import Event, Latest, Log, Memory, Topic, topic


class Moved(Event, tag="moved"):
    status: str


class Open(Topic):
    events = Moved

    def may_subscribe(self, user: Any, key: str) -> bool:
        return True

    def may_publish(self, user: Any, key: str, event: Event | None) -> bool:
        return True


@topic("order")
class OrderTopic(Open):
    keep = Log(depth=100_000)


@topic("stock")
class StockTopic(Open):
    keep = Latest()


@topic("board")
class BoardTopic(Open):
    keep = Latest()
    every = 0.1


@topic("world")
class WorldTopic(Open):
    keep = Memory()
    every = 0.1


@topic("note")
class NoteTopic(Open):
    presence = True
