"""Transactions that lose against another one are retried, without an error for anybody; on a real PostgreSQL."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from databases import Somebody, only_postgresql
from django.contrib.auth.models import User
from django.db import Error, OperationalError, connection, connections, transaction
from django.test import Client
from helpers import PATIENCE
from logs import assert_counted, commit, edit, everything, post, read, written
from psycopg import errors

from chat import actions, loops, models
from chat.auth import account
from chat.database import TRIES, on_each_thread, retry_on_conflict, run_read, run_write
from chat.log import Outcome, RoomLog, Write
from chat.message_log import EditText, MessageLog, Writer, queries


@pytest.fixture
def tea(rooms: None) -> RoomLog:
    return queries.open_room("tea")


@pytest.fixture
def coffee(tea: RoomLog) -> RoomLog:
    """A transaction that locks both locks this row after that of ``tea``."""
    return queries.open_room("coffee")


@pytest.fixture
def somebody(rooms: None) -> Iterator[Somebody]:
    with Somebody() as found:
        yield found


class Deadlock:
    """Another connection has ``second`` and requests ``first``. The caller has ``first``, wants ``second``."""

    def __init__(self, somebody: Somebody, first: RoomLog, second: RoomLog) -> None:
        self._somebody, self._first, self._second = somebody, first, second
        self.met = 0
        somebody.execute("BEGIN")
        somebody.lock(second.pk)

    def __call__(self, *_: object) -> None:
        self.met += 1
        if self.met == 1:
            threading.Thread(target=self._want).start()
            self._somebody.until_it_waits()
        with connection.cursor() as cursor:
            # PostgreSQL checks for a deadlock once, after this time. The other connection never checks.
            cursor.execute("SET LOCAL deadlock_timeout = '10ms'")
        lock(self._second)

    def _want(self) -> None:
        self._somebody.lock(self._first.pk)
        self._somebody.execute("COMMIT")


def lock(room: RoomLog) -> None:
    models.Room.objects.filter(pk=room.pk).locked().get()


def commit_of_the_log(*writes: Write) -> list[Outcome]:
    """Commit through an event loop's log, as from sockets."""

    async def run() -> list[Outcome]:
        try:
            return await commit(loops.current(MessageLog), *writes)
        finally:
            await loops.close_current()

    return asyncio.run(run())


def with_rule(write: EditText, look: Callable[..., None]) -> EditText:
    """The same write, with a rule that runs in its transaction while the room is locked."""
    write.allowed = look
    return write


def until_holds(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_another_process(*writes: Write) -> list[Outcome]:
    try:
        return Writer().write(writes)
    finally:
        connections.close_all()


# --- Deadlocks ---


@only_postgresql
@pytest.mark.parametrize("through", [run_read, run_write])
def test_the_loser_of_a_deadlock_is_retried(
    through: Any, tea: RoomLog, coffee: RoomLog, somebody: Somebody
) -> None:
    """A thread's call succeeds, though PostgreSQL ended its transaction in favour of another."""
    deadlock = Deadlock(somebody, tea, coffee)

    def both() -> str:
        with transaction.atomic():
            lock(tea)
            deadlock()
        return "done"

    assert asyncio.run(through(both)) == "done"
    assert deadlock.met == 2


@only_postgresql
def test_a_batch_that_loses_a_deadlock_is_written(tea: RoomLog, coffee: RoomLog, somebody: Somebody) -> None:
    """All its writes are made once, in their order, and none is refused."""
    written(commit_of_the_log(post(tea, "first")))
    deadlock = Deadlock(somebody, tea, coffee)
    outcomes = commit_of_the_log(
        post(tea, "second", ref="r"), with_rule(edit(tea, 1, "FIRST"), deadlock), post(tea, "third")
    )
    assert [outcome.seq for outcome in written(outcomes)] == [2, 3, 4]
    assert deadlock.met == 2
    assert [message.content for message in everything(tea).values()] == ["FIRST", "second", "third"]
    assert_counted(tea)


@only_postgresql
def test_a_batch_that_waits_for_a_room_locks_no_other(tea: RoomLog, coffee: RoomLog, somebody: Somebody) -> None:
    """A batch writes to the unlocked rooms, and releases them before it locks the others."""
    somebody.execute("BEGIN")
    somebody.lock(tea.pk)
    with ThreadPoolExecutor() as pool:
        batches = [
            pool.submit(in_another_process, post(coffee), post(tea)),
            pool.submit(in_another_process, read(coffee, 0), post(tea)),
        ]
        until_holds(lambda: len(everything(coffee)) == 1 and models.ReadPosition.objects.exists())
        # If one of the batches had locked it, this would be a deadlock.
        somebody.lock(coffee.pk)
        somebody.execute("COMMIT")
        for batch in batches:
            written(batch.result(PATIENCE))
    assert [len(everything(room)) for room in (tea, coffee)] == [2, 1]


# --- Serialization failures ---


@only_postgresql
@pytest.mark.parametrize("through", [run_read, run_write])
def test_a_serialization_failure_is_retried(through: Any, tea: RoomLog, somebody: Somebody) -> None:
    """A transaction on a snapshot is retried if its row has changed since."""
    seen: list[str] = []

    def rename() -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            room = models.Room.objects.get(pk=tea.pk)
            seen.append(room.title)
            if len(seen) == 1:
                somebody.execute("UPDATE chat_room SET title = 'theirs' WHERE id = %s", tea.pk)
            room.title = "ours"
            room.save()

    asyncio.run(through(rename))
    assert seen == ["", "theirs"]
    assert models.Room.objects.get(pk=tea.pk).title == "ours"


@only_postgresql
def test_the_log_works_in_any_isolation(tea: RoomLog, somebody: Somebody) -> None:
    """If a project makes all its transactions serializable, a batch with a serialization failure is retried."""
    written(commit_of_the_log(post(tea, "first")))
    met: list[int] = []

    def meanwhile(row: models.Message) -> None:
        met.append(row.seq)
        if len(met) == 1:
            somebody.execute("UPDATE chat_message SET username = 'Alicia' WHERE room_id = %s", tea.pk)

    with serializable():
        outcomes = commit_of_the_log(post(tea, "second"), with_rule(edit(tea, 1, "FIRST"), meanwhile))
    assert [outcome.seq for outcome in written(outcomes)] == [2, 3]
    assert met == [1, 1]
    assert [message.content for message in everything(tea).values()] == ["FIRST", "second"]
    assert_counted(tea)


@contextmanager
def serializable() -> Iterator[None]:
    """Make the threads' transactions serializable."""

    def isolate(level: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET default_transaction_isolation = '{level}'")

    on_each_thread(partial(isolate, "serializable"))
    yield
    on_each_thread(partial(isolate, "read committed"))


# --- Retries ---


def lost() -> OperationalError:
    error = OperationalError("deadlock detected")
    error.__cause__ = errors.DeadlockDetected()
    return error


def test_a_call_that_always_loses_fails(rooms: None) -> None:
    """After TRIES the caller gets the error; the thread goes on."""
    tried: list[int] = []

    def lose() -> None:
        tried.append(len(tried))
        raise lost()

    with pytest.raises(OperationalError, match="deadlock"):
        asyncio.run(run_write(lose))
    assert len(tried) == TRIES
    assert asyncio.run(run_write(models.Room.objects.count)) == 0


@pytest.mark.parametrize("cause", [errors.UndefinedTable(), errors.LockNotAvailable(), ValueError(), None])
def test_other_errors_are_not_retried(cause: Exception | None, rooms: None) -> None:
    """Only a conflict with others may go away by itself."""
    tried: list[int] = []

    def fail() -> None:
        tried.append(1)
        raise Error from cause

    with pytest.raises(Error):
        retry_on_conflict(fail)
    assert len(tried) == 1


def test_within_a_transaction_nothing_is_retried(rooms: None) -> None:
    """The transaction's earlier statements are lost too, so only its owner can retry it."""
    tried: list[int] = []

    def lose() -> None:
        tried.append(1)
        raise lost()

    with pytest.raises(OperationalError), transaction.atomic():
        retry_on_conflict(lose)
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/rooms/", {"title": "Plans", "kind": "private"}),
        ("/direct/", {"username": "Bob"}),
        ("/invite/{code}/", {}),
    ],
)
def test_a_page_s_change_that_loses_is_retried(
    path: str, fields: dict[str, str], rooms: None, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user is redirected to the room. The change is made once, with one audit entry."""
    alice, bob = (User.objects.create_user(name) for name in ("Alice", "Bob"))
    club = actions.rooms.create(account(bob), title="Club", kind="private")
    code, _ = actions.members.make_link(account(bob), club)
    before = models.AuditEntry.objects.count()
    tried: list[int] = []

    record = models.AuditEntry.objects.record

    def loses_once(*arguments: Any, **options: Any) -> None:
        record(*arguments, **options)
        tried.append(1)
        if len(tried) == 1:
            raise lost()

    monkeypatch.setattr(models.AuditEntry.objects, "record", loses_once)
    client.force_login(alice)
    response = client.post(path.format(code=code), fields)
    assert response.status_code == 302
    assert len(tried) == 2
    assert models.AuditEntry.objects.count() == before + 1
    assert models.Membership.objects.filter(user=alice).count() == 1
