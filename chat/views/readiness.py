"""Can this process serve? What it needs of others, asked within a bound."""

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

PATIENCE = 2.0
"""Seconds within which the database must answer."""
FRESH = 1.0
"""Seconds for which an answer holds: anybody may ask, and each question is a new connection."""
GIVEN_UP = 30.0
"""Seconds after which a question without an answer is asked anew: it may be its connection only that is dead."""
LOCKED = 1_000
"""Milliseconds that the question waits for somebody else's write."""
SPARE = 16 << 20
"""Bytes that must be free on an SQLite database's disk. With less the next checkpoint may fail."""
STUCK = 20.0
"""Seconds that the thread that writes may be at one thing: the longest timeout of a driver is 10."""


class Database(StrEnum):
    """How the database is."""

    OK = "ok"
    # It does not answer, or not with our tables.
    AWAY = "away"
    # It answers, and takes nothing: it may only be read, or nothing can be written to its disk.
    UNWRITABLE = "unwritable"
    FULL = "full"
    # A migration of ours is missing.
    OLD = "old"


class Question:
    """How is the database?

    It is asked on a thread that nobody has to wait for, not even the process's end: no timeout of a driver bounds
    what one waits for a database that is frozen. And with a connection of its own, as pages have: that a database
    is full, or that its name leads elsewhere, the chat's own lasting connections would not notice.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked = float("-inf")
        self._answer: Future[Database] = Future()
        self._answer.set_result(Database.AWAY)

    def answer(self) -> Database:
        with self._lock:
            age = monotonic() - self._asked
            if age > (FRESH if self._answer.done() else GIVEN_UP):
                self._ask()
            answer, deadline = self._answer, self._asked + PATIENCE
        try:
            return answer.result(max(0.0, deadline - monotonic()))
        except TimeoutError:
            return Database.AWAY

    def _ask(self) -> None:
        self._asked, self._answer = monotonic(), Future()
        Thread(target=_answer, args=[self._answer], name="chat-ready", daemon=True).start()


def _answer(answer: Future[Database]) -> None:
    try:
        answer.set_result(_look())
    except Error:
        answer.set_result(Database.AWAY)
    finally:
        connections.close_all()


def _look() -> Database:
    # A table, for SQLite opens any file without a look at it.
    models.Room.objects.exists()
    if _is_full():
        return Database.FULL
    try:
        _write()
    except Error as error:
        # Somebody else writes: that ends. Writes meanwhile are refused with ``busy``.
        if not _is_locked(error):
            return Database.UNWRITABLE
    return Database.OK if _is_migrated() else Database.OLD


def _is_locked(error: Error) -> bool:
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    # Its lowest byte; the others say more.
    return database.is_locked(error) or (code is not None and code & 0xFF == sqlite3.SQLITE_BUSY)


def _write() -> None:
    """Have the database write something: a transaction that changes nothing touches no disk. No row is made."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {LOCKED}")
            # A number in the file's head, for applications to use as they like.
            cursor.execute(f"PRAGMA user_version = {int(time.time()) % 2**31}")
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(LOCKED)])
        # Refused where nothing may be written, and to a user who may not.
        cursor.execute("UPDATE chat_room SET seq = seq WHERE false")
        # A transaction with a number is written down at its end.
        cursor.execute("SELECT txid_current()")


def _is_full() -> bool:
    """Is there hardly any space left where SQLite writes? Other databases are on other machines' disks."""
    folder = Path(connection.settings_dict["NAME"]).parent
    if connection.vendor != "sqlite" or not folder.is_dir():
        return False
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < SPARE


def _is_migrated() -> bool:
    """Has the database all that this version's tables need? Asked until it has: nobody takes it away again."""
    if not _migrated:
        executor = MigrationExecutor(connection)
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            _migrated.append(connection.alias)
    return bool(_migrated)


_database = Question()
# Not empty: the migrations were all there.
_migrated: list[str] = []


@dataclass(frozen=True, slots=True)
class Readiness:
    database: Database
    layer: LayerState
    # Does the thread that writes the log go on?
    log: bool
    draining: bool

    def is_ready(self, *, strict: bool) -> bool:
        """Without the layer the chat goes on within the process: who is strict does not call that ready."""
        well = self.database is Database.OK and self.log and not self.draining
        return well and (self.layer is LayerState.OK or not strict)


def readiness() -> Readiness:
    """How it is now. A layer that nobody has asked yet is not known."""
    hubs = [hub for _, hub in loops.all_loops(Hub)]
    return Readiness(
        database=_database.answer(),
        layer=_worst([hub.layer for hub in hubs]),
        log=database.writer_busy_seconds() < STUCK,
        draining=any(hub.draining for hub in hubs),
    )


def _worst(layers: list[LayerState]) -> LayerState:
    for state in (LayerState.AWAY, LayerState.UNKNOWN, LayerState.OK):
        if state in layers:
            return state
    return LayerState.UNKNOWN
