"""A site's rows survive Django's dumpdata and loaddata, and the chat continues from them."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from emptying import empty
from logs import assert_counted, edit, erase, everything, hide, post, posts, react, read, written

from chat import models
from chat.actions import members, rooms
from chat.auth import account
from chat.auth.usernames import name_is_taken
from chat.log import RoomLog
from chat.message_log import Writer, queries
from chat.message_log.search import search
from chat.message_log.search_indexing import index_some

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = 'Tea? "\N{TEACUP WITHOUT HANDLE}" <&>\n\tżółw \u202b\u05d0\u202c'


@pytest.fixture
def tea() -> RoomLog:
    """A room with every kind of change, beside one of each other kind."""
    alice, bob = (User.objects.create_user(name) for name in ("Alice", "Bob"))
    room = queries.open_room("tea", owner=alice.pk)
    key = account(alice).key
    Writer().write([*posts(room, 6), post(room, TEXT, author=key, ref="r", reply_to=2)])
    changes = [edit(room, 1, "better", ref="e"), react(room, 2, ref="f"), erase(room, 3), hide(room, 4)]
    written(Writer().write([*changes, read(room, 5, author=key)]))
    club = rooms.create(account(alice), title="Club", kind="private")
    rooms.open_direct(account(bob), "Alice")
    members.make_link(account(alice), club)
    row = models.Room.objects.get(slug="tea")
    models.Restriction.objects.create(room=row, kind="mute", person="guest:x", username="Eve")
    models.Restriction.objects.create(kind="ban", address="2001:db8::1")
    models.Report.objects.create(room=row, number=2, reporter="guest:y", username="Eve", reason="rude")
    models.AuditEntry.objects.record(row, account(alice), "hide", number=4, detail="x")
    return room


def kept() -> dict[str, list[dict[str, Any]]]:
    """All rows of the chat, and the accounts."""
    kinds: tuple[Any, ...] = (*apps.get_app_config("chat").get_models(), User)
    rows = {kind.__name__: kind._base_manager.order_by("pk").values() for kind in kinds}
    return {name: [_comparable(row) for row in of_kind] for name, of_kind in rows.items()}


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row in a dump: times in milliseconds. A loaded role counts as a change of its room's rules.

    The search's tokens of a message are made again.
    """
    for name in ("rules", "words"):
        row.pop(name, None)
    return {name: _cut(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _cut(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)


GENERATED = ["-e", "contenttypes", "-e", "auth.permission"]
WAYS: dict[str, tuple[str, list[str]]] = {
    "the site": ("json", ["--exclude=sessions"]),
    "the site by base managers": ("xml", ["--all"]),
    "the chat and its accounts": ("jsonl", ["auth.user", "chat"]),
    "by natural keys": ("json", ["--natural-foreign", *GENERATED]),
    "without what has no table": ("json", ["-e", "chat.Connection", *GENERATED]),
}


@pytest.mark.every_case
@pytest.mark.parametrize(("form", "options"), WAYS.values(), ids=WAYS)
def test_a_dump_is_loaded_as_it_was(
    tea: RoomLog, tmp_path: Path, form: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In several of Django's formats, into an empty database: the rows are equal, and the chat goes on."""
    before, shown = kept(), everything(tea)
    file = str(tmp_path / f"dump.{form}")
    call_command("dumpdata", *options, format=form, output=file)
    empty()
    call_command("loaddata", file, verbosity=0)
    assert kept() == before
    assert everything(tea) == shown
    call_command("chat_check")
    assert capsys.readouterr().out.endswith("3 rooms: nothing is wrong\n")
    while index_some():
        pass
    assert [message.id for message in search(tea.pk, "tea", "żółw", before=None, limit=9)[0]] == [7]
    assert queries.unread(account(User.objects.get(username="Alice")).key, [tea.pk], most=9) == {tea.pk: 1}
    assert name_is_taken("AIice")
    # Primary keys continue after the loaded ones.
    assert written(Writer().write([post(tea, ref="r", author="bob")]))[0].seq == 12
    assert queries.open_room("new").pk > tea.pk
    User.objects.create_user("Carol")
    assert_counted(tea)


def test_a_ref_is_known_after_a_load(tea: RoomLog, tmp_path: Path) -> None:
    """Messages and changes from before the load are not repeated."""
    call_command("dumpdata", "auth.user", "chat", output=str(tmp_path / "dump.json"))
    empty()
    call_command("loaddata", str(tmp_path / "dump.json"), verbosity=0)
    key = account(User.objects.get(username="Alice")).key
    retries = [post(tea, TEXT, author=key, ref="r", reply_to=2), edit(tea, 1, "better", ref="e")]
    again = written(Writer().write(retries))
    assert [(outcome.id, outcome.change) for outcome in again] == [(7, None), (1, None)]


@pytest.mark.parametrize(
    "options", [["chat.Connection"], ["chat.connection", "--all"], ["chat.Connection", "--pks=1"]], ids=str
)
def test_a_model_without_a_table_has_no_rows(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It is dumped as empty, however it is selected, and queries find nothing."""
    call_command("dumpdata", *options)
    assert capsys.readouterr().out.strip() == "[]"
    rows = models.Connection.objects
    assert (rows.count(), rows.exists(), list(rows.filter(pk="x")), rows.first()) == (0, False, [], None)
    assert rows.all().delete() == (0, {})


@pytest.mark.every_case
@pytest.mark.parametrize(
    "command",
    [
        ("inspectdb",),
        ("sqlflush",),
        ("sqlsequencereset", "chat"),
        ("remove_stale_contenttypes", "--no-input"),
        ("makemigrations", "--check", "--dry-run"),
        ("check", "--database", "default"),
    ],
    ids=lambda command: command[0],
)
def test_django_s_commands_for_all_models_work(
    tea: RoomLog, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """None of them fails on the missing table."""
    call_command(*command)
    assert "chat_connection" not in capsys.readouterr().out


def test_a_project_s_tests_may_keep_their_rows(tea: RoomLog) -> None:
    """`serialized_rollback` saves the database as text and restores it."""
    before = kept()
    text = connection.creation.serialize_db_to_string()
    empty()
    connection.creation.deserialize_db_from_string(text)
    assert kept() == before
