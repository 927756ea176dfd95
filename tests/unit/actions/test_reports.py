"""The staff keeps a reported text when the message, its author or its room is deleted."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.utils import timezone
from logs import anybody, changes_of, edit, erase, hide, post, react
from members import olga

from chat import actions, models
from chat.actions import moderation
from chat.auth import Identity, account
from chat.log import RoomLog, Written
from chat.message_log import Writer, queries
from chat.message_log.maintenance import prune
from chat.protocol import ErrorCode, Invalid, Report

pytestmark = pytest.mark.django_db(transaction=True)

REPORTS, MESSAGES, ROOMS = (f"/admin/chat/{name}/" for name in ("report", "message", "room"))
FOUL = "something foul"
BOB = Identity("account:7", "Bob", lasting=True)


@pytest.fixture
def tea() -> RoomLog:
    """A room in which Alice posted an insult."""
    room = queries.open_room("tea")
    Writer().write([post(room, FOUL)])
    return room


def reported(room: RoomLog, number: int = 1, *, by: Identity = BOB) -> None:
    moderation.report(by, Report(room=room.slug, id=number, reason="rude"))


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def act(client: Client, address: str, action: str, *chosen: int) -> str:
    data = {"action": action, "_selected_action": list(chosen), "index": 0}
    return client.post(address, data, follow=True).content.decode()


# --- Reports ---


def edits(room: RoomLog) -> None:
    Writer().write([edit(room, 1, "something nice")])


def deletes(room: RoomLog) -> None:
    Writer().write([erase(room, 1)])


def edits_and_deletes(room: RoomLog) -> None:
    Writer().write([edit(room, 1, "something nice"), erase(room, 1)])


def is_pruned(room: RoomLog) -> None:
    assert list(prune(models.Message.objects.filter(room=room.pk)))


def is_gone_with_its_room(room: RoomLog) -> None:
    models.Room.objects.get(pk=room.pk).delete()


def is_gone_with_a_room_that_came_back(room: RoomLog) -> None:
    is_gone_with_its_room(room)
    Writer().write([post(queries.open_room("tea"), "hello")])


AFTERWARDS = {
    edits: "open, message edited",
    deletes: "open, message deleted",
    edits_and_deletes: "open, message deleted",
    is_pruned: "open",
    is_gone_with_its_room: "open",
    is_gone_with_a_room_that_came_back: "open",
}


@pytest.mark.parametrize(("happens", "state"), AFTERWARDS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_a_report_keeps_what_it_is_about(
    client: Client, tea: RoomLog, happens: Callable[[RoomLog], None], state: str
) -> None:
    """The list and the page show its text, author, name and time as they were, and it can be closed."""
    reported(tea)
    happens(tea)
    row = models.Report.objects.get()
    assert (row.content, row.writer, row.writer_name, row.slug) == (FOUL, "alice", "Alice", "tea")
    assert row.said is not None
    olga(client, "view_report", "change_report", "hide_message")
    for html in (page(client, REPORTS), page(client, f"{REPORTS}{row.pk}/change/")):
        assert FOUL in html
        assert "Alice" in html
        assert "tea" in html
    assert f">{state}<" in page(client, REPORTS)
    assert FOUL in page(client, f"{REPORTS}?room=tea")
    act(client, REPORTS, "hide_and_close", row.pk)
    row.refresh_from_db()
    assert row.closed
    assert models.AuditEntry.objects.get(action="close").slug == "tea"
    if happens is is_gone_with_a_room_that_came_back:
        assert not models.Message.objects.get().hidden


def test_a_report_of_another_text_is_another_report(tea: RoomLog) -> None:
    """A second report of the same text by the same person is not saved."""
    reported(tea)
    reported(tea)
    reported(tea, by=Identity("account:8", "Dora", lasting=True))
    edits(tea)
    reported(tea)
    kept = models.Report.objects.order_by("pk").values_list("reporter", "content")
    assert list(kept) == [("account:7", FOUL), ("account:8", FOUL), ("account:7", "something nice")]


@pytest.mark.parametrize("happens", [deletes, is_pruned])
def test_there_is_nothing_to_report_where_nothing_stands(tea: RoomLog, happens: Callable[[RoomLog], None]) -> None:
    """A report that comes after its author's deletion: the text is gone, as deletion promises."""
    happens(tea)
    with pytest.raises(Invalid) as refused:
        reported(tea)
    assert refused.value.code == ErrorCode.NOT_FOUND
    assert not models.Report.objects.exists()


def test_a_report_outlives_the_accounts_of_both(tea: RoomLog) -> None:
    """The report has the names of both."""
    alice, bob = (User.objects.create_user(name) for name in ("Alice", "Bob"))
    Writer().write([post(tea, "worse", author=account(alice).key)])
    reported(tea, 2, by=account(bob))
    alice.delete()
    bob.delete()
    row = models.Report.objects.get()
    assert (row.content, row.username) == ("worse", "Bob")


def test_an_inspection_of_a_report_from_a_deleted_private_room_is_recorded(client: Client) -> None:
    """The inspection is recorded as if the room still existed: once an hour, with its name."""
    alice = account(User.objects.create_user("Alice"))
    slug = actions.create(alice, title="Plans", kind="private")
    room = queries.open_room(slug)
    Writer().write([post(room, "our secret")])
    reported(room, by=alice)
    models.Room.objects.all().delete()
    olga(client, "view_report")
    for _ in range(2):
        assert "private conversations" in page(client, REPORTS)
    page(client, f"{REPORTS}{models.Report.objects.get().pk}/change/")
    assert [entry.slug for entry in models.AuditEntry.objects.filter(action="inspect")] == [slug]


def test_a_room_that_the_staff_deletes_leaves_its_reports(client: Client, tea: RoomLog) -> None:
    """Its reports and its audit log stay."""
    reported(tea)
    olga(client, "view_room", "delete_room")
    client.post(f"{ROOMS}{tea.pk}/delete/", {"post": "yes"})
    assert not models.Room.objects.exists()
    assert models.Report.objects.get().content == FOUL
    assert models.AuditEntry.objects.get(action="delete").slug == "tea"


# --- Hidden text ---

REACHES: dict[str, Callable[[RoomLog], Any]] = {
    "delete": lambda room: erase(room, 1),
    "edit": lambda room: edit(room, 1, "x"),
    "react": lambda room: react(room, 1, author="alice"),
    "take the emoji off": lambda room: react(room, 1, author="alice", on=False),
}


@pytest.mark.parametrize("verb", REACHES)
@pytest.mark.parametrize("by", ["staff", "a moderator"])
def test_what_was_hidden_is_out_of_its_author_s_reach(tea: RoomLog, verb: str, by: str) -> None:
    """The row stays as it was. No client receives an event, the author's reply is that of a deleted message."""
    moderator_s = erase(tea, 1, author="mod")
    moderator_s.allowed = anybody
    Writer().write([react(tea, 1), hide(tea, 1) if by == "staff" else moderator_s])
    before = models.Message.objects.values("content", "hidden", "deleted", "edited", "seq", "changes").get()
    (outcome,) = Writer().write([REACHES[verb](tea)])
    if verb == "delete":
        assert isinstance(outcome, Written)
        assert outcome.change is None
    else:
        assert isinstance(outcome, Invalid)
        assert outcome.code == ErrorCode.NOT_FOUND
    after = models.Message.objects.values("content", "hidden", "deleted", "edited", "seq", "changes").get()
    assert after == before
    assert models.Reaction.objects.count() == 1
    call_command("chat_check")


@pytest.mark.parametrize("ref", [None, "again"])
def test_what_its_author_deleted_while_it_was_hidden_is_never_shown_again(
    client: Client, tea: RoomLog, ref: str | None
) -> None:
    """No user sees it again, as the author wished. The staff keeps the text."""
    withdrawal = erase(tea, 1)
    withdrawal.ref = ref
    Writer().write([post(tea, "other"), hide(tea, 1), hide(tea, 2), withdrawal, erase(tea, 1)])
    olga(client, "view_message", "hide_message")
    told = act(client, MESSAGES, "restore", *models.Message.objects.values_list("pk", flat=True))
    assert "1 message is shown again." in told
    assert "1 message stays hidden, because its author deleted it meanwhile." in told
    row = models.Message.objects.get(number=1)
    assert (row.content, row.hidden, row.deleted) == (FOUL, True, None)
    assert row.withdrawn
    assert [(said.id, said.deleted) for said in queries.history(tea.pk, "tea", limit=9)[0]] == [
        (1, True),
        (2, False),
    ]
    call_command("chat_check")


def test_what_is_shown_again_is_its_author_s_again(tea: RoomLog) -> None:
    """A message that the staff hid by mistake can be edited and deleted as any other."""
    Writer().write([hide(tea, 1), hide(tea, 1, hidden=False)])
    assert len(changes_of(Writer().write([edit(tea, 1, "mended"), erase(tea, 1)]))) == 2
    assert models.Message.objects.get().content == ""


# --- How long it is kept ---


def test_reports_go_when_the_operator_says_so(tea: RoomLog, capsys: pytest.CaptureFixture[str]) -> None:
    """Closed reports are deleted when they are old enough, with their texts. Open reports never are."""
    for number, closed in enumerate((None, timezone.now() - timedelta(100), timezone.now() - timedelta(10))):
        reported(tea, by=Identity(f"account:{number}", "Bob", lasting=True))
        models.Report.objects.filter(reporter=f"account:{number}").update(closed=closed)
    call_command("prune_reports", "--older-than", "90d", "--dry-run")
    assert models.Report.objects.count() == 3
    call_command("prune_reports", "--older-than", "90d")
    assert sorted(models.Report.objects.values_list("reporter", flat=True)) == ["account:0", "account:2"]
    assert capsys.readouterr().out == "1 closed reports would be deleted\n1 closed reports are deleted\n"
    with pytest.raises(CommandError, match="older-than"):
        call_command("prune_reports", "--older-than", "soon")


def test_reports_from_before_are_given_what_is_still_there(tea: RoomLog) -> None:
    """The migration saves the texts of open reports. Closed ones get only the room's name."""
    executor = MigrationExecutor(connection)
    target = [("chat", "0010_evidence_stays")]
    last = [leaf for leaf in executor.loader.graph.leaf_nodes() if leaf[0] == "chat"]
    try:
        state = executor.migrate(target)
        report = state.apps.get_model("chat", "Report")
        for number, closed in ((1, None), (9, None), (1, timezone.now())):
            report.objects.create(
                room_id=tea.pk, number=number, reporter=f"r{number}{bool(closed)}", username="Bob", closed=closed
            )
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(last)
    kept = models.Report.objects.order_by("pk").values_list("slug", "content", "writer_name")
    assert list(kept) == [("tea", FOUL, "Alice"), ("tea", "", ""), ("tea", "", "")]
