import fcntl
import gc
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import second_run
from asgiref.sync import SyncToAsync
from databases import SQLITE, copy_of, create, manage, named
from django.conf import settings
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from doubles import Clock, Outage
from emptying import install
from helpers import CommunicatorPersona, Enter, over_communicator
from playwright.async_api import Browser, Page, async_playwright, expect
from servers import Server, Start, needs, running
from thorough import THOROUGH
from visits import FLAGS, Visit, breach, come_in, come_in_directly

from chat import loops
from chat.database import close_connections, on_each_thread
from chatsite.asgi import application

# Tests send more in a second than users may. A test of limits sets CHAT, or starts its server with them.
settings.CHAT["LIMITS"] = False
install()
LAYER: dict[str, Any] = settings.CHANNEL_LAYERS["default"]

expect.set_options(timeout=20_000)


def pytest_collection_finish() -> None:
    """Objects that all tests share live to the end: the garbage collector need not look at them again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless the run is thorough, and what needs no second run."""
    kept = [item for item in second_run.chosen(items) if THOROUGH or not item.get_closest_marker("thorough")]
    left = set(items).difference(kept)
    config.hook.pytest_deselected(items=[item for item in items if item in left])
    items[:] = kept


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_modify_db_settings_parallel_suffix: None,
) -> None:
    """SQLite in a file, as sites have it: in memory, threads that share it would not wait for each other."""
    test = connection.settings_dict["TEST"]
    if connection.vendor == "sqlite":
        test["NAME"] = str(tmp_path_factory.mktemp("tests") / "test.sqlite3")
    else:
        test["TEMPLATE"] = urlsplit(request.getfixturevalue("migrated")).path[1:]


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest) -> None:
    """If a run has a Redis, each test receives only its own messages there.

    None is there for a test that moves the time: to those who wait for it then, it has been silent for so long.
    """
    if not settings.REDIS:
        return
    layer = {**LAYER, "CONFIG": {**LAYER["CONFIG"], "prefix": f"test-{token_hex(6)}"}}
    if "clock" in request.fixturenames:
        layer = {"BACKEND": "chat.layers.ProcessChannelLayer"}
    request.getfixturevalue("settings").CHANNEL_LAYERS = {"default": layer}


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    """The loop's time. It goes on by itself until the test stops it."""
    clock = Clock()
    yield clock
    clock.start()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """In the end no thread keeps a connection: PostgreSQL would not let go of the tests' database."""
    yield
    close_connections()
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def rooms(transactional_db: None) -> Iterator[None]:
    """The database, for threads too: what they wrote is gone afterwards, when they have done what they are at."""
    yield
    on_each_thread(lambda: None)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The database's statements, from any thread, from here on."""
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
    await loops.close_current()


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
def migrated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a migrated database that nobody has open: one for all processes of a run."""
    shared = _shared(tmp_path_factory)
    with _turn(shared, "migrated") as first:
        if connection.vendor == "sqlite":
            url = f"{SQLITE}{shared / 'migrated.sqlite3'}"
        else:
            name = f"migrated_{shared.name.replace('-', '_')}"
            url = named(os.environ["DATABASE_URL"], name)
            if first:
                create(url, name)
        if first:
            manage(url, "migrate", "--verbosity", "0")
    return url


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory, migrated: str) -> str:
    """The same, and the static files collected, as `make run` does it."""
    with _turn(_shared(tmp_path_factory), "static") as first:
        if first:
            manage(migrated, "collectstatic", "--noinput", "--verbosity", "0", EXAMPLES="1")
    return migrated


def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of a run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def _turn(folder: Path, name: str) -> Iterator[bool]:
    """One process after another; is this the first?"""
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / f"{name}.done"
        yield not done.exists()
        done.touch()


@pytest.fixture(scope="session", params=["daphne", "uvicorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database: str
) -> Iterator[Server]:
    """`manage.py serve`, and a stock uvicorn: what uses this runs on both."""
    folder = tmp_path_factory.mktemp("server")
    with copy_of(database, folder) as mine, running(request.param, folder, mine) as server:
        yield server


@pytest.fixture
def start(tmp_path: Path, database: str) -> Iterator[Start]:
    """``start(kind, **variables)`` starts a server for one test; all that it starts have the same database."""
    with ExitStack() as stack:
        mine = stack.enter_context(copy_of(database, tmp_path))
        yield lambda kind, **variables: stack.enter_context(running(kind, tmp_path, mine, **variables))


# --- Real Chromium ---


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    # The same engine without a browser's windows: a page costs less than half the CPU.
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    needs(program, "chromium: apt-get install chromium-headless-shell")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """Resources that a test leaves open are closed after it."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """Bring people into a room's page, each in a browser of their own; ``by_form``: from the first page.

    A script error or a breach of the CSP on any page fails the test.
    """
    wrong: list[str] = []

    async def enter(
        server: Server, name: str, room: str = "lobby", *, by_form: bool = False, **options: object
    ) -> Page:
        context = await browser.new_context(**options)  # type: ignore[arg-type]  # Playwright's own options
        page = await context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"{name}: {error}"))
        page.on("console", lambda line: wrong.append(f"{name}: {line.text}") if breach(line.text) else None)
        await (come_in if by_form else come_in_directly)(page, server, name, room)
        return page

    yield enter
    assert not wrong
