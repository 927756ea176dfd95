"""Transactions that lose against another one are done again, and nobody hears of it: for real, on a PostgreSQL."""

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
from chat.log import EditText, Log, Outcome, RoomLog, Write, Writer, queries


@pytest.fixture
def tea(rooms: None) -> RoomLog:
    return queries.open_room("tea")


@pytest.fixture
def coffee(tea: RoomLog) -> RoomLog:
    """Whoever locks both locks its row after the one of ``tea``."""
    return queries.open_room("coffee")


@pytest.fixture
def somebody(rooms: None) -> Iterator[Somebody]:
    with Somebody() as found:
        yield found


class Circle:
    """Somebody has ``second`` and wants ``first``. Who has ``first`` and calls this wants ``second``."""

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
            # PostgreSQL looks for a circle once, after so long; somebody's connection never does.
            cursor.execute("SET LOCAL deadlock_timeout = '10ms'")
        lock(self._second)

    def _want(self) -> None:
        self._somebody.lock(self._first.pk)
        self._somebody.execute("COMMIT")


def lock(room: RoomLog) -> None:
    models.Room.objects.filter(pk=room.pk).locked().get()


def commit_of_the_log(*writes: Write) -> list[Outcome]:
    """Through an event loop's log, as from sockets."""

    async def run() -> list[Outcome]:
        try:
            return await commit(loops.current(Log), *writes)
        finally:
            await loops.close_current()

    return asyncio.run(run())


def with_a_look(write: EditText, look: Callable[..., None]) -> EditText:
    """The same, with something that happens in the middle of its transaction, which has the room."""
    write.allowed = look
    return write


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def of_another_process(*writes: Write) -> list[Outcome]:
    try:
        return Writer().write(writes)
    finally:
        connections.close_all()


# --- Deadlocks ---


@only_postgresql
@pytest.mark.parametrize("through", [run_read, run_write])
def test_who_loses_in_a_deadlock_tries_again(
    through: Any, tea: RoomLog, coffee: RoomLog, somebody: Somebody
) -> None:
    """What a thread was asked to do is done, though PostgreSQL ended its transaction for another's sake."""
    circle = Circle(somebody, tea, coffee)

    def both() -> str:
        with transaction.atomic():
            lock(tea)
            circle()
        return "done"

    assert asyncio.run(through(both)) == "done"
    assert circle.met == 2


@only_postgresql
def test_a_batch_that_loses_in_a_deadlock_is_kept(tea: RoomLog, coffee: RoomLog, somebody: Somebody) -> None:
    """Everything in it is done once, in its order, and nobody is refused."""
    written(commit_of_the_log(post(tea, "first")))
    circle = Circle(somebody, tea, coffee)
    outcomes = commit_of_the_log(
        post(tea, "second", ref="r"), with_a_look(edit(tea, 1, "FIRST"), circle), post(tea, "third")
    )
    assert [outcome.seq for outcome in written(outcomes)] == [2, 3, 4]
    assert circle.met == 2
    assert [message.content for message in everything(tea).values()] == ["FIRST", "second", "third"]
    assert_counted(tea)


@only_postgresql
def test_who_waits_for_a_room_holds_no_other(tea: RoomLog, coffee: RoomLog, somebody: Somebody) -> None:
    """A batch writes to the rooms that it can have, and lets go of them before it has the others."""
    somebody.execute("BEGIN")
    somebody.lock(tea.pk)
    with ThreadPoolExecutor() as pool:
        batches = [
            pool.submit(of_another_process, post(coffee), post(tea)),
            pool.submit(of_another_process, read(coffee, 0), post(tea)),
        ]
        eventually(lambda: len(everything(coffee)) == 1 and models.ReadPosition.objects.exists())
        # Had one of them locked it, this would be a circle.
        somebody.lock(coffee.pk)
        somebody.execute("COMMIT")
        for batch in batches:
            written(batch.result(PATIENCE))
    assert [len(everything(room)) for room in (tea, coffee)] == [2, 1]


# --- Serialization failures ---


@only_postgresql
@pytest.mark.parametrize("through", [run_read, run_write])
def test_who_saw_too_little_tries_again(through: Any, tea: RoomLog, somebody: Somebody) -> None:
    """A transaction that may see only what was there when it began is begun again, where that is another now."""
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
    """Where a project has all its transactions serializable, a batch that can't be put in order is done again."""
    written(commit_of_the_log(post(tea, "first")))
    met: list[int] = []

    def meanwhile(row: models.Message) -> None:
        met.append(row.seq)
        if len(met) == 1:
            somebody.execute("UPDATE chat_message SET username = 'Alicia' WHERE room_id = %s", tea.pk)

    with serializable():
        outcomes = commit_of_the_log(post(tea, "second"), with_a_look(edit(tea, 1, "FIRST"), meanwhile))
    assert [outcome.seq for outcome in written(outcomes)] == [2, 3]
    assert met == [1, 1]
    assert [message.content for message in everything(tea).values()] == ["FIRST", "second"]
    assert_counted(tea)


@contextmanager
def serializable() -> Iterator[None]:
    """The threads' connections are so from here on."""

    def isolate(level: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET default_transaction_isolation = '{level}'")

    on_each_thread(partial(isolate, "serializable"))
    yield
    on_each_thread(partial(isolate, "read committed"))


# --- What is done again, and what is not ---


def lost() -> OperationalError:
    error = OperationalError("deadlock detected")
    error.__cause__ = errors.DeadlockDetected()
    return error


def test_who_always_loses_is_told(rooms: None) -> None:
    """After some tries the error is the caller's; the thread goes on."""
    tried: list[int] = []

    def lose() -> None:
        tried.append(len(tried))
        raise lost()

    with pytest.raises(OperationalError, match="deadlock"):
        asyncio.run(run_write(lose))
    assert len(tried) == TRIES
    assert asyncio.run(run_write(models.Room.objects.count)) == 0


@pytest.mark.parametrize("cause", [errors.UndefinedTable(), errors.LockNotAvailable(), ValueError(), None])
def test_what_would_fail_again_is_tried_once(cause: Exception | None, rooms: None) -> None:
    """Only a loss against others may be a win the next time."""
    tried: list[int] = []

    def fail() -> None:
        tried.append(1)
        raise Error from cause

    with pytest.raises(Error):
        retry_on_conflict(fail)
    assert len(tried) == 1


def test_within_a_transaction_nothing_is_tried_again(rooms: None) -> None:
    """What was done in it before is lost too: only who began it can begin again."""
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
def test_a_page_s_change_that_loses_is_done_again(
    path: str, fields: dict[str, str], rooms: None, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who makes a room, or comes into one, is led there; it is done once, and recorded once."""
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
