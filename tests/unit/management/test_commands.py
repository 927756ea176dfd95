"""The operator's commands: pruning in small transactions, which keeps the counters right, and indexing."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from doubles import Outage
from helpers import CommunicatorPersona as Persona
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import assert_counted, edit, erase, everything, hide, posts, react, written

from chat import models
from chat.log import RoomLog
from chat.management.commands.prune_messages import age
from chat.message_log import Writer, queries
from chat.message_log.maintenance import in_pieces, prune
from chat.protocol import History, Message

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tea() -> RoomLog:
    """Ten messages, some of them changed."""
    room = queries.open_room("tea")
    Writer().write(posts(room, 10))
    changes = [edit(room, 1, "x"), edit(room, 1, "y"), react(room, 2), erase(room, 3), hide(room, 8)]
    written(Writer().write(changes))
    return room


def test_messages_are_indexed_by_hand(tea: RoomLog, capsys: pytest.CaptureFixture[str]) -> None:
    """The command indexes messages that are not indexed, or all again; a second run finds nothing to do."""
    models.Message.objects.filter(number__lt=5).update(words=None)
    call_command("chat_index")
    call_command("chat_index")
    models.Message.objects.update(words="of another folding")
    call_command("chat_index", "--anew")
    said = [f"{number} messages are indexed" for number in (4, 0, 10)]
    assert capsys.readouterr().out.splitlines() == said
    assert not models.Message.objects.filter(words__contains="folding").exists()


def grow_old(*numbers: int, days: int = 100, slug: str = "tea") -> None:
    """Make the messages so many days old."""
    said = timezone.now() - timedelta(days=days)
    models.Message.objects.filter(room__slug=slug, number__in=numbers).update(created=said)


def prune_messages(*arguments: str) -> None:
    call_command("prune_messages", *arguments)


def test_old_messages_are_pruned_with_their_numbers(tea: RoomLog, capsys: pytest.CaptureFixture[str]) -> None:
    """Their emoji and words are deleted too. The counter stays, and nothing else is touched."""
    grow_old(1, 2, 3, 4)
    before = models.Room.objects.get()
    rest = {number: message for number, message in everything(tea).items() if number > 4}
    prune_messages("--older-than", "90d")
    row = models.Room.objects.get()
    assert (row.seq, row.epoch, row.pruned) == (before.seq, before.epoch, 4 + 4)
    assert everything(tea) == rest
    assert models.Reaction.objects.count() == 0
    assert capsys.readouterr().out == "tea: 4 messages with 8 numbers are deleted\n4 messages are deleted\n"
    assert_counted(tea)
    call_command("chat_check")


def test_a_second_run_finds_nothing(tea: RoomLog, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints that, and succeeds."""
    grow_old(1)
    prune_messages("--older-than", "90d")
    capsys.readouterr()
    prune_messages("--older-than", "90d")
    assert capsys.readouterr().out == "0 messages are deleted\n"


def test_a_dry_run_only_prints(tea: RoomLog, capsys: pytest.CaptureFixture[str]) -> None:
    """The counts by room are printed; nothing is deleted."""
    coffee = queries.open_room("coffee")
    Writer().write(posts(coffee, 2))
    grow_old(1, 2)
    grow_old(1, slug="coffee")
    prune_messages("--older-than", "90d", "--dry-run")
    assert capsys.readouterr().out.splitlines() == [
        "coffee: 1 messages with 1 numbers would be deleted",
        "tea: 2 messages with 5 numbers would be deleted",
        "3 messages would be deleted",
    ]
    assert models.Message.objects.count() == 12
    assert not models.Room.objects.filter(pruned__gt=0).exists()


def test_one_room_can_be_pruned_alone(tea: RoomLog) -> None:
    """Other rooms keep messages of the same age."""
    Writer().write(posts(queries.open_room("coffee"), 2))
    grow_old(1, 2)
    grow_old(1, 2, slug="coffee")
    prune_messages("--older-than", "90d", "--room", "coffee")
    assert [room.messages.count() for room in models.Room.objects.order_by("slug")] == [0, 10]
    call_command("chat_check")


@pytest.mark.parametrize(("older", "left"), [("36h", 7), ("2d", 7), ("1w", 8), ("4w", 9)])
def test_the_age_has_its_unit(tea: RoomLog, older: str, left: int) -> None:
    """The unit is hours, days or weeks."""
    for number, days in ((1, 1), (2, 3), (3, 20), (4, 100)):
        grow_old(number, days=days)
    prune_messages("--older-than", older)
    assert models.Message.objects.count() == left


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5d", "90 d", "90m", "10000000w", "1d1h"])
def test_a_malformed_age_is_refused(text: str) -> None:
    """The error shows valid ages, and nothing is deleted."""
    with pytest.raises(CommandError, match="must be like 12h, 90d or 8w"):
        age(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--room", "nowhere"], "There is no room 'nowhere'"),
        (["--batch", "0"], "--batch must be from 1 to 10000, not 0"),
        (["--batch", "10001"], "not 10001"),
    ],
)
def test_a_wrong_argument_is_refused(tea: RoomLog, arguments: list[str], said: str) -> None:
    """The error names the argument and the valid values."""
    grow_old(1)
    with pytest.raises(CommandError, match=said):
        prune_messages("--older-than", "1d", *arguments)
    assert models.Message.objects.count() == 10


def test_messages_are_pruned_in_small_transactions(tea: RoomLog, transactions: list[str]) -> None:
    """Each transaction deletes --batch messages at most."""
    grow_old(*range(1, 11))
    before = len(transactions)
    prune_messages("--older-than", "1d", "--batch", "3")
    assert len(transactions) - before == 4
    assert_counted(tea)


def test_the_part_before_a_failure_is_printed(
    tea: RoomLog, outage: Outage, capsys: pytest.CaptureFixture[str]
) -> None:
    """That part is consistent: each transaction updates the counters."""
    grow_old(*range(1, 11))
    gone = prune(models.Message.objects.all(), 4)
    next(gone)
    assert models.Room.objects.get().pruned == 8
    assert_counted(tea)
    with outage.begin("UPDATE"), pytest.raises(CommandError, match="run it again"):
        prune_messages("--older-than", "1d", "--batch", "4")
    assert_counted(tea)
    prune_messages("--older-than", "1d", "--batch", "4")
    assert not models.Message.objects.exists()
    assert_counted(tea)


def test_two_at_once_share_the_work(rooms: None, tea: RoomLog) -> None:
    """Each message is counted by the run that deleted it."""
    Writer().write(posts(tea, 400))
    models.Message.objects.update(created=timezone.now() - timedelta(days=100))
    messages = models.Message.objects.count()
    counts: list[int] = []

    def run() -> None:
        counts.append(sum(gone.messages for gone in prune(models.Message.objects.all(), 7)))
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(counts) == messages
    row = models.Room.objects.get()
    assert row.pruned == row.seq


async def test_the_chat_goes_on_meanwhile(alice: Persona, bob: Persona) -> None:
    """A user who posts during pruning receives everything, and no number is used again."""
    await alice.join()
    epoch = (await bob.join()).epoch
    for number in range(50):
        await alice.send("message", content=f"old {number}")
    await alice.expect(Message, id=50)
    pruned = asyncio.ensure_future(prune_the_old())
    for number in range(50):
        await alice.say(f"new {number}")
    await pruned
    assert [(await bob.expect(Message)).id for _ in range(100)] == list(range(1, 101))
    again = await bob.join(since=20, epoch=epoch)
    assert (again.seq, again.resumed) == (100, True)
    await bob.expect(Message, id=100)
    await bob.send("history", before=100)
    assert not [message for message in (await bob.expect(History)).messages if message.id <= 50]
    await asyncio.to_thread(call_and_close, partial(call_command, "chat_check"))


async def prune_the_old() -> None:
    """Prune the first 50 messages, on another thread than the one that writes for the chat."""
    old = models.Message.objects.filter(number__lte=50)
    await asyncio.to_thread(call_and_close, lambda: list(prune(old, 5)))


def call_and_close(call: Callable[[], Any]) -> None:
    try:
        call()
    finally:
        connection.close()


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_pieces_hold_every_message_once(data: st.DataObject) -> None:
    """Rows that are read in pieces are read once, in their rooms' order, even if they change meanwhile."""
    models.Room.objects.all().delete()
    sizes = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
    for number, size in enumerate(sizes):
        if size:
            Writer().write(posts(queries.open_room(f"r{number}"), size))
    chosen = models.Message.objects.filter(hidden=False)
    seen = []
    for piece in in_pieces(chosen, data.draw(st.integers(1, 5))):
        assert len({message.room_id for message in piece}) == 1
        seen += [(message.room_id, message.number) for message in piece]
        models.Message.objects.filter(pk__in=[message.pk for message in piece]).update(hidden=True)
    rows = models.Message.objects.order_by("room", "number").values_list("room", "number")
    assert seen == list(rows)
