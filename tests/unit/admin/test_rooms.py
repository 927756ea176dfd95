"""The admin's pages of rooms: titles may be changed, numbers not; deletion removes everything."""

from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.core.management import call_command
from django.test import AsyncClient, Client
from doubles import Clock
from helpers import CommunicatorPersona as Persona
from logs import posts, react, read
from members import olga, staff

from chat import models
from chat.log import RoomLog
from chat.log.write_queue import BATCH
from chat.message_log import Writer, queries
from chat.protocol import Message, Welcome

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/chat/room/"
EVERYTHING = ("view_room", "add_room", "change_room", "delete_room")


@pytest.fixture
def tea() -> RoomLog:
    """A room with three messages, a reaction and a read position."""
    room = queries.open_room("tea")
    Writer().write([*posts(room, 3), react(room, 1), read(room, 2)])
    return room


def page(client: Client, address: str = PAGE) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_shows_each_room(client: Client, tea: RoomLog) -> None:
    """A row has the numbers, and the count of messages as a link."""
    olga(client, "view_room")
    html = page(client)
    assert '<td class="field-seq">4</td>' in html
    assert '<a href="/admin/chat/message/?room=tea">3 messages</a>' in html


def test_more_rooms_cost_no_more_queries(client: Client, django_assert_num_queries: Any) -> None:
    """The list has one query for all rooms and their counts."""
    olga(client, "view_room")
    for number in range(1, 20):
        room = queries.open_room(f"room-{number}")
        Writer().write(posts(room, number))
        if number in {1, 19}:
            # The session, the staff, her permissions and her groups', how many rooms, the rooms, who owns them.
            with django_assert_num_queries(7):
                page(client)


def test_the_staff_may_change_a_title(client: Client, tea: RoomLog, statements: list[str]) -> None:
    """Only changed fields are saved, so messages posted meanwhile keep their numbers."""
    olga(client, "view_room", "change_room")
    fields = {
        "title": "Tea time",
        "kind": "public",
        "slug": "coffee",
        "seq": "1",
        "epoch": "e",
        "pruned": "1",
        "slow": "0",
    }
    assert client.post(f"{PAGE}{tea.pk}/change/", fields).status_code == 302
    row = models.Room.objects.get()
    assert (row.title, row.slug, row.seq, row.pruned, row.epoch) == ("Tea time", "tea", 4, 0, tea.epoch)
    update, *others = [sql for sql in statements if sql.startswith('UPDATE "chat_room"')]
    assert update.startswith('UPDATE "chat_room" SET "title" = %s WHERE')
    assert all('SET "rules" = ' in sql for sql in others), "it is counted that its rules changed"


def test_a_room_may_be_created_before_anybody_joins(client: Client) -> None:
    """Its name must fit a URL."""
    olga(client, *EVERYTHING)
    given = {"title": "Tea", "kind": "public", "slow": "0"}
    assert "letters from a to z" in client.post(f"{PAGE}add/", {**given, "slug": "_tea"}).content.decode()
    assert client.post(f"{PAGE}add/", {**given, "slug": "Tea!"}).status_code == 302
    assert queries.open_room("tea").seq == 0
    assert "0 messages" in page(client, f"{PAGE}{models.Room.objects.get().pk}/change/")


# --- Deletion ---


@pytest.mark.parametrize("permissions", [("view_room",), ("view_room", "change_room", "delete_message")])
def test_deleting_a_room_needs_its_permission(client: Client, tea: RoomLog, permissions: tuple[str, ...]) -> None:
    """Without it a room is deleted neither on its page nor by the list's action."""
    olga(client, *permissions)
    assert client.post(f"{PAGE}{tea.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(PAGE, {"action": "delete_selected", "_selected_action": [tea.pk], "post": "yes"})
    assert models.Message.objects.count() == 3


def test_the_confirmation_counts_the_messages(client: Client, tea: RoomLog) -> None:
    """It has their number, not a list, as there may be a million. Nothing is deleted yet."""
    olga(client, "view_room", "delete_room")
    html = page(client, f"{PAGE}{tea.pk}/delete/")
    assert "Messages: 3" in html
    assert "message 1" not in html
    assert models.Message.objects.count() == 3


@pytest.mark.every_case
@pytest.mark.parametrize("way", ["page", "list"])
def test_a_deletion_removes_everything(client: Client, tea: RoomLog, way: str) -> None:
    """It removes this room's messages, reactions, read positions and words; the history has it."""
    olga(client, "view_room", "delete_room")
    coffee = queries.open_room("coffee")
    Writer().write([*posts(coffee, 2), react(coffee, 1), read(coffee, 1)])
    if way == "page":
        client.post(f"{PAGE}{tea.pk}/delete/", {"post": "yes"})
    else:
        client.post(PAGE, {"action": "delete_selected", "_selected_action": [tea.pk], "post": "yes"})
    assert [room.slug for room in models.Room.objects.all()] == ["coffee"]
    assert (models.Message.objects.count(), models.Reaction.objects.count()) == (2, 1)
    assert models.ReadPosition.objects.count() == 1
    entry = LogEntry.objects.get()
    assert (entry.action_flag, entry.object_repr) == (DELETION, "tea")
    call_command("chat_check")


def test_a_forged_deletion_removes_nothing(tea: RoomLog) -> None:
    """Another site's page can't delete messages through a signed-in browser."""
    client = Client(enforce_csrf_checks=True)
    olga(client, "view_room", "delete_room")
    assert client.post(f"{PAGE}{tea.pk}/delete/", {"post": "yes"}).status_code == 403
    assert models.Message.objects.count() == 3


def test_a_big_room_is_deleted_in_small_transactions(
    client: Client, tea: RoomLog, transactions: list[str]
) -> None:
    """Others can write in between: each transaction takes some milliseconds."""
    olga(client, "view_room", "delete_room")
    Writer().write(posts(tea, 3 * BATCH))
    before = len(transactions)
    client.post(f"{PAGE}{tea.pk}/delete/", {"post": "yes"})
    assert len(transactions) - before >= 4
    assert not models.Room.objects.exists()


async def test_clients_in_a_deleted_room_start_again(
    async_client: AsyncClient, alice: Persona, bob: Persona, clock: Clock
) -> None:
    """They get another epoch within two seconds, and numbers start from 1."""
    await staff(async_client, "view_room", "delete_room")
    epoch = (await alice.join()).epoch
    await bob.join()
    await alice.say("hi")
    await bob.expect(Message, content="hi")
    room = await models.Room.objects.aget()
    await async_client.post(f"{PAGE}{room.pk}/delete/", {"post": "yes"})
    await clock.skip(1)
    for persona in (alice, bob):
        welcome = await persona.expect(Welcome)
        assert (welcome.resumed, welcome.seq, welcome.epoch == epoch) == (False, 0, False)
    assert (await alice.say("again")).id == 1
    assert (await bob.expect(Message, content="again")).seq == 1
