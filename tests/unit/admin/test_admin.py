"""The admin's page of open connections, from live sockets."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import AsyncClient, Client
from django.urls import reverse
from helpers import CommunicatorPersona as Persona
from helpers import Enter
from members import staff

from chat.hub import Hub
from chat.loops import all_loops
from chat.protocol import CloseCode, Message

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/chat/connection/"


async def page(client: AsyncClient, query: str = "") -> str:
    response = await client.get(PAGE + query)
    assert response.status_code == 200
    return response.content.decode()


def id_of(name: str, html: str) -> str:
    """The connection's id in the row that shows the name."""
    row = next(part for part in html.split("<tr>") if f"<bdi>{name}</bdi>" in part)
    return row.split("<code>")[-1].split("</code>")[0]


async def test_the_page_lists_connections_and_rooms(
    async_client: AsyncClient, alice: Persona, bob: Persona
) -> None:
    """Each socket has its name, rooms and tabs; each room has its users and its last number."""
    await staff(async_client, "view_connection")
    await alice.join()
    await alice.join("tea")
    await bob.join()
    await alice.say("hi")
    await alice.expect(Message, content="hi")
    html = await page(async_client)
    assert "lobby&nbsp;(1), tea&nbsp;(1)" in html
    assert "<bdi>Alice</bdi>" in html
    assert "<bdi>Bob</bdi>" in html
    assert '>2</td><td class="num">2</td><td class="num">1</td>' in html.replace("\n", "")
    assert "disconnect" not in html.lower(), "a viewer gets no button"


async def test_a_search_filters_the_page(async_client: AsyncClient, alice: Persona, bob: Persona) -> None:
    """The search finds a name or a room in any case."""
    await staff(async_client, "view_connection")
    await alice.join("tea")
    await bob.join("coffee")
    for query in ("?q=ALI", "?q=tea"):
        html = await page(async_client, query)
        assert "<bdi>Alice</bdi>" in html
        assert "<bdi>Bob</bdi>" not in html


async def test_a_name_is_shown_as_text(async_client: AsyncClient, person: Enter) -> None:
    """A guest's name never becomes markup."""
    await staff(async_client, "view_connection")
    mallory = await person("<img src=x>")
    await mallory.join()
    assert "&lt;img src=x&gt;" in await page(async_client)


async def test_staff_disconnects_a_socket(async_client: AsyncClient, alice: Persona, bob: Persona) -> None:
    """Only the chosen socket is closed, with 4403, and the admin's log has the staff member."""
    await staff(async_client, "view_connection", "disconnect_connection")
    await alice.join()
    await bob.join()
    chosen = id_of("Bob", await page(async_client))
    response = await async_client.post(PAGE, {"socket": [chosen, "gone"]}, follow=True)
    assert "1 socket was disconnected." in response.content.decode()
    assert "1 had disconnected before." in response.content.decode()
    assert await bob.closed() == CloseCode.FORBIDDEN
    await alice.silence()
    entry = await LogEntry.objects.aget()
    assert (entry.object_id, "'Bob'" in entry.change_message) == (chosen, True)


@pytest.mark.parametrize("permissions", [(), ("view_connection",)])
async def test_without_the_permission_nothing_is_disconnected(
    async_client: AsyncClient, alice: Persona, permissions: tuple[str, ...]
) -> None:
    """Staff without the permission get 403, and the socket stays."""
    await staff(async_client, *permissions)
    await alice.join()
    response = await async_client.post(
        PAGE, {"socket": [socket.id for _, hub in all_loops(Hub) for socket in hub.sockets.values()]}
    )
    assert response.status_code == 403
    await alice.silence()


async def test_the_page_is_for_staff_only(async_client: AsyncClient, alice: Persona) -> None:
    """A user who is not staff is redirected to the login."""
    await alice.join()
    response = await async_client.get(PAGE)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


async def test_it_needs_the_view_permission(async_client: AsyncClient) -> None:
    """Staff without the permission to view get 403."""
    await staff(async_client)
    assert (await async_client.get(PAGE)).status_code == 403


def test_the_index_links_to_it(admin_client: Client) -> None:
    """The admin's index has the link, and no page to add or change a connection."""
    html = admin_client.get(reverse("admin:index")).content.decode()
    assert f'href="{PAGE}"' in html
    assert f'href="{PAGE}add/"' not in html
    assert admin_client.get(f"{PAGE}x/change/").status_code == 404
