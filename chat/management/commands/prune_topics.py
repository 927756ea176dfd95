"""``manage.py prune_topics``: delete the entries that their topics do not keep. The server may run meanwhile."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from chat.topics.maintenance import prune


class Command(BaseCommand):
    help = (
        "Delete the entries of topics beyond what `keep` in their declaration says, and refs that are older than "
        "30 days. Their numbers are not given again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="delete nothing; print what would be deleted")

    def handle(self, *, dry_run: bool, **_: Any) -> None:
        what = "would be deleted" if dry_run else "are deleted"
        total = 0
        try:
            for pruned in prune(dry_run=dry_run):
                self.stdout.write(f"{pruned.topic}: {pruned.entries} entries with {pruned.numbers} numbers {what}")
                total += pruned.entries
        except Error as error:
            raise CommandError(
                f"The database refuses: {error}. The reported part is done; run it again."
            ) from None
        self.stdout.write(f"{total} entries {what}")
