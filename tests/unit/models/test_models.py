"""Constraints of the database, and the rows that are deleted with a room."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from logs import erase, post, react, read

from chat import models
from chat.log import RoomLog
from chat.message_log import Writer, queries

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def room(db: None) -> RoomLog:
    """A room with two messages, the second with a ref and an emoji."""
    room = queries.open_room("lobby")
    Writer().write([post(room), post(room, ref="r"), react(room, 2), read(room, 2)])
    return room


def message(room: RoomLog, **fields: object) -> models.Message:
    """The next message, as the log would write it."""
    return models.Message(
        **{
            "room_id": room.pk,
            "number": 4,
            "seq": 4,
            "author": "alice",
            "username": "Alice",
            "content": "hi",
            "created": NOW,
            **fields,
        }
    )


def test_a_message_as_the_log_writes_it_is_accepted(room: RoomLog) -> None:
    """So the refusals in the tests below are due to the fields that they change."""
    message(room).save_numbered(using="default")
    assert models.Message.objects.count() == 3


REFUSED: list[tuple[str, dict[str, object]]] = [
    ("the number of another", {"number": 1, "seq": 4}),
    ("the last change of another", {"number": 2, "seq": 3}),
    ("a change before it was said", {"number": 4, "seq": 2}),
    ("no number", {"number": 0}),
    ("a ref that its author used", {"ref": "r"}),
    ("deleted with a text", {"deleted": NOW}),
]


@pytest.mark.every_case
@pytest.mark.parametrize("fields", [fields for _, fields in REFUSED], ids=[name for name, _ in REFUSED])
def test_a_message_that_contradicts_the_log_is_refused(room: RoomLog, fields: dict[str, object]) -> None:
    """Numbers are unique in their room, refs for their author; a deleted message has no text."""
    with pytest.raises(IntegrityError), transaction.atomic():
        message(room, **fields).save_numbered(using="default")


def test_equal_refs_of_other_authors_are_accepted(room: RoomLog) -> None:
    """A ref is unique for one author in one room; any number of messages have none."""
    other = queries.open_room("tea")
    message(other, number=1, seq=1, ref="r").save_numbered(using="default")
    message(room, author="bob", ref="r").save_numbered(using="default")
    for number in (5, 6):
        message(room, number=number, seq=number).save_numbered(using="default")
    assert models.Message.objects.filter(ref="r").count() == 3


def once_more(room: RoomLog) -> list[Callable[[], object]]:
    said = models.Message.objects.get(room_id=room.pk, number=2)
    return [
        lambda: models.Reaction.objects.create(message=said, author="bob", username="Bob", emoji="👍"),
        lambda: models.ReadPosition.objects.create(room_id=room.pk, reader="alice", seq=1),
        lambda: models.Room.objects.create(slug="lobby"),
        lambda: models.Room._base_manager.filter(pk=room.pk).update(pruned=4),
        lambda: models.Room._base_manager.filter(pk=room.pk).update(seq=-1),
    ]


@pytest.mark.every_case
@pytest.mark.parametrize("index", range(5))
def test_unique_rows_are_refused_twice(room: RoomLog, index: int) -> None:
    """A user has one reaction per emoji and one read position. Slugs are unique, and counters consistent."""
    with pytest.raises(IntegrityError), transaction.atomic():
        once_more(room)[index]()


def test_a_deleted_room_deletes_its_rows(room: RoomLog) -> None:
    """Its messages, their emoji and the read positions are deleted; another room's stay."""
    other = queries.open_room("tea")
    Writer().write([post(other), react(other, 1), read(other, 1)])
    models.Room.objects.filter(pk=room.pk).delete()
    kinds = (models.Room, models.Message, models.Reaction, models.ReadPosition)
    assert [kind.objects.count() for kind in kinds] == [1, 1, 1, 1]


def test_every_room_has_an_epoch_of_its_own(db: None) -> None:
    """Two rooms, and a room that is created again, have different epochs, which the protocol can carry."""
    epochs = [models.Room.objects.create(slug=f"r{number}").epoch for number in range(20)]
    models.Room.objects.all().delete()
    epochs += [models.Room.objects.create(slug=f"r{number}").epoch for number in range(20)]
    assert len(set(epochs)) == 40
    assert all(1 <= len(epoch) <= 16 for epoch in epochs)


@pytest.mark.parametrize("slug", ["", "Lobby", "-x", "__x", "a b", "a/b", "x" * 51, "tea\n", "té"])
def test_a_room_s_name_fits_an_address(slug: str) -> None:
    """A form accepts the same slugs as the protocol."""
    with pytest.raises(ValidationError):
        models.Room(slug=slug).clean_fields()


def test_rows_have_readable_names(room: RoomLog) -> None:
    """Rows have a readable text in the admin."""
    said = models.Message.objects.get(room_id=room.pk, number=2)
    named = models.Room(slug="tea", title="Tea time")
    assert [str(thing) for thing in (models.Room(slug="tea"), named, said)] == ["tea", "Tea time", "Alice: hi"]
    things = (said.reactions.get(), models.ReadPosition.objects.get())
    assert [str(thing) for thing in things] == ["👍 Bob", "alice: 2"]
    assert str(models.Connection(id="abc")) == "abc"


def test_a_deleted_message_keeps_its_place(room: RoomLog) -> None:
    """Its row stays, for its number, its author and its replies."""
    Writer().write([erase(room, 2)])
    left = models.Message.objects.get(room_id=room.pk, number=2)
    assert (left.seq, left.author, left.content) == (4, "alice", "")


def test_connections_have_no_table(db: None) -> None:
    """The processes know the open connections, not the database."""
    assert models.Connection._meta.db_table not in connection.introspection.table_names()
