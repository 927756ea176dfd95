"""The ORM on the chat's own threads: queries do not wait for each other, and a broken connection is replaced."""

import asyncio
import threading
from functools import partial

import pytest
from django.db import Error, IntegrityError, OperationalError, connection
from django.db.backends.signals import connection_created
from doubles import Outage, until
from helpers import PATIENCE

from chat import models
from chat.database import READERS, close_connections, run_read, run_write


def thread() -> str:
    return threading.current_thread().name


def query() -> int:
    """Run a query on this thread's connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return int(cursor.fetchone()[0])


def break_connection() -> None:
    """End the connection without Django's knowledge, like a database that restarts."""
    query()
    connection.connection.close()


async def test_answers_and_errors_come_back(rooms: None) -> None:
    """The caller gets the call's result or exception."""
    assert await run_read(query) == await run_write(query) == 1
    for through in (run_read, run_write):
        with pytest.raises(ZeroDivisionError):
            await through(lambda: 1 // 0)


async def test_nothing_runs_on_the_loop_s_thread(rooms: None) -> None:
    """Reads and writes run on their own threads, and none on the loop's."""
    names = {await run_read(thread), await run_write(thread)}
    assert {name.rpartition("_")[0] for name in names} == {"chat-read", "chat-write"}


async def test_a_slow_query_holds_up_no_other(rooms: None) -> None:
    """While some readers wait, others get their results, and writes go on."""
    held = threading.Event()
    slow = [asyncio.create_task(run_read(partial(held.wait, PATIENCE))) for _ in range(READERS - 1)]
    await asyncio.sleep(0)
    assert await run_read(query) == await run_write(query) == 1
    assert not any(task.done() for task in slow)
    held.set()
    assert await asyncio.gather(*slow) == [True] * (READERS - 1)


async def test_writes_are_done_in_their_order(rooms: None) -> None:
    """One thread writes, so calls run in their order."""
    done: list[int] = []
    await asyncio.gather(*(run_write(partial(done.append, number)) for number in range(100)))
    assert done == list(range(100))
    assert len({await run_write(thread) for _ in range(5)}) == 1


async def test_connections_last(rooms: None) -> None:
    """Each thread keeps its connection from query to query, until the connections are closed."""
    opened: list[str] = []
    close_connections()

    def count(**_: object) -> None:
        opened.append(thread())

    connection_created.connect(count)
    await asyncio.gather(*(run_read(query) for _ in range(50)), *(run_write(query) for _ in range(50)))
    await asyncio.gather(*(run_read(query) for _ in range(50)), *(run_write(query) for _ in range(50)))
    assert 2 <= len(opened) <= READERS + 1
    assert len(set(opened)) == len(opened)
    opened.clear()
    close_connections()
    await run_write(query)
    assert opened == [await run_write(thread)]


async def test_a_read_survives_a_broken_connection(rooms: None) -> None:
    """A query that finds its connection ended is repeated once, on a new one."""
    connections: list[object] = []

    def breaks_once() -> int:
        connections.append(connection.connection)
        if len(connections) == 1:
            raise OperationalError("server closed the connection unexpectedly")
        return query()

    await asyncio.gather(*(run_read(query) for _ in range(20)))
    assert await run_read(breaks_once) == 1
    assert connections[1] is None
    if connection.vendor == "postgresql":
        for _ in range(3 * READERS):
            await run_read(break_connection)
            assert await run_read(query) == 1
        # The thread of the last query need not be the one whose connection broke last.
        close_connections()


async def test_a_broken_connection_fails_one_write_only(rooms: None) -> None:
    """The outcome of a write on a broken connection is unknown, so it is not repeated. The next one succeeds."""
    await run_write(break_connection)
    with pytest.raises(Error):
        await run_write(query)
    assert await run_write(query) == 1


async def test_a_database_that_stays_away_is_an_error(rooms: None, outage: Outage) -> None:
    """A query is tried twice and no more. When the database is back, it succeeds."""
    with outage.begin("SELECT 1"):
        with pytest.raises(OperationalError):
            await run_read(query)
        assert outage.struck == 2
        with pytest.raises(OperationalError):
            await run_write(query)
        assert outage.struck == 3
    assert await run_read(query) == await run_write(query) == 1


async def test_a_refused_write_is_not_retried(rooms: None) -> None:
    """A row that violates a constraint would do so again. Afterwards the thread works as before."""
    tried: list[str] = []

    def refused() -> None:
        tried.append(thread())
        models.Room.objects.create(slug="lobby")

    await run_write(refused)
    for through in (run_read, run_write):
        with pytest.raises(IntegrityError):
            await through(refused)
    assert len(tried) == 3
    assert await run_write(models.Room.objects.count) == 1


async def test_a_cancelled_caller_leaves_the_thread_alone(rooms: None) -> None:
    """A query whose caller was cancelled goes on, and the thread takes the next one after it."""
    started, held, done = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        held.wait(PATIENCE)
        query()
        done.set()

    asking = asyncio.create_task(run_write(slow))
    await until(started.is_set)
    asking.cancel()
    held.set()
    assert await run_write(done.is_set)


async def test_closing_waits_for_running_calls(rooms: None) -> None:
    """Connections are closed when no call uses them, and the next calls get new ones."""
    held, started = threading.Event(), threading.Event()

    def slow() -> int:
        started.set()
        held.wait(PATIENCE)
        return query()

    asking = asyncio.create_task(run_read(slow))
    await until(started.is_set)
    closing = asyncio.create_task(asyncio.to_thread(close_connections))
    others = [asyncio.create_task(run_read(query)) for _ in range(3)]
    held.set()
    await closing
    assert await asking == 1
    assert await asyncio.gather(*others) == [1] * 3
    assert await run_read(query) == await run_write(query) == 1
