"""The background job that gives tokens to messages without them, a few at a time, while the chat goes on.

chat.message_log.search explains which messages these are. Each batch is a transaction, so that its work is kept,
and the next process continues with the rest. Several processes share the work.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from functools import partial

from django.db import Error, connections, router, transaction

from chat import models
from chat.database import retry_on_conflict, run_write
from chat.loops import end_tasks
from chat.message_log.search_words import words_for

BATCH = 200
"""Messages of one transaction: some 10 ms. Writers may have to wait that long."""
REST = 4
"""Length of the pause after a batch, as a multiple of the batch's own duration."""
IDLE = 10.0
"""Seconds until the next check if nothing is left, on average; also before the first check."""

logger = logging.getLogger("chat.log")


class SearchIndexer:
    """A task of one event loop that indexes messages until it is closed."""

    def __init__(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            # Random, so that several processes do not check at the same moment.
            pause = IDLE * random.uniform(0.5, 1.5)  # noqa: S311 it spreads a crowd
            await asyncio.sleep(pause)
            try:
                await self._index_all()
            except Error as error:
                logger.warning("messages could not be indexed for the search: %s", error)
            except Exception:
                # A bug must not end the task: later messages have to be indexed too.
                logger.exception("messages could not be indexed for the search")

    async def _index_all(self) -> None:
        began = time.monotonic()
        while await run_write(index_some):
            await asyncio.sleep(REST * (time.monotonic() - began))
            began = time.monotonic()

    async def close(self) -> None:
        await end_tasks(self._task)


def index_some(size: int = BATCH) -> int:
    """Give tokens to the newest messages without them, at most ``size``; returns their count. For a thread."""
    return retry_on_conflict(partial(_index_some, size))


def _index_some(size: int) -> int:
    using = router.db_for_write(models.Message)
    rows = models.Message.objects.using(using).filter(words=None).order_by("-room_id", "-pk")
    if not rows.exists():
        # Nearly always there are none, and then nothing is locked.
        return 0
    with transaction.atomic(using=using):
        # Rows that another process is indexing are left to it.
        found = list(rows.select_for_update(skip_locked=True).values_list("pk", "room_id", "content")[:size])
        _save_tokens(using, [(pk, content, words_for(room, content)) for pk, room, content in found])
    return len(found)


def index_anew(size: int = BATCH) -> Iterator[int]:
    """Make all messages' tokens again, after a change of the folding; yields the count so far. For a thread."""
    using = router.db_for_write(models.Message)
    rows = models.Message.objects.using(using).order_by("pk").values_list("pk", "room_id", "content")
    last = done = 0
    while found := list(rows.filter(pk__gt=last)[:size]):
        given = [(pk, content, words_for(room, content)) for pk, room, content in found]
        retry_on_conflict(partial(_save_tokens, using, given))
        last = found[-1][0]
        done += len(found)
        yield done


def _save_tokens(using: str, rows: list[tuple[int, str, str]]) -> None:
    """Save tokens; each row is (key, text, tokens). A message whose text has changed since keeps its own."""
    if not rows:
        return
    places = ", ".join(["(%s, %s, %s)"] * len(rows))
    with connections[using].cursor() as cursor:
        cursor.execute(
            "UPDATE chat_message SET words = given.words FROM "  # noqa: S608 places for values
            f"(WITH made(id, content, words) AS (VALUES {places}) SELECT * FROM made) AS given "
            "WHERE chat_message.id = given.id AND chat_message.content = given.content",
            [value for row in rows for value in row],
        )
