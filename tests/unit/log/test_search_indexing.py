"""Messages that the search's index lacks are indexed by each server in the background, while the chat goes on."""

import asyncio
import logging

import pytest
from django.db import Error
from helpers import PATIENCE
from logs import posts

from chat import models
from chat.database import run_read, run_write
from chat.log import Writer, queries, search_indexing
from chat.log.search_indexing import SearchIndexer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_indexing, "IDLE", 0.01)


async def said_before(number: int) -> None:
    """Messages that are not in the index."""

    def write() -> None:
        room = queries.open_room("tea")
        Writer().write(posts(room, number))
        models.Message.objects.update(words=None)

    await run_write(write)


async def until_all_are_indexed() -> None:
    async with asyncio.timeout(PATIENCE):
        while await run_read(models.Message.objects.filter(words=None).exists):  # noqa: ASYNC110 the database tells nobody
            await asyncio.sleep(0.01)


async def test_what_is_not_indexed_is_indexed(rooms: None) -> None:
    """In batches until nothing is left, and what comes later too; by two processes at once as by one."""
    await said_before(search_indexing.BATCH + 5)
    two = [SearchIndexer(), SearchIndexer()]
    await until_all_are_indexed()
    await said_before(3)
    await until_all_are_indexed()
    for one in two:
        await one.close()


async def test_where_all_is_indexed_nothing_is_locked(rooms: None, transactions: list[str]) -> None:
    """Each server looks every ten seconds: that is one question."""
    await said_before(2)
    assert await run_write(search_indexing.index_some) == 2
    transactions.clear()
    assert await run_write(search_indexing.index_some) == 0
    assert transactions == []


@pytest.mark.parametrize("unforeseen", [False, True])
async def test_a_failure_is_told_and_does_not_end_it(
    rooms: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unforeseen: bool
) -> None:
    """A database that is away, or a fault of ours: it is logged, and tried again later."""
    await said_before(1)
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
