"""Publish from Python, receive on sockets: committed once and in order, rolled back never."""

from collections.abc import Iterator
from threading import Thread
from typing import Any

import msgspec
import pytest
import shelf
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection, transaction
from doubles import Clock, Outage
from doubles import until as until_true
from helpers import CommunicatorPersona, Enter
from members import member
from mirror import Mirror
from shelf import BoardTopic, Cancelled, ClosedTopic, GaugeTopic, Moved, OrderTopic, Reading, WorldTopic

from chat import models
from chat.hub import Hub
from chat.loops import current
from chat.protocol import (
    Ack,
    Entries,
    Error,
    ErrorCode,
    Invalid,
    Present,
    Publication,
    Removed,
    Signal,
    Subscribed,
)
from chat.topics import Topic, apublish, publish, publish_many, recheck, remove, signal
from chat.topics.open_topic import OpenTopic
from chat.topics.subscriptions import Subscriptions

in_thread = sync_to_async(thread_sensitive=False)


@pytest.fixture(autouse=True)
def _everybody() -> Iterator[None]:
    yield
    shelf.ALLOWED.clear()


def blocking(call: object) -> None:
    """Run on a thread of its own, and close its connection."""
    try:
        call()  # type: ignore[operator]
    finally:
        connection.close()


async def out(call: object) -> None:
    await in_thread(blocking)(call)


async def subscribed(persona: CommunicatorPersona, topic: Topic, **fields: object) -> Mirror:
    await persona.send("subscribe", topic=topic.name, **fields)
    mirror = Mirror(topic.name)
    mirror.take(await persona.expect(Subscribed, topic=topic.name))
    return mirror


async def until(persona: CommunicatorPersona, mirror: Mirror, condition: object) -> None:
    """Take what comes until the mirror is as it should be."""
    while not condition():  # type: ignore[operator]
        mirror.take(await persona.next())


async def test_a_publication_is_delivered_after_the_commit(alice: CommunicatorPersona) -> None:
    mirror = await subscribed(alice, OrderTopic(42))

    def view() -> None:
        with transaction.atomic():
            User.objects.create(username="somebody")
            publish(OrderTopic(42), Moved("paid", 7))

    await out(view)
    publication = await alice.expect(Publication)
    mirror.take(publication)
    assert mirror.entries == [(1, {"status": "paid", "at": 7})]
    assert publication.event == "moved"
    assert await models.Outbox.objects.acount() == 0


async def test_what_is_rolled_back_is_not_delivered(alice: CommunicatorPersona) -> None:
    mirror = await subscribed(alice, OrderTopic(42))

    def view() -> None:
        with transaction.atomic():
            publish(OrderTopic(42), Moved("never"))
            transaction.set_rollback(True)
        publish(OrderTopic(42), Moved("after"))

    await out(view)
    await until(alice, mirror, lambda: mirror.entries)
    assert mirror.entries == [(1, {"status": "after", "at": 0})]


async def test_many_threads_each_in_its_order_and_all_once(
    alice: CommunicatorPersona, bob: CommunicatorPersona
) -> None:
    first, second = await subscribed(alice, OrderTopic(1)), await subscribed(bob, OrderTopic(1))

    def run(name: str) -> None:
        for number in range(25):
            with transaction.atomic():
                publish(OrderTopic(1), Moved(name, number))
        connection.close()

    threads = [Thread(target=run, args=[name]) for name in "abc"]
    for thread in threads:
        thread.start()
    for persona, mirror in ((alice, first), (bob, second)):
        await until(persona, mirror, lambda mirror=mirror: len(mirror.entries) == 75)
    for thread in threads:
        await in_thread(thread.join)()
    assert first.entries == second.entries
    for name in "abc":
        assert [data["at"] for _, data in first.entries if data["status"] == name] == list(range(25))


async def test_a_ref_publishes_once(alice: CommunicatorPersona, caplog: pytest.LogCaptureFixture) -> None:
    mirror = await subscribed(alice, OrderTopic(1))

    def view() -> None:
        for _ in range(3):
            publish(OrderTopic(1), Moved("paid"), ref="paid-1")
        publish(OrderTopic(1), Moved("other"), ref="paid-1")
        publish(OrderTopic(1), Moved("end"))

    await out(view)
    await until(alice, mirror, lambda: mirror.entries and mirror.entries[-1][1]["status"] == "end")
    assert [data["status"] for _, data in mirror.entries] == ["paid", "end"]
    assert "'paid-1' was used for another publication" in caplog.text


async def test_apublish_returns_the_position(alice: CommunicatorPersona) -> None:
    mirror = await subscribed(alice, OrderTopic(1))
    assert await apublish(OrderTopic(1), Moved("a"), ref="x") == 1
    assert await apublish(OrderTopic(1), Moved("b")) == 2
    assert await apublish(OrderTopic(1), Moved("a"), ref="x") == 1
    with pytest.raises(Invalid) as refused:
        await apublish(OrderTopic(1), Moved("c"), ref="x")
    assert refused.value.code == ErrorCode.REF_REUSED
    await until(alice, mirror, lambda: mirror.position == 2)


async def test_keys_have_their_latest_value(alice: CommunicatorPersona, bob: CommunicatorPersona) -> None:
    mirror = await subscribed(alice, GaugeTopic("cpu"))
    long = "x" * 400

    def view() -> None:
        publish_many([(GaugeTopic("cpu"), Reading(n, long), f"core{n % 3}") for n in range(10)])
        remove(GaugeTopic("cpu"), "core2")
        remove(GaugeTopic("cpu"), "never")
        publish(GaugeTopic("cpu"), Reading(99, long), key="core0")

    await out(view)
    expected = {"core0": {"value": 99.0, "label": long}, "core1": {"value": 7.0, "label": long}}
    await until(alice, mirror, lambda: mirror.state == expected)
    late = await subscribed(bob, GaugeTopic("cpu"))
    await until(bob, late, lambda: late.state == expected)
    assert late.position == mirror.position == 12
    row = await models.Topic.objects.aget()
    entries = [entry async for entry in row.entries.all()]
    assert row.seq == sum(1 + entry.changes for entry in entries) == 12


async def test_a_small_change_of_a_big_value_is_sent_as_a_patch(clock: Clock, alice: CommunicatorPersona) -> None:
    mirror = await subscribed(alice, GaugeTopic("cpu"))
    long = "x" * 400
    await apublish(GaugeTopic("cpu"), Reading(1, long), key="core0")
    await until(alice, mirror, lambda: mirror.state)
    # The hub has compared since the client came: the client surely has the value.
    await clock.skip(1.0)
    await clock.skip(1.0)
    await apublish(GaugeTopic("cpu"), Reading(2, long), key="core0")
    publication = await alice.expect(Publication, seq=2)
    assert msgspec.json.encode(publication.patch) == b'{"value":2}'
    mirror.take(publication)
    assert mirror.state == {"core0": {"value": 2.0, "label": long}}


@pytest.mark.parametrize("kind", [BoardTopic, WorldTopic])
async def test_a_tick_has_each_key_once(
    alice: CommunicatorPersona, bob: CommunicatorPersona, kind: type[Topic]
) -> None:
    mirror = await subscribed(alice, kind("cpu"))

    def view() -> None:
        with transaction.atomic():
            publish_many([(kind("cpu"), Reading(n), f"core{n % 5}") for n in range(500)])
            publish(kind("cpu"), Moved("note"))
            remove(kind("cpu"), "core4")

    await out(view)
    expected = {f"core{n}": {"value": 495.0 + n, "label": ""} for n in range(4)}
    await until(alice, mirror, lambda: mirror.state == expected and mirror.entries)
    assert mirror.frames < 20
    assert mirror.position == 502
    late = await subscribed(bob, kind("cpu"))
    await until(bob, late, lambda: late.state == expected and late.entries == mirror.entries)


async def test_a_client_comes_back_with_its_position(person: Enter, alice: CommunicatorPersona) -> None:
    mirror = await subscribed(alice, OrderTopic(1))
    await out(lambda: publish(OrderTopic(1), Moved("a")))
    await until(alice, mirror, lambda: mirror.position == 1)
    await alice.vanish()
    await out(lambda: publish_many([(OrderTopic(1), Moved(str(n))) for n in range(5)]))
    again = await person("Alice")
    await again.send("subscribe", topic="shelf-order:1", since=mirror.position, epoch=mirror.epoch)
    await until(again, mirror, lambda: mirror.position == 6)
    assert [data["status"] for _, data in mirror.entries] == ["a", "0", "1", "2", "3", "4"]
    assert again.count(Subscribed, resumed=True) == 1


async def test_a_newcomer_gets_the_last_entries(alice: CommunicatorPersona) -> None:
    await out(lambda: publish_many([(OrderTopic(1), Moved(str(n))) for n in range(8)]))
    await apublish(OrderTopic(1), Moved("last"))
    mirror = await subscribed(alice, OrderTopic(1), rewind=3)
    await until(alice, mirror, lambda: mirror.position == 9)
    assert [data["status"] for _, data in mirror.entries] == ["6", "7", "last"]
    await alice.send("entries", topic="shelf-order:1", limit=2, before=4, ref="e")
    page = await alice.expect(Entries)
    assert ([entry.id for entry in page.entries], page.more) == ([2, 3], True)


async def test_a_client_publishes_once_per_ref(alice: CommunicatorPersona, bob: CommunicatorPersona) -> None:
    await subscribed(alice, OrderTopic(1))
    mirror = await subscribed(bob, OrderTopic(1))
    for _ in range(2):
        await alice.send(
            "publish", topic="shelf-order:1", event="moved", data={"status": "x", "more": 1}, ref="r1"
        )
        ack = await alice.expect(Ack, ref="r1")
        assert (ack.topic, ack.id, ack.seq) == ("shelf-order:1", 1, 1)
    await alice.send("publish", topic="shelf-order:1", event="moved", data={"status": "y"}, ref="r1")
    await alice.refused(ErrorCode.REF_REUSED)
    await alice.send("publish", topic="shelf-order:1", event="cancelled", ref="r2")
    await until(bob, mirror, lambda: mirror.position == 2)
    assert mirror.entries == [(1, {"status": "x", "at": 0}), (2, {})]


async def test_a_client_without_a_session_retries_on_another_connection(person: Enter) -> None:
    """Its publication is known by the ref, although the connection has another identity."""
    for _ in range(2):
        alice = await person("Alice")
        await subscribed(alice, OrderTopic(1))
        await alice.send("publish", topic="shelf-order:1", event="moved", data={"status": "x"}, ref="r1")
        assert (await alice.expect(Ack, ref="r1")).seq == 1
        await alice.vanish()
    # A stranger can't take a ref of Python's.
    assert await apublish(OrderTopic(1), Moved("paid"), ref="r1") == 2


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"event": "nothing", "data": {}}, ErrorCode.BAD_FIELD, "event"),
        ({"data": {}}, ErrorCode.BAD_FIELD, "event"),
        ({"event": "reading", "data": {"value": "x"}}, ErrorCode.BAD_FIELD, "data"),
        ({"event": "reading", "data": []}, ErrorCode.BAD_FIELD, "data"),
        ({"event": "reading", "data": {"value": 1, "label": "x" * 33_000}}, ErrorCode.BAD_FIELD, "data"),
        ({"event": "reading", "data": {"value": -1}}, ErrorCode.FORBIDDEN, None),
        ({"gone": True}, ErrorCode.BAD_FIELD, "key"),
        ({"event": "reading", "data": {"value": 1}, "key": "x" * 101}, ErrorCode.BAD_FIELD, "key"),
    ],
)
async def test_a_bad_publication_is_refused(
    alice: CommunicatorPersona, fields: dict[str, object], code: ErrorCode, field: str | None
) -> None:
    await subscribed(alice, GaugeTopic("cpu"))
    await alice.send("publish", topic="shelf-gauge:cpu", ref="r", **fields)
    error = await alice.refused(code)
    assert (error.field or None, error.ref) == (field, "r")
    assert await models.Entry.objects.acount() == 0


async def test_strangers_learn_nothing(alice: CommunicatorPersona) -> None:
    """A topic of an undeclared kind, and one that may not be read, are refused alike."""
    answers = []
    for name in ("shelf-order:secret", "unknown:1", "shelf-closed:1"):
        await alice.send("subscribe", topic=name, ref="s")
        error = await alice.refused(ErrorCode.NO_TOPIC)
        answers.append(error.message.replace(name, "…"))
    assert len(set(answers)) == 1
    assert await models.Topic.objects.acount() == 0
    for kind in ("publish", "signal", "present", "entries", "unsubscribe"):
        await alice.send(kind, topic="shelf-order:1", event="moved", data={"status": "x"})
        await alice.refused(ErrorCode.NOT_SUBSCRIBED)
    assert ClosedTopic(1).may_publish(None, "1", None) is False


async def test_a_lost_right_ends_the_subscription(person: Enter) -> None:
    anna = await member(person, "Anna")
    await subscribed(anna, OrderTopic(1))
    shelf.ALLOWED["Anna"] = False
    await out(lambda: recheck(OrderTopic(1)))
    removed = await anna.expect(Removed)
    assert (removed.topic, removed.code) == ("shelf-order:1", ErrorCode.NO_TOPIC)
    await apublish(OrderTopic(1), Moved("secret"))
    assert await anna.silence() == []


async def test_a_right_that_is_lost_during_the_subscription_ends_it(
    clock: Clock, person: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule changes after the question and before the subscription. The rounds of each second stand still."""
    for topic in (OrderTopic(1), WorldTopic("w")):
        anna, plain = await member(person, "Anna"), Subscriptions._position
        shelf.ALLOWED.clear()

        async def late(
            self: Subscriptions, room: OpenTopic, *arguments: Any, plain: Any = plain, topic: Topic = topic
        ) -> Any:
            shelf.ALLOWED["Anna"], rounds = False, self._rounds
            await out(lambda: recheck(topic))
            await until_true(lambda: self._rounds > rounds and not room.loading_tasks())
            return await plain(self, room, *arguments)

        monkeypatch.setattr(Subscriptions, "_position", late)
        clock.stop()
        await anna.send("subscribe", topic=topic.name)
        await until_true(lambda anna=anna: anna.communicator.output_queue.qsize() > 1)  # type: ignore[misc]
        clock.start()
        await anna.expect(Removed, topic=topic.name)
        monkeypatch.setattr(Subscriptions, "_position", plain)


async def test_a_database_that_is_away_takes_no_right(person: Enter, outage: Outage) -> None:
    """A question that can't be answered is busy; nobody is removed, and nobody is told that there is no topic."""
    anna, ben = await member(person, "Anna"), await member(person, "Ben")
    await subscribed(anna, OrderTopic(1))
    with outage.begin():
        current(Subscriptions).recheck(list(current(Hub).sockets.values()))
        await ben.send("subscribe", topic="shelf-order:1", ref="s")
        assert (await ben.expect(Error, ref="s")).code == ErrorCode.BUSY
        await anna.send("publish", topic="shelf-order:1", event="cancelled", ref="p")
        assert (await anna.expect(Error, ref="p")).code == ErrorCode.BUSY
    await apublish(OrderTopic(1), Moved("after"))
    await anna.expect(Publication)
    assert anna.count(Removed) == 0


async def test_a_changed_account_is_asked_about_again(person: Enter) -> None:
    anna = await member(person, "Anna")
    await subscribed(anna, OrderTopic(1))
    shelf.ALLOWED["Anna"] = False
    user = await User.objects.aget(username="Anna")
    await user.asave()
    await anna.expect(Removed)


async def test_signals_reach_those_who_are_there(alice: CommunicatorPersona, bob: CommunicatorPersona) -> None:
    await subscribed(alice, OrderTopic(1))
    await subscribed(bob, OrderTopic(1))
    await alice.send("signal", topic="shelf-order:1", event="moved", data={"status": "typing"})
    assert bytes((await bob.expect(Signal)).data) == b'{"status":"typing","at":0}'

    def view() -> None:
        signal(OrderTopic(1), Cancelled())

    await out(view)
    assert bytes((await bob.expect(Signal, event="cancelled")).data) == b"{}"
    assert await models.Entry.objects.acount() == 0


async def test_people_are_present_with_their_state(person: Enter) -> None:
    anna, ben = await member(person, "Anna"), await member(person, "Ben")
    await subscribed(anna, GaugeTopic("cpu"))
    assert (await anna.expect(Present)).whole
    assert [one.username for one in (await anna.expect(Present)).came] == ["Anna"]
    await anna.send("present", topic="shelf-gauge:cpu", state={"cursor": 3})
    await anna.expect(Present)
    await subscribed(ben, GaugeTopic("cpu"))
    whole = await ben.expect(Present)
    assert [(one.username, msgspec.json.encode(one.state)) for one in whole.came] == [("Anna", b'{"cursor":3}')]
    came = (await anna.expect(Present)).came
    assert [one.username for one in came] == ["Ben"]
    await ben.vanish()
    assert (await anna.expect(Present)).went == [came[0].by]


async def test_a_wrong_event_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match=r"The topic 'shelf-order' takes Cancelled, Moved, not Reading"):
        publish(OrderTopic(1), Reading(1))
    with pytest.raises(ValueError, match=r"Moved: Expected `str`, got `int` - at `\$.status`"):
        publish(OrderTopic(1), Moved(1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no topic's name"):
        OrderTopic("a b")
