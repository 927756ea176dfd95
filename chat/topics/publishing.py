"""Publish from anywhere in Django: a view, a task, a command; in the caller's transaction.

A publication is one row in the outbox, so it is rolled back or committed with everything else. After the commit a
server gives it its topic's next number and sends it to the subscribers: at once in the same process and with a
channel layer between processes, otherwise within a second.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any, TypeAlias

from asgiref.sync import sync_to_async
from django.db import connections, router, transaction
from msgspec import UNSET, Raw

from chat import loops, models, protocol
from chat.database import as_database_time, insert_rows
from chat.hub import Hub, publish_from_outside
from chat.log import Outcome, RoomLog, Written
from chat.protocol import KEY_LIMIT, Invalid, Signal
from chat.topics.declare import Memory, Topic
from chat.topics.events import Event
from chat.topics.outbox import OutboxReader
from chat.topics.subscriptions import Subscriptions
from chat.topics.topic_log import TopicLog
from chat.topics.writer import Publishing, TopicWriter

WAKE = "topics"
"""The event between hubs: something waits in the outbox."""
RULES = "topic_rules"
"""The event between hubs: ask for the rights in a topic again. Without a name: in all."""
REF_LIMIT = 64
"""Characters of a ref."""

Pair: TypeAlias = tuple[Topic, Event]


def publish(topic: Topic, event: Event, *, key: object = None, ref: str | None = None, user: Any = None) -> None:
    """Publish an event, with the caller's transaction. From any thread, task or command.

    ``key``: the entry replaces the topic's entry with the same key. ``ref``: a repetition with the same one (1-64
    characters) publishes nothing more. ``user``: the account that subscribers see as the author. Raises TypeError
    for an event of another topic, ValueError for bad fields; nothing is written then.
    """
    _insert([_row(topic, event, key=key, ref=ref, user=user)])


def publish_many(pairs: Iterable[Pair | tuple[Topic, Event, object]], *, user: Any = None) -> None:
    """Publish many events with one statement: pairs of topic and event, or triples with a key."""
    _insert([_row(topic, event, key=more[0] if more else None, user=user) for topic, event, *more in pairs])


def remove(topic: Topic, key: object, *, ref: str | None = None, user: Any = None) -> None:
    """Remove a key from a topic, with the caller's transaction."""
    _insert([_removal(topic, key, ref, user)])


async def apublish(
    topic: Topic, event: Event, *, key: object = None, ref: str | None = None, user: Any = None
) -> int:
    """Publish an event now, from async code. Returns its position.

    Raises like ``publish``; chat.protocol.Invalid if the database refuses it (busy), or if the ref was used for
    another publication (ref_reused). A topic in memory has a position in each process, so the result is 0.
    """
    return await _publish_now(_row(topic, event, key=key, ref=ref, user=user))


async def aremove(topic: Topic, key: object, *, ref: str | None = None, user: Any = None) -> int:
    """Remove a key now, from async code. Returns the position, as ``apublish``; 0 if there is no such key."""
    return await _publish_now(_removal(topic, key, ref, user))


def signal(topic: Topic, event: Event, *, key: object = None, user: Any = None) -> None:
    """Send an event to the subscribers that are there when the transaction commits. It is not stored."""
    name, data = topic.codec.encode(event)
    author, username = _author(user)
    frame = protocol.encode(
        Signal(
            topic=topic.name,
            event=name,
            data=Raw(data.encode()),
            timestamp=protocol.now(),
            key=_key(key) or UNSET,
            by=models.author_key(author) or UNSET,
            username=username or UNSET,
        )
    )
    transaction.on_commit(partial(send_frame, topic.name, frame), using=_using())


async def asignal(topic: Topic, event: Event, *, key: object = None, user: Any = None) -> None:
    """``signal``, from async code."""
    await sync_to_async(signal)(topic, event, key=key, user=user)


def recheck(topic: Topic | None = None) -> None:
    """Ask again for the rights of everybody who is subscribed to this topic, or to any, after the commit.

    Call it when a rule that ``may_subscribe`` reads has changed. Subscribers without the right get `removed`.
    """
    name = topic.name if topic else ""
    if topic and not isinstance(topic.keep, Memory):
        _count_rules(topic.name)
    transaction.on_commit(partial(to_hubs, RULES, name), using=_using())


def _count_rules(name: str) -> None:
    """Processes that get no event find the change by comparing."""
    with connections[_using()].cursor() as cursor:
        cursor.execute("UPDATE chat_topic SET rules = rules + 1 WHERE name = %s", [name])


# --- The row ---


def _using() -> str:
    return router.db_for_write(models.Outbox)


def _row(
    topic: Topic, event: Event, *, key: object = None, ref: str | None = None, user: Any = None
) -> Publishing:
    name, data = topic.codec.encode(event)
    return _publishing(topic, name, data, key=_key(key), ref=_ref(ref), user=user)


def _removal(topic: Topic, key: object, ref: str | None, user: Any) -> Publishing:
    return _publishing(topic, "", "{}", key=_key(key), gone=True, ref=_ref(ref), user=user)


def _publishing(topic: Topic, event: str, data: str, *, user: Any, **fields: Any) -> Publishing:
    author, username = _author(user)
    # The outbox and the log find the topic's row by its name.
    nowhere = RoomLog(0, topic.name, "", 0)
    return Publishing(
        room=nowhere, topic=topic, event=event, data=data, author=author, username=username, **fields
    )


def _key(key: object) -> str:
    text = "" if key is None else str(key)
    if key is not None and not 1 <= len(text) <= KEY_LIMIT:
        raise ValueError(f"key: must have 1 to {KEY_LIMIT} characters, not {len(text)}")
    return text


def _ref(ref: str | None) -> str:
    if ref is not None and not 1 <= len(ref) <= REF_LIMIT:
        raise ValueError(f"ref: must have 1 to {REF_LIMIT} characters, not {len(ref)}")
    return ref or ""


def _author(user: Any) -> tuple[str, str]:
    """An account's key and name; empty without an account."""
    if user is None or not getattr(user, "is_authenticated", False):
        return "", ""
    return models.account_key(user.pk), user.get_username()


def _insert(rows: list[Publishing]) -> None:
    """Insert rows into the outbox, or hand over those of topics in memory to this process after the commit."""
    using = _using()
    has_hub = bool(loops.all_loops(Subscriptions))
    memory = [row for row in rows if has_hub and isinstance(row.topic.keep, Memory)]
    if memory:
        transaction.on_commit(partial(_hand_over, memory), using=using)
    if stored := [row for row in rows if not (has_hub and isinstance(row.topic.keep, Memory))]:
        _insert_stored(using, stored)
        transaction.on_commit(wake, using=using)


def _insert_stored(using: str, rows: list[Publishing]) -> None:
    connection = connections[using]
    created = as_database_time(protocol.now(), connection.ops)
    columns = "topic, event, key, data, gone, author, username, ref, created"
    values = [(r.topic.name, r.event, r.key, r.data, r.gone, r.author, r.username, r.ref, created) for r in rows]
    insert_rows(connection, "chat_outbox", columns, values)


def _hand_over(rows: list[Publishing]) -> None:
    """Give publications of topics in memory to this process's hub, which publishes them to all."""
    for loop, subscriptions in loops.all_loops(Subscriptions)[:1]:
        loop.call_soon_threadsafe(subscriptions.take_all, rows)


# --- Now ---


async def _publish_now(write: Publishing) -> int:
    if isinstance(write.topic.keep, Memory):
        await sync_to_async(_insert)([write])
        return 0
    log = dict(loops.all_loops(TopicLog)).get(asyncio.get_running_loop())
    outcome = await _append(log, write) if log else await sync_to_async(_write_now)(write)
    if isinstance(outcome, Invalid):
        raise outcome
    return outcome.seq


async def _append(log: TopicLog, write: Publishing) -> Written | Invalid:
    """Number a publication by this loop's log, with all others that wait."""
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    write.done = answer.set_result
    write.room = await log.open(write.topic.name)
    log.append(write)
    return await answer


def _write_now(write: Publishing) -> Written | Invalid:
    """Number a publication on this thread."""
    (outcome,) = TopicWriter().attempt([write], wait=True)
    if not isinstance(outcome, Written | Invalid):
        raise TypeError("a publication that waits for a lock was not written")
    if isinstance(outcome, Written):
        compare_soon()
    return outcome


def wake() -> None:
    """Something waits in the outbox: have a server number it."""
    readers = loops.all_loops(OutboxReader)
    for loop, reader in readers:
        loop.call_soon_threadsafe(reader.soon)
    if not readers:
        publish_from_outside((WAKE,))


def compare_soon() -> None:
    """Something was numbered here: have the servers read it."""
    for loop, hub in loops.all_loops(Hub):
        loop.call_soon_threadsafe(hub.compare_soon)
    publish_from_outside((WAKE,))


def send_frame(name: str, frame: str) -> None:
    """Send a frame to the subscribers of a topic, or the users in a room, in all processes."""
    hubs = loops.all_loops(Hub)
    for loop, hub in hubs[:1]:
        loop.call_soon_threadsafe(hub.publish_soon, name, frame)
    if not hubs:
        publish_from_outside(("frame", frame), name)


def to_hubs(kind: str, *values: Any) -> None:
    """Publish an event to every hub (``ClusterEvents.handlers``), from any thread of any process."""
    hubs = loops.all_loops(Hub)
    for loop, hub in hubs[:1]:
        loop.call_soon_threadsafe(hub.publish_to_all, kind, *values)
    if not hubs:
        publish_from_outside((kind, *values))
