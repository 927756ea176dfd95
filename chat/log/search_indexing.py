"""The background job that gives tokens to messages without them, a few at a time, while the chat goes on.

chat.log.search tells which messages these are, and why. Each batch is a transaction, so that what is done stays
done, and the next process goes on with the rest. Several processes share the work.
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
from chat.log.search import words_for

BATCH = 200
"""Messages of one transaction: some 10 ms, for which writers may have to wait."""
REST = 4
"""How many times as long as a batch took nothing is indexed after it."""
IDLE = 10.0
"""Seconds until the next look, on average, where nothing is left; also before the first one."""

logger = logging.getLogger("chat.log")


class SearchIndexer:
    """A task of one event loop that indexes what is not indexed, until it is closed."""

    def __init__(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            # By chance, so that several processes do not look at the same moment.
            pause = IDLE * random.uniform(0.5, 1.5)  # noqa: S311 it spreads a crowd
            await asyncio.sleep(pause)
            try:
                await self._index_all()
            except Error as error:
                logger.warning("messages could not be indexed for the search: %s", error)
            except Exception:
                # A fault of ours must not end it: what is written later has to be indexed too.
                logger.exception("messages could not be indexed for the search")

    async def _index_all(self) -> None:
        began = time.monotonic()
        while await run_write(index_some):
            await asyncio.sleep(REST * (time.monotonic() - began))
            began = time.monotonic()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def index_some(size: int = BATCH) -> int:
    """Give their tokens to the newest messages that have none; how many there were. For a thread."""
    return retry_on_conflict(partial(_index_some, size))


def _index_some(size: int) -> int:
    using = router.db_for_write(models.Message)
    rows = models.Message.objects.using(using).filter(words=None).order_by("-room_id", "-pk")
    if not rows.exists():
        # Nearly always: nothing is locked for that.
        return 0
    with transaction.atomic(using=using):
        # Rows that another process has in hand are left to it.
        found = list(rows.select_for_update(skip_locked=True).values_list("pk", "room_id", "content")[:size])
        _give(using, [(pk, content, words_for(room, content)) for pk, room, content in found])
    return len(found)


def index_anew(size: int = BATCH) -> Iterator[int]:
    """Make the tokens of all messages anew, as after a change of the folding: how many so far. For a thread."""
    using = router.db_for_write(models.Message)
    rows = models.Message.objects.using(using).order_by("pk").values_list("pk", "room_id", "content")
    last = done = 0
    while found := list(rows.filter(pk__gt=last)[:size]):
        given = [(pk, content, words_for(room, content)) for pk, room, content in found]
        retry_on_conflict(partial(_give, using, given))
        last = found[-1][0]
        done += len(found)
        yield done


def _give(using: str, rows: list[tuple[int, str, str]]) -> None:
    """Keep tokens: each row is (key, text, tokens). A message with another text by now keeps its own tokens."""
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
