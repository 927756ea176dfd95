"""``manage.py prune_messages``: delete old messages for good. The chat, and another prune, may run meanwhile."""

import re
from collections import Counter
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.db.models import QuerySet
from django.utils import timezone

from chat import models
from chat.log.write_queue import BATCH
from chat.message_log.maintenance import Pruned, count_prunable, prune

UNITS = {"h": "hours", "d": "days", "w": "weeks"}
BATCH_LIMIT = 10_000
"""Messages of one transaction: a statement has at most 32,766 values in SQLite, and other writers wait for it."""


class Command(BaseCommand):
    help = (
        "Delete messages that are older than a time, a few in each transaction. Their numbers are not given again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than", required=True, metavar="90d", help="hours (h), days (d) or weeks (w)")
        parser.add_argument("--room", metavar="SLUG", help="only of this room")
        parser.add_argument("--dry-run", action="store_true", help="delete nothing; print what would be deleted")
        parser.add_argument(
            "--batch",
            type=int,
            default=BATCH,
            metavar="N",
            help="messages in one transaction (default: %(default)s)",
        )

    def handle(self, *, older_than: str, room: str | None, dry_run: bool, batch: int, **_: Any) -> None:
        if not 1 <= batch <= BATCH_LIMIT:
            raise CommandError(f"--batch must be from 1 to {BATCH_LIMIT}, not {batch}.")
        old = models.Message.objects.filter(created__lt=timezone.now() - age(older_than))
        if room is not None:
            if not models.Room.objects.filter(slug=room).exists():
                raise CommandError(f"There is no room {room!r}.")
            old = old.filter(room__slug=room)
        try:
            self._print(count_prunable(old), "would be deleted") if dry_run else self._prune(old, batch)
        except Error as error:
            raise CommandError(
                f"The database refuses: {error}. The reported part is done; run it again."
            ) from None

    def _prune(self, old: QuerySet[models.Message], batch: int) -> None:
        messages, numbers = Counter[str](), Counter[str]()
        try:
            for pruned in prune(old, batch):
                messages[pruned.room] += pruned.messages
                numbers[pruned.room] += pruned.numbers
        finally:
            self._print([Pruned(slug, n, numbers[slug]) for slug, n in sorted(messages.items())], "are deleted")

    def _print(self, rooms: list[Pruned], what: str) -> None:
        for pruned in rooms:
            self.stdout.write(f"{pruned.room}: {pruned.messages} messages with {pruned.numbers} numbers {what}")
        self.stdout.write(f"{sum(pruned.messages for pruned in rooms)} messages {what}")


def age(text: str) -> timedelta:
    """The time span of "12h", "90d" or "8w"."""
    found = re.fullmatch(r"(\d{1,4})([hdw])", text)
    if not found or not int(found[1]):
        raise CommandError(f"--older-than must be like 12h, 90d or 8w, not {text!r}.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
