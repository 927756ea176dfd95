"""Messages that something else than the log writes: refused in Python, and healed after SQL."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from helpers import CommunicatorPersona as Persona
from logs import assert_counted, commit, edit, everything, post, posts, react, written

from chat import loops, models
from chat.database import run_read
from chat.hub import reconcile
from chat.log import RoomLog
from chat.message_log import MessageLog, Writer, maintenance, queries
from chat.message_log.repair import heal, rooms_with_rows_ahead
from chat.protocol import Invalid, Message


@pytest.fixture
def tea(rooms: None) -> RoomLog:
    """Three messages, the first changed: the next number is 5."""
    room = queries.open_room("tea")
    Writer().write([*posts(room, 3), edit(room, 1, "better")])
    return room


def row(room: RoomLog, **fields: Any) -> models.Message:
    """A row as written by code that chooses the next number itself."""
    given = {
        "number": 5,
        "seq": 5,
        "author": "x",
        "username": "X",
        "content": "by hand",
        "created": timezone.now(),
    }
    return models.Message(**{"room_id": room.pk, **given, **fields})


def by_hand(room: RoomLog, **fields: Any) -> object:
    """Insert such a row past the refusal, like SQL."""
    return models.Message._base_manager.bulk_create([row(room, **fields)])


def counters(**fields: Any) -> Callable[[RoomLog], object]:
    return lambda room: models.Room._base_manager.filter(pk=room.pk).update(**fields)


# --- Refused ---

REFUSED: dict[str, Callable[[RoomLog], object]] = {
    "create": lambda room: models.Message.objects.create(
        room_id=room.pk, number=5, seq=5, author="x", username="X", created=timezone.now()
    ),
    "save": lambda room: row(room).save(),
    "save of a row": lambda room: models.Message.objects.get(number=2).save(),
    "save of some fields": lambda room: models.Message.objects.get(number=2).save(update_fields=["content"]),
    "bulk_create": lambda room: models.Message.objects.bulk_create([row(room)]),
    "through the room": lambda room: models.Room.objects.get().messages.create(number=5, seq=5),
    "get_or_create": lambda room: models.Message.objects.get_or_create(room_id=room.pk, number=5),
    "update_or_create": lambda room: models.Message.objects.update_or_create(room_id=room.pk, number=5),
    "update": lambda room: models.Message.objects.update(seq=F("seq") + 1),
    "update of a room": lambda room: models.Message.objects.filter(number=2).update(room=room.pk),
    "bulk_update": lambda room: models.Message.objects.bulk_update(models.Message.objects.all(), ["number"]),
}
ROOMS: dict[str, Callable[[RoomLog], object]] = {
    "a room's number": lambda room: set_and_save(seq=9),
    "a room's number, counted on": lambda room: set_and_save(seq=F("seq") + 1),
    "its pruned numbers": lambda room: set_and_save(pruned=1),
    "its epoch": lambda room: set_and_save(epoch="new"),
    "its rules": lambda room: set_and_save(rules=77),
    "fields by name": lambda room: models.Room.objects.get().save(update_fields=["title", "seq"]),
    "a new one's": lambda room: models.Room.objects.create(slug="new", seq=3),
    "one's that was not loaded": lambda room: set_and_save(models.Room.objects.only("slug"), seq=9),
    "several new ones'": lambda room: models.Room.objects.bulk_create([models.Room(slug="new", pruned=1, seq=1)]),
    "all rooms'": lambda room: models.Room.objects.update(seq=F("seq") + 1),
    "several": lambda room: models.Room.objects.bulk_update(models.Room.objects.all(), ["seq"]),
}


def set_and_save(rooms: QuerySet[models.Room] | None = None, /, **fields: Any) -> None:
    room = (models.Room.objects.all() if rooms is None else rooms).get()
    for name, value in fields.items():
        setattr(room, name, value)
    room.save()


@pytest.mark.parametrize("write", REFUSED.values(), ids=REFUSED)
def test_only_the_log_writes_messages(tea: RoomLog, write: Callable[[RoomLog], object]) -> None:
    """Other code gets an error that names the function to call instead, and nothing is written."""
    before = everything(tea)
    with pytest.raises(ValueError, match=r"call chat\.api\.post\(\)"), transaction.atomic():
        write(tea)
    assert everything(tea) == before
    assert not rooms_with_rows_ahead([tea.pk])


@pytest.mark.parametrize("write", ROOMS.values(), ids=ROOMS)
def test_only_the_log_sets_counters(tea: RoomLog, write: Callable[[RoomLog], object]) -> None:
    """A counter that is set elsewhere is refused with an error, not dropped in silence."""
    before = list(models.Room._base_manager.values())
    with pytest.raises(ValueError, match=r"chat_check --fix"), transaction.atomic():
        write(tea)
    assert list(models.Room._base_manager.values()) == before


def test_a_room_is_saved_beside_a_chat_that_goes_on(tea: RoomLog) -> None:
    """A form that was open meanwhile turns no counter back, and is not refused for that."""
    room = models.Room.objects.get()
    deferred = models.Room.objects.only("slow").get()
    Writer().write(posts(tea, 1))
    room.title = "Tea time"
    room.save()
    deferred.slow = 5
    deferred.save()
    room.refresh_from_db()
    assert (room.title, room.slow, room.seq) == ("Tea time", 5, 5)
    room.save()
    new = models.Room(slug="new", epoch="e")
    new.save()
    new.title = "New"
    new.save()


def test_post_writes_the_message(tea: RoomLog) -> None:
    """The message gets the room's next number, once for a ref; a refusal is raised."""
    said = maintenance.post("tea", "hi", username="Bot", ref="r", reply_to=2)
    assert maintenance.post("tea", "hi", username="Bot", ref="r", reply_to=2).id == said.id == 5
    with pytest.raises(Invalid, match="ref"):
        maintenance.post("tea", "ho", username="Bot", ref="r")
    with pytest.raises(Invalid, match="no room"):
        maintenance.post("nowhere", "hi", username="Bot")
    with transaction.atomic():
        maintenance.post("tea", "not said", username="Bot")
        transaction.set_rollback(True)
    assert [message.content for message in everything(tea).values()][3:] == ["hi"]
    assert_counted(tea)


async def test_a_posted_message_reaches_open_pages(alice: Persona) -> None:
    """It may be posted from a thread beside the chat."""
    await alice.join("tea")
    await run_read(partial(maintenance.post, "tea", "hi", username="Bot"))
    await alice.expect(Message, content="hi", username="Bot")


# --- Healed ---

BROKEN: dict[str, Callable[[RoomLog], object]] = {
    "the next number": by_hand,
    "several": lambda room: [by_hand(room, number=number, seq=number) for number in (5, 6, 7)],
    "far ahead": lambda room: by_hand(room, number=1_000, seq=1_000),
    "a number between with the next change": lambda room: by_hand(room, number=4, seq=5),
    "the counter set back": counters(seq=2),
    "the counter far ahead": counters(seq=99),
    "too much pruned": counters(pruned=3),
    "all of it": lambda room: [by_hand(room, number=9, seq=9), counters(seq=3, pruned=2)(room)],
}


@pytest.mark.parametrize("breaks", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("kept_on", [True, False])
def test_a_room_continues_from_any_state(tea: RoomLog, breaks: Callable[[RoomLog], object], kept_on: bool) -> None:
    """Messages are acknowledged in order, behind all existing ones; after a restart too."""
    writer = Writer()
    breaks(tea)
    room = tea if kept_on else queries.open_room("tea")
    last = max(everything(room))
    outcomes = written(
        (writer if kept_on else Writer()).write([post(room, "next"), react(room, 1), post(room, "last")])
    )
    assert [outcome.seq for outcome in outcomes] == sorted({outcome.seq for outcome in outcomes})
    assert outcomes[0].id > (0 if last == 1_000 and kept_on else last)
    call_command("chat_check", "--fix")
    call_command("chat_check")
    assert_counted(room)
    again = written(Writer().write([post(room, "after")]))[0]
    assert again.id == max(everything(room))


@pytest.fixture
async def log(rooms: None) -> AsyncIterator[MessageLog]:
    yield loops.current(MessageLog)
    await loops.close_current()


async def test_many_rooms_are_written_while_one_heals(tea: RoomLog, log: MessageLog) -> None:
    """The other rooms of its batch are not written twice, and not refused."""
    attic = await run_read(partial(queries.open_room, "attic"))
    await commit(log, post(tea), post(attic))
    await run_read(partial(by_hand, tea, number=6, seq=6))
    outcomes = await commit(log, *(post(room, f"{number}") for number in range(3) for room in (tea, attic)))
    assert [outcome.id for outcome in written(outcomes)] == [7, 2, 8, 3, 9, 4]


async def test_rows_written_by_hand_are_published(alice: Persona, bob: Persona) -> None:
    """They arrive with the next message, in the order of the numbers, and that message is acknowledged."""
    for persona in (alice, bob):
        await persona.join("tea")
    await alice.say("one", "tea")
    room = await models.Room.objects.aget(slug="tea")
    log = RoomLog(room.pk, "tea", room.epoch, room.seq)
    await run_read(partial(by_hand, log, number=2, seq=2))
    ack = await alice.say("two", "tea")
    assert ack.id == 3
    heard = [await bob.expect(Message, room="tea") for _ in range(3)]
    assert [(message.id, message.content) for message in heard] == [(1, "one"), (2, "by hand"), (3, "two")]


async def test_rows_written_by_hand_are_found_in_a_quiet_room(
    alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub checks for such rows now and then."""
    monkeypatch.setattr(reconcile, "HEAL", 1)
    await alice.join("tea")
    room = await models.Room.objects.aget(slug="tea")
    await run_read(partial(by_hand, RoomLog(room.pk, "tea", room.epoch, 0), number=3, seq=3))
    assert (await alice.expect(Message, room="tea", content="by hand")).id == 3
    assert not await run_read(partial(rooms_with_rows_ahead, [room.pk]))


def test_the_check_repairs_faults(tea: RoomLog, capsys: pytest.CaptureFixture[str]) -> None:
    """Faults are printed, repaired and checked again; without --fix nothing is changed."""
    by_hand(tea, number=7, seq=7)
    models.ReadPosition.objects.create(room_id=tea.pk, reader="x", seq=99)
    models.Message._base_manager.filter(number=2).update(reply_to=3)
    for _ in range(2):
        with pytest.raises(CommandError, match="3 things are wrong"):
            call_command("chat_check")
    call_command("chat_check", "--fix")
    assert capsys.readouterr().out.endswith("3 of these are repaired\n1 rooms: nothing is wrong\n")
    assert models.Room.objects.get().epoch == tea.epoch
    models.Message._base_manager.filter(number=2).update(withdrawn=timezone.now())
    call_command("chat_check", "--fix")
    assert everything(tea)[2].deleted
    assert (models.Room.objects.get().seq, models.Room.objects.get().pruned) == (7, 2)


def test_a_row_behind_the_counter_gives_the_room_a_new_epoch(tea: RoomLog) -> None:
    """No open client has received a row behind the counter, so all start over."""
    counters(pruned=2)(tea)
    call_command("chat_check", "--fix")
    assert models.Room.objects.get().epoch != tea.epoch


@pytest.mark.skipif(connection.vendor != "sqlite", reason="one is enough")
def test_a_whole_room_is_left_alone(tea: RoomLog, statements: list[str]) -> None:
    """The check costs one query, and opening a room none more."""
    assert not heal([tea.pk])
    assert len(statements) == 1
    statements.clear()
    queries.open_room("tea")
    assert len(statements) == 1
