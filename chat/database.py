"""The ORM from an event loop: on threads of our own, with connections that last.

Not on asgiref's one shared thread, where a slow query would freeze every consumer of the process (channels issue
2132). One thread writes, so that this process never waits for a lock of its own; a few read.
"""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier
from typing import TypeVar

from django.db import Error, InterfaceError, OperationalError, connections

T = TypeVar("T")

READERS = 4
"""Threads that read, each with its connection."""
LOST = {"40001", "40P01"}
"""What PostgreSQL says to a transaction that lost against another one: they could not be put in an order, or each
waited for the other (its manual, appendix A)."""
TRIES = 5
PAUSE = 0.05
"""Seconds before the second try, at most; before each later one so much longer."""

_readers = ThreadPoolExecutor(READERS, thread_name_prefix="chat-read")
_writer = ThreadPoolExecutor(1, thread_name_prefix="chat-write")


async def reading(call: Callable[[], T]) -> T:
    """What ``call`` returns, from a thread that may use the ORM. Raises what it raises."""
    return await asyncio.get_running_loop().run_in_executor(_readers, _twice, call)


async def writing(call: Callable[[], T]) -> T:
    """As ``reading``, on the one thread that writes: in the order of the calls."""
    return await asyncio.get_running_loop().run_in_executor(_writer, _guarded, call)


def _twice(call: Callable[[], T]) -> T:
    """A database that was started anew has ended our connections, and the first to ask finds out."""
    try:
        return _guarded(call)
    except (OperationalError, InterfaceError):
        return _guarded(call)


def _guarded(call: Callable[[], T]) -> T:
    try:
        return again_where_lost(call)
    except Error:
        # Whatever is wrong with the connection, the next call gets a new one.
        connections.close_all()
        raise


def again_where_lost(call: Callable[[], T]) -> T:
    """What ``call`` returns, a whole transaction; done again, a few times, where it lost against another one.

    Blocks the thread in between. Within somebody else's transaction, which is lost too then, there is no again.
    """
    for tried in range(1, TRIES):
        try:
            return call()
        except Error as error:
            if not _lost(error) or _in_transaction():
                raise
        # By chance, or those who lost against each other would meet again.
        time.sleep(random.uniform(0, PAUSE * tried))  # noqa: S311 it spreads a crowd
    return call()


def _lost(error: Error) -> bool:
    return getattr(error.__cause__, "sqlstate", None) in LOST


def _in_transaction() -> bool:
    return any(connection.in_atomic_block for connection in connections.all(initialized_only=True))


def close_connections() -> None:
    """Close the connections of all threads, when they have done what they are at. The next calls open new ones.

    Each thread closes its own: a query whose caller gave up goes on, and SQLite crashes the process where its
    connection is closed under it.
    """
    on_each_thread(connections.close_all)


def on_each_thread(call: Callable[[], object]) -> None:
    """Have each thread do this, when it has done what it is at; returns when all have."""
    for pool, threads in ((_readers, READERS), (_writer, 1)):
        all_here = Barrier(threads)
        wait([pool.submit(_once, call, all_here) for _ in range(threads)])


def _once(call: Callable[[], object], all_here: Barrier) -> None:
    call()
    # Or one thread would take another's turn.
    all_here.wait()
