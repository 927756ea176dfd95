"""The ORM on threads of our own: nobody waits for another's query, and a connection that broke is replaced."""

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


def ask() -> int:
    """A question to this thread's connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return int(cursor.fetchone()[0])


def break_connection() -> None:
    """As a server does it that is started anew: Django does not know of it."""
    ask()
    connection.connection.close()


async def test_answers_and_errors_come_back(rooms: None) -> None:
    """The caller gets the call's result or exception."""
    assert await run_read(ask) == await run_write(ask) == 1
    for through in (run_read, run_write):
        with pytest.raises(ZeroDivisionError):
            await through(lambda: 1 // 0)


async def test_nobody_waits_on_the_loop_s_thread(rooms: None) -> None:
    """Questions and writes run on threads of their own kind, none on the loop's."""
    names = {await run_read(thread), await run_write(thread)}
    assert {name.rpartition("_")[0] for name in names} == {"chat-read", "chat-write"}


async def test_a_slow_question_holds_up_no_other(rooms: None) -> None:
    """While some readers wait, others are answered, and what is written is written."""
    held = threading.Event()
    slow = [asyncio.create_task(run_read(partial(held.wait, PATIENCE))) for _ in range(READERS - 1)]
    await asyncio.sleep(0)
    assert await run_read(ask) == await run_write(ask) == 1
    assert not any(task.done() for task in slow)
    held.set()
    assert await asyncio.gather(*slow) == [True] * (READERS - 1)


async def test_writes_are_done_in_their_order(rooms: None) -> None:
    """One thread writes: what was asked first is done first."""
    done: list[int] = []
    await asyncio.gather(*(run_write(partial(done.append, number)) for number in range(100)))
    assert done == list(range(100))
    assert len({await run_write(thread) for _ in range(5)}) == 1


async def test_connections_last(rooms: None) -> None:
    """Each thread keeps its connection from question to question, until they are closed."""
    opened: list[str] = []
    close_connections()

    def count(**_: object) -> None:
        opened.append(thread())

    connection_created.connect(count)
    await asyncio.gather(*(run_read(ask) for _ in range(50)), *(run_write(ask) for _ in range(50)))
    await asyncio.gather(*(run_read(ask) for _ in range(50)), *(run_write(ask) for _ in range(50)))
    assert 2 <= len(opened) <= READERS + 1
    assert len(set(opened)) == len(opened)
    opened.clear()
    close_connections()
    await run_write(ask)
    assert opened == [await run_write(thread)]


async def test_a_broken_connection_is_not_noticed_by_who_reads(rooms: None) -> None:
    """A question that finds its connection ended is asked once more, on a new one."""
    connections: list[object] = []

    def breaks_once() -> int:
        connections.append(connection.connection)
        if len(connections) == 1:
            raise OperationalError("server closed the connection unexpectedly")
        return ask()

    await asyncio.gather(*(run_read(ask) for _ in range(20)))
    assert await run_read(breaks_once) == 1
    assert connections[1] is None
    if connection.vendor == "postgresql":
        for _ in range(3 * READERS):
            await run_read(break_connection)
            assert await run_read(ask) == 1
        # The one who asked last need not be the one whose connection broke last.
        close_connections()


async def test_a_broken_connection_fails_one_write_only(rooms: None) -> None:
    """Nobody knows what became of a write on a connection that broke, so it is not done again; the next one is."""
    await run_write(break_connection)
    with pytest.raises(Error):
        await run_write(ask)
    assert await run_write(ask) == 1


async def test_a_database_that_stays_away_is_told(rooms: None, outage: Outage) -> None:
    """A question is asked twice and no more; when the database is back, it is answered."""
    with outage.begin("SELECT 1"):
        with pytest.raises(OperationalError):
            await run_read(ask)
        assert outage.struck == 2
        with pytest.raises(OperationalError):
            await run_write(ask)
        assert outage.struck == 3
    assert await run_read(ask) == await run_write(ask) == 1


async def test_what_the_database_refuses_is_not_asked_again(rooms: None) -> None:
    """A row that breaks a rule would break it the second time too; afterwards the thread works as ever."""
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


async def test_who_gives_up_leaves_the_thread_alone(rooms: None) -> None:
    """A question whose caller is cut off goes on, and the thread takes the next one after it."""
    started, held, done = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        held.wait(PATIENCE)
        ask()
        done.set()

    asking = asyncio.create_task(run_write(slow))
    await until(started.is_set)
    asking.cancel()
    held.set()
    assert await run_write(done.is_set)


async def test_closing_waits_for_what_is_under_way(rooms: None) -> None:
    """Connections are closed when nobody uses them, and whoever comes next gets a new one."""
    held, started = threading.Event(), threading.Event()

    def slow() -> int:
        started.set()
        held.wait(PATIENCE)
        return ask()

    asking = asyncio.create_task(run_read(slow))
    await until(started.is_set)
    closing = asyncio.create_task(asyncio.to_thread(close_connections))
    others = [asyncio.create_task(run_read(ask)) for _ in range(3)]
    held.set()
    await closing
    assert await asking == 1
    assert await asyncio.gather(*others) == [1] * 3
    assert await run_read(ask) == await run_write(ask) == 1
