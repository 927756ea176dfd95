"""``manage.py prune_reports``: delete closed reports, with the texts that they kept."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.utils import timezone

from chat import models
from chat.management.commands.prune_messages import age


class Command(BaseCommand):
    help = "Delete reports that were closed longer ago than a time, with the texts that they kept. Open ones stay."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than", required=True, metavar="365d", help="hours (h), days (d) or weeks (w)")
        parser.add_argument("--dry-run", action="store_true", help="delete nothing; print what would be deleted")

    def handle(self, *, older_than: str, dry_run: bool, **_: Any) -> None:
        old = models.Report.objects.filter(closed__lt=timezone.now() - age(older_than))
        try:
            number = old.count() if dry_run else old.delete()[0]
        except Error as error:
            raise CommandError(f"The database refuses: {error}. Nothing is deleted; run it again.") from None
        self.stdout.write(f"{number} closed reports {'would be deleted' if dry_run else 'are deleted'}")
