"""The ORM from an event loop: on threads of our own, with connections that last.

Not on asgiref's one shared thread, where a slow query would freeze every consumer of the process (channels issue
2132). One thread writes, so that this process never waits for a lock of its own; a few read.

No thread waits long for a lock that another transaction holds. On PostgreSQL a statement gives up after
LOCK_TIMEOUT_MS. Its call is retried later, for LOCK_RETRY_SECONDS; other calls use the thread meanwhile. SQLite
has one lock for everybody.
"""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from threading import Barrier, local
from typing import TypeVar

from django.db import Error, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

T = TypeVar("T")

READERS = 4
"""Threads that read, each with its connection."""
LOST = {"40001", "40P01"}
"""What PostgreSQL says to a transaction that lost against another one: they could not be put in an order, or each
waited for the other (its manual, appendix A)."""
LOCKED = "55P03"
"""PostgreSQL's code for a statement that waited for a lock longer than its `lock_timeout`."""
LOCK_TIMEOUT_MS = 50
"""Milliseconds for which a thread of ours waits for a lock: longer than most transactions of the chat's own."""
LOCK_RETRY_SECONDS = 5.0
"""Seconds for which a call that meets a lock is tried again."""
PAUSE_LIMIT = 0.25
"""Seconds between two tries of it, at most."""
TRIES = 5
PAUSE = 0.05
"""Seconds before the second try, at most; before each later one so much longer."""

_here = local()
"""``brief``: is this a thread of ours?"""


def _be_brief() -> None:
    _here.brief = True


def _bound_waiting(connection: BaseDatabaseWrapper, **_: object) -> None:
    """A thread of ours has a new connection."""
    if connection.vendor == "postgresql" and getattr(_here, "brief", False):
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")


connection_created.connect(_bound_waiting, dispatch_uid="chat.database")

_readers = ThreadPoolExecutor(READERS, thread_name_prefix="chat-read", initializer=_be_brief)
_writer = ThreadPoolExecutor(1, thread_name_prefix="chat-write", initializer=_be_brief)


async def run_read(call: Callable[[], T]) -> T:
    """What ``call`` returns, from a thread that may use the ORM. Raises what it raises."""
    return await _patiently(_readers, _twice, call)


class Busy:
    """Since when the thread that writes is at what it does, in monotonic seconds; None: it waits for something."""

    since: float | None = None


_busy = Busy()


def writer_busy_seconds() -> float:
    """Seconds that the thread that writes has been at one thing."""
    since = _busy.since
    return time.monotonic() - since if since is not None else 0.0


def _timed(call: Callable[[], T]) -> T:
    _busy.since = time.monotonic()
    try:
        return _guarded(call)
    finally:
        _busy.since = None


async def run_write(call: Callable[[], T]) -> T:
    """Like ``reading``, on the one thread that writes. Calls run in order, except those that meet a lock."""
    return await _patiently(_writer, _timed, call)


async def _patiently(pool: ThreadPoolExecutor, guard: Callable[[Callable[[], T]], T], call: Callable[[], T]) -> T:
    """Try again later where somebody else has a lock: the thread is for others in between."""
    loop = asyncio.get_running_loop()
    pause, give_up = LOCK_TIMEOUT_MS / 1_000, 0.0
    while True:
        try:
            return await loop.run_in_executor(pool, guard, call)
        except OperationalError as error:
            give_up = give_up or loop.time() + LOCK_RETRY_SECONDS
            if not is_locked(error) or loop.time() + pause > give_up:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_LIMIT)


def _twice(call: Callable[[], T]) -> T:
    """A database that was started anew has ended our connections, and the first to ask finds out."""
    try:
        return _guarded(call)
    except (OperationalError, InterfaceError) as error:
        if is_locked(error):
            raise
        return _guarded(call)


def _guarded(call: Callable[[], T]) -> T:
    try:
        return retry_on_conflict(call)
    except Error as error:
        # The next call gets a new connection, whatever was wrong with this one. A lock is no fault of it.
        if not is_locked(error):
            _close_all()
        raise


def _close_all() -> None:
    """A connection may go back to a pool (Django's), where it serves pages next: they wait as they did."""
    for connection in connections.all(initialized_only=True):
        if connection.vendor == "postgresql" and connection.connection is not None:
            with suppress(connection.Database.Error), connection.connection.cursor() as cursor:  # type: ignore[attr-defined]  # the driver's
                cursor.execute("RESET lock_timeout")
    connections.close_all()


def is_locked(error: BaseException) -> bool:
    """Did a statement wait for somebody else's lock in vain?"""
    return _state(error) == LOCKED


def _state(error: BaseException) -> str | None:
    state: str | None = getattr(error.__cause__, "sqlstate", None)
    return state


def retry_on_conflict(call: Callable[[], T]) -> T:
    """What ``call`` returns, a whole transaction; done again, a few times, where it lost against another one.

    Blocks the thread in between. Within somebody else's transaction, which is lost too then, there is no again.
    """
    for tried in range(1, TRIES):
        try:
            return call()
        except Error as error:
            if _state(error) not in LOST or _in_transaction():
                raise
        # By chance, or those who lost against each other would meet again.
        time.sleep(random.uniform(0, PAUSE * tried))  # noqa: S311 it spreads a crowd
    return call()


def _in_transaction() -> bool:
    return any(connection.in_atomic_block for connection in connections.all(initialized_only=True))


def close_connections() -> None:
    """Close the connections of all threads, when they have done what they are at. The next calls open new ones.

    Each thread closes its own: a query whose caller gave up goes on, and SQLite crashes the process where its
    connection is closed under it.
    """
    on_each_thread(_close_all)


def on_each_thread(call: Callable[[], object]) -> None:
    """Have each thread do this, when it has done what it is at; returns when all have."""
    for pool, threads in ((_readers, READERS), (_writer, 1)):
        all_here = Barrier(threads)
        wait([pool.submit(_once, call, all_here) for _ in range(threads)])


def _once(call: Callable[[], object], all_here: Barrier) -> None:
    call()
    # Or one thread would take another's turn.
    all_here.wait()
