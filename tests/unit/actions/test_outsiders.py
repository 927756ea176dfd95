"""Charlie knows a room's name and learns nothing from it: not by an answer, its cost or its time."""

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from channels.db import database_sync_to_async as in_a_thread
from django.apps import apps
from django.contrib.auth.models import User
from django.db.backends.utils import CursorWrapper
from django.test import Client
from doubles import Clock
from helpers import CommunicatorPersona, Enter
from members import guest, member

from chat import actions, models
from chat.auth import account
from chat.database import on_each_thread
from chat.hub import Hub
from chat.loops import current
from chat.protocol import COMMANDS, Error, Message, UserList

Persona = CommunicatorPersona

# The fields of each command, without the room; Charlie would be allowed each of them in a room of his own.
ROOM_COMMANDS = {tag for tag, kind in COMMANDS.items() if "topic" not in kind.__struct_fields__}
"""Commands about rooms. Those about topics: tests/unit/topics/."""
CASES: dict[str, dict[str, Any]] = {
    "join": {},
    "leave": {},
    "message": {"content": "hi"},
    "edit": {"id": 1, "content": "hi"},
    "delete": {"id": 1},
    "react": {"id": 1, "emoji": "👍"},
    "read": {"seq": 1},
    "typing": {},
    "history": {},
    "search": {"query": "secret"},
    "token": {"token": "e30.e30.e30"},
    "create": {"kind": "public", "title": "Mine"},
    "direct": {"username": "Nobody"},
    "room": {"title": "Mine"},
    "invite": {"username": "Charlie"},
    "role": {"username": "Charlie", "role": "owner"},
    "members": {},
    "sharing": {"username": "Bob"},
    "kick": {"username": "Bob"},
    "mute": {"username": "Bob"},
    "ban": {"username": "Bob"},
    "report": {"id": 1},
    "ping": {},
}
OUTSIDERS = ["Charlie", "Gina", "Sue"]
KINDS = ["private", "direct"]


def missing(slug: str) -> str:
    """A hidden name of the same length that no room has."""
    return "_" + "0" * (len(slug) - 1)


@dataclass
class Scene:
    """Alice and Bob are in two rooms that are not for others; the others have a socket each."""

    slugs: dict[str, str]
    members: list[Persona]
    outsiders: dict[str, Persona]
    clock: Clock

    @asynccontextmanager
    async def stillness(self, statements: list[str]) -> AsyncIterator[None]:
        """Nothing happens by itself: each query is caused by a command.

        The rounds that look at sign-ins and rooms each second wait for their timers, and none is under way.
        """
        self.clock.stop()
        asked = -1
        while asked != len(statements):
            asked = len(statements)
            # The work after an answer, up to the next question; that one counts when a thread asks it.
            for _ in range(20):
                await asyncio.sleep(0)
            await in_a_thread(on_each_thread)(lambda: None)
        statements.clear()
        yield
        self.clock.start()


@pytest.fixture
async def scene(person: Enter) -> Scene:
    alice, bob = await member(person, "Alice"), await member(person, "Bob")
    owner = account(await User.objects.aget(username="Alice"))
    private = await in_a_thread(actions.create)(owner, title="Plans", kind="private")
    await in_a_thread(actions.members.add)(owner, private, "Bob")
    slugs = {"private": private, "direct": await in_a_thread(actions.open_direct)(owner, "Bob")}
    for slug in slugs.values():
        for one in (alice, bob):
            await one.join(slug)
        await alice.say("a secret", slug)
        await bob.expect(Message, room=slug)
    outsiders = {
        "Charlie": await member(person, "Charlie"),
        "Gina": await guest(person, "Gina"),
        "Sue": await person("Sue"),
    }
    return Scene(slugs, [alice, bob], outsiders, Clock())


def rows() -> dict[str, list[Any]]:
    """Every row of the database."""
    kept = [model for model in apps.get_models() if model._meta.managed]
    return {model._meta.label: list(model._default_manager.order_by("pk").values_list()) for model in kept}


async def answers(who: Persona, verb: str, slug: str) -> list[Any]:
    """All frames that the command causes, without the room's name and the time."""
    await who.send(verb, **{"room": slug, "username": who.name, "ref": "r", **CASES[verb]})
    heard = [msgspec.to_builtins(outgoing) for outgoing in await who.silence()]
    for outgoing in heard:
        outgoing.pop("timestamp")
    found: list[Any] = msgspec.json.decode(msgspec.json.encode(heard).replace(slug.encode(), b"SLUG"))
    return found


@pytest.mark.parametrize("verb", sorted(ROOM_COMMANDS))
async def test_a_room_of_others_is_as_one_that_does_not_exist(
    scene: Scene, verb: str, statements: list[str]
) -> None:
    """The same reply, from the same queries; the database does not change, and no client receives an event."""
    before = await in_a_thread(rows)()
    for kind in KINDS:
        for name in OUTSIDERS:
            told = []
            for slug in (scene.slugs[kind], missing(scene.slugs[kind])):
                # The first command of each kind fills caches that are not the room's.
                await answers(scene.outsiders[name], verb, slug)
                async with scene.stillness(statements):
                    told.append((await answers(scene.outsiders[name], verb, slug), list(statements)))
            assert told[0] == told[1], (kind, name)
            assert all(one["type"] in {"error", "pong"} for one in told[0][0]), (kind, name)
    assert await in_a_thread(rows)() == before
    await _hear_only_each_other(scene)


async def _hear_only_each_other(scene: Scene) -> None:
    """Frames to a room before a mark come before it; and no list has a name that isn't a member's."""
    alice, bob = scene.members
    for slug in scene.slugs.values():
        before = len(bob.heard)
        await alice.say("mark", slug)
        await bob.expect(Message, room=slug, content="mark")
        between = [heard for heard in bob.heard[before:-1] if not isinstance(heard, UserList)]
        assert [heard for heard in between if getattr(heard, "content", "") != "mark"] == []
    for one in scene.members:
        lists = [heard for heard in one.heard if isinstance(heard, UserList)]
        assert {name for heard in lists for name in heard.users} <= {"Alice", "Bob"}
    for outsider in scene.outsiders.values():
        assert await outsider.silence() == []


async def test_periodic_checks_are_not_counted(
    scene: Scene, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Periodic checks of sign-ins and rooms, slow as on a busy database, end before the command."""
    plain = CursorWrapper.execute

    def execute(self: CursorWrapper, sql: Any, params: Any = None) -> Any:
        time.sleep(0.01)
        return plain(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", execute)
    sockets = list(current(Hub).sockets.values())

    async def rounds() -> None:
        for _ in range(3):
            await current(actions.AccessEnforcer).recheck_now([one for one in sockets if one.identity.lasting])

    under_way = asyncio.create_task(rounds())
    async with scene.stillness(statements):
        assert under_way.done()
        await answers(scene.outsiders["Sue"], "ping", scene.slugs["private"])
        assert statements == []


async def test_every_command_has_a_case() -> None:
    """Charlie must try a new command too."""
    assert CASES.keys() == ROOM_COMMANDS


@pytest.mark.thorough
@pytest.mark.parametrize("name", OUTSIDERS)
async def test_the_time_of_an_answer_tells_nothing(scene: Scene, name: str, capsys: Any) -> None:
    """Neither wall time nor CPU time of 400 joins says whether there is the room, open and with people in it."""
    charlie, slug = scene.outsiders[name], scene.slugs["private"]
    took: dict[str, list[tuple[float, float]]] = {slug: [], missing(slug): []}
    for turn in range(410):
        # Neither is always the second one.
        for each in sorted(took, reverse=bool(turn % 2)):
            began = time.perf_counter(), time.process_time()
            await charlie.send("join", room=each, username=charlie.name)
            await charlie.next()
            took[each].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    wall, cpu = (
        [statistics.median(times[which] for times in of_one[10:]) for of_one in took.values()] for which in (0, 1)
    )
    with capsys.disabled():
        print(f"\n{name}: there / not there: wall {_micro(wall)}, CPU {_micro(cpu)}")
    assert 0.5 < wall[0] / wall[1] < 2
    assert 0.5 < cpu[0] / cpu[1] < 2


def _micro(pair: list[float]) -> str:
    return f"{1e6 * pair[0]:.0f} / {1e6 * pair[1]:.0f} µs (x {pair[0] / pair[1]:.3f})"


# --- Over HTTP ---


@pytest.fixture
def plans(transactional_db: None) -> str:
    """Alice's private room."""
    slug = actions.create(account(User.objects.create(username="Alice")), title="Plans", kind="private")
    actions.members.add(account(User.objects.get()), slug, User.objects.create(username="Bob").get_username())
    return slug


@pytest.fixture
def two(plans: str) -> str:
    """The room of Alice and Bob."""
    return actions.open_direct(account(User.objects.get(username="Alice")), "Bob")


def browser_of(name: str) -> Client:
    client = Client()
    if name == "Charlie":
        client.force_login(User.objects.get_or_create(username="Charlie")[0])
    elif name == "Gina":
        client.post("/", {"username": "Gina", "room": "tea"})
    return client


def told(client: Client, method: str, path: str, secret: str, **fields: str) -> tuple[Any, ...]:
    """The whole answer, without the secret in the request, the form's token and the time of day."""
    response = client.generic(method, path, urlencode(fields), "application/x-www-form-urlencoded")
    headers = {name: value for name, value in response.headers.items() if name != "Expires"}
    parts = [response.content, *(f"{name}: {value}".encode() for name, value in headers.items())]
    plain = [part.replace(secret.encode(), b"SECRET") for part in parts]
    return response.status_code, [re.sub(rb'(csrfmiddlewaretoken" value=)"\w+"', rb"\1", part) for part in plain]


REQUESTS: list[tuple[str, str, dict[str, str]]] = [
    *[(method, "/room/{}/", {}) for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")],
    ("GET", "/?room={}", {}),
    ("POST", "/", {"room": "{}", "username": "Gina"}),
    ("POST", "/rooms/", {"room": "{}", "title": "Mine", "kind": "public"}),
    ("GET", "/room/{}/?since=1", {}),
    ("GET", "/admin/chat/room/?slug={}", {}),
]


@pytest.mark.parametrize("name", OUTSIDERS)
@pytest.mark.parametrize(("method", "path", "fields"), REQUESTS)
def test_a_room_of_others_does_not_exist_over_http(  # noqa: PLR0917 a request, and what is asked
    plans: str, two: str, statements: list[str], name: str, method: str, path: str, fields: dict[str, str]
) -> None:
    """Status, headers, body and queries are the same, and nothing is written."""
    client = browser_of(name)
    before = rows()
    for there in (plans, two):
        found = []
        for slug in (there, missing(there)):
            statements.clear()
            given = {key: value.format(slug) for key, value in fields.items()}
            answer = told(client, method, path.format(slug), slug, **given)
            found.append((answer, list(statements)))
        assert found[0] == found[1]
        assert b"Plans" not in b"".join(found[0][0][1])
    assert rows() == before


@pytest.mark.parametrize("name", OUTSIDERS)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("end", ["expired", "archived", "deleted", "taken back"])
def test_a_link_that_holds_no_more_is_as_one_that_never_was(
    plans: str, statements: list[str], name: str, method: str, end: str
) -> None:
    """A user who finds an old one learns nothing of the room, not even that it existed."""
    code, invitation = actions.members.make_link(account(User.objects.get(username="Alice")), plans)
    room = models.Room.objects.get(slug=plans)
    match end:
        case "expired":
            models.Invitation.objects.update(expires=room.created)
        case "archived":
            models.Room.objects.update(archived=room.created)
        case "deleted":
            room.delete()
        case _:
            invitation.delete()
    client = browser_of(name)
    before, found = rows(), []
    for each in (code, "A" * len(code)):
        statements.clear()
        found.append((told(client, method, f"/invite/{each}/", each), list(statements)))
    assert found[0] == found[1]
    assert found[0][0][0] == 404
    assert rows() == before


def test_a_link_does_not_help_a_banned_person(plans: str) -> None:
    """Charlie is banned and has the code: it makes him no member, and the answer is that nothing is there."""
    code, _ = actions.members.make_link(account(User.objects.get(username="Alice")), plans)
    charlie = browser_of("Charlie")
    room = models.Room.objects.get(slug=plans)
    room.restrictions.create(kind="ban", person=account(User.objects.get(username="Charlie")).key)
    assert charlie.post(f"/invite/{code}/").status_code == 404
    assert not room.memberships.filter(user__username="Charlie").exists()


# --- The matrix ---

TARGETS = ["Kim", "Max", "Ben", "Rob"]
"""Members, each for one thing that is done to somebody."""

ACTS: list[tuple[str, str, dict[str, Any]]] = [
    ("join", "join", {}),
    ("message", "message", {"content": "hi"}),
    ("edit own", "edit", {"id": 2, "content": "changed"}),
    ("edit other's", "edit", {"id": 1, "content": "changed"}),
    ("react", "react", {"id": 1, "emoji": "👍"}),
    ("typing", "typing", {}),
    ("read", "read", {"seq": 1}),
    ("history", "history", {}),
    ("search", "search", {"query": "first"}),
    ("members", "members", {}),
    ("sharing", "sharing", {"username": "Kim"}),
    ("report", "report", {"id": 1}),
    ("delete own", "delete", {"id": 2}),
    ("delete other's", "delete", {"id": 1}),
    ("kick", "kick", {"username": "Kim"}),
    ("mute", "mute", {"username": "Max"}),
    ("ban", "ban", {"username": "Ben"}),
    ("ban owner", "ban", {"username": "Olivia"}),
    ("slow", "room", {"slow": 1}),
    ("title", "room", {"title": "Another"}),
    ("archived", "room", {"archived": False}),
    ("role", "role", {"username": "Rob", "role": "moderator"}),
    ("role own", "role", {"role": "owner"}),
    ("invite", "invite", {"username": "Ivy"}),
    ("link", "invite", {"username": None}),
    ("leave", "leave", {}),
]
CODES = {
    "+": "",
    "F": "forbidden",
    "N": "not_joined",
    "R": "no_room",
    "B": "banned",
    "M": "muted",
    "A": "read_only",
    "S": "sign_in",
    "X": "no_person",
}
"""The code for a letter of the table: + stands for "allowed"."""

# Una's role in each kind of room. Olivia owns it and has sent message 1; Una, if she may, message 2.
COLUMNS: dict[str, list[str]] = {
    "public": ["owner", "moderator", "member", "guest", "stranger", "staff", "plain staff", "muted", "banned"],
    "members": ["owner", "moderator", "member", "guest", "staff", "plain staff", "muted", "banned"],
    "private": ["owner", "moderator", "member", "muted", "banned", "account", "guest", "stranger", "staff"],
    "direct": ["member", "account", "staff"],
    "archived": ["owner", "moderator", "member", "guest", "staff"],
    "read-only": ["owner", "moderator", "member", "guest", "staff"],
}
MATRIX = """
                public      members     private     direct   archived   read-only
join            ++++++++B   +++R+++B    ++++RRRRR   +RR      +++++      +++++
message         +++++++MN   +++N++MN    +++MNNNNN   +NN      AAAAA      ++AA+
edit own        ++++F++MN   +++N++MN    +++MNNNNN   +NN      AAAAA      ++AA+
edit other's    FFFFFFFMN   FFFNFFMN    FFFMNNNNN   FNN      AAAAA      FFAAF
react           ++++F++MN   +++N++MN    +++MNNNNN   +NN      AAAAA      ++AA+
typing          ++++++++N   +++N+++N    ++++NNNNN   +NN      +++++      +++++
read            ++++++++N   +++N+++N    ++++NNNNN   +NN      +++++      +++++
history         ++++++++N   +++N+++N    ++++NNNNN   +NN      +++++      +++++
search          ++++++++N   +++N+++N    ++++NNNNN   +NN      +++++      +++++
members         ++++++++N   +++N+++N    ++++NNNNN   +NN      +++++      +++++
sharing         ++FFF+FFN   ++FN+FFN    ++FFNNNNN   FNN      ++FF+      ++FF+
report          ++++F+++N   +++N+++N    ++++NNNNN   +NN      +++++      +++++
delete own      ++++F+++N   +++N+++N    ++++NNNNN   +NN      +++++      +++++
delete other's  ++FFF+FFN   ++FN+FFN    ++FFNNNNN   FNN      ++FF+      ++FF+
kick            ++FFF+FFN   ++FN+FFN    ++FFNNNNN   FNN      ++FF+      ++FF+
mute            ++FFF+FFN   ++FN+FFN    ++FFNNNNN   FNN      ++FF+      ++FF+
ban             ++FFF+FFN   ++FN+FFN    ++FFNNNNN   FNN      ++FF+      ++FF+
ban owner       +FFFF+FFN   +FFN+FFN    +FFFNNNNN   FNN      +FFF+      +FFF+
slow            ++FFF+FFN   ++FN+FFN    ++FFNNNNN   FNN      ++FF+      ++FF+
title           +FFFF+FFN   +FFN+FFN    +FFFNNNNN   FNN      +FFF+      +FFF+
archived        +FFFF+FFN   +FFN+FFN    +FFFNNNNN   FNN      +FFF+      +FFF+
role            +FFFF+FFN   +FFN+FFN    +FFFNNNNN   FNN      +FFF+      +FFF+
role own        +FFXX+FFN   +FFN+FFN    +FFFNNNNN   FNN      +FFX+      +FFX+
invite          FFFFFFFFN   FFFNFFFN    ++FFNNNNN   FNN      FFFFF      FFFFF
link            FFFFFFFFN   FFFNFFFN    ++FFNNNNN   FNN      FFFFF      FFFFF
leave           ++++++++N   +++N+++N    ++++NNNNN   +NN      +++++      +++++
"""


def expected(kind: str, who: str) -> dict[str, str]:
    """A column of the matrix: the code of each act; "" if it is allowed."""
    _, head, *lines = MATRIX.splitlines()
    place = head.split().index(kind)
    cells = {line[:16].strip(): line[16:].split()[place] for line in lines}
    return {act: CODES[cell[COLUMNS[kind].index(who)]] for act, cell in cells.items()}


def make_room(kind: str) -> models.Room:
    """Olivia's room, with the members to whom things are done."""
    olivia = account(User.objects.create(username="Olivia"))
    for name in [*TARGETS, "Ivy"]:
        User.objects.create(username=name)
    if kind == "direct":
        slug = actions.open_direct(olivia, "Kim")
    elif kind in {"members", "private"}:
        slug = actions.create(olivia, title="Room", kind=kind)
    else:
        slug = actions.create(olivia, title="Room", kind="public", slug="room")
    for name in TARGETS if kind == "private" else ():
        actions.members.add(olivia, slug, name)
    return models.Room.objects.get(slug=slug)


def make_una(room: models.Room, who: str) -> None:
    """Una's account, and her role in the room."""
    una = User.objects.create(
        username="Una", is_staff=who in {"staff", "plain staff"}, is_superuser=who == "staff"
    )
    if room.kind == "direct" and who == "member":
        room.memberships.filter(user__username="Kim").update(user=una)
    elif who in {"owner", "moderator"}:
        room.memberships.create(user=una, role=who)
    elif room.kind == "private" and who in {"member", "muted", "banned"}:
        room.memberships.create(user=una)


def change(room: models.Room, kind: str, who: str) -> None:
    """The state of the room, and of Una, after her message."""
    if kind in {"archived", "read-only"}:
        room.archived, room.read_only = (room.created, False) if kind == "archived" else (None, True)
        room.save()
    if who in {"muted", "banned"}:
        una = account(User.objects.get(username="Una"))
        room.restrictions.create(kind="mute" if who == "muted" else "ban", person=una.key)
    if who == "banned":
        room.memberships.filter(user__username="Una").delete()


async def enter(person: Enter, room: models.Room, who: str) -> Persona:
    if who == "stranger":
        una: Persona = await person("Una")
        return una
    if who == "guest":
        return await guest(person, "Una")
    await in_a_thread(make_una)(room, who)
    return await member(person, "Una")


async def outcome(una: Persona, room: models.Room, verb: str, fields: dict[str, Any]) -> str:
    """The code of the refusal; "" if it is allowed."""
    before = len(una.heard)
    ref = token_hex(4)
    said = {"room": room.slug, "username": "Una", **fields, "ref": ref}
    await una.send(verb, **{name: value for name, value in said.items() if value is not None})
    await una.silence()
    if verb in {"message", "edit", "delete", "react"}:
        # These answers wait for the database, the ping's does not.
        while not any(getattr(heard, "ref", "") == ref for heard in una.heard[before:]):
            await una.next()
    codes = [heard.code for heard in una.heard[before:] if isinstance(heard, Error) and heard.ref == ref]
    return "".join(codes)


@pytest.mark.parametrize(("kind", "who"), [(kind, who) for kind, people in COLUMNS.items() for who in people])
async def test_who_may_do_what(person: Enter, kind: str, who: str) -> None:
    """Every act of everybody in every kind of room is allowed or refused as the matrix has it."""
    room = await in_a_thread(make_room)(kind)
    una, olivia = await enter(person, room, who), await member(person, "Olivia")
    await olivia.join(room.slug)
    await olivia.say("first", room.slug)
    if not await outcome(una, room, "join", {}):
        await outcome(una, room, "message", {"content": "second"})
    await in_a_thread(change)(room, kind, who)
    await current(Hub).reload(room.slug)
    found = {act: await outcome(una, room, verb, fields) for act, verb, fields in ACTS}
    assert found == expected(kind, who)
