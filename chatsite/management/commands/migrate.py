"""``manage.py migrate``: Django's, with an explanation when it gives up waiting for a lock."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as Migrate
from django.db import OperationalError

LOCK_NOT_AVAILABLE = "55P03"


class Command(Migrate):
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            super().handle(*args, **options)
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            raise CommandError(
                "Another transaction holds a table that a migration needs, and all clients would wait behind it. "
                "So this gave up: finished migrations stay, and the one that waited changed nothing. "
                "Run it again when that transaction has ended: pg_stat_activity shows which it is."
            ) from error
