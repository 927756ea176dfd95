from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from chat import api
from chat.topics import Event

BOT = api.Bot("Shop", "/static/chat/favicon.svg")


class Bell(Event, tag="bell"):
    times: int


class Command(BaseCommand):
    """Use chat.api from another process: ``post`` words, or ask ``who`` is online and end their connections."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=["post", "who"])
        parser.add_argument("word", nargs="*")

    def handle(self, *, verb: str, word: list[str], **_: Any) -> None:
        if verb == "who":
            self.who()
        for one in word:
            self.post(one)

    def post(self, word: str) -> None:
        """A word that begins with "held" or "undone" is posted in a transaction."""
        if not word.startswith(("held", "undone")):
            api.post("lobby", word, bot=BOT, ref=word, data={"word": word})
            return
        with transaction.atomic():
            Group.objects.create(name=word)
            api.post("lobby", word, bot=BOT, ref=word)
            if word.startswith("undone"):
                transaction.set_rollback(True)

    def who(self) -> None:
        user = get_user_model().objects.get(username="Ann")
        self.stdout.write(f"{api.presence('lobby')} {api.is_online(user)}")
        api.send_event("lobby", Bell(1))
        api.send_event(user, Bell(2))
        api.disconnect(user)
