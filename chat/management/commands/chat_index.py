"""``manage.py chat_index``: index messages that the search does not have yet. The chat may run meanwhile."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections, router

from chat import models
from chat.message_log.search import prepare
from chat.message_log.search_indexing import index_anew, index_some

PROGRESS = 10_000
"""Messages between two lines of progress."""


class Command(BaseCommand):
    help = (
        "Index messages for the search that are not indexed yet, and remove the index of the version before. "
        "A running chat does the first by itself, more slowly."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--anew",
            action="store_true",
            help="all messages: after an upgrade of Python that knows more of Unicode",
        )

    def handle(self, *, anew: bool, **_: Any) -> None:
        try:
            done = self._anew() if anew else self._rest()
            prepare(connections[router.db_for_write(models.Message)])
        except Error as error:
            raise CommandError(
                f"The database refuses: {error}. The reported part is done; run it again."
            ) from None
        self.stdout.write(f"{done} messages are indexed")

    def _rest(self) -> int:
        done = 0
        while number := index_some():
            done += number
            self._print_progress(done, number)
        return done

    def _anew(self) -> int:
        done = 0
        for so_far in index_anew():
            self._print_progress(so_far, so_far - done)
            done = so_far
        return done

    def _print_progress(self, done: int, number: int) -> None:
        if done // PROGRESS > (done - number) // PROGRESS:
            self.stdout.write(f"{done} messages so far")
