"""Each server indexes messages that the search index lacks in the background, while the chat goes on."""

import asyncio
import logging

import pytest
from django.db import Error
from helpers import PATIENCE
from logs import posts

from chat import models
from chat.database import run_read, run_write
from chat.message_log import Writer, queries, search_indexing
from chat.message_log.search_indexing import SearchIndexer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_indexing, "IDLE", 0.01)


async def unindexed_messages(number: int) -> None:
    """Write messages that are not in the index."""

    def write() -> None:
        room = queries.open_room("tea")
        Writer().write(posts(room, number))
        models.Message.objects.update(words=None)

    await run_write(write)


async def until_all_are_indexed() -> None:
    async with asyncio.timeout(PATIENCE):
        while await run_read(models.Message.objects.filter(words=None).exists):  # noqa: ASYNC110 the database sends no event
            await asyncio.sleep(0.01)


async def test_unindexed_messages_are_indexed(rooms: None) -> None:
    """They are indexed in batches until nothing is left, and so are later ones; two processes share the work."""
    await unindexed_messages(search_indexing.BATCH + 5)
    two = [SearchIndexer(), SearchIndexer()]
    await until_all_are_indexed()
    await unindexed_messages(3)
    await until_all_are_indexed()
    for one in two:
        await one.close()


async def test_nothing_is_locked_if_all_is_indexed(rooms: None, transactions: list[str]) -> None:
    """Each server checks every ten seconds, with one query."""
    await unindexed_messages(2)
    assert await run_write(search_indexing.index_some) == 2
    transactions.clear()
    assert await run_write(search_indexing.index_some) == 0
    assert transactions == []


@pytest.mark.parametrize("unforeseen", [False, True])
async def test_a_failure_is_logged_and_does_not_end_it(
    rooms: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unforeseen: bool
) -> None:
    """A database that is away, or a bug, is logged, and the indexing is retried later."""
    await unindexed_messages(1)
    index_some, failed = search_indexing.index_some, asyncio.Event()
    loop = asyncio.get_running_loop()

    def fails() -> int:
        monkeypatch.setattr(search_indexing, "index_some", index_some)
        loop.call_soon_threadsafe(failed.set)
        raise RuntimeError("no") if unforeseen else Error("away")

    monkeypatch.setattr(search_indexing, "index_some", fails)
    one = SearchIndexer()
    async with asyncio.timeout(PATIENCE):
        await failed.wait()
    await until_all_are_indexed()
    await one.close()
    said = [record for record in caplog.records if "could not be indexed" in record.message]
    assert [record.levelno for record in said] == [logging.ERROR if unforeseen else logging.WARNING]
