"""The ORM from an event loop: on threads of the chat's own, with lasting connections.

On asgiref's one shared thread a slow query would block every consumer of the process (channels issue 2132). One
thread writes, so that this process never waits for its own lock. A few threads read.

No thread waits long for a lock that another transaction holds. On PostgreSQL a statement gives up after
LOCK_TIMEOUT_MS. Its call is retried later, for LOCK_RETRY_SECONDS; other calls use the thread meanwhile. SQLite
has one lock for everybody.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from threading import Barrier, local
from typing import Any, TypeVar

from django.db import Error, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

T = TypeVar("T")

READERS = 4
"""Threads that read, each with its connection."""
CONFLICTS = {"40001", "40P01"}
"""PostgreSQL's codes for a transaction that lost against another one: a serialization failure or a deadlock (its
manual, appendix A)."""
LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code for a statement that waited for a lock longer than its `lock_timeout`."""
LOCK_TIMEOUT_MS = 50
"""Milliseconds for which a thread of the chat waits for a lock: longer than most of its own transactions."""
LOCK_RETRY_SECONDS = 5.0
"""Seconds for which a call that meets a lock is retried."""
PAUSE_LIMIT = 0.25
"""Longest pause between two tries, in seconds."""
TRIES = 5
"""Tries of a transaction that conflicts with others."""
KEYS = 10_000
"""Keys of one query."""
VALUES = 30_000
"""Most values of one statement: SQLite takes 32,766."""
PAUSE = 0.05
"""Longest pause before the second try, in seconds. Each later pause may be longer by as much."""

_thread = local()
"""``is_chats`` is set on the threads of the chat."""


def _mark_thread() -> None:
    _thread.is_chats = True


def _set_lock_timeout(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Set the lock timeout of a new connection, on the threads of the chat only."""
    if connection.vendor == "postgresql" and getattr(_thread, "is_chats", False):
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")


connection_created.connect(_set_lock_timeout, dispatch_uid="chat.database")

_readers = ThreadPoolExecutor(READERS, thread_name_prefix="chat-read", initializer=_mark_thread)
_writer = ThreadPoolExecutor(1, thread_name_prefix="chat-write", initializer=_mark_thread)


async def run_read(call: Callable[[], T]) -> T:
    """The result of ``call``, from a thread that may use the ORM. Raises its errors."""
    return await _retry_while_locked(_readers, _reconnecting, call)


class WriterState:
    """The state of the thread that writes."""

    # Start of the current call in monotonic seconds, or None.
    since: float | None = None


_writer_state = WriterState()


def writer_busy_seconds() -> float:
    """Seconds since the thread that writes began its current call; 0 if it has none."""
    since = _writer_state.since
    return time.monotonic() - since if since is not None else 0.0


def _timed(call: Callable[[], T]) -> T:
    _writer_state.since = time.monotonic()
    try:
        return _guarded(call)
    finally:
        _writer_state.since = None


async def run_write(call: Callable[[], T]) -> T:
    """Like ``run_read``, on the one thread that writes. Calls run in order, except those that meet a lock."""
    return await _retry_while_locked(_writer, _timed, call)


async def _retry_while_locked(
    pool: ThreadPoolExecutor, guard: Callable[[Callable[[], T]], T], call: Callable[[], T]
) -> T:
    """Retry a call that meets another transaction's lock. Other calls use the thread in between."""
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


def _reconnecting(call: Callable[[], T]) -> T:
    """Call again if the connection was lost: after a restart of the database, the first query finds that out."""
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
        # The next call gets a new connection, whatever was wrong with this one. A lock is not its fault.
        if not is_locked(error):
            _close_all()
        raise


def _close_all() -> None:
    """Close this thread's connections. One may go back to Django's pool and serve pages: reset its timeout."""
    for connection in connections.all(initialized_only=True):
        if connection.vendor == "postgresql" and connection.connection is not None:
            with suppress(connection.Database.Error), connection.connection.cursor() as cursor:  # type: ignore[attr-defined]  # the driver's
                cursor.execute("RESET lock_timeout")
    connections.close_all()


def is_locked(error: BaseException) -> bool:
    """True if a statement timed out while it waited for another transaction's lock."""
    return _state(error) == LOCK_NOT_AVAILABLE


def _state(error: BaseException) -> str | None:
    state: str | None = getattr(error.__cause__, "sqlstate", None)
    return state


def retry_on_conflict(call: Callable[[], T]) -> T:
    """The result of ``call``, which is a whole transaction. It is retried a few times if it conflicts with others.

    Blocks the thread in between. Within a transaction of the caller's it is not retried: that one has failed too.
    """
    for tried in range(1, TRIES):
        try:
            return call()
        except Error as error:
            if _state(error) not in CONFLICTS or _in_transaction():
                raise
        # Random, or the transactions that conflicted would do so again.
        time.sleep(random.uniform(0, PAUSE * tried))  # noqa: S311 it spreads a crowd
    return call()


def _in_transaction() -> bool:
    return any(connection.in_atomic_block for connection in connections.all(initialized_only=True))


def close_connections() -> None:
    """Close the connections of all threads, after their current calls. The next calls open new ones.

    Each thread closes its own. A query whose caller gave up goes on, and SQLite crashes the process if its
    connection is closed by another thread.
    """
    on_each_thread(_close_all)


def on_each_thread(call: Callable[[], object]) -> None:
    """Run ``call`` on each thread, after its current call; returns when all have run it."""
    for pool, threads in ((_readers, READERS), (_writer, 1)):
        all_here = Barrier(threads)
        wait([pool.submit(_once, call, all_here) for _ in range(threads)])


def _once(call: Callable[[], object], all_here: Barrier) -> None:
    call()
    # Without this one thread could run the call twice, and another one never.
    all_here.wait()


def milliseconds(moment: datetime | None) -> int:
    """Milliseconds since 1970; 0 for None, as which Django reads a malformed time in SQLite."""
    return round(moment.timestamp() * 1000) if moment else 0


def as_datetime(timestamp: int) -> datetime:
    """The time that is ``timestamp`` milliseconds after 1970."""
    return datetime.fromtimestamp(timestamp / 1000, UTC)


def as_database_time(timestamp: int, operations: Any) -> Any:
    """The same time as a parameter of SQL; ``operations`` is the connection's ``ops``."""
    return operations.adapt_datetimefield_value(as_datetime(timestamp))


def pieces_of(keys: Sequence[T], size: int | None = None) -> Iterator[Sequence[T]]:
    """The keys in pieces that fit one statement: of ``size``, or of KEYS."""
    size = size or KEYS
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def places_of(rows: Iterable[tuple[Any, ...]]) -> str:
    """Placeholders for the values of several rows."""
    return ", ".join("(" + ", ".join(["%s"] * len(row)) + ")" for row in rows)


def insert_rows(
    connection: BaseDatabaseWrapper, table: str, columns: str, rows: Sequence[tuple[Any, ...]], more: str = ""
) -> None:
    """Insert rows with as few statements as the database takes. Measured: 13 µs a row, the ORM takes 42."""
    if not rows:
        return
    with connection.cursor() as cursor:
        for some in pieces_of(rows, VALUES // len(rows[0])):
            cursor.execute(
                f"INSERT INTO {table} ({columns}) VALUES {places_of(some)} {more}",  # noqa: S608 names of ours
                [value for row in some for value in row],
            )
