"""Readiness and metrics, for programs."""

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
from chat.views.readiness import DatabaseProbe

Persona = CommunicatorPersona
TOKEN = "a token that is long"

pytestmark = pytest.mark.django_db(transaction=True)


# --- Readiness ---


@pytest.fixture(autouse=True)
def _new_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test gets another test's state of the database."""
    monkeypatch.setattr(readiness, "_probe", DatabaseProbe())


@pytest.fixture
def hangs(monkeypatch: pytest.MonkeyPatch) -> "Hung":
    hung = Hung()
    monkeypatch.setattr(models.Room.objects, "exists", hung.exists)
    return hung


class Hung:
    """A database that does not answer the first query until ``answers`` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = Event()
        # If True, the first query ends with its connection, and no query runs after the test.
        self.is_lost = False

    def exists(self) -> bool:
        self.asked += 1
        if self.asked == 1:
            self.answers.wait(PATIENCE)
            if self.is_lost:
                raise OperationalError
        return True


async def heartbeat(hub: Hub) -> None:
    """Wait for the channel layer's first heartbeat."""
    hub.follow()
    await until(lambda: hub.layer is LayerState.OK)


def status_and_body(response: Any) -> tuple[int, dict[str, Any]]:
    return response.status_code, json.loads(response.content)


READY = {"ready": True, "database": "ok", "layer": "ok", "log": "ok", "draining": False}
# The state in a process without a hub.
NO_HUB = {**READY, "layer": "unknown"}


def test_a_healthy_process_is_ready(client: Client) -> None:
    """The response is 200, and no cache may store it."""
    response = client.get("/readyz")
    assert status_and_body(response) == (200, NO_HUB)
    assert "no-store" in response["Cache-Control"]


def test_without_the_database_the_process_is_not_ready(client: Client, outage: Outage) -> None:
    """The response is 503 while the database is away, then 200 again."""
    with outage.begin():
        assert status_and_body(client.get("/readyz")) == (503, {**NO_HUB, "ready": False, "database": "away"})
    readiness._probe._started -= readiness.ANSWER_LIFETIME
    assert status_and_body(client.get("/readyz")) == (200, NO_HUB)


@pytest.mark.every_case
@pytest.mark.parametrize("of", ["user_version", "UPDATE", "txid_current"])
def test_a_database_that_refuses_writes_is_not_ready(client: Client, outage: Outage, of: str) -> None:
    """The database answers queries, but no message can be written."""
    if (of == "user_version") != (connection.vendor == "sqlite"):
        pytest.skip("a statement of the other database")
    with outage.begin(of=of):
        assert status_and_body(client.get("/readyz")) == (
            503,
            {**NO_HUB, "ready": False, "database": "unwritable"},
        )
    readiness._probe._started -= readiness.ANSWER_LIFETIME
    assert status_and_body(client.get("/readyz")) == (200, NO_HUB)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="as another program locks a file")
def test_a_locked_database_is_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock ends, and the database can be read meanwhile."""
    monkeypatch.setattr(readiness, "LOCK_TIMEOUT", 1)
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert status_and_body(client.get("/readyz")) == (200, NO_HUB)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the disk of a server of its own")
def test_a_nearly_full_disk_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write may still fit into the file's own free space, but the next checkpoint fails."""
    plain = os.statvfs

    def statvfs(path: Any) -> os.statvfs_result:
        found = plain(path)
        return os.statvfs_result([*found[:4], readiness.MIN_FREE_BYTES // found.f_frsize - 1, *found[5:]])

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert status_and_body(client.get("/readyz")) == (503, {**NO_HUB, "ready": False, "database": "full"})


def test_a_missing_migration_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version needs its migrations; once they are complete they are not checked again."""
    monkeypatch.setattr(readiness, "_migrated", [])
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, applied FROM django_migrations WHERE app = 'chat' ORDER BY name DESC")
        name, applied = cursor.fetchone()
        cursor.execute("DELETE FROM django_migrations WHERE app = 'chat' AND name = %s", [name])
    try:
        assert status_and_body(client.get("/readyz")) == (503, {**NO_HUB, "ready": False, "database": "old"})
    finally:
        with connection.cursor() as cursor:
            values = ["chat", name, applied]
            cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", values)
    readiness._probe._started -= readiness.ANSWER_LIFETIME
    assert status_and_body(client.get("/readyz")) == (200, NO_HUB)
    assert readiness._migrated


def test_probes_leave_nothing_behind(client: Client) -> None:
    """The probe's write leaves no row."""
    before = [model.objects.count() for model in (models.Room, models.Message)]
    assert client.get("/readyz").status_code == 200
    assert [model.objects.count() for model in (models.Room, models.Message)] == before


async def test_a_stuck_writing_thread_is_not_ready(
    async_client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver may wait forever, and every message waits with it."""
    await heartbeat(current(Hub))
    goes_on, begun = Event(), Event()
    monkeypatch.setattr(readiness, "STUCK_AFTER", 0.0)

    def hang() -> None:
        begun.set()
        goes_on.wait(PATIENCE)

    writing = asyncio.ensure_future(database.run_write(hang))
    await asyncio.to_thread(begun.wait, PATIENCE)
    try:
        assert status_and_body(await async_client.get("/readyz")) == (
            503,
            {**READY, "ready": False, "log": "stuck"},
        )
    finally:
        goes_on.set()
        await writing
    monkeypatch.setattr(readiness, "STUCK_AFTER", 0.000_1)
    assert database.writer_busy_seconds() == 0.0
    assert status_and_body(await async_client.get("/readyz")) == (200, READY)


def test_a_database_without_our_tables_is_away(client: Client, outage: Outage) -> None:
    """A database that only opens a connection is not ready."""
    with outage.begin(of="chat_room"):
        assert client.get("/readyz").status_code == 503


def test_a_hanging_database_blocks_no_request(
    client: Client, hangs: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many requests share one check, and a request after its timeout gets its response at once."""
    monkeypatch.setattr(readiness, "ANSWER_TIMEOUT", 0.2)
    for _ in range(3):
        assert status_and_body(client.get("/readyz")) == (503, {**NO_HUB, "ready": False, "database": "away"})
    monkeypatch.setattr(readiness, "ANSWER_TIMEOUT", 20.0)
    hangs.answers.set()
    assert status_and_body(client.get("/readyz")) == (200, NO_HUB)
    assert hangs.asked == 1


def test_a_hanging_check_is_given_up(client: Client, hangs: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its connection may be dead, so another check starts."""
    monkeypatch.setattr(readiness, "ANSWER_TIMEOUT", 0.2)
    assert client.get("/readyz").status_code == 503
    monkeypatch.setattr(readiness, "ANSWER_TIMEOUT", 20.0)
    readiness._probe._started -= readiness.GIVE_UP_AFTER
    assert status_and_body(client.get("/readyz")) == (200, NO_HUB)
    assert hangs.asked == 2
    hangs.is_lost = True
    hangs.answers.set()


def test_many_requests_share_one_check(
    client: Client, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result is reused for a second; here for longer, because the machine may pause."""
    monkeypatch.setattr(readiness, "ANSWER_LIFETIME", 600.0)
    for _ in range(20):
        assert client.get("/readyz").status_code == 200
    assert len([sql for sql in statements if sql.startswith("SELECT") and "chat_room" in sql]) == 1


async def test_a_layer_is_ok_after_its_first_message(async_client: AsyncClient, alice: Persona) -> None:
    """Until then its state is unknown, which is not ready with ``?strict``."""
    bus = current(Hub)._bus
    await heartbeat(current(Hub))
    for strict in ("", "?strict"):
        assert status_and_body(await async_client.get(f"/readyz{strict}")) == (200, READY)
    bus._last_back = 0
    unknown = {**READY, "layer": "unknown"}
    assert status_and_body(await async_client.get("/readyz")) == (200, unknown)
    assert status_and_body(await async_client.get("/readyz?strict")) == (503, {**unknown, "ready": False})


async def test_without_the_layer_the_process_is_ready(async_client: AsyncClient, alice: Persona) -> None:
    """The chat continues within the process. With ``?strict`` it is not ready."""
    current(Hub)._bus.is_away = True
    away = {**READY, "layer": "away"}
    assert status_and_body(await async_client.get("/readyz")) == (200, away)
    assert status_and_body(await async_client.get("/readyz?strict")) == (503, {**away, "ready": False})


async def test_a_draining_process_is_not_ready(async_client: AsyncClient, alice: Persona) -> None:
    """A load balancer must send it no more clients."""
    await heartbeat(current(Hub))
    current(Hub).draining = True
    assert status_and_body(await async_client.get("/readyz")) == (503, {**READY, "ready": False, "draining": True})


@override_settings(SECURE_SSL_REDIRECT=True, CHAT={"METRICS_TOKEN": TOKEN})
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_are_not_sent_to_https(client: Client, path: str) -> None:
    """Probes come directly to the process, past the proxy. Browsers are redirected."""
    assert client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/").status_code == 301


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_accept_no_post(client: Client, path: str) -> None:
    """The pages for probes accept only GET and HEAD."""
    assert client.post(path).status_code == 405


# --- The numbers ---


@pytest.fixture
def token(settings: Settings) -> str:
    settings.CHAT = {**settings.CHAT, "METRICS_TOKEN": TOKEN}
    return TOKEN


async def test_a_client_with_the_token_gets_the_metrics(
    async_client: AsyncClient, alice: Persona, token: str
) -> None:
    """They are current, from the serving event loop, and no cache may store them."""
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
async def test_without_the_token_there_are_no_metrics(
    async_client: AsyncClient, token: str, authorization: str
) -> None:
    """A partial token, a token in another place, and the staff's session are refused."""
    response = await async_client.get(
        f"/metrics?token={TOKEN}", headers={"authorization": authorization} if authorization else {}
    )
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    assert b"chat_" not in response.content


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer"])
async def test_without_the_setting_there_is_no_metrics_page(async_client: AsyncClient, authorization: str) -> None:
    """An empty token is refused too."""
    assert chat_settings().METRICS_TOKEN == ""
    response = await async_client.get("/metrics", headers={"authorization": authorization})
    assert response.status_code == 404
    assert not all_loops(Collector)
