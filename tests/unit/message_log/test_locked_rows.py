"""Another transaction has locked a row that a room needs: that room waits, and no other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from databases import Somebody, only_postgresql
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.utils import timezone
from helpers import PATIENCE, Enter
from helpers import CommunicatorPersona as Persona
from logs import assert_counted, commit, edit, everything, post, posts, react, read, refusals, there, written
from members import member

from chat import loops, models
from chat.database import LOCK_TIMEOUT_MS, READERS, run_read, run_write
from chat.log import RoomLog
from chat.log.writes import HELD
from chat.message_log import MessageLog, Writer, maintenance, queries
from chat.message_log.repair import heal
from chat.protocol import Ack, Error, ErrorCode, History, Invalid, Message, Welcome

pytestmark = only_postgresql

LONG = 30.0
"""Seconds for which changes wait for a lock here: longer than a test on a busy machine."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for where in ("chat.log.write_queue", "chat.database", "chat.message_log.writer"):
        monkeypatch.setattr(f"{where}.LOCK_RETRY_SECONDS", LONG)


@pytest.fixture
def somebody(rooms: None) -> Iterator[Somebody]:
    """Another connection, in a transaction: its locks last until it ends the transaction."""
    with Somebody() as found:
        found.execute("BEGIN")
        yield found


@pytest.fixture
def tea(rooms: None) -> RoomLog:
    """A room whose row is locked before the other one's."""
    return queries.open_room("tea")


@pytest.fixture
def club(tea: RoomLog) -> RoomLog:
    """A room with five messages, an emoji, and a read position."""
    room = queries.open_room("club")
    Writer().write([*posts(room, 5), react(room, 2), read(room, 3)])
    return room


@pytest.fixture
async def log(rooms: None) -> AsyncIterator[MessageLog]:
    yield loops.current(MessageLog)
    await loops.close_current()


LOCKS: dict[str, str] = {
    "its row": "SELECT FROM chat_room WHERE id = %s FOR UPDATE",
    "its row, as a new role does": "UPDATE chat_room SET rules = rules + 1 WHERE id = %s",
    "a message": "SELECT FROM chat_message WHERE room_id = %s AND number = 2 FOR UPDATE",
    "a message that is changed": "UPDATE chat_message SET username = 'x' WHERE room_id = %s",
    "an emoji": "DELETE FROM chat_reaction USING chat_message m WHERE message_id = m.id AND room_id = %s",
    "the next number": (
        "INSERT INTO chat_message (room_id, number, seq, changes, author, username, content, created, hidden) "
        "VALUES (%s, 7, 7, 0, 'x', 'X', 'by hand', now(), false)"
    ),
}


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
async def test_only_the_locked_room_waits(
    lock: str, tea: RoomLog, club: RoomLog, somebody: Somebody, log: MessageLog
) -> None:
    """Writes to another room are made before the transaction ends. The waiting ones follow, in order and once."""
    somebody.execute(lock, club.pk)
    batch = [post(club, "first", ref="f"), react(club, 2, "🎉"), react(club, 2, on=False), edit(club, 2, "second")]
    held = [asyncio.create_task(commit(log, write)) for write in [*batch, post(club, "third")]]
    for number in range(20):
        # Together with the waiting writes, and alone: messages, changes, and read positions.
        writes = [post(tea, f"{number}"), react(tea, 2 * number + 1), read(tea, number)]
        written(await commit(log, *writes))
    assert not held[3].done() or "emoji" in lock or "number" in lock
    assert not held[4].done()
    somebody.execute("ROLLBACK")
    outcomes = [outcome for each in await asyncio.gather(*held) for outcome in each]
    assert [outcome.seq for outcome in written(outcomes)] == [7, 8, 9, 10, 11]
    found = await there(club)
    assert [found[number].content for number in (7, 2, 11)] == ["first", "second", "third"]
    for room in (tea, club):
        await run_read(partial(assert_counted, room))


async def test_the_acks_of_other_rooms_come_first(
    club: RoomLog, somebody: Somebody, alice: Persona, bob: Persona
) -> None:
    """On one socket too: messages in the locked room are acknowledged and published after the transaction."""
    for persona in (alice, bob):
        await persona.join("club")
        await persona.join("tea")
    somebody.lock(club.pk)
    for number in range(10):
        await alice.send("message", room="club", content=f"club {number}", ref=f"c{number}")
        await alice.send("message", room="tea", content=f"tea {number}", ref=f"t{number}")
    for number in range(10):
        await alice.expect(Ack, room="tea", ref=f"t{number}")
        await bob.expect(Message, room="tea", content=f"tea {number}")
    assert alice.count(Ack, room="club") == bob.count(Message, room="club") == alice.count(Error) == 0
    somebody.execute("COMMIT")
    for number in range(10):
        await alice.expect(Ack, room="club", ref=f"c{number}", id=7 + number)
        await bob.expect(Message, room="club", content=f"club {number}", id=7 + number)


COMMANDS: dict[str, dict[str, object]] = {
    "mute": {"username": "Eve"},
    "kick": {"username": "Eve"},
    "role": {"username": "Eve", "role": "moderator"},
    "room": {"title": "Plans"},
    "report": {"id": 1},
    "invite": {},
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_moderator_s_command_in_a_locked_room_holds_up_nobody(
    command: str, person: Enter, somebody: Somebody, bob: Persona
) -> None:
    """A moderator's command waits outside the thread that writes, and is executed afterwards, once."""
    alice = await member(person, "Alice")
    eve = await member(person, "Eve")
    await alice.send("create", title="Attic", kind="private", ref="made")
    attic = (await alice.expect(Ack, ref="made")).room
    await alice.join(attic)
    for username in ("Eve", "Mallory"):
        await User.objects.aget_or_create(username=username)
        await alice.send("invite", room=attic, username=username, ref=username)
        await alice.expect(Ack, ref=username)
    await eve.join(attic)
    await alice.say("hi", attic)
    await bob.join("tea")
    before = await models.AuditEntry.objects.acount()
    somebody.lock((await models.Room.objects.aget(slug=attic)).pk)
    await alice.send(command, room=attic, ref="x", **COMMANDS[command])
    for number in range(10):
        await bob.say(f"{number}", "tea")
    assert all(getattr(said, "ref", None) != "x" for said in alice.heard)
    somebody.execute("COMMIT")
    while getattr(answer := await alice.next(), "ref", None) != "x":
        pass
    assert not isinstance(answer, Error), answer
    assert await models.AuditEntry.objects.acount() <= before + 1


async def test_a_wait_for_a_room_that_is_being_created_holds_up_no_reader(
    person: Enter, somebody: Somebody, alice: Persona
) -> None:
    """More users join it than there are threads that read; others read meanwhile."""
    await alice.join()
    somebody.execute(
        "INSERT INTO chat_room (slug, title, kind, epoch, seq, pruned, created, read_only, slow, rules) "
        "VALUES ('new', '', 'public', 'e', 0, 0, now(), false, 0, 0)"
    )
    crowd = [await person(f"Guest{number}") for number in range(READERS + 2)]
    for each in crowd:
        await each.send("join", room="new", username=each.name)
    for number in range(10):
        await alice.send("history", ref=f"{number}")
        await alice.expect(History, ref=f"{number}")
    assert not any(each.count(Welcome) for each in crowd)
    somebody.execute("COMMIT")
    for each in crowd:
        await each.expect(Welcome, room="new")


async def test_writes_that_wait_too_long_are_refused(
    tea: RoomLog, club: RoomLog, somebody: Somebody, log: MessageLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After LOCK_RETRY_SECONDS all changes of the room are busy. Later ones start their own wait."""
    monkeypatch.setattr("chat.log.write_queue.LOCK_RETRY_SECONDS", 0.2)
    somebody.lock(club.pk)
    outcomes = await commit(log, post(club, "1"), post(club, "2"), post(tea), read(club, 1))
    assert refusals(outcomes) == [ErrorCode.BUSY, ErrorCode.BUSY, None, ErrorCode.BUSY]
    assert refusals(await commit(log, post(club, "3"))) == [ErrorCode.BUSY]
    assert log.waiting == 0
    somebody.execute("COMMIT")
    assert [outcome.seq for outcome in written(await commit(log, post(club, "4")))] == [7]


async def test_a_locked_room_leaves_the_others_space(
    tea: RoomLog, club: RoomLog, somebody: Somebody, log: MessageLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bounded number of writes may wait for it. More are busy at once, and the queue is left to the others."""
    monkeypatch.setattr("chat.log.write_queue.BATCH", 3)
    somebody.lock(club.pk)
    held = [asyncio.create_task(commit(log, post(club, f"{number}"))) for number in range(3)]
    written(await commit(log, post(tea)))
    with pytest.raises(Invalid, match="more to keep"):
        log.append(post(club))
    written(await commit(log, post(tea)))
    somebody.execute("COMMIT")
    assert [written(await each)[0].seq for each in held] == [7, 8, 9]


async def test_several_locked_rooms_wait_independently(
    tea: RoomLog, club: RoomLog, somebody: Somebody, log: MessageLog
) -> None:
    """Unlocked rooms go on while two transactions lock a room each. A room waits for its own transaction only."""
    attic = await run_read(partial(queries.open_room, "attic"))
    somebody.lock(club.pk)
    with Somebody() as other:
        other.execute("BEGIN")
        other.lock(attic.pk)
        first = [asyncio.create_task(commit(log, post(club), post(attic, f"{n}"), post(tea))) for n in range(3)]
        for _ in range(5):
            written(await commit(log, post(tea), react(tea, 1)))
        somebody.execute("COMMIT")
        while len(await there(club)) < 8:
            written(await commit(log, post(tea)))
        assert not await there(attic)
        other.execute("COMMIT")
    for each in first:
        written(await each)
    assert [message.content for message in (await there(attic)).values()] == ["0", "1", "2"]


async def test_a_foreign_reference_holds_up_nothing(club: RoomLog, somebody: Somebody, log: MessageLog) -> None:
    """A new row of another table that refers to the room does not lock it."""
    somebody.execute(
        "INSERT INTO chat_restriction (room_id, kind, person, username, reason, by, created) "
        "VALUES (%s, 'mute', 'guest:x', '', '', '', now())",
        club.pk,
    )
    written(await commit(log, post(club), react(club, 1), edit(club, 1, "x")))


def test_a_change_of_all_rooms_locks_none_while_it_waits(tea: RoomLog, club: RoomLog, somebody: Somebody) -> None:
    """A restriction in all rooms waits for the locked room; messages in the others don't wait for it."""
    somebody.lock(club.pk)
    with ThreadPoolExecutor() as pool:
        everywhere = pool.submit(in_another_process, restrict_everywhere)
        for number in range(5):
            assert HELD not in Writer().attempt([post(tea, f"{number}")])
        assert not everywhere.done()
        somebody.execute("COMMIT")
        everywhere.result(PATIENCE)
    assert [room.rules for room in models.Room.objects.all()] == [1, 1]


def restrict_everywhere() -> None:
    with transaction.atomic():
        models.Restriction.objects.create(kind="ban", person="guest:x")


def in_another_process(call: Callable[[], object]) -> None:
    try:
        call()
    finally:
        connections.close_all()


def test_the_staff_hides_messages_of_unlocked_rooms_first(tea: RoomLog, club: RoomLog, somebody: Somebody) -> None:
    """No room stays locked while it waits for another one, and all messages are hidden in the end."""
    Writer().write(posts(tea, 1))
    somebody.lock(club.pk)
    rows = list(models.Message.objects.filter(number=1).select_related("room"))
    with ThreadPoolExecutor() as pool:
        hidden = pool.submit(
            in_another_process, partial(maintenance.hide, rows, author="x", username="X", hidden=True)
        )
        while not everything(tea)[1].deleted:
            pass
        written(Writer().write([post(tea)]))
        assert not hidden.done()
        somebody.execute("COMMIT")
        hidden.result(PATIENCE)
    assert everything(club)[1].deleted


def test_pages_keep_their_lock_timeout(rooms: None) -> None:
    """Only the chat's own threads have the short timeout. A connection that goes back to a pool has it reset."""

    def timeout() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            return str(cursor.fetchone()[0])

    assert {asyncio.run(through(timeout)) for through in (run_read, run_write)} == {f"{LOCK_TIMEOUT_MS}ms"}
    assert timeout() == "5s"


def test_a_broken_room_that_is_locked_is_healed_afterwards(club: RoomLog, somebody: Somebody) -> None:
    """The check of all rooms skips it, and its messages wait."""
    row = models.Message(room_id=club.pk, number=9, seq=9, author="x", username="X", created=timezone.now())
    models.Message._base_manager.bulk_create([row])
    somebody.lock(club.pk)
    assert not heal([club.pk], skip=True)
    with ThreadPoolExecutor() as pool:
        said = pool.submit(in_another_process, lambda: written(Writer().write([post(club)] * 3)))
        somebody.execute("COMMIT")
        said.result(PATIENCE)
    assert max(everything(club)) == 12
