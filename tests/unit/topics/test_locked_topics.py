"""Another transaction has locked a topic's row: its publications wait, and no others. PostgreSQL."""

import asyncio
from collections.abc import Iterator

import pytest
from asgiref.sync import sync_to_async
from databases import Somebody, only_postgresql
from django.db import connection
from helpers import CommunicatorPersona
from mirror import Mirror
from shelf import Moved, OrderTopic

from chat import models
from chat.protocol import Ack, Message, Publication, Subscribed
from chat.topics import apublish, publish

pytestmark = only_postgresql


@pytest.fixture
def somebody(rooms: None) -> Iterator[Somebody]:
    """Another connection, in a transaction."""
    with Somebody() as found:
        found.execute("BEGIN")
        yield found


async def test_a_locked_topic_delays_only_itself(alice: CommunicatorPersona, somebody: Somebody) -> None:
    """Others are numbered meanwhile, rooms too; what waited comes when the lock is gone, in its order."""
    for number in (1, 2):
        await apublish(OrderTopic(number), Moved("first"))
        await alice.send("subscribe", topic=f"shelf-order:{number}")
        await alice.expect(Subscribed)
    await alice.join()
    somebody.execute("SELECT * FROM chat_topic WHERE name = 'shelf-order:1' FOR UPDATE")

    def view() -> None:
        publish(OrderTopic(1), Moved("waits"))
        publish(OrderTopic(1), Moved("waits too"))
        publish(OrderTopic(2), Moved("goes on"))
        connection.close()

    await sync_to_async(view, thread_sensitive=False)()
    assert (await alice.expect(Publication)).topic == "shelf-order:2"
    await alice.say("the chat goes on")
    await alice.expect(Message)
    await alice.send("publish", topic="shelf-order:2", event="moved", data={"status": "of a client"}, ref="1")
    await alice.expect(Ack, ref="1")
    assert [row.topic async for row in models.Outbox.objects.order_by("pk")] == ["shelf-order:1"] * 2
    somebody.execute("COMMIT")
    mirror = Mirror("shelf-order:1", position=1)
    async with asyncio.timeout(20):
        while len(mirror.entries) < 2:
            mirror.take(await alice.next())
    assert [data["status"] for _, data in mirror.entries] == ["waits", "waits too"]


async def test_a_publisher_holds_up_nobody(alice: CommunicatorPersona, somebody: Somebody) -> None:
    """A long transaction that has published locks no topic: others publish there meanwhile, and come first."""
    await apublish(OrderTopic(1), Moved("first"))
    await alice.send("subscribe", topic="shelf-order:1")
    await alice.expect(Subscribed)
    somebody.execute(
        "INSERT INTO chat_outbox (topic, event, key, data, gone, author, username, ref, created) "
        "VALUES ('shelf-order:1', 'moved', '', '{\"status\": \"slow\"}', false, '', '', '', now())"
    )
    await apublish(OrderTopic(1), Moved("quick"))
    assert bytes((await alice.expect(Publication)).data) == b'{"status":"quick","at":0}'  # type: ignore[arg-type]
    somebody.execute("COMMIT")
    assert b"slow" in bytes((await alice.expect(Publication)).data)  # type: ignore[arg-type]
