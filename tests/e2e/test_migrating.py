"""`migrate` beside a server whose people talk: nothing is lost, and nobody waits for what it has to wait for."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from databases import SQLITE, Somebody, copy_of, manage
from helpers import over_socket
from programs import PostgreSQL, postgresql
from servers import ROOT, Start
from talking import heard, talkers

from chat.protocol import Found

pytestmark = pytest.mark.e2e

# A change that earlier servers can live with: they don't know the column, and the database fills it in.
NOTE = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("chat", "{last}")]
    operations = [migrations.AddField("message", "note", models.CharField(db_default="", max_length=10))]
"""
SETTINGS = """
from chatsite.settings import *
MIGRATION_MODULES = {"chat": "later_migrations"}
"""

Migrate = Callable[[str], str]


@pytest.fixture
def later(tmp_path: Path) -> Migrate:
    """`migrate` of the next version, which has one migration more."""
    folder = tmp_path / "later_migrations"
    shutil.copytree(ROOT / "chat/migrations", folder)
    last = max(path.stem for path in folder.glob("0*.py"))
    (folder / "9999_note.py").write_text(NOTE.format(last=last))
    (tmp_path / "later.py").write_text(SETTINGS)
    return lambda url: manage(url, "migrate", DJANGO_SETTINGS_MODULE="later", PYTHONPATH=f"{tmp_path}:{ROOT}")


@pytest.fixture(scope="module")
def ours() -> Iterator[PostgreSQL]:
    with postgresql() as ours:
        manage(ours.url, "migrate", "--verbosity", "0")
        yield ours


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind, of today's version."""
    if request.param == "sqlite":
        mine = f"{SQLITE}{tmp_path / 'migrating.sqlite3'}"
        manage(mine, "migrate", "--verbosity", "0")
        yield mine
    else:
        ours: PostgreSQL = request.getfixturevalue("ours")
        with copy_of(ours.database("postgres"), tmp_path) as mine:
            yield mine


async def test_people_talk_while_the_database_is_migrated(url: str, start: Start, later: Migrate) -> None:
    """With nothing to do, and with the next version's column: all their messages are kept, received once and in
    order, and found.
    """
    server = start("daphne", DATABASE_URL=url)
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(over_socket(server.ws, "Listener"))
        await listener.join()
        people = await talkers(server, stack, "lobby")
        assert "No migrations to apply" in await asyncio.to_thread(manage, url, "migrate")
        await people[0].until_acknowledged()
        assert "Applying chat.9999_note... OK" in await asyncio.to_thread(later, url)
        await people[0].until_acknowledged()
        await heard(listener, people)
        last = max(people[0].acks.values())
        await listener.send("search", query="Talker0", limit=1, ref="last")
        assert [message.id for message in (await listener.expect(Found, ref="last")).messages] == [last]
    assert "nothing is wrong" in manage(url, "chat_check")


async def test_a_migration_that_would_have_to_wait_gives_up(
    ours: PostgreSQL, start: Start, tmp_path: Path, later: Migrate
) -> None:
    """While somebody reads for long, as a backup does, `migrate` says so in a few seconds, and people talk on."""
    with copy_of(ours.url, tmp_path) as url, Somebody(url) as somebody:
        server = start("daphne", DATABASE_URL=url)
        async with AsyncExitStack() as stack:
            listener = await stack.enter_async_context(over_socket(server.ws, "Listener"))
            await listener.join()
            people = await talkers(server, stack, "lobby")
            somebody.execute("BEGIN")
            somebody.execute("SELECT FROM chat_message")
            with pytest.raises(subprocess.CalledProcessError) as failure:
                await asyncio.to_thread(later, url)
            await people[0].until_acknowledged()
            somebody.execute("COMMIT")
            assert "Applying chat.9999_note... OK" in await asyncio.to_thread(later, url)
            await people[0].until_acknowledged()
            await heard(listener, people)
    said = failure.value.stderr
    assert "CommandError: Another transaction holds a table that a migration needs" in said
    assert "Traceback" not in said
