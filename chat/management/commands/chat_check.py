"""``manage.py chat_check``: proves that the rooms' logs are whole. The chat may run meanwhile."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from chat import models
from chat.log.upkeep import faults


class Command(BaseCommand):
    help = "Prove the rooms' logs. Each fault is one line, with how to repair it; with any, exit with 1."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--room", metavar="SLUG", help="only this room")

    def handle(self, *, room: str | None, **_: Any) -> None:
        rooms = models.Room.objects.order_by("slug")
        if room is not None:
            rooms = rooms.filter(slug=room)
        try:
            number = rooms.count()
            if room is not None and not number:
                raise CommandError(f"There is no room {room!r}.")
            found = 0
            for fault in faults(rooms):
                self.stdout.write(str(fault))
                found += 1
        except Error as error:
            raise CommandError(f"The database does not answer: {error}") from None
        if found:
            raise CommandError(f"{found} things are wrong in {number} rooms.")
        self.stdout.write(f"{number} rooms: nothing is wrong")
