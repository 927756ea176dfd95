"""``manage.py publish_activity "Deploy" "Version 12 is live"``: another process publishes to the feed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from chat.topics import publish
from examples.feed.topics import Activity, FeedTopic


class Command(BaseCommand):
    help = "Publish an activity to the feed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("actor")
        parser.add_argument("text", nargs="+")

    def handle(self, *, actor: str, text: list[str], **_: Any) -> None:
        for one in text:
            publish(FeedTopic("all"), Activity(actor, one))
