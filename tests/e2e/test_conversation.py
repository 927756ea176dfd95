"""A conversation in which all is done that can be done with messages, and which is kept over a restart."""

import pytest
from databases import manage
from helpers import over_socket
from servers import Start

from chat.auth import GUEST_NAME
from chat.protocol import Deleted, Edited, Found, History, Message, Reacted

pytestmark = [pytest.mark.e2e, pytest.mark.on_services]

SESSION = f"""
from django.contrib.sessions.backends.db import SessionStore
session = SessionStore()
session[{GUEST_NAME!r}] = "Alice"
session.create()
print(session.session_key)
"""


async def test_what_is_said_and_done_is_kept(start: Start) -> None:
    """And told to who comes back, after a restart too."""
    server = start("daphne")
    key = manage(server.variables["DATABASE_URL"], "shell", "--no-imports", "--command", SESSION)
    cookie = f"sessionid={key}"
    browser = {"additional_headers": {"Cookie": cookie}, "origin": server.http}
    async with over_socket(server.ws, "Alice", **browser) as alice, over_socket(server.ws, "Bob") as bob:
        await alice.join("tea")
        first = await bob.join("tea")
        for word in ("green", "black", "herbal"):
            await alice.say(f"{word} tea?", "tea", ref=word)
        assert (await alice.say("black tea?", "tea", ref="black")).id == 2
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

    server = start("daphne")
    async with over_socket(server.ws, "Bob") as bob, over_socket(server.ws, "Eve") as eve:
        welcome = await bob.join("tea", since=2, epoch=first.epoch)
        assert (welcome.resumed, welcome.seq) == (True, 7)
        missed = [await bob.expect(Message) for _ in range(3)]
        # A message that changed twice comes once, in the place of its last change.
        assert [(message.id, message.seq) for message in missed] == [(1, 5), (4, 6), (3, 7)]
        await eve.join("tea")
        await eve.send("history", room="tea")
        messages = (await eve.expect(History)).messages
        assert [message.content for message in messages] == ["white tea?", "black tea?", "", "Black, please."]
        assert [message.reply_to for message in messages][3] == 2
        await eve.say("Me too!", "tea")
        await bob.expect(Message, id=8)
