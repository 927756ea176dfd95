"""What touches the database, once more on a real PostgreSQL: started here, on a free port."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from helpers import over_socket
from servers import ROOT, Start, postgresql

from chat.protocol import Ack, Deleted, Edited, Found, History, Message, Reacted

pytestmark = pytest.mark.e2e

FILES = ["log", "room", "hub", "streams", "search", "database", "models", "consumers", "rooms"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.mark.timeout(300)
def test_everything_holds_on_postgresql_too(url: str) -> None:
    """The tests of the log, the rooms and the hub pass on it as they do on SQLite."""
    files = [f"tests/test_{name}.py" for name in FILES]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-p", "no:cacheprovider", "--hypothesis-profile=few"]
    tests = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True, check=False
    )
    assert tests.returncode == 0, tests.stdout[-8_000:]


async def test_a_conversation_on_postgresql(url: str, start: Start) -> None:
    """A server on it keeps what is said and done, and tells it to who comes back, after a restart too."""
    variables = {**os.environ, "DATABASE_URL": url}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=variables, check=True
    )
    server = start("daphne", DATABASE_URL=url)
