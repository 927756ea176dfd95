"""chat_check finds each fault, proposes a repair that works, and finds nothing in whole rooms."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from doubles import Outage
from logs import edit, erase, hide, posts, react, read, written

from chat import models
from chat.log import RoomLog
from chat.message_log import Writer, queries
from chat.message_log.maintenance import prune
from chat.message_log.search import prepare

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = ("chat_room", "chat_message", "chat_reaction", "chat_readposition")


@pytest.fixture
def tea() -> RoomLog:
    """Ten messages, some of them changed."""
    room = queries.open_room("tea")
    Writer().write(posts(room, 10))
    changes = [
        edit(room, 1, "x"),
        edit(room, 1, "y"),
        react(room, 2),
        erase(room, 3),
        hide(room, 8),
        read(room, 12),
    ]
    written(Writer().write(changes))
    return room


def faults_found(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The printed faults."""
    capsys.readouterr()
    with pytest.raises(CommandError, match="things are wrong"):
        call_command("chat_check", *arguments)
    return capsys.readouterr().out.splitlines()


def execute_repair(line: str) -> None:
    """Execute the repair that a line proposes."""
    with connection.cursor() as cursor:
        cursor.execute(line.partition("To repair: ")[2])


@pytest.fixture
def unconstrained(tea: RoomLog) -> Iterator[None]:
    """Copies of the tables without the database's constraints, which hide the true ones."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"CREATE TEMPORARY TABLE {table} AS SELECT * FROM {table}")  # noqa: S608 names of ours
            if connection.vendor == "postgresql":
                # From this PostgreSQL knows that a row's other columns depend on its key.
                cursor.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
        yield
        for table in TABLES:
            cursor.execute(f"DROP TABLE {table}")


def test_whole_rooms_have_no_faults(tea: RoomLog, capsys: pytest.CaptureFixture[str]) -> None:
    """Rooms with edits, deletions, emoji and pruned messages, and an empty room, pass."""
    queries.open_room("quiet")
    assert list(prune(models.Message.objects.filter(number__lte=2)))
    call_command("chat_check")
    assert capsys.readouterr().out == "2 rooms: nothing is wrong\n"


Break = Callable[[], object]


def of_tea(**fields: Any) -> Break:
    """Write these fields into message 5 of the room."""
    return lambda: models.Message._base_manager.filter(room__slug="tea", number=5).update(**fields)


def of_room(**fields: Any) -> Break:
    return lambda: models.Room._base_manager.filter(slug="tea").update(**fields)


def emoji_on_deleted() -> None:
    row = models.Message.objects.get(room__slug="tea", number=3)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chat_reaction (id, message_id, author, username, emoji) VALUES (99, %s, 'a', 'A', 'x')",
            [row.pk],
        )


BROKEN: dict[str, tuple[Break, str]] = {
    "a number twice": (of_tea(number=4), "1 times the same number is on several messages, first 4"),
    "a last number twice": (of_tea(seq=6), "1 times the same seq is on several messages, first 6"),
    "a number under 1": (of_tea(number=0), "1 messages have a number under 1, or a last change before it"),
    "a change before the number": (of_tea(seq=3), "1 messages have a number under 1, or a last change before it"),
    "a change after the last": (of_tea(seq=99), "it counts up to 15, with 0 pruned and 15 kept, and has 99"),
    "a counter that is ahead": (of_room(seq=16), "it counts up to 16, with 0 pruned and 15 kept, and has 15"),
    "a counter that is behind": (of_room(seq=14), "it counts up to 14, with 0 pruned and 15 kept, and has 15"),
    "too much pruned": (of_room(pruned=3), "it counts up to 15, with 3 pruned and 15 kept, and has 15"),
    "a change that is not counted": (
        of_tea(changes=1),
        "it counts up to 15, with 0 pruned and 16 kept, and has 15",
    ),
    "a text of what is deleted": (
        lambda: models.Message.objects.filter(number=3).update(content="still here"),
        "1 deleted messages still have their text",
    ),
    "emoji on what is deleted": (emoji_on_deleted, "1 emoji are on deleted messages"),
    "an answer to itself": (of_tea(reply_to=5), "1 messages answer one that was not there yet"),
    "an answer to what comes": (of_tea(reply_to=7), "1 messages answer one that was not there yet"),
    "an answer to nothing": (of_tea(reply_to=0), "1 messages answer one that was not there yet"),
    "a reader who is ahead": (
        lambda: models.ReadPosition.objects.update(seq=16),
        "1 people have read further than the last number, 15",
    ),
}
BY_HAND = ("number twice", "last number twice", "under 1", "before the number")


@pytest.mark.parametrize(("breaks", "said"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("only", [(), ("--room", "tea")])
def test_each_fault_is_found(
    unconstrained: None,
    capsys: pytest.CaptureFixture[str],
    breaks: Break,
    said: str,
    only: tuple[str, ...],
) -> None:
    """It is printed in one line, with the room and the repair; for that room alone as well."""
    assert breaks() != 0
    lines = [line for line in faults_found(capsys, *only) if said in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"tea: {said}. To repair: ")


@pytest.mark.parametrize("name", [name for name in BROKEN if not name.endswith(BY_HAND)])
def test_each_repair_repairs(unconstrained: None, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """The proposed statement makes the room whole. If a counter was wrong, clients start over."""
    epoch = models.Room.objects.get().epoch
    BROKEN[name][0]()
    for line in faults_found(capsys):
        execute_repair(line)
    call_command("chat_check")
    assert (models.Room.objects.get().epoch != epoch) == ("it counts up to" in BROKEN[name][1])


def test_other_rooms_are_not_checked(unconstrained: None, capsys: pytest.CaptureFixture[str]) -> None:
    """--room checks one room's log, whatever is wrong in others."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chat_room (id, slug, title, kind, epoch, seq, pruned, created) "
            "SELECT id + 100, 'coffee', title, kind, epoch, 0, 0, created FROM chat_room"
        )
    for breaks, _ in BROKEN.values():
        breaks()
    call_command("chat_check", "--room", "coffee")
    assert capsys.readouterr().out == "1 rooms: nothing is wrong\n"


def test_an_unknown_room_is_an_error() -> None:
    """A typing error does not pass for a successful check."""
    with pytest.raises(CommandError, match="There is no room 'nowhere'"):
        call_command("chat_check", "--room", "nowhere")


@pytest.mark.parametrize("of", ["", "chat_message_search"])
def test_a_database_that_is_away_is_an_error(tea: RoomLog, outage: Outage, of: str) -> None:
    """It is printed in one line, without a traceback, and is no result of the check."""
    with outage.begin(of), pytest.raises(CommandError, match="The database does not answer"):
        call_command("chat_check")


# --- The search index ---


@pytest.fixture
def index(tea: RoomLog) -> Iterator[Callable[[str], None]]:
    """Executes statements on the index, which is created again in the end."""

    def execute(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    yield execute
    if connection.vendor == "sqlite":
        execute("DROP TABLE IF EXISTS chat_message_search")
    prepare(connection)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the index of SQLite")
@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["DROP TABLE chat_message_search"], "chat_message_search not there"),
        (["DROP TRIGGER chat_message_search_insert"], "chat_message_search_insert not there"),
        (
            ["INSERT INTO chat_message_search(chat_message_search, rowid, words) VALUES ('delete', 1, 'y')"],
            "the index is not of the messages as they are",
        ),
        (
            ["INSERT INTO chat_message_search(rowid, words) VALUES (999, 'more')"],
            "the index is not of the messages as they are",
        ),
        (
            [
                "DROP TRIGGER chat_message_search_update",
                "UPDATE chat_message SET words = 'other' WHERE number = 5",
            ],
            "the index is not of the messages as they are",
        ),
    ],
)
def test_an_index_that_is_out_of_step_is_found(
    index: Callable[[str], None], capsys: pytest.CaptureFixture[str], statements: list[str], said: str
) -> None:
    """An index that lacks words, has extra ones, or is no longer updated, is a fault."""
    for statement in statements:
        index(statement)
    assert len([line for line in faults_found(capsys) if line.startswith("search: ") and said in line]) == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the index of PostgreSQL")
def test_an_index_that_is_missing_is_found(
    index: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it searches would read all texts."""
    index("DROP INDEX chat_message_search")
    assert faults_found(capsys) == [
        "search: the index chat_message_search is not there. To repair: manage.py migrate."
    ]


def test_the_check_reads_no_messages(
    tea: RoomLog, statements: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The database counts. The number of queries and the size of their results do not grow with the messages."""
    call_command("chat_check")
    few = len(statements)
    Writer().write(posts(tea, 400))
    statements.clear()
    call_command("chat_check")
    assert len(statements) == few
    assert not [sql for sql in statements if '"chat_message"."content", ' in sql]
