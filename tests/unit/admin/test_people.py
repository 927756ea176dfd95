"""The admin's pages of the audit log, reports, restrictions, members, private rooms and connections."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.utils import timezone
from helpers import CommunicatorPersona as Persona
from helpers import Enter
from logs import edit, erase, post, posts
from members import guest, member, olga, staff

from chat import models
from chat.actions.ban_form import ban_url
from chat.admin.filters import CappedPaginator
from chat.admin.inspection import RECORD_AGAIN_AFTER
from chat.log import RoomLog
from chat.loops import current
from chat.message_log import Writer, queries
from chat.protocol import ErrorCode, Removed

pytestmark = pytest.mark.django_db(transaction=True)

AUDIT = "/admin/chat/auditentry/"
MESSAGES = "/admin/chat/message/"
REPORTS = "/admin/chat/report/"
RESTRICTIONS = "/admin/chat/restriction/"
ROOMS = "/admin/chat/room/"
MEMBERSHIPS = "/admin/chat/membership/"
CONNECTIONS = "/admin/chat/connection/"
GUEST = "guest:0123456789abcdef"
HOSTILE = "<img src=x>"
ESCAPED = "&lt;img src=x&gt;"
MANAGEMENT = {
    "memberships-TOTAL_FORMS": "0",
    "memberships-INITIAL_FORMS": "0",
    "memberships-MIN_NUM_FORMS": "0",
    "memberships-MAX_NUM_FORMS": "1000",
}


@pytest.fixture
def tea() -> RoomLog:
    return queries.open_room("tea")


@pytest.fixture
def attic(tea: RoomLog) -> RoomLog:
    """A private room of Alice and Bob, with two messages."""
    room = private("Attic", "Alice", "Bob")
    log = RoomLog(room.pk, room.slug, room.epoch, room.seq)
    Writer().write([post(log, "our secret"), post(log, "another", author="bob")])
    return log


def private(title: str, owner: str, *others: str, kind: str = "private") -> models.Room:
    room = models.Room.objects.create(slug=f"_{title.lower()}", title=title, kind=kind)
    for name in (owner, *others):
        user, _ = User.objects.get_or_create(username=name)
        models.Membership.objects.create(room=room, user=user, role="owner" if name == owner else "member")
    return room


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, response
    return response.content.decode()


def cells(html: str, field: str) -> list[str]:
    """The texts of a list's column, from the top."""
    found = re.findall(rf'<t[dh] class="field-{field}(?: [^"]*)?">(.*?)</t[dh]>', html)
    return [re.sub(r"<[^>]*>", "", cell) for cell in found]


def act(client: Client, address: str, action: str, *keys: int) -> str:
    """Run an action on these rows of a list. Returns the next page."""
    data = {"action": action, "_selected_action": list(keys), "index": 0}
    if action == "delete_selected":
        data["post"] = "yes"
    return client.post(address, data, follow=True).content.decode()


def audited() -> list[tuple[str, str, str, str]]:
    """The audit log, oldest first, as (actor, action, target, room)."""
    rows = models.AuditEntry.objects.order_by("pk")
    return list(rows.values_list("actor_name", "action", "target_name", "slug"))


def entry(action: str = "ban", *, room: RoomLog | None = None, **fields: Any) -> models.AuditEntry:
    where = {"room_id": room.pk, "slug": room.slug} if room else {}
    some: dict[str, Any] = {"actor": "account:1", "actor_name": "Alice", "target_name": "Bob", **where, **fields}
    return models.AuditEntry.objects.create(action=action, **some)


def report(room: RoomLog, number: int = 1, **fields: Any) -> models.Report:
    some = {"reporter": "account:7", "username": "Bob", "reason": "spam", **fields}
    return models.Report.objects.create(room_id=room.pk, number=number, **some)


def restriction(**fields: Any) -> models.Restriction:
    some = {"kind": "ban", "person": GUEST, "username": "Mallory", **fields}
    return models.Restriction.objects.create(**some)


# --- Permissions ---


PAGES = {
    AUDIT: ("view_auditentry",),
    CONNECTIONS: ("view_connection",),
    MESSAGES: ("view_message",),
    REPORTS: ("view_report",),
    RESTRICTIONS: ("view_restriction",),
    ROOMS: ("view_room",),
    MEMBERSHIPS: ("view_membership",),
    f"{RESTRICTIONS}add/": ("add_restriction",),
    f"{MEMBERSHIPS}add/": ("add_membership",),
    f"{ROOMS}add/": ("add_room",),
}


@pytest.mark.parametrize("address", PAGES)
def test_an_outsider_is_redirected_to_sign_in(client: Client, address: str) -> None:
    """Charlie has an account, but is not staff."""
    client.force_login(User.objects.create_user("Charlie"))
    response = client.get(address)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("address", PAGES)
def test_each_page_needs_its_permission(client: Client, address: str) -> None:
    """Staff with every other permission get 403."""
    everything = {permission for permissions in PAGES.values() for permission in permissions}
    olga(client, *(everything - set(PAGES[address])))
    assert client.get(address).status_code == 403


@pytest.mark.parametrize("address", PAGES)
def test_the_permission_is_enough(client: Client, address: str) -> None:
    """Staff with the permission see the page."""
    olga(client, *PAGES[address])
    page(client, address)


@pytest.mark.every_case
@pytest.mark.parametrize("address", [AUDIT, REPORTS, RESTRICTIONS, MEMBERSHIPS, ROOMS])
def test_more_rows_cost_no_more_queries(client: Client, tea: RoomLog, statements: list[str], address: str) -> None:
    """Each list costs the same for any number of rows."""
    olga(client, *(permission for permissions in PAGES.values() for permission in permissions))
    spent = []
    for number in (2, 30):
        Writer().write(posts(tea, number))
        room = private(f"room{number}", f"owner{number}")
        for index in range(number):
            entry(room=tea, number=index)
            report(tea, index + 1, reporter=f"account:{number}")
            restriction(room_id=tea.pk, person=f"account:{number * 100 + index}")
            user = User.objects.create_user(f"member-{number}-{index}")
            models.Membership.objects.create(room=room, user=user)
        before = len(statements)
        page(client, address)
        spent.append(len(statements) - before)
    assert spent[0] == spent[1]
    assert spent[0] < 14


# --- The audit log ---


def test_the_audit_log_lists_actions(client: Client, tea: RoomLog) -> None:
    """The newest comes first, with links to the room and the message."""
    entry("mute", room=tea, number=4, detail="until tomorrow")
    entry("ban", actor_name="Eve", target_name="Mallory")
    olga(client, "view_auditentry")
    html = page(client, AUDIT)
    assert cells(html, "who") == ["Eve", "Alice"]
    assert cells(html, "whom") == ["Mallory", "Bob"]
    assert cells(html, "where") == ["everywhere", "tea"]
    assert cells(html, "detail") == ["-", "until tomorrow"]
    assert f'href="{ROOMS}{tea.pk}/change/"' in html
    assert f'href="{MESSAGES}?room=tea&amp;number=4"' in html


def test_a_link_to_a_message_finds_it(client: Client, tea: RoomLog) -> None:
    """The link has the entry's room and number."""
    Writer().write(posts(tea, 3))
    olga(client, "view_message")
    assert cells(page(client, f"{MESSAGES}?room=tea&number=2"), "text") == ["message 1"]


def test_an_entry_outlives_its_room(client: Client, tea: RoomLog) -> None:
    """The room's name and the message's number stay, without links."""
    written = entry("hide", room=tea, number=9)
    models.Room.objects.get().delete()
    olga(client, "view_auditentry")
    html = page(client, AUDIT)
    assert cells(html, "where") == ["tea"]
    assert cells(html, "message") == ["9"]
    assert "our" not in page(client, f"{AUDIT}{written.pk}/change/")


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["3", "2", "1"]),
        ("?action=mute", ["2"]),
        ("?action=unheard-of", []),
        ("?room=tea", ["2", "1"]),
        ("?room=tea&action=ban", ["1"]),
        ("?q=mallory", ["3"]),
        ("?q=EVE", ["3"]),
        ("?q=tea", ["2", "1"]),
        ("?created__year=1999", ["1"]),
    ],
)
def test_the_audit_log_has_filters(client: Client, tea: RoomLog, query: str, found: list[str]) -> None:
    """It filters by room, action and day, and searches the names of users and rooms."""
    long_ago = timezone.now().replace(year=1999, month=6, day=1)
    entry("ban", room=tea, number=1, created=long_ago)
    entry("mute", room=tea, number=2)
    entry("ban", actor_name="Eve", target_name="Mallory", number=3)
    olga(client, "view_auditentry")
    assert cells(page(client, AUDIT + query), "message") == found


def test_nobody_changes_the_audit_log(admin_client: Client) -> None:
    """Not even a superuser can add, change or delete an entry."""
    written = entry()
    assert admin_client.get(f"{AUDIT}add/").status_code == 403
    assert admin_client.post(f"{AUDIT}{written.pk}/change/", {"action": "nothing"}).status_code == 403
    assert admin_client.post(f"{AUDIT}{written.pk}/delete/", {"post": "yes"}).status_code == 403
    act(admin_client, AUDIT, "delete_selected", written.pk)
    assert audited() == [("Alice", "ban", "Bob", "")]


def test_the_audit_log_s_count_has_a_limit(
    client: Client, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count of a million entries is slow on every page, so it has a limit."""
    monkeypatch.setattr("chat.admin.filters.MAX_COUNTED", 3)
    for _ in range(5):
        entry()
    assert CappedPaginator(models.AuditEntry.objects.all(), 2).count == 3
    olga(client, "view_auditentry")
    page(client, AUDIT)
    counts = [sql for sql in statements if "COUNT(" in sql]
    assert counts
    assert all("LIMIT" in sql for sql in counts)


# --- Reports ---


def test_reports_show_the_current_text(client: Client, tea: RoomLog) -> None:
    """A report has its text, author, reason, reporter, and an edited message's current text; no deleted text."""
    Writer().write([post(tea, "buy!"), post(tea, "sell!", author="eve"), post(tea, "away")])
    report(tea, 1)
    report(tea, 2, username="Dora", reason="rude")
    report(tea, 3, reason="")
    Writer().write([edit(tea, 1, "buy two!"), erase(tea, 3)])
    olga(client, "view_report")
    html = page(client, REPORTS)
    assert cells(html, "text") == ["(deleted)", "sell!", "buy two!"]
    assert cells(html, "author") == ["Alice", "Eve", "Alice"]
    assert cells(html, "reported_by") == ["Bob", "Dora", "Bob"]
    assert cells(html, "reason") == ["-", "rude", "spam"]
    message = models.Message.objects.get(number=2)
    assert f'href="{MESSAGES}{message.pk}/change/"' in html


def test_a_report_of_a_pruned_message_stays(client: Client, tea: RoomLog) -> None:
    """It keeps the message's number, without a link."""
    written = report(tea, 12)
    olga(client, "change_report", "hide_message")
    assert cells(page(client, REPORTS), "message") == ["12"]
    assert "12" in page(client, f"{REPORTS}{written.pk}/change/")
    assert "1 report is closed." in act(client, REPORTS, "hide_and_close", written.pk)


def test_open_reports_come_first(client: Client, tea: RoomLog) -> None:
    """The closed ones follow, the latest first."""
    now = timezone.now()
    for number, closed in ((1, now - timedelta(1)), (2, None), (3, now), (4, None)):
        report(tea, number, closed=closed, closed_by="Olga" if closed else "")
    olga(client, "view_report")
    assert cells(page(client, REPORTS), "message") == ["4", "2", "3", "1"]
    assert cells(page(client, REPORTS), "state") == ["open", "open", "closed by Olga", "closed by Olga"]


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?state=open", ["2"]),
        ("?state=closed", ["1"]),
        ("?state=else", ["2", "1"]),
        ("?room=tea", ["2", "1"]),
        ("?room=coffee", []),
        ("?q=spam", ["2"]),
        ("?q=dora", ["1"]),
    ],
)
def test_reports_have_filters(client: Client, tea: RoomLog, query: str, found: list[str]) -> None:
    """They filter by state and room, and search reporters and reasons."""
    report(tea, 1, closed=timezone.now(), username="Dora", reason="rude")
    report(tea, 2)
    olga(client, "view_report")
    assert cells(page(client, REPORTS + query), "message") == found


def test_staff_hides_a_reported_message(client: Client, tea: RoomLog) -> None:
    """The message is hidden, all its reports are closed, and both logs have the staff member."""
    Writer().write(posts(tea, 2))
    first, second = report(tea, 1), report(tea, 1, reporter="account:8")
    other = report(tea, 2)
    olga(client, "view_report", "change_report", "hide_message")
    assert "2 reports are closed." in act(client, REPORTS, "hide_and_close", first.pk)
    assert models.Message.objects.get(number=1).hidden
    second.refresh_from_db()
    other.refresh_from_db()
    assert (second.closed_by, other.closed) == ("Olga", None)
    assert audited() == [
        ("Olga", "hide", "Alice", "tea"),
        ("Olga", "close", "Bob", "tea"),
        ("Olga", "close", "Bob", "tea"),
    ]
    told = set(LogEntry.objects.values_list("object_repr", "change_message"))
    assert told == {("tea 1", "hidden"), ("tea 1", "closed")}


def test_staff_closes_a_report(client: Client, tea: RoomLog) -> None:
    """The message stays, and a second attempt closes nothing."""
    Writer().write(posts(tea, 1))
    row = report(tea)
    olga(client, "change_report")
    assert "1 report is closed." in act(client, REPORTS, "close", row.pk)
    assert "0 reports are closed." in act(client, REPORTS, "close", row.pk)
    row.refresh_from_db()
    assert (row.closed is not None, row.closed_by) == (True, "Olga")
    assert not models.Message.objects.get().hidden
    assert audited() == [("Olga", "close", "Bob", "tea")]


@pytest.mark.parametrize(
    ("action", "permissions"),
    [
        ("close", ("view_report", "hide_message")),
        ("hide_and_close", ("view_report", "hide_message")),
        ("hide_and_close", ("view_report", "change_report")),
    ],
)
def test_a_report_is_closed_by_permission_only(
    client: Client, tea: RoomLog, action: str, permissions: tuple[str, ...]
) -> None:
    """Closing needs one permission, hiding needs both."""
    Writer().write(posts(tea, 1))
    row = report(tea)
    olga(client, *permissions)
    act(client, REPORTS, action, row.pk)
    row.refresh_from_db()
    assert row.closed is None
    assert not models.Message.objects.get().hidden


def test_nobody_adds_or_deletes_reports(admin_client: Client, tea: RoomLog) -> None:
    """Reports come from users in rooms; closed ones stay."""
    row = report(tea)
    assert admin_client.get(f"{REPORTS}add/").status_code == 403
    assert admin_client.post(f"{REPORTS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.post(f"{REPORTS}{row.pk}/change/", {"reason": "x"}).status_code == 403


def test_a_report_links_to_a_ban(client: Client, tea: RoomLog) -> None:
    """The link is to ban the author in that room, for staff who may ban."""
    user = User.objects.create_user("Mallory")
    Writer().write([post(tea, "buy!", author=f"account:{user.pk}"), post(tea, "x", author="name:eve")])
    report(tea, 1)
    report(tea, 2)
    olga(client, "view_report", "add_restriction")
    links = re.findall(rf'href="({RESTRICTIONS}add/\?[^"]*)"', page(client, REPORTS))
    assert len(links) == 1, "who only said a name can't be known again"
    html = page(client, links[0].replace("&amp;", "&"))
    assert 'name="account" value="Mallory"' in html
    assert 'name="room" value="tea"' in html


# --- Restrictions ---


def form(**fields: str) -> dict[str, str]:
    return {"kind": "ban", **fields}


def test_staff_bans_an_account_by_its_name(client: Client, tea: RoomLog) -> None:
    """The ban is for a room or everywhere; the row and the audit log have the staff member."""
    bob = User.objects.create_user("Bob")
    olga(client, "add_restriction")
    tomorrow = timezone.now() + timedelta(1)
    until = {"until_0": f"{tomorrow:%Y-%m-%d}", "until_1": "12:00:00"}
    sent = form(kind="mute", account="Bob", room="tea", reason="too loud", **until)
    assert client.post(f"{RESTRICTIONS}add/", sent).status_code == 302
    assert client.post(f"{RESTRICTIONS}add/", form(account="Bob")).status_code == 302
    mute, ban = models.Restriction.objects.order_by("pk")
    assert (mute.person, mute.username, mute.by) == (f"account:{bob.pk}", "Bob", "Olga")
    assert (mute.room_id, mute.reason) == (tea.pk, "too loud")
    assert (ban.room_id, ban.until) == (None, None)
    assert audited() == [("Olga", "mute", "Bob", "tea"), ("Olga", "ban", "Bob", "")]
    first = models.AuditEntry.objects.order_by("pk")[0]
    assert first.actor == f"account:{User.objects.get(username='Olga').pk}"
    assert first.target == f"account:{bob.pk}"
    assert first.detail == f"until {tomorrow:%Y-%m-%d} 12:00 UTC, too loud"


@pytest.mark.parametrize(
    ("given", "person", "address"),
    [
        ({"guest": GUEST, "username": "Mallory"}, GUEST, None),
        ({"guest": f"{GUEST}:Mallory: the great"}, GUEST, None),
        ({"guest": GUEST, "address": "192.0.2.7"}, GUEST, "192.0.2.7"),
        ({"address": "192.0.2.7"}, "", "192.0.2.7"),
        ({"address": "2001:db8::7"}, "", "2001:db8::7"),
    ],
)
def test_staff_bans_a_guest_or_an_address(
    client: Client, given: dict[str, str], person: str, address: str | None
) -> None:
    """A guest is entered by the key shown with their messages, with or without the name at its end."""
    olga(client, "add_restriction")
    assert client.post(f"{RESTRICTIONS}add/", form(**given)).status_code == 302
    row = models.Restriction.objects.get()
    assert (row.person, row.address) == (person, address)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "Enter an account"),
        ({"account": "Nobody"}, "There is no account with the name “Nobody”."),
        ({"account": "Bob", "address": "192.0.2.7"}, "add two restrictions"),
        ({"account": "Bob", "guest": GUEST}, "add two restrictions"),
        ({"guest": "Mallory"}, "A guest is “guest:” and 16"),
        ({"guest": "account:1"}, "A guest is “guest:” and 16"),
        ({"address": "192.0.2"}, "Enter a valid IPv4 or IPv6 address."),
        ({"account": "Bob", "room": "nowhere"}, "There is no room with the name “nowhere” in its address."),
        ({"account": "Bob", "kind": "tease"}, "Select a valid choice"),
        ({"account": "Bob", "until_0": "2001-01-01", "until_1": "00:00"}, "This time is past."),
        ({"account": "B\x00b"}, "Null characters are not allowed."),
        ({"account": HOSTILE}, f"name “{ESCAPED}”"),
        ({"account": "Bob", "reason": "x" * 201}, "at most 200 characters"),
    ],
)
def test_a_form_says_what_is_wrong(client: Client, given: dict[str, str], error: str) -> None:
    """The page has the error, and nothing is stored."""
    User.objects.create_user("Bob")
    olga(client, "add_restriction")
    assert error in client.post(f"{RESTRICTIONS}add/", form(**given)).content.decode()
    assert not models.Restriction.objects.exists()
    assert audited() == []


def test_there_is_one_restriction_of_each_kind(client: Client, tea: RoomLog) -> None:
    """A second one for the same target and place is refused; another place or kind is allowed."""
    olga(client, "add_restriction")
    assert client.post(f"{RESTRICTIONS}add/", form(guest=GUEST)).status_code == 302
    again = client.post(f"{RESTRICTIONS}add/", form(guest=GUEST)).content.decode()
    assert "There is already such a restriction" in again
    for other in ({"room": "tea"}, {"kind": "mute"}, {"address": "192.0.2.7"}):
        assert client.post(f"{RESTRICTIONS}add/", form(guest=GUEST, **other)).status_code == 302
    assert models.Restriction.objects.count() == 4


def test_staff_changes_a_restriction(client: Client, tea: RoomLog) -> None:
    """The form shows the target, and other fields stay."""
    bob = User.objects.create_user("Bob")
    row = restriction(person=f"account:{bob.pk}", username="Bob", room_id=tea.pk, by="Eve")
    olga(client, "change_restriction")
    html = page(client, f"{RESTRICTIONS}{row.pk}/change/")
    assert 'name="account" value="Bob"' in html
    assert 'name="room" value="tea"' in html
    sent = form(account="Bob", room="tea", username="Bob", kind="mute")
    assert client.post(f"{RESTRICTIONS}{row.pk}/change/", sent).status_code == 302
    row.refresh_from_db()
    assert (row.kind, row.person, row.by) == ("mute", f"account:{bob.pk}", "Olga")
    assert audited() == [("Olga", "mute", "Bob", "tea")]


@pytest.mark.parametrize("person", ["account:987654", "socket:00112233", "account:x"])
def test_a_target_that_the_form_can_t_show_stays(client: Client, person: str) -> None:
    """A deleted account, or a client without a session, stays when the reason is changed."""
    row = restriction(person=person, username="Gone")
    olga(client, "change_restriction")
    page(client, f"{RESTRICTIONS}{row.pk}/change/")
    sent = form(username="Gone", reason="as before")
    assert client.post(f"{RESTRICTIONS}{row.pk}/change/", sent).status_code == 302
    row.refresh_from_db()
    assert (row.person, row.username, row.reason) == (person, "Gone", "as before")


@pytest.mark.parametrize("way", ["page", "list"])
def test_staff_lifts_a_restriction(client: Client, tea: RoomLog, way: str) -> None:
    """It is lifted on its page or by the list's action, and the audit log has it."""
    row = restriction(room_id=tea.pk)
    olga(client, "view_restriction", "delete_restriction")
    if way == "page":
        client.post(f"{RESTRICTIONS}{row.pk}/delete/", {"post": "yes"})
    else:
        act(client, RESTRICTIONS, "delete_selected", row.pk)
    assert not models.Restriction.objects.exists()
    assert audited() == [("Olga", "lift", "Mallory", "tea")]


def test_every_lift_sends_a_signal(client: Client, deletions: list[Any]) -> None:
    """The list's action deletes one by one, so that each user's sockets are updated."""
    rows = [restriction(person=f"account:{number}") for number in range(3)]
    olga(client, "view_restriction", "delete_restriction")
    act(client, RESTRICTIONS, "delete_selected", *(row.pk for row in rows))
    assert len(deletions) == 3


@pytest.fixture
def deletions() -> Any:
    from django.db.models.signals import post_delete  # noqa: PLC0415

    heard: list[Any] = []

    def hear(instance: models.Restriction, **_: Any) -> None:
        heard.append(instance)

    post_delete.connect(hear, sender=models.Restriction)
    yield heard
    post_delete.disconnect(hear, sender=models.Restriction)


@pytest.mark.parametrize("permissions", [(), ("view_restriction",)])
def test_restrictions_need_their_permissions(client: Client, permissions: tuple[str, ...]) -> None:
    """Without them a restriction is neither added, nor changed, nor lifted."""
    row = restriction()
    olga(client, *permissions)
    assert client.post(f"{RESTRICTIONS}add/", form(address="192.0.2.7")).status_code == 403
    assert client.post(f"{RESTRICTIONS}{row.pk}/change/", form(guest=GUEST)).status_code == 403
    assert client.post(f"{RESTRICTIONS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    act(client, RESTRICTIONS, "delete_selected", row.pk)
    assert list(models.Restriction.objects.values_list("kind", flat=True)) == ["ban"]


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?state=on", ["Dora", "Carl", "Ann"]),
        ("?state=over", ["Bill"]),
        ("?state=else", ["Dora", "Carl", "Bill", "Ann"]),
        ("?kind=mute", ["Carl"]),
        ("?where=everywhere", ["Carl", "Bill", "Ann"]),
        ("?where=room", ["Dora"]),
        ("?where=else", ["Dora", "Carl", "Bill", "Ann"]),
        ("?q=carl", ["Carl"]),
        ("?q=192.0.2", ["Ann"]),
        ("?q=tea", ["Dora"]),
    ],
)
def test_restrictions_have_filters(client: Client, tea: RoomLog, query: str, found: list[str]) -> None:
    """They filter by state, kind and place, and search users, addresses, reasons and staff."""
    now = timezone.now()
    restriction(username="Ann", person="", address="192.0.2.7", until=now + timedelta(1))
    restriction(username="Bill", until=now - timedelta(1))
    restriction(username="Carl", kind="mute")
    restriction(username="Dora", room_id=tea.pk)
    olga(client, "view_restriction")
    assert cells(page(client, RESTRICTIONS + query), "who") == found


async def test_a_ban_removes_a_connected_user(async_client: AsyncClient, person: Enter) -> None:
    """Bob is removed from the room at once, and can't join until the ban is lifted; Alice stays."""
    alice, bob = await member(person, "Alice"), await member(person, "Bob")
    await alice.join()
    await bob.join()
    await staff(async_client, "view_restriction", "add_restriction", "delete_restriction")
    response = await async_client.post(f"{RESTRICTIONS}add/", form(account="Bob", room="lobby"))
    assert response.status_code == 302
    await bob.expect(Removed, room="lobby")
    await bob.send("join", room="lobby")
    await bob.refused(ErrorCode.BANNED)
    await alice.say("we are alone")
    row = await models.Restriction.objects.aget()
    await async_client.post(f"{RESTRICTIONS}{row.pk}/delete/", {"post": "yes"})
    await bob.join()


# --- Private conversations ---


@pytest.mark.parametrize("address", [MESSAGES, f"{MESSAGES}?room=_attic", f"{MESSAGES}?q=secret"])
def test_reading_private_messages_is_audited(client: Client, attic: RoomLog, address: str) -> None:
    """Each staff member is recorded once an hour, and the page has a note."""
    olga(client, "view_message")
    for _ in range(2):
        assert "private conversations" in page(client, address)
    assert audited() == [("Olga", "inspect", "", "_attic")]
    models.AuditEntry.objects.update(created=timezone.now() - RECORD_AGAIN_AFTER)
    page(client, address)
    assert len(audited()) == 2


def test_each_staff_member_is_audited(client: Client, attic: RoomLog) -> None:
    """The record of one staff member does not cover another."""
    olga(client, "view_message")
    page(client, MESSAGES)
    client.force_login(User.objects.create_superuser("Oscar"))
    page(client, MESSAGES)
    assert [who for who, *_ in audited()] == ["Olga", "Oscar"]


@pytest.mark.parametrize("what", ["change", "history"])
def test_opening_a_private_message_is_audited(client: Client, attic: RoomLog, what: str) -> None:
    """Its page shows the whole text, its history the beginning."""
    olga(client, "view_message")
    page(client, f"{MESSAGES}{models.Message.objects.get(number=1).pk}/{what}/")
    assert audited() == [("Olga", "inspect", "", "_attic")]


def test_a_private_message_s_page_has_a_note(client: Client, attic: RoomLog, tea: RoomLog) -> None:
    """A public message's page has none."""
    Writer().write(posts(tea, 1))
    olga(client, "view_message")
    for message in models.Message.objects.select_related("room"):
        html = page(client, f"{MESSAGES}{message.pk}/change/")
        assert ("private conversation" in html) == (message.room.slug == "_attic")


def test_a_refused_view_is_not_audited(client: Client, attic: RoomLog) -> None:
    """Staff without the permission see nothing, and nothing is recorded."""
    olga(client, "view_room")
    assert client.get(MESSAGES).status_code == 403
    assert client.get(f"{MESSAGES}{models.Message.objects.all()[0].pk}/change/").status_code == 403
    assert audited() == []


def test_reading_public_rooms_is_not_audited(client: Client, tea: RoomLog) -> None:
    """Everybody may read public rooms, and every account rooms for members."""
    Writer().write(posts(tea, 1))
    room = private("club", "Alice", kind="members")
    Writer().write([post(RoomLog(room.pk, room.slug, room.epoch, 0), "hi")])
    olga(client, "view_message")
    assert "private conversation" not in page(client, MESSAGES)
    assert audited() == []


def test_a_private_room_s_page_has_a_note(client: Client, attic: RoomLog, tea: RoomLog) -> None:
    """The note comes before its messages. Viewing the settings is not recorded."""
    olga(client, "view_room")
    assert "This is a private conversation" in page(client, f"{ROOMS}{attic.pk}/change/")
    assert "private conversation" not in page(client, f"{ROOMS}{tea.pk}/change/")
    assert audited() == []


@pytest.mark.parametrize("action", ["export_json_lines", "export_csv"])
def test_an_export_of_a_private_room_is_audited(client: Client, attic: RoomLog, tea: RoomLog, action: str) -> None:
    """Every export is recorded; for a public room only in the admin's history."""
    Writer().write(posts(tea, 1))
    olga(client, "view_room", "view_message")
    response = client.post(ROOMS, {"action": action, "_selected_action": [attic.pk, tea.pk], "index": 0})
    assert b"our secret" in b"".join(response)
    assert audited() == [("Olga", "export", "", "_attic")]
    assert models.AuditEntry.objects.get().detail.startswith("exported 2 messages as ")


def test_viewing_a_report_from_a_private_room_is_audited(client: Client, attic: RoomLog) -> None:
    """The list shows a message of the room."""
    report(attic)
    olga(client, "view_report")
    assert "private conversations" in page(client, REPORTS)
    page(client, f"{REPORTS}{models.Report.objects.get().pk}/change/")
    assert audited() == [("Olga", "inspect", "", "_attic")]


# --- Rooms and members ---


def test_the_list_shows_a_room_s_owners(client: Client, attic: RoomLog) -> None:
    """It has the owners, the number of members, and the settings."""
    models.Room.objects.filter(pk=attic.pk).update(slow=30, read_only=True)
    olga(client, "view_room")
    html = page(client, ROOMS + "?kind=private")
    assert cells(html, "owner") == ["Alice"]
    assert cells(html, "members") == ["2"]
    assert cells(html, "slow") == ["30"]
    assert "icon-yes" in html


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?kind=private", ["_attic"]),
        ("?read_only__exact=1", ["tea"]),
        ("?state=archived", ["_attic"]),
        ("?state=open", ["tea"]),
        ("?state=else", ["_attic", "tea"]),
        ("?q=Attic", ["_attic"]),
    ],
)
def test_rooms_have_filters(client: Client, attic: RoomLog, tea: RoomLog, query: str, found: list[str]) -> None:
    """They filter by kind, archived and read-only, and search names."""
    models.Room.objects.filter(pk=tea.pk).update(read_only=True)
    models.Room.objects.filter(pk=attic.pk).update(archived=timezone.now())
    olga(client, "view_room")
    assert cells(page(client, ROOMS + query), "slug") == found


def test_a_private_room_gets_a_random_name(client: Client) -> None:
    """The staff gives it a title and an owner, and the server the name."""
    User.objects.create_user("Alice")
    olga(client, "add_room", "add_membership")
    sent = {"title": "Attic", "kind": "private", "slow": "0", **MANAGEMENT, "memberships-TOTAL_FORMS": "1"}
    sent |= {"memberships-0-user": "Alice", "memberships-0-role": "owner"}
    assert client.post(f"{ROOMS}add/", sent).status_code == 302
    room = models.Room.objects.get()
    assert re.fullmatch("_[0-9a-f]{24}", room.slug)
    assert [(m.user.username, m.role) for m in room.memberships.all()] == [("Alice", "owner")]
    assert [(action, whom) for _, action, whom, _ in audited()] == [("create", ""), ("role", "Alice")]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"kind": "public", "title": "..."}, "A public room needs a name"),
        ({"kind": "public", "slug": "_tea"}, "A public room needs a name"),
        ({"kind": "private", "slug": "tea"}, "Leave it empty"),
        ({"kind": "members", "slug": "_tea"}, "Leave it empty"),
        ({"kind": "direct"}, "Only its two users can open a direct room."),
        ({"kind": "public", "slug": "tea", "slow": "3601"}, "less than or equal to 3600"),
    ],
)
def test_a_new_room_s_kind_and_name_go_together(client: Client, given: dict[str, str], error: str) -> None:
    """Only public rooms have a chosen name."""
    olga(client, "add_room")
    sent = {"title": "Tea", "slow": "0", **MANAGEMENT, **given}
    assert error in client.post(f"{ROOMS}add/", sent).content.decode()
    assert not models.Room.objects.exists()


@pytest.mark.parametrize("kind", ["public", "direct"])
def test_a_private_room_never_becomes_public(client: Client, attic: RoomLog, kind: str) -> None:
    """The form has the error. It may become a room for members."""
    olga(client, "change_room")
    sent = {"title": "Attic", "slow": "0", **MANAGEMENT}
    html = client.post(f"{ROOMS}{attic.pk}/change/", {**sent, "kind": kind}).content.decode()
    assert "can become neither public nor direct" in html
    assert client.post(f"{ROOMS}{attic.pk}/change/", {**sent, "kind": "members"}).status_code == 302
    assert models.Room.objects.get(pk=attic.pk).kind == "members"
    entry = models.AuditEntry.objects.get()
    assert (entry.action, entry.detail) == ("change", "kind: members")


@pytest.mark.parametrize("kind", ["public", "direct"])
def test_public_and_direct_rooms_keep_their_kind(client: Client, kind: str) -> None:
    """The form ignores another kind or name for a public or a direct room."""
    slug = "tea" if kind == "public" else "_two"
    room = models.Room.objects.create(slug=slug, kind=kind)
    olga(client, "change_room")
    sent = {"title": "New", "kind": "private", "slug": "coffee", "slow": "5", **MANAGEMENT}
    assert client.post(f"{ROOMS}{room.pk}/change/", sent).status_code == 302
    room.refresh_from_db()
    assert (room.kind, room.slug, room.title, room.slow) == (kind, slug, "New", 5)


def test_the_staff_changes_roles_on_the_room_s_page(client: Client, attic: RoomLog) -> None:
    """The audit log has a changed role, a new member and a removed one."""
    User.objects.create_user("Charlie")
    alice, bob = models.Membership.objects.order_by("pk")
    olga(client, "change_room", "add_membership", "change_membership", "delete_membership")
    sent: dict[str, Any] = {"title": "Attic", "kind": "private", "slow": "0", **MANAGEMENT}
    sent |= {"memberships-TOTAL_FORMS": "3", "memberships-INITIAL_FORMS": "2"}
    for index, (pk, name, role) in enumerate(
        [(alice.pk, "Alice", "moderator"), (bob.pk, "Bob", "member"), ("", "Charlie", "owner")]
    ):
        sent |= {
            f"memberships-{index}-{field}": value
            for field, value in {"id": pk, "room": attic.pk, "user": name, "role": role}.items()
        }
    sent["memberships-1-DELETE"] = "on"
    response = client.post(f"{ROOMS}{attic.pk}/change/", sent)
    assert response.status_code == 302, response.content.decode()
    rows = models.Membership.objects.values_list("user__username", "role")
    assert sorted(rows) == [("Alice", "moderator"), ("Charlie", "owner")]
    told = {(name, detail) for name, detail in models.AuditEntry.objects.values_list("target_name", "detail")}
    assert told == {("Alice", "moderator"), ("Charlie", "owner"), ("Bob", "none")}


@pytest.mark.every_case
@pytest.mark.parametrize("names", [("Bob",), ("Charlie", "Charlie")])
def test_an_account_is_a_member_once(client: Client, attic: RoomLog, names: tuple[str, ...]) -> None:
    """A present member, or a name twice in the form, is an error."""
    User.objects.create_user("Charlie")
    olga(client, "change_room", "add_membership")
    sent = {"title": "Attic", "kind": "private", "slow": "0", **MANAGEMENT}
    sent["memberships-TOTAL_FORMS"] = str(len(names))
    for index, name in enumerate(names):
        sent |= {f"memberships-{index}-user": name, f"memberships-{index}-role": "owner"}
    html = client.post(f"{ROOMS}{attic.pk}/change/", sent).content.decode()
    assert "already a member of this room" in html or "duplicate data" in html
    assert models.Membership.objects.count() == 2


def test_a_big_room_s_page_shows_its_owners_and_moderators(
    client: Client, attic: RoomLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form of all members would have too many fields; the list of members has all."""
    olga(client, "view_room", "view_membership", "change_room", "change_membership")
    assert 'value="Bob"' in page(client, f"{ROOMS}{attic.pk}/change/")
    monkeypatch.setattr("chat.admin.memberships.MAX_INLINE", 1)
    html = page(client, f"{ROOMS}{attic.pk}/change/")
    assert 'value="Bob"' not in html
    assert 'value="Alice"' in html
    assert f'href="{MEMBERSHIPS}?room__slug=_attic"' in html
    assert cells(page(client, f"{MEMBERSHIPS}?room__slug=_attic"), "who") == ["Bob", "Alice"]


def test_a_direct_room_keeps_its_two_members(client: Client) -> None:
    """Nobody is added or removed, neither on the room's page nor in the list of members."""
    room = private("two", "Alice", "Bob", kind="direct")
    User.objects.create_user("Charlie")
    olga(client, "change_room", *(f"{verb}_membership" for verb in ("view", "add", "change", "delete")))
    sent = {"title": "", "slow": "0", **MANAGEMENT, "memberships-TOTAL_FORMS": "1"}
    client.post(
        f"{ROOMS}{room.pk}/change/", {**sent, "memberships-0-user": "Charlie", "memberships-0-role": "owner"}
    )
    html = client.post(f"{MEMBERSHIPS}add/", {"room": "_two", "user": "Charlie", "role": "owner"}).content.decode()
    assert "has exactly two members" in html
    assert cells(page(client, MEMBERSHIPS), "who") == []
    assert room.memberships.count() == 2


@pytest.mark.parametrize("way", ["page", "list"])
def test_the_list_of_members_is_audited(client: Client, attic: RoomLog, way: str) -> None:
    """The audit log has an added member, a changed role and a removed member."""
    User.objects.create_user("Charlie")
    olga(client, *(f"{verb}_membership" for verb in ("view", "add", "change", "delete")))
    sent = {"room": "_attic", "user": "Charlie", "role": "member"}
    assert client.post(f"{MEMBERSHIPS}add/", sent).status_code == 302
    row = models.Membership.objects.get(user__username="Charlie")
    assert client.post(f"{MEMBERSHIPS}{row.pk}/change/", {"role": "moderator"}).status_code == 302
    if way == "page":
        client.post(f"{MEMBERSHIPS}{row.pk}/delete/", {"post": "yes"})
    else:
        act(client, MEMBERSHIPS, "delete_selected", row.pk)
    told = models.AuditEntry.objects.order_by("pk").values_list("action", "target_name", "detail")
    assert list(told) == [("role", "Charlie", role) for role in ("member", "moderator", "none")]
    assert models.Membership.objects.count() == 2


def test_a_deleted_room_is_in_the_audit_log(client: Client, attic: RoomLog) -> None:
    """The entry has its name, and its earlier entries stay."""
    entry("ban", room=attic)
    olga(client, "view_room", "delete_room")
    client.post(f"{ROOMS}{attic.pk}/delete/", {"post": "yes"})
    assert audited() == [("Alice", "ban", "Bob", "_attic"), ("Olga", "delete", "", "_attic")]
    assert not models.AuditEntry.objects.exclude(room=None).exists()


def test_an_account_with_roles_can_be_deleted(admin_client: Client, attic: RoomLog) -> None:
    """Django's own page of accounts deletes the memberships too."""
    private("two", "Alice", "Bob", kind="direct")
    bob = User.objects.get(username="Bob")
    assert admin_client.post(f"/admin/auth/user/{bob.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not models.Membership.objects.filter(user__username="Bob").exists()


# --- Hostile text ---


def test_hostile_text_stays_text(admin_client: Client, tea: RoomLog) -> None:
    """Names, titles, reasons and messages are escaped in lists, on pages and in the history."""
    Writer().write([post(tea, HOSTILE, author=HOSTILE)])
    room = private("x", HOSTILE)
    models.Room.objects.filter(pk=room.pk).update(title=HOSTILE)
    rows: dict[str, Any] = {
        AUDIT: entry(room=tea, actor_name=HOSTILE, target_name=HOSTILE, detail=HOSTILE, target=HOSTILE),
        REPORTS: report(tea, username=HOSTILE, reason=HOSTILE, reporter=HOSTILE, closed_by=HOSTILE),
        RESTRICTIONS: restriction(username=HOSTILE, reason=HOSTILE, by=HOSTILE, person=HOSTILE),
        ROOMS: room,
        MEMBERSHIPS: room.memberships.get(),
    }
    for address, row in rows.items():
        for html in (page(admin_client, address), page(admin_client, f"{address}{row.pk}/change/")):
            assert HOSTILE not in html, address
            assert ESCAPED in html, address


# --- Connections ---


async def test_connections_show_user_keys(async_client: AsyncClient, person: Enter) -> None:
    """Limits and restrictions use the same key."""
    await staff(async_client, "view_connection")
    bob = await member(person, "Bob")
    mallory = await guest(person, "Mallory")
    await bob.join()
    await mallory.join()
    html = (await async_client.get(CONNECTIONS)).content.decode()
    user = await User.objects.aget(username="Bob")
    assert f"<code>account:{user.pk}</code>" in html
    assert re.search(r"<code>guest:[0-9a-f]{16}</code>", html)
    assert RESTRICTIONS not in html, "staff who may not ban get no link"


async def test_a_connection_links_to_a_ban(async_client: AsyncClient, person: Enter) -> None:
    """The form is filled in for a ban everywhere: an account's name, or a guest's key."""
    await staff(async_client, "view_connection", "add_restriction")
    bob = await member(person, "Bob")
    mallory = await guest(person, "Mallory")
    await bob.join()
    await mallory.join()
    html = (await async_client.get(CONNECTIONS)).content.decode()
    links = [link.replace("&amp;", "&") for link in re.findall(rf'href="({RESTRICTIONS}add/\?[^"]*)"', html)]
    assert len(links) == 2
    forms = [(await async_client.get(link)).content.decode() for link in links]
    assert any('name="account" value="Bob"' in form for form in forms)
    assert any(re.search(r'name="guest" value="guest:[0-9a-f]{16}"', form) for form in forms)
    assert all('<option value="ban" selected>' in form for form in forms)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"key": "account:5", "name": "Bob"}, {"person": ["account:5"], "username": ["Bob"]}),
        ({"key": f"{GUEST}:A&B=C"}, {"person": [f"{GUEST}:A&B=C"]}),
        ({"key": "", "address": "2001:db8::7"}, {"address": ["2001:db8::7"]}),
        ({"key": "name:eve", "address": "192.0.2.7"}, {"address": ["192.0.2.7"]}),
        ({"key": "name:eve"}, None),
        ({"key": "socket:00112233"}, None),
        ({"key": ""}, None),
    ],
)
def test_a_ban_s_url_has_the_target(given: dict[str, str], expected: dict[str, list[str]] | None) -> None:
    """A client without account or session can be banned only by address."""
    url = ban_url(**given)
    found = parse_qs(urlsplit(url).query) if url else None
    assert found == (None if expected is None else {"kind": ["ban"], **expected})


async def test_connections_show_users_near_a_limit(
    async_client: AsyncClient, alice: Persona, take: Callable[[str, float], None]
) -> None:
    """Users and addresses with the fewest tokens come first."""
    await staff(async_client, "view_connection")
    await alice.join()
    take("account:41", 5)
    take("account:42", 10)
    html = (await async_client.get(CONNECTIONS)).content.decode()
    near = re.findall(r"person <code>(account:4\d)</code>", html)
    assert near == ["account:42", "account:41"]


@pytest.fixture
async def take(alice: Persona) -> Callable[[str, float], None]:
    """Spend a user's tokens."""
    from chat.limits import Limits  # noqa: PLC0415

    limits = current(Limits)

    def spend(key: str, tokens: float) -> None:
        holder = limits.people.add_socket(key, limits.loop.time())
        holder.bucket.pay(tokens, limits.loop.time())

    return spend
