"""What programs ask: whether the process is ready, and its numbers."""

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from threading import Event
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import AsyncClient, Client, override_settings
from doubles import Outage, until
from helpers import PATIENCE, CommunicatorPersona
from pytest_django import Settings
from scraped import Numbers

from chat import database, models
from chat.conf import chat_settings
from chat.hub import Hub, LayerState
from chat.loops import all_loops, current
from chat.metrics.collector import Collector
from chat.views import readiness
from chat.views.readiness import Question

Persona = CommunicatorPersona
TOKEN = "a token that is long"

pytestmark = pytest.mark.django_db(transaction=True)


# --- Ready? ---


@pytest.fixture(autouse=True)
def _nothing_asked_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test has another's answer of the database."""
    monkeypatch.setattr(readiness, "_database", Question())


@pytest.fixture
def hangs(monkeypatch: pytest.MonkeyPatch) -> "Hung":
    hung = Hung()
    monkeypatch.setattr(models.Room.objects, "exists", hung.exists)
    return hung


class Hung:
    """A database that does not answer the first question until told."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = Event()
        # Does the first question end with its connection? Then nothing is asked after the test.
        self.is_lost = False

    def exists(self) -> bool:
        self.asked += 1
        if self.asked == 1:
            self.answers.wait(PATIENCE)
            if self.is_lost:
                raise OperationalError
        return True


async def heard(hub: Hub) -> None:
    """The layer has brought a beat."""
    hub.follow()
    await until(lambda: hub.layer is LayerState.OK)


def told(response: Any) -> tuple[int, dict[str, Any]]:
    return response.status_code, json.loads(response.content)


ALL_WELL = {"ready": True, "database": "ok", "layer": "ok", "log": "ok", "draining": False}
# In a process that has no hub yet.
NO_HUB = {**ALL_WELL, "layer": "unknown"}


def test_all_is_well(client: Client) -> None:
    """200, not to be kept by anybody on the way."""
    response = client.get("/readyz")
    assert told(response) == (200, NO_HUB)
    assert "no-store" in response["Cache-Control"]


def test_a_database_that_is_away_is_told(client: Client, outage: Outage) -> None:
    """503, as long as it is; then 200 again."""
    with outage.begin():
        assert told(client.get("/readyz")) == (503, {**NO_HUB, "ready": False, "database": "away"})
    readiness._database._asked -= readiness.FRESH
    assert told(client.get("/readyz")) == (200, NO_HUB)


@pytest.mark.parametrize("of", ["user_version", "UPDATE", "txid_current"])
def test_a_database_that_takes_nothing_is_told(client: Client, outage: Outage, of: str) -> None:
    """It answers every question, and no message could be written."""
    if (of == "user_version") != (connection.vendor == "sqlite"):
        pytest.skip("the other database is asked otherwise")
    with outage.begin(of=of):
        assert told(client.get("/readyz")) == (503, {**NO_HUB, "ready": False, "database": "unwritable"})
    readiness._database._asked -= readiness.FRESH
    assert told(client.get("/readyz")) == (200, NO_HUB)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="as another program locks a file")
def test_a_database_that_somebody_writes_to_is_there(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock ends, and the database can be read meanwhile."""
    monkeypatch.setattr(readiness, "LOCKED", 1)
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert told(client.get("/readyz")) == (200, NO_HUB)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the disk of a server of its own")
def test_a_disk_that_is_nearly_full_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes may go into space that the file has already: the next checkpoint fails."""
    plain = os.statvfs

    def statvfs(path: Any) -> os.statvfs_result:
        found = plain(path)
        return os.statvfs_result([*found[:4], readiness.SPARE // found.f_frsize - 1, *found[5:]])

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert told(client.get("/readyz")) == (503, {**NO_HUB, "ready": False, "database": "full"})


def test_a_migration_that_is_missing_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version beside the database of the old one; once all are there nobody asks any more."""
    monkeypatch.setattr(readiness, "_migrated", [])
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, applied FROM django_migrations WHERE app = 'chat' ORDER BY name DESC")
        name, applied = cursor.fetchone()
        cursor.execute("DELETE FROM django_migrations WHERE app = 'chat' AND name = %s", [name])
    try:
        assert told(client.get("/readyz")) == (503, {**NO_HUB, "ready": False, "database": "old"})
    finally:
        with connection.cursor() as cursor:
            values = ["chat", name, applied]
            cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", values)
    readiness._database._asked -= readiness.FRESH
    assert told(client.get("/readyz")) == (200, NO_HUB)
    assert readiness._migrated


def test_probes_leave_nothing_behind(client: Client) -> None:
    """The probe's write leaves no row."""
    before = [model.objects.count() for model in (models.Room, models.Message)]
    assert client.get("/readyz").status_code == 200
    assert [model.objects.count() for model in (models.Room, models.Message)] == before


async def test_a_thread_that_hangs_at_the_log_is_told(
    async_client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver may wait for ever, and with it all that anybody says."""
    await heard(current(Hub))
    goes_on, begun = Event(), Event()
    monkeypatch.setattr(readiness, "STUCK", 0.0)

    def hang() -> None:
        begun.set()
        goes_on.wait(PATIENCE)

    writing = asyncio.ensure_future(database.run_write(hang))
    await asyncio.to_thread(begun.wait, PATIENCE)
    try:
        assert told(await async_client.get("/readyz")) == (503, {**ALL_WELL, "ready": False, "log": "stuck"})
    finally:
        goes_on.set()
        await writing
    monkeypatch.setattr(readiness, "STUCK", 0.000_1)
    assert database.writer_busy_seconds() == 0.0
    assert told(await async_client.get("/readyz")) == (200, ALL_WELL)


def test_a_database_without_our_tables_is_away(client: Client, outage: Outage) -> None:
    """That a connection opens is not enough."""
    with outage.begin(of="chat_room"):
        assert client.get("/readyz").status_code == 503


def test_a_database_that_hangs_hangs_nobody(client: Client, hangs: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once, however many ask us, and whoever comes later than its time is answered at once."""
    monkeypatch.setattr(readiness, "PATIENCE", 0.2)
    for _ in range(3):
        assert told(client.get("/readyz")) == (503, {**NO_HUB, "ready": False, "database": "away"})
    monkeypatch.setattr(readiness, "PATIENCE", 20.0)
    hangs.answers.set()
    assert told(client.get("/readyz")) == (200, NO_HUB)
    assert hangs.asked == 1


def test_a_question_that_hangs_is_given_up(client: Client, hangs: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection may be dead and the database well: then another is asked for."""
    monkeypatch.setattr(readiness, "PATIENCE", 0.2)
    assert client.get("/readyz").status_code == 503
    monkeypatch.setattr(readiness, "PATIENCE", 20.0)
    readiness._database._asked -= readiness.GIVEN_UP
    assert told(client.get("/readyz")) == (200, NO_HUB)
    assert hangs.asked == 2
    hangs.is_lost = True
    hangs.answers.set()


def test_a_crowd_of_probes_is_one_question(
    client: Client, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer holds for a second; here for longer, for the machine may stand still."""
    monkeypatch.setattr(readiness, "FRESH", 600.0)
    for _ in range(20):
        assert client.get("/readyz").status_code == 200
    assert len([sql for sql in statements if sql.startswith("SELECT") and "chat_room" in sql]) == 1


async def test_a_layer_counts_as_there_when_it_has_brought_something(
    async_client: AsyncClient, alice: Persona
) -> None:
    """Before that nobody knows, and who is strict waits for it."""
    bus = current(Hub)._bus
    await heard(current(Hub))
    for strict in ("", "?strict"):
        assert told(await async_client.get(f"/readyz{strict}")) == (200, ALL_WELL)
    bus._last_back = 0
    unknown = {**ALL_WELL, "layer": "unknown"}
    assert told(await async_client.get("/readyz")) == (200, unknown)
    assert told(await async_client.get("/readyz?strict")) == (503, {**unknown, "ready": False})


async def test_without_the_layer_it_is_ready(async_client: AsyncClient, alice: Persona) -> None:
    """The chat goes on within the process; who wants to know can be strict."""
    current(Hub)._bus.is_away = True
    away = {**ALL_WELL, "layer": "away"}
    assert told(await async_client.get("/readyz")) == (200, away)
    assert told(await async_client.get("/readyz?strict")) == (503, {**away, "ready": False})


async def test_a_process_that_says_goodbye_is_not_ready(async_client: AsyncClient, alice: Persona) -> None:
    """Nobody should be sent to it any more."""
    await heard(current(Hub))
    current(Hub).draining = True
    assert told(await async_client.get("/readyz")) == (503, {**ALL_WELL, "ready": False, "draining": True})


@override_settings(SECURE_SSL_REDIRECT=True, CHAT={"METRICS_TOKEN": TOKEN})
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_are_not_sent_to_https(client: Client, path: str) -> None:
    """They come from beside the process, past the proxy; browsers are sent."""
    assert client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/").status_code == 301


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_only_ask(client: Client, path: str) -> None:
    """There is nothing to send to them."""
    assert client.post(path).status_code == 405


# --- The numbers ---


@pytest.fixture
def token(settings: Settings) -> str:
    settings.CHAT = {**settings.CHAT, "METRICS_TOKEN": TOKEN}
    return TOKEN


async def test_who_has_the_token_reads_the_numbers(async_client: AsyncClient, alice: Persona, token: str) -> None:
    """As they are in this moment, of the loop that serves; kept by nobody on the way."""
    response = await async_client.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "no-store" in response["Cache-Control"]
    assert Numbers(response.content.decode()).of("chat_sockets") == 1
    await alice.vanish()
    response = await async_client.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert Numbers(response.content.decode()).of("chat_sockets") == 0


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}!",
        f"Bearer {TOKEN[:-1]}",
        "Bearer ",
        "Bearer",
        f"bearer  {TOKEN}",
        "Bearer \N{LATIN SMALL LETTER E WITH ACUTE}",
    ],
)
async def test_nobody_else_does(async_client: AsyncClient, token: str, authorization: str) -> None:
    """Not with half a token, nor with it in another place; not the staff either."""
    response = await async_client.get(
        f"/metrics?token={TOKEN}", headers={"authorization": authorization} if authorization else {}
    )
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    assert b"chat_" not in response.content


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer"])
async def test_without_a_token_there_is_no_such_page(async_client: AsyncClient, authorization: str) -> None:
    """Nor for who brings an empty one."""
    assert chat_settings().METRICS_TOKEN == ""
    response = await async_client.get("/metrics", headers={"authorization": authorization})
    assert response.status_code == 404
    assert not all_loops(Collector)
