from typing import Any

from chat.topics import Event, Latest, Topic, topic


class Moved(Event, tag="moved"):
    status: str


@topic("order")
class OrderTopic(Topic):
    events = Moved

    def may_subscribe(self, user: Any, key: str) -> bool:
        return True


@topic("stock")
class StockTopic(OrderTopic):
    keep = Latest()
