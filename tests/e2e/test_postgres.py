"""What touches the database, once more on a real PostgreSQL: started here, on a free port."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from helpers import over_socket
from servers import ROOT, Start, postgresql

from chat.auth import GUEST_NAME
from chat.protocol import Deleted, Edited, Found, History, Message, Reacted

pytestmark = pytest.mark.e2e

FILES = ["log", "room", "hub", "streams", "search", "database", "models", "consumers", "rooms"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgresql() as database:
        yield database.url


@pytest.mark.timeout(300)
def test_everything_holds_on_postgresql_too(url: str) -> None:
    """The tests of the log, the rooms and the hub pass on it as they do on SQLite."""
    files = [f"tests/test_{name}.py" for name in FILES]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-p", "no:cacheprovider", "--hypothesis-profile=few"]
    tests = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True, check=False
    )
    assert tests.returncode == 0, tests.stdout[-8_000:]


def manage(url: str, *command: str) -> str:
    """What a management command prints that works on this database."""
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


SESSION = f"""
from django.contrib.sessions.backends.db import SessionStore
session = SessionStore()
session[{GUEST_NAME!r}] = "Alice"
session.create()
print(session.session_key)
"""


async def test_a_conversation_on_postgresql(url: str, start: Start) -> None:
    """A server on it keeps what is said and done, and tells it to who comes back, after a restart too."""
    manage(url, "migrate", "--verbosity", "0")
    cookie = f"sessionid={manage(url, 'shell', '--no-imports', '--command', SESSION)}"
    server = start("daphne", DATABASE_URL=url)
    browser = {"additional_headers": {"Cookie": cookie}, "origin": server.http}
    async with over_socket(server.ws, "Alice", **browser) as alice, over_socket(server.ws, "Bob") as bob:
        await alice.join("tea")
        first = await bob.join("tea")
        for word in ("green", "black", "herbal"):
            await alice.say(f"{word} tea?", "tea", ref=word)
        assert (await alice.say("again", "tea", ref="black")).id == 2
        await bob.say("Black, please.", "tea", replyTo=2)
        await alice.send("edit", room="tea", id=1, content="white tea?")
        await alice.send("react", room="tea", id=4, emoji="👍")
        await alice.send("delete", room="tea", id=3)
        await bob.expect(Edited, id=1, content="white tea?", seq=5)
        await bob.expect(Reacted, id=4, seq=6)
        await bob.expect(Deleted, id=3, seq=7)
        await alice.send("search", room="tea", query="tea", ref="s")
        assert [message.id for message in (await alice.expect(Found, ref="s")).messages] == [2, 1]
    assert server.stop() == 0

    server = start("daphne", DATABASE_URL=url)
    async with over_socket(server.ws, "Bob") as bob, over_socket(server.ws, "Eve") as eve:
        welcome = await bob.join("tea", since=2, epoch=first.epoch)
        assert (welcome.resumed, welcome.seq) == (True, 7)
        missed = [await bob.expect(Message) for _ in range(3)]
        # What changed twice comes once, in the place of its last change.
        assert [(message.id, message.seq) for message in missed] == [(1, 5), (4, 6), (3, 7)]
        await eve.join("tea")
        await eve.send("history", room="tea")
        messages = (await eve.expect(History)).messages
        assert [message.content for message in messages] == ["white tea?", "black tea?", "", "Black, please."]
        assert [message.reply_to for message in messages][3] == 2
        await eve.say("Me too!", "tea")
        await bob.expect(Message, id=8)
