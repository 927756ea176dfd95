"""Log lines for programs: one JSON object each, whatever was said."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from helpers import CommunicatorPersona, Enter

from chat import models
from chat.hub import Hub
from chat.loops import current
from chatsite.logs import JSONFormatter

Persona = CommunicatorPersona


def line(record: logging.LogRecord) -> dict[str, Any]:
    said = JSONFormatter().format(record)
    assert "\n" not in said
    read: dict[str, Any] = json.loads(said)
    return read


def record(message: str = "hi", *arguments: object, **options: Any) -> logging.LogRecord:
    return logging.LogRecord("chat.hub", logging.WARNING, __file__, 1, message, arguments, None, **options)


def test_a_line_says_when_where_how_bad_and_what() -> None:
    """The time is in UTC, to the millisecond, and the arguments are in the message."""
    said = record("room %s, at %d", "tea", 5)
    said.created, said.process = datetime(2026, 11, 29, 9, 8, 7, 65_999, UTC).timestamp(), 42
    assert line(said) == {
        "time": "2026-11-29T09:08:07.065Z",
        "level": "WARNING",
        "logger": "chat.hub",
        "message": "room tea, at 5",
        "process": 42,
    }


@pytest.mark.parametrize("said", ["two\nlines", '"', "\\", "\u2028", "\x00\x1b[31m", "\ud800", "\N{CAT FACE}"])
def test_whatever_is_said_it_is_one_line(said: str) -> None:
    """Nobody forges a line or steers a terminal, and what can't be encoded is told all the same."""
    assert line(record("%s", said))["message"] == said
    assert JSONFormatter().format(record("%s", said)).isprintable()


def test_an_error_comes_with_its_traceback() -> None:
    """As text, in the same line."""
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        said = record()
        said.exc_info = sys.exc_info()
    assert line(said)["exception"].startswith("Traceback (most recent call last):\n")
    assert line(said)["exception"].endswith("ZeroDivisionError: division by zero")


def test_what_a_line_is_about_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A connection and a room, where they are known, and nothing else that somebody may add."""
    logging.getLogger("chat.hub").warning("hi", extra={"connection": "ab12", "room": "tea", "content": "a secret"})
    told = line(caplog.records[0])
    assert (told["connection"], told["room"]) == ("ab12", "tea")
    assert "a secret" not in str(told)


async def test_an_error_of_a_connection_names_it(
    person: Enter, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id that the admin shows too."""
    alice = await person("Alice")
    (socket,) = current(Hub).sockets.values()
    monkeypatch.setattr("chat.actions.join", None)
    await alice.send("join")
    await alice.closed()
    (said,) = [each for each in caplog.records if each.name == "chat.consumers"]
    assert line(said)["connection"] == socket.id
    assert "TypeError" in line(said)["exception"]


async def test_a_room_whose_log_is_another_is_named(alice: Persona, caplog: pytest.LogCaptureFixture) -> None:
    """By its name in addresses."""
    await alice.join("tea")
    hub = current(Hub)
    room = hub.rooms()["tea"]
    await models.Room.objects.filter(slug="tea").adelete()
    await hub._reconciler.start_over(room)
    (said,) = [each for each in caplog.records if each.name == "chat.hub"]
    assert line(said)["room"] == "tea"
