import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from doubles import Outage
from helpers import CommunicatorPersona, Enter, over_communicator
from hypothesis import settings as hypothesis_settings
from playwright.async_api import Browser, Page, async_playwright, expect
from servers import ROOT, Server, Start, needs, running
from visits import FLAGS, Visit, breach

from chat import loops
from chat.database import close_connections
from chatsite.asgi import application

# Tests say more in a second than people may. One that wants limits sets CHAT, or starts its server with them.
settings.CHAT["LIMITS"] = False

expect.set_options(timeout=20_000)

# For tests that run a second time, on another database.
hypothesis_settings.register_profile("few", max_examples=15)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite in a file, as sites have it: in memory, threads that share it would not wait for each other."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("tests") / "test.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """In the end no thread keeps a connection: PostgreSQL would not let go of the tests' database."""
    yield
    close_connections()
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def rooms(transactional_db: None) -> Iterator[None]:
    """The database, for threads too: what they wrote is gone afterwards."""
    yield
    close_connections()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the database, from any thread, from here on."""
    asked: list[str] = []
    plain = CursorWrapper.execute

    def execute(self: CursorWrapper, sql: Any, params: Any = None) -> Any:
        asked.append(str(sql))
        return plain(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", execute)
    return asked


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The aliases of the databases in which transactions are committed, from here on."""
    committed: list[str] = []
    plain = BaseDatabaseWrapper.commit

    def commit(self: BaseDatabaseWrapper) -> None:
        plain(self)
        committed.append(self.alias)

    monkeypatch.setattr(BaseDatabaseWrapper, "commit", commit)
    return committed


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    """Makes the database be away, for all threads."""
    outage = Outage()
    plain = CursorWrapper.execute

    def execute(self: CursorWrapper, sql: Any, params: Any = None) -> Any:
        outage.strike(str(sql))
        return plain(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", execute)
    return outage


@pytest.fixture
async def person(rooms: None) -> AsyncIterator[Enter]:
    """Bring people in. Each has a socket to the application in this process, open until the end."""
    async with AsyncExitStack() as stack:

        async def enter(name: str, **options: Any) -> CommunicatorPersona:
            context: AbstractAsyncContextManager[CommunicatorPersona] = over_communicator(
                application, name, **options
            )
            return await stack.enter_async_context(context)

        yield enter
    await loops.close_this_loop()


@pytest.fixture
async def alice(person: Enter) -> CommunicatorPersona:
    persona: CommunicatorPersona = await person("Alice")
    return persona


@pytest.fixture
async def bob(person: Enter) -> CommunicatorPersona:
    persona: CommunicatorPersona = await person("Bob")
    return persona


@pytest.fixture
async def charlie(person: Enter) -> CommunicatorPersona:
    """Nobody's friend: in no room, allowed nothing."""
    persona: CommunicatorPersona = await person("Charlie")
    return persona


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, and the static files collected, as `make run` does it."""
    path = tmp_path_factory.mktemp("database") / "db.sqlite3"
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{path}"}

    def manage(*command: str) -> None:
        subprocess.run(
            [sys.executable, "manage.py", *command, "--verbosity", "0"], cwd=ROOT, env=environment, check=True
        )

    manage("migrate")
    # Once for all processes of a run: their servers read these files.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", tmp_path_factory.getbasetemp().name)
    shared = tmp_path_factory.getbasetemp().parent
    with (shared / "static.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (done := shared / f"static-{run}").exists():
            manage("collectstatic", "--noinput")
            done.touch()
    return path


@pytest.fixture(scope="session", params=["daphne", "uvicorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database: Path
) -> Iterator[Server]:
    """`manage.py serve`, and a stock uvicorn: what uses this runs on both."""
    folder = tmp_path_factory.mktemp("server")
    with running(request.param, folder, _copy(database, folder)) as server:
        yield server


@pytest.fixture
def start(tmp_path: Path, database: Path) -> Iterator[Start]:
    """``start(kind, **variables)`` starts a server for one test; all that it starts have the same database."""
    mine = _copy(database, tmp_path)
    with ExitStack() as stack:
        yield lambda kind, **variables: stack.enter_context(running(kind, tmp_path, mine, **variables))


def _copy(database: Path, folder: Path) -> Path:
    return Path(shutil.copy(database, folder / "copy.sqlite3"))


# --- Real Chromium ---


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    needs(program, "chromium: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """Whatever a test leaves open is closed after it."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """Bring people into a room's page, each in a browser of their own.

    A script error or a breach of the CSP on any page fails the test.
    """
    wrong: list[str] = []

    async def enter(server: Server, name: str, room: str = "lobby", **options: object) -> Page:
        context = await browser.new_context(**options)  # type: ignore[arg-type]  # Playwright's own options
        page = await context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"{name}: {error}"))
        page.on("console", lambda line: wrong.append(f"{name}: {line.text}") if breach(line.text) else None)
        await page.goto(f"{server.http}/?room={room}")
        await page.get_by_label("Your name").fill(name)
        await page.get_by_role("button", name="Enter the room").click()
        await page.wait_for_url(f"**/room/{room}/")
        return page

    yield enter
    assert not wrong
