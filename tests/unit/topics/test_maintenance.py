"""Topics are pruned as they are declared, checked, described, and shown in the admin."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from shelf import GaugeTopic, Moved, OrderTopic, Reading

from chat import models
from chat.topics import Event, Latest, Log, Memory, Topic, publish, publish_many, remove, topic
from chat.topics.describe import typescript
from chat.topics.writer import create, number_waiting


def number() -> None:
    """Number all that waits, as a server does."""
    while number_waiting(lambda _rows: []).taken:
        pass


def age(days: float) -> None:
    """Make all entries and refs older."""
    with connection.cursor() as cursor:
        moment = connection.ops.adapt_datetimefield_value(timezone.now() - timedelta(days=days))
        cursor.execute("UPDATE chat_entry SET created = %s", [moment])
        cursor.execute("UPDATE chat_publishedref SET created = %s", [moment])


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


@pytest.fixture
def filled(rooms: None) -> None:
    publish_many([(OrderTopic(1), Moved(str(n))) for n in range(130)])
    publish_many([(GaugeTopic("a"), Reading(n), f"k{n % 3}") for n in range(9)])
    remove(GaugeTopic("a"), "k0")
    publish(OrderTopic(1), Moved("last"), ref="r")
    number()


def test_prune_keeps_the_declared_depth(filled: None) -> None:
    """The latest hundred stay, and the numbers still add up."""
    assert "shelf-order:1: 31 entries with 31 numbers would be deleted" in run("prune_topics", "--dry-run")
    assert models.Entry.objects.count() == 131 + 3
    run("prune_topics")
    row = models.Topic.objects.get(name="shelf-order:1")
    assert (row.entries.count(), row.pruned, row.floor, row.seq) == (100, 31, 31, 131)
    assert "nothing is wrong" in run("chat_check")


def test_prune_forgets_what_is_too_old(filled: None) -> None:
    """Entries of a Log by age; of Latest only removed keys; refs; and topics without any publication."""
    age(31)
    create("default", ["shelf-order:empty", "shelf-order:young"])
    with connection.cursor() as cursor:
        moment = connection.ops.adapt_datetimefield_value(timezone.now() - timedelta(days=2))
        cursor.execute("UPDATE chat_topic SET created = %s WHERE name <> 'shelf-order:young'", [moment])
    run("prune_topics")
    assert list(models.Entry.objects.values_list("key", flat=True).order_by("key")) == ["k1", "k2"]
    assert models.PublishedRef.objects.count() == 0
    names = set(models.Topic.objects.values_list("name", flat=True))
    assert names == {"shelf-order:1", "shelf-gauge:a", "shelf-order:young"}
    assert "nothing is wrong" in run("chat_check")


def test_check_finds_wrong_numbers_and_forgotten_publications(filled: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_topic SET seq = 200 WHERE name = 'shelf-order:1'")
    models.Outbox.objects.create(topic="gone:1", data="{}", created=timezone.now() - timedelta(hours=1))
    out = StringIO()
    with pytest.raises(CommandError, match="2 things are wrong"):
        call_command("chat_check", stdout=out)
    assert "shelf-order:1: it counts up to 200" in out.getvalue()
    assert "gone:1: 1 publications wait for their number" in out.getvalue()


def test_numbers_that_something_else_wrote_are_healed(filled: None) -> None:
    """A restored counter lies before its entries: the next batch fails, heals, and the one after goes on."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_topic SET seq = 5 WHERE name = 'shelf-order:1'")
    publish(OrderTopic(1), Moved("new"))
    with pytest.raises(Exception, match=r"(?i)unique"):
        number()
    number()
    assert models.Topic.objects.get(name="shelf-order:1").seq == 132


@pytest.mark.parametrize("model", [models.Topic, models.Entry, models.PublishedRef])
def test_rows_are_written_by_topics_alone(model: type[models.Topic], rooms: None) -> None:
    with pytest.raises(TypeError, match=r"call chat\.topics\.publish\(\)"):
        model().save()
    with pytest.raises(TypeError, match=r"call chat\.topics\.publish\(\)"):
        model.objects.create()
    with pytest.raises(TypeError, match=r"call chat\.topics\.publish\(\)"):
        model.objects.update(seq=9)


def test_the_admin_shows_topics(client: Client, filled: None) -> None:
    publish(OrderTopic(2), Moved("waits"))
    client.force_login(User.objects.create_superuser("root"))
    assert b"shelf-order:1" in client.get("/admin/chat/topic/").content
    assert b"shelf-gauge:a" in client.get("/admin/chat/entry/?q=k1").content
    assert b"shelf-order:2" in client.get("/admin/chat/outbox/").content
    row = models.Topic.objects.get(name="shelf-order:1")
    assert client.get(f"/admin/chat/topic/{row.pk}/change/").status_code == 200


def test_the_documents_have_every_topic(tmp_path: Path) -> None:
    run("chat_protocol", "--topics", "--directory", str(tmp_path))
    schema = json.loads((tmp_path / "topics.schema.json").read_text())
    assert schema["topics"]["shelf-order"].keys() == {"moved", "cancelled"}
    assert schema["$defs"]["Moved"]["required"] == ["status"]
    assert "event" not in schema["$defs"]["Moved"]["properties"]
    asyncapi = json.loads((tmp_path / "topics.asyncapi.json").read_text())
    assert asyncapi["channels"]["shelf-gauge"]["address"] == "shelf-gauge:{key}"
    assert "### `cancelled`" in (tmp_path / "topics.md").read_text()
    assert "up to date" in run("chat_protocol", "--topics", "--check", "--directory", str(tmp_path))


def test_the_types_are_typescript() -> None:
    text = typescript([OrderTopic])
    assert 'interface Moved {\n  "status": string;\n  "at"?: number;\n}' in text
    assert '"shelf-order": {"moved": Moved; "cancelled": Cancelled;};' in text


class Thing(Event, tag="thing"):
    pass


class Nameless(Event, tag="not a name!"):
    pass


@pytest.mark.parametrize(
    ("kind", "fields", "error"),
    [
        ("Shelf", {"events": Thing}, "a kind has 1-29 characters"),
        ("shelf-x", {}, "`events` must be one or more subclasses of Event"),
        ("shelf-x", {"events": int}, "`events` must be one or more subclasses of Event"),
        ("shelf-x", {"events": Nameless}, "Nameless needs a name"),
        ("shelf-x", {"events": Thing, "keep": 3}, "`keep` must be Log"),
        ("shelf-x", {"events": Thing, "every": 0}, "`every` must be a number of seconds from 0.005 to 60"),
        ("shelf-order", {"events": Thing}, "has this kind already"),
    ],
)
def test_a_wrong_declaration_says_what_is_right(kind: str, fields: dict[str, object], error: str) -> None:
    with pytest.raises(TypeError, match=error):
        topic(kind)(type("Wrong", (Topic,), fields))


def test_the_ways_to_keep_are_values() -> None:
    assert Log() == Log(depth=1_000, days=30)
    assert (Latest().days, Memory().depth) == (7, 100)
