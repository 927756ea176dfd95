"""``manage.py chat_check``: check the rooms' logs for faults. The chat may run meanwhile."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.db.models import QuerySet

from chat import models
from chat.log.faults import Fault
from chat.message_log.integrity import faults
from chat.topics import maintenance as topics


class Command(BaseCommand):
    help = (
        "Check the rooms' logs. Each fault is printed in one line with its repair, and the exit code is then 1. "
        "With --fix faults are repaired, if that needs no backup."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--room", metavar="SLUG", help="only this room")
        parser.add_argument("--fix", action="store_true", help="repair the faults that need no backup")

    def handle(self, *, room: str | None, fix: bool, **_: Any) -> None:
        rooms = models.Room.objects.order_by("slug")
        if room is not None:
            rooms = rooms.filter(slug=room)
        try:
            number = rooms.count()
            if room is not None and not number:
                raise CommandError(f"There is no room {room!r}.")
            found = list(faults(rooms))
            in_topics = list(topics.faults()) if room is None else []
            for fault in [*found, *in_topics]:
                self.stdout.write(str(fault))
            if fix and found:
                found = self._fix(rooms, found)
        except Error as error:
            raise CommandError(f"The database does not answer: {error}") from None
        if found or in_topics:
            raise CommandError(f"{len(found) + len(in_topics)} things are wrong in {number} rooms and all topics.")
        self.stdout.write(f"{number} rooms: nothing is wrong")

    def _fix(self, rooms: QuerySet[models.Room], found: list[Fault]) -> list[Fault]:
        """Repair the faults. Returns those that are left."""
        for fault in found:
            if fault.fix:
                fault.fix()
        left = list(faults(rooms))
        self.stdout.write(f"{max(0, len(found) - len(left))} of these are repaired")
        return left
