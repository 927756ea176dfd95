from typing import Any

from chat.topics import Event, Log, Topic, topic


class Activity(Event, tag="activity"):
    actor: str
    text: str


@topic("feed")
class FeedTopic(Topic):
    """The site's activity, newest last: `feed:all`."""

    events = Activity
    keep = Log(depth=200, days=30)

    def may_subscribe(self, user: Any, key: str) -> bool:  # noqa: ARG002 everybody may
        return key == "all"
