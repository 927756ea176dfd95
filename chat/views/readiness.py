"""Readiness of this process: the state of the database and the channel layer, checked within a time limit."""

import os
import sqlite3
import time
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Lock, Thread
from time import monotonic

from django.db import Error, connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor

from chat import database, loops, models
from chat.hub import Hub, LayerState

ANSWER_TIMEOUT = 2.0
"""Seconds within which the database must answer."""
ANSWER_LIFETIME = 1.0
"""Seconds for which a result is reused. Anybody may request it, and each check opens a connection."""
GIVE_UP_AFTER = 30.0
"""Seconds after which an unanswered check is repeated: only its own connection may be dead."""
LOCK_TIMEOUT = 1_000
"""Milliseconds that a check waits for another transaction's lock."""
MIN_FREE_BYTES = 16 << 20
"""Free bytes that an SQLite database's disk must have. With less the next checkpoint may fail."""
STUCK_AFTER = 20.0
"""Seconds that the writing thread may need for one call. The longest timeout of a driver is 10."""


class DatabaseState(StrEnum):
    """The state of the database."""

    OK = "ok"
    # It does not answer, or lacks the chat's tables.
    AWAY = "away"
    # It answers but refuses writes: it is read-only, or its disk is full.
    UNWRITABLE = "unwritable"
    # SQLite's disk is almost full.
    FULL = "full"
    # It lacks a migration of the chat.
    OLD = "old"


class DatabaseProbe:
    """Checks the database, and keeps the result for ``ANSWER_LIFETIME``.

    The check runs on a daemon thread, which nothing has to wait for, not even the end of the process. No driver's
    timeout bounds the wait for a frozen database. It uses a new connection, as pages do. The chat's own lasting
    connections would not notice a full database, or a name that resolves elsewhere.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._started = float("-inf")
        self._answer: Future[DatabaseState] = Future()
        self._answer.set_result(DatabaseState.AWAY)

    def state(self) -> DatabaseState:
        with self._lock:
            age = monotonic() - self._started
            if age > (ANSWER_LIFETIME if self._answer.done() else GIVE_UP_AFTER):
                self._start()
            answer, deadline = self._answer, self._started + ANSWER_TIMEOUT
        try:
            return answer.result(max(0.0, deadline - monotonic()))
        except TimeoutError:
            return DatabaseState.AWAY

    def _start(self) -> None:
        self._started, self._answer = monotonic(), Future()
        Thread(target=_run, args=[self._answer], name="chat-ready", daemon=True).start()


def _run(answer: Future[DatabaseState]) -> None:
    try:
        answer.set_result(_check())
    except Error:
        answer.set_result(DatabaseState.AWAY)
    finally:
        connections.close_all()


def _check() -> DatabaseState:
    # Read a table, because SQLite opens any file without reading it.
    models.Room.objects.exists()
    if _is_full():
        return DatabaseState.FULL
    try:
        _try_write()
    except Error as error:
        # A lock of another transaction ends. Until then the chat refuses writes with ``busy``.
        if not _is_locked(error):
            return DatabaseState.UNWRITABLE
    return DatabaseState.OK if _is_migrated() else DatabaseState.OLD


def _is_locked(error: Error) -> bool:
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    # The lowest byte is the error; the others are details.
    return database.is_locked(error) or (code is not None and code & 0xFF == sqlite3.SQLITE_BUSY)


def _try_write() -> None:
    """Make the database write without a new row. A transaction without a change would not touch the disk."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT}")
            # A number in the file's header, free for applications.
            cursor.execute(f"PRAGMA user_version = {int(time.time()) % 2**31}")
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(LOCK_TIMEOUT)])
        # A read-only database refuses this, and so does a database user without the right.
        cursor.execute("UPDATE chat_room SET seq = seq WHERE false")
        # A transaction with an id is written to disk at its end.
        cursor.execute("SELECT txid_current()")


def _is_full() -> bool:
    """True if SQLite's disk is almost full. Other databases have disks of their own."""
    folder = Path(connection.settings_dict["NAME"]).parent
    if connection.vendor != "sqlite" or not folder.is_dir():
        return False
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES


def _is_migrated() -> bool:
    """True if the database has all migrations. Checked until it has them: migrations are not undone."""
    if not _migrated:
        executor = MigrationExecutor(connection)
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            _migrated.append(connection.alias)
    return bool(_migrated)


_probe = DatabaseProbe()
# Not empty once all migrations were found.
_migrated: list[str] = []


@dataclass(frozen=True, slots=True)
class Readiness:
    database: DatabaseState
    layer: LayerState
    # False if the thread that writes the log is stuck.
    log: bool
    draining: bool

    def is_ready(self, *, strict: bool) -> bool:
        """``strict`` also requires the channel layer. Without it the chat continues within the process."""
        can_write = self.database is DatabaseState.OK and self.log and not self.draining
        return can_write and (self.layer is LayerState.OK or not strict)


def readiness() -> Readiness:
    """The readiness now. A channel layer that was not used yet is ``unknown``."""
    hubs = [hub for _, hub in loops.all_loops(Hub)]
    return Readiness(
        database=_probe.state(),
        layer=_worst([hub.layer for hub in hubs]),
        log=database.writer_busy_seconds() < STUCK_AFTER,
        draining=any(hub.draining for hub in hubs),
    )


def _worst(layers: list[LayerState]) -> LayerState:
    for state in (LayerState.AWAY, LayerState.UNKNOWN, LayerState.OK):
        if state in layers:
            return state
    return LayerState.UNKNOWN
