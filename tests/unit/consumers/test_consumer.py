"""Conversations with one consumer per person, in this process."""

import asyncio
import gc
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.test import AsyncClient
from doubles import Clock, until
from helpers import PATIENCE, Closed, Enter
from helpers import CommunicatorPersona as Persona
from logs import Follower, elsewhere, everything, post
from members import member
from pytest_django import Settings

from chat import loops
from chat.actions import AccessEnforcer
from chat.auth import GUEST_NAME, Identity
from chat.consumers import ChatConsumer, consumer
from chat.database import run_read
from chat.hub import Hub, Socket
from chat.loops import current
from chat.message_log import MessageLog, queries
from chat.metrics.collector import Collector
from chat.presence import Presence
from chat.protocol import (
    LOBBY,
    Ack,
    CloseCode,
    Error,
    ErrorCode,
    Expiring,
    GetHistory,
    History,
    Joined,
    Late,
    Left,
    Message,
    Pong,
    Reacted,
    Reconnect,
    TypingNow,
    UserList,
    Welcome,
)
from chat.transport import AsgiTransport
from chatsite.asgi import application


def socket_of(name: str) -> Socket:
    """The server's side of somebody's socket."""
    return next(socket for socket in current(Hub).sockets.values() if socket.username == name)


async def binary(persona: Persona, data: bytes) -> None:
    await persona.communicator.send_input({"type": "websocket.receive", "bytes": data})


async def open_socket(name: str, unread: int = 0) -> Persona:
    """A persona that the test ends itself; ``unread`` is how many messages may wait to be read, 0 for any."""
    communicator = WebsocketCommunicator(application, "/ws", [(b"host", b"localhost")])
    communicator._output_queue = asyncio.Queue(unread)
    connected, _ = await communicator.connect(timeout=PATIENCE)
    assert connected
    return Persona(name, communicator)


# --- Talking ---


async def test_what_one_says_the_other_hears(alice: Persona, bob: Persona) -> None:
    """A message reaches everybody in the room, its author too, after the author's ack."""
    await alice.join()
    await bob.join()

    ack = await alice.say("hi", ref="a1")

    heard = await bob.expect(Message, content="hi", username="Alice")
    assert (heard.id, heard.seq, heard.timestamp) == (ack.id, ack.seq, ack.timestamp)
    assert await alice.expect(Message) == heard


async def test_a_join_is_welcomed_then_listed_then_live(alice: Persona, bob: Persona) -> None:
    """The welcome comes first and bears the ref, then who is here, oneself included, then what happens."""
    await alice.join()
    for _ in ("her own", "everybody's"):
        await alice.expect(UserList)
    welcome = await bob.join(ref="j1")
    assert (welcome.username, welcome.room, welcome.seq, welcome.protocol) == ("Bob", LOBBY, 0, 1)
    assert (welcome.ref, welcome.resumed) == ("j1", False)
    assert (await bob.expect(UserList)).users == ["Bob", "Alice"]
    await bob.expect(Joined, username="Bob")
    assert [type(said).__name__ for said in bob.heard] == ["Welcome", "UserList", "Joined"]


async def test_everybody_hears_who_comes(alice: Persona, bob: Persona) -> None:
    """Clients in the room receive the join, and then the list with the new name."""
    await alice.join()
    await bob.join()
    await alice.expect(Joined, username="Bob")
    assert (await alice.expect(UserList, count=2)).users == ["Bob", "Alice"]


async def test_messages_keep_the_order_in_which_they_were_said(alice: Persona, bob: Persona) -> None:
    """Two users who post at once receive the same conversation."""
    await alice.join()
    await bob.join()
    for number in range(20):
        await alice.send("message", content=f"a{number}")
        await bob.send("message", content=f"b{number}")
    heard = [[(await persona.expect(Message)).content for _ in range(40)] for persona in (alice, bob)]
    assert heard[0] == heard[1]
    assert [content for content in heard[0] if content[0] == "a"] == [f"a{number}" for number in range(20)]


async def test_the_author_is_the_socket_s_name(alice: Persona, bob: Persona) -> None:
    """A client's fields for the author, the number or the time are ignored."""
    await alice.join()
    await bob.join()
    await alice.say("hi", username="Bob", id=99, seq=99, timestamp=1)
    heard = await bob.expect(Message)
    assert (heard.username, heard.id, heard.seq) == ("Alice", 1, 1)
    assert heard.timestamp > 1_700_000_000_000


async def test_the_same_ref_is_said_once_and_acknowledged_twice(alice: Persona, bob: Persona) -> None:
    """A retry gets the first reply, and no client receives a copy."""
    await alice.join()
    await bob.join()
    first = await alice.say("hi", ref="r1")
    assert await alice.say("hi", ref="r1") == first
    await alice.say("bye", ref="r2")
    await bob.expect(Message, content="bye")
    assert bob.count(Message) == 2


async def test_a_ping_is_answered(charlie: Persona) -> None:
    """Also before any join, with its ref where it has one."""
    await charlie.send("ping")
    assert not (await charlie.expect(Pong)).ref
    await charlie.send("ping", ref="p1")
    await charlie.expect(Pong, ref="p1")


async def test_leaving_is_acknowledged_and_told_at_once(
    alice: Persona, bob: Persona, clock: Clock, settings: Settings
) -> None:
    """A user who leaves receives the ack and no more of the room; the others receive it without a grace."""
    settings.CHAT = {"GRACE": 300}
    await alice.join()
    await bob.join()
    await alice.send("leave", ref="l1")
    await alice.expect(Ack, room=LOBBY, ref="l1")
    await bob.expect(Left, username="Alice")
    await clock.skip(1)
    assert (await bob.expect(UserList, count=1)).users == ["Bob"]
    await bob.say("alone?")
    await bob.expect(Message)
    heard = await alice.silence()
    assert not [said for said in heard if isinstance(said, (Left, Message))]


async def test_a_lost_connection_is_told_after_the_grace(
    alice: Persona, bob: Persona, clock: Clock, settings: Settings
) -> None:
    """Until then the person is in the room."""
    settings.CHAT = {"GRACE": 5}
    await alice.join()
    await bob.join()
    await alice.vanish()
    await clock.skip(4.9)
    await bob.silence()
    assert bob.count(Left) == 0
    await clock.skip(0.2)
    await bob.expect(Left, username="Alice")


async def test_a_reconnect_within_the_grace_is_not_told(
    alice: Persona, bob: Persona, person: Enter, clock: Clock
) -> None:
    """Others see neither a leave nor a join."""
    await alice.join()
    await alice.expect(Joined, username="Alice")
    await bob.join()
    await bob.expect(UserList, count=2)
    await alice.vanish()
    again = await person("Alice")
    await again.join()
    await clock.skip(60)
    await again.say("back")
    await bob.expect(Message, content="back")
    assert (bob.count(Left), bob.count(Joined, username="Alice")) == (0, 0)


async def test_joining_again_is_a_fresh_welcome(alice: Persona, bob: Persona, clock: Clock) -> None:
    """A second join of the same room announces nothing, and one leave ends it."""
    first = await alice.join()
    await alice.expect(Joined, username="Alice")
    await bob.join()
    await alice.say("one")
    await bob.expect(Message, content="one")
    again = await alice.join(since=0, epoch=first.epoch, ref="again")
    assert (again.seq, again.resumed, again.ref) == (1, True, "again")
    assert (await alice.expect(Message)).content == "one"
    await alice.say("two")
    await bob.expect(Message, content="two")
    await alice.silence()
    assert alice.count(Message, content="two") == 1
    assert bob.count(Joined, username="Alice") == 0
    for persona in (alice, bob):
        await persona.send("leave")
        await persona.expect(Ack, room=LOBBY)
    await until(lambda: not current(Hub).rooms())


# --- Typing ---


async def test_typing_is_passed_on_and_not_answered(alice: Persona, bob: Persona) -> None:
    """The others, and the typist's other tabs, see who types."""
    await alice.join()
    await bob.join()
    await alice.send("typing", ref="t1")
    await bob.expect(TypingNow, username="Alice", room=LOBBY)
    await alice.silence()
    assert alice.count(Ack) == 0
    assert alice.count(Error) == 0


async def test_typing_is_passed_on_once_a_second(alice: Persona, bob: Persona, clock: Clock) -> None:
    """Typing that comes too soon is dropped silently, in each room separately."""
    for persona in (alice, bob):
        await persona.join()
        await persona.join("tea")
    for _ in range(3):
        for _ in range(5):
            await alice.send("typing")
            await alice.send("typing", room="tea")
            await alice.silence()
        await clock.skip(1.01)
    await alice.say("done")
    await bob.expect(Message)
    assert (bob.count(TypingNow, room=LOBBY), bob.count(TypingNow, room="tea")) == (3, 3)
    assert alice.count(Error) == 0


# --- Coming back, and looking back ---


async def three_messages(alice: Persona) -> Welcome:
    """Alice sends three messages in the lobby, receives them, and disconnects."""
    welcome = await alice.join()
    for number in (1, 2, 3):
        await alice.say(f"message {number}")
    await alice.expect(Message, id=3)
    await alice.vanish()
    return welcome


async def test_a_resume_brings_what_was_missed(alice: Persona, person: Enter) -> None:
    """Everything after ``since``, once and in order, between the list and what is live."""
    epoch = (await three_messages(alice)).epoch
    again = await person("Alice")
    welcome = await again.join(since=1, epoch=epoch)
    assert (welcome.resumed, welcome.seq, welcome.epoch) == (True, 3, epoch)
    await again.say("message 4")
    await again.expect(Message, id=4)
    kinds = [type(said).__name__ for said in again.heard if not isinstance(said, (Joined, Ack))]
    assert kinds[:4] == ["Welcome", "UserList", "Message", "Message"]
    assert [said.seq for said in again.heard if isinstance(said, Message)] == [2, 3, 4]


@pytest.mark.parametrize(
    ("since", "epoch", "missed"),
    [
        (0, "right", 3),
        (3, "right", 0),
        (3, None, None),
        (4, "right", None),
        (2**53 - 1, "right", None),
        (2, "wrong", None),
        (2, "", None),
        (None, "right", None),
    ],
)
async def test_a_resume_is_whole_or_starts_over(
    alice: Persona,
    person: Enter,
    since: int | None,
    epoch: str | None,
    missed: int | None,
) -> None:
    """A position that is ahead, or of another life, gets nothing and is told so."""
    right = (await three_messages(alice)).epoch
    fields: dict[str, Any] = {"since": since, "epoch": right if epoch == "right" else epoch}
    again = await person("Alice")
    welcome = await again.join(**{name: value for name, value in fields.items() if value is not None})
    await again.silence()
    assert (welcome.resumed, welcome.seq) == (missed is not None, 3)
    assert again.count(Message) == (missed or 0)


async def test_who_missed_too_much_starts_over(alice: Persona, person: Enter, settings: Settings) -> None:
    """After more than CHAT["CATCH_UP"] changes the latest page is of more use than all of them."""
    settings.CHAT = {"CATCH_UP": 2}
    epoch = (await three_messages(alice)).epoch
    again = await person("Alice")
    assert not (await again.join(since=0, epoch=epoch)).resumed
    await again.silence()
    assert again.count(Message) == 0
    assert (await again.join(since=1, epoch=epoch)).resumed
    assert (await again.expect(Message)).id == 2


async def test_a_resume_does_not_hang_on_memory(
    alice: Persona, bob: Persona, person: Enter, settings: Settings
) -> None:
    """Older changes than the recent ones are read from the database, all and in order, and then it goes on
    live.
    """
    settings.CHAT = {"RING": 1}
    await bob.join()
    epoch = (await three_messages(alice)).epoch
    again = await person("Alice")
    assert (await again.join(since=0, epoch=epoch)).resumed
    await bob.say("live")
    await again.expect(Message, content="live")
    assert [said.id for said in again.heard if isinstance(said, Message)] == [1, 2, 3, 4]


async def test_a_resume_does_not_hang_on_the_process(alice: Persona, rooms: None) -> None:
    """After a restart the room goes on where it was, under the same epoch."""
    epoch = (await three_messages(alice)).epoch
    await loops.close_current()
    again = await open_socket("Alice")
    welcome = await again.join(since=1, epoch=epoch)
    assert (welcome.resumed, welcome.seq, welcome.epoch) == (True, 3, epoch)
    assert [(await again.expect(Message)).id for _ in range(2)] == [2, 3]
    assert (await again.say("message 4")).id == 4
    await again.vanish()


@pytest.mark.parametrize("ring", [1, 500])
async def test_a_resume_tells_what_became_of_the_messages(person: Enter, settings: Settings, ring: int) -> None:
    """A client that was away while messages changed gets all in their present state, from memory or the
    database.
    """
    settings.CHAT = {"RING": ring}
    alice, bob = await member(person, "Alice"), await member(person, "Bob")
    epoch = (await alice.join()).epoch
    await bob.join()
    for content in ("one", "two", "three"):
        await bob.say(content)
    follower = Follower(1, {1: await alice.expect(Message, id=1)})
    await alice.vanish()
    await bob.send("edit", id=2, content="TWO")
    await bob.send("delete", id=3)
    await bob.send("react", id=1, emoji="\N{CAT FACE}")
    await bob.expect(Reacted)
    again = await member(person, "Alice")
    assert (await again.join(since=1, epoch=epoch)).resumed
    while follower.seq < 6:
        follower.receive(await again.next())
    assert follower.messages == await run_read(lambda: everything(queries.open_room(LOBBY)))
    assert [message.deleted for message in follower.messages.values()] == [False, False, True]


async def test_a_page_may_be_ahead_of_its_socket(bob: Persona, person: Enter, clock: Clock) -> None:
    """The page has another process's messages before this process received them: the socket goes on from there."""
    await bob.join()
    await bob.say("one")
    await bob.expect(Message, id=1)
    lobby = await run_read(lambda: queries.open_room(LOBBY))
    await elsewhere(post(lobby, "two"), post(lobby, "three"))
    page = await run_read(lambda: queries.page(LOBBY, 50))
    alice = await person("Alice")
    assert (await alice.join(since=page.seq, epoch=page.epoch)).resumed
    await bob.say("four")
    for _ in range(3):
        await clock.skip(1)
    await bob.say("five")
    await alice.expect(Message, content="five")
    follower = Follower(page.seq)
    for said in alice.heard:
        follower.receive(said)
    assert follower.seqs == [4, 5], "what it is told of before is old to it"
    await bob.expect(Message, content="five")
    assert [said.id for said in bob.heard if isinstance(said, Message)] == [1, 2, 3, 4, 5]


async def test_a_log_that_is_another_while_somebody_comes_is_told_anew(
    alice: Persona, bob: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not told that they have all that came before: it was of a database that is not there any more."""
    epoch = (await alice.join()).epoch
    await alice.say("one")
    room = current(Hub).room(LOBBY)
    assert room
    could = room.can_resume

    async def restored(since: int | None, *known: Any) -> bool:
        resumes = await could(since, *known)
        room.start_over(replace(room.log, epoch="another", seq=0))
        return resumes

    monkeypatch.setattr(room, "can_resume", restored)
    welcome = await bob.join(since=1, epoch=epoch)
    assert (welcome.resumed, welcome.epoch, welcome.seq) == (False, "another", 0)


async def test_history_goes_back_page_by_page(alice: Persona) -> None:
    """Each page is before the oldest that one has, oldest first, until there is no more."""
    await alice.join()
    for number in range(1, 8):
        await alice.say(f"message {number}")
    seen: list[list[int]] = []
    before: dict[str, int] = {}
    more = True
    while more:
        await alice.send("history", limit=3, ref=f"h{len(seen)}", **before)
        page = await alice.expect(History, ref=f"h{len(seen)}", room=LOBBY)
        seen.append([message.id for message in page.messages])
        more, before = page.more, {"before": page.messages[0].id}
    assert seen == [[5, 6, 7], [2, 3, 4], [1]]


async def test_an_empty_history_is_an_answer(alice: Persona) -> None:
    """A new room has no messages and no more."""
    await alice.join()
    await alice.send("history")
    page = await alice.expect(History)
    assert (page.messages, page.more) == ([], False)


# --- What is refused ---


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("leave", {}),
        ("message", {"content": "let me in"}),
        ("typing", {}),
        ("history", {}),
        ("history", {"before": 5, "limit": 1}),
    ],
)
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_charlie_may_nothing_in_a_room_that_he_is_not_in(
    alice: Persona,
    charlie: Persona,
    kind: str,
    fields: dict[str, Any],
    elsewhere: bool,
) -> None:
    """Each operation is refused with its ref, and the room receives nothing."""
    await alice.join()
    await alice.say("a secret")
    if elsewhere:
        await charlie.join("tea")
    await charlie.send(kind, ref="c1", **fields)
    error = await charlie.refused(ErrorCode.NOT_JOINED)
    assert (error.ref, error.field) == ("c1", "room")
    await alice.say("last")
    await alice.expect(Message, content="last")
    assert [said for said in alice.heard if getattr(said, "username", "Alice") != "Alice"] == []
    assert charlie.count(Message) == charlie.count(History) == charlie.count(Left) == 0


async def test_who_left_may_nothing_there_any_more(alice: Persona, bob: Persona) -> None:
    """After the leave each operation is refused as for a user who never joined."""
    await alice.join()
    await bob.join()
    await alice.send("leave")
    await alice.expect(Ack)
    for kind, fields in (("message", {"content": "x"}), ("typing", {}), ("history", {}), ("leave", {})):
        await alice.send(kind, ref=kind, **fields)
        assert (await alice.refused(ErrorCode.NOT_JOINED)).ref == kind


async def test_somebody_without_a_name_is_asked_for_one(charlie: Persona) -> None:
    """A guest without a session says a name with the first join, and need not say it again."""
    await charlie.send("join", ref="j1")
    error = await charlie.refused(ErrorCode.NAME_NEEDED)
    assert (error.field, error.ref) == ("username", "j1")
    await charlie.join()
    await charlie.send("join", room="tea")
    assert (await charlie.expect(Welcome, room="tea")).username == "Charlie"


async def test_a_socket_speaks_under_one_name(charlie: Persona, alice: Persona) -> None:
    """Another name in another room is refused; the same in other letters is the first."""
    await charlie.join()
    await charlie.send("join", room="tea", username="Alice", ref="j2")
    error = await charlie.refused(ErrorCode.NAME_FIXED)
    assert (error.field, error.ref) == ("username", "j2")
    assert current(Presence).counts() == {LOBBY: 1}
    await charlie.send("join", room="tea", username="CHARLIE")
    assert (await charlie.expect(Welcome, room="tea")).username == "Charlie"


@pytest.mark.parametrize("name", ["Alice", "ALICE", "  alice ", "\uff21lice"])
async def test_a_name_that_is_taken_is_refused(alice: Persona, charlie: Persona, name: str) -> None:
    """Any name that looks like Alice is taken while she is here; another name, or another room, is free."""
    await alice.join()
    await charlie.send("join", username=name, ref="j1")
    error = await charlie.refused(ErrorCode.NAME_TAKEN)
    assert (error.field, error.ref) == ("username", "j1")
    assert alice.count(Joined, username="Charlie") == 0
    assert (current(Hub).audience(LOBBY), current(Presence).counts()) == (1, {LOBBY: 1})
    await charlie.join()
    for persona in (alice, charlie):
        await persona.send("leave")
    await until(lambda: not current(Hub).rooms())


async def test_a_refused_name_is_free_elsewhere(alice: Persona, charlie: Persona) -> None:
    """A refusal fixes no name: the socket may take the same one in a room where it is free."""
    await alice.join()
    await charlie.send("join", username="Alice")
    await charlie.refused(ErrorCode.NAME_TAKEN)
    await charlie.send("join", username="Alice", room="tea")
    await charlie.expect(Welcome, room="tea", username="Alice")


async def test_a_socket_may_be_in_so_many_rooms(alice: Persona, settings: Settings) -> None:
    """One more is refused; a room that it is in already, or one instead of another, is not."""
    settings.CHAT = {"ROOMS_PER_SOCKET": 2}
    await alice.join("one")
    await alice.join("two")
    await alice.send("join", room="three", ref="j3")
    error = await alice.refused(ErrorCode.TOO_MANY_ROOMS)
    assert (error.field, error.ref) == ("room", "j3")
    await alice.join("two")
    await alice.send("leave", room="one")
    await alice.join("three")


async def test_rooms_on_one_socket_do_not_leak_into_each_other(
    alice: Persona, bob: Persona, charlie: Persona
) -> None:
    """Alice is in both rooms, Bob and Charlie in one each: each frame stays in its room."""
    await alice.join("tea")
    await alice.join("coffee")
    await bob.join("tea")
    await charlie.join("coffee")
    await alice.say("in tea", "tea")
    await alice.say("in coffee", "coffee")
    await bob.expect(Message, content="in tea")
    await charlie.expect(Message, content="in coffee")
    await alice.send("typing", room="tea")
    await bob.expect(TypingNow)
    await alice.send("leave", room="tea")
    await bob.expect(Left, username="Alice")
    await alice.say("still in coffee", "coffee")
    await charlie.expect(Message, content="still in coffee")
    for persona, room in ((bob, "tea"), (charlie, "coffee")):
        await persona.silence()
        assert {
            getattr(said, "room", None)
            for said in persona.heard
            if not isinstance(said, (Pong, Error, Reconnect, Expiring, Late))
        } == {room}
    assert charlie.count(Left) == charlie.count(TypingNow) == 0
    assert set(socket_of("Alice").rooms) == {"coffee"}


# --- Frames that are no commands ---

INVALID = [
    "",
    "x",
    "[]",
    '{"type":"shout"}',
    '{"type":"message"}',
    '{"type":"message","content":"\x00"}',
    "\ud800",
    '{"type":"ping","x":' + "[" * 5_000,
    "x" * 70_000,
    '{"type":"join","username":""}',
]


@pytest.mark.parametrize("text", INVALID, ids=lambda text: ascii(text[:20]))
async def test_an_invalid_frame_is_an_error_and_no_more(alice: Persona, bob: Persona, text: str) -> None:
    """The socket stays open and in its rooms, and nobody else notices."""
    await alice.join()
    await bob.join()
    await alice.write(text)
    await alice.expect(Error)
    await alice.say("still here")
    await bob.expect(Message, content="still here")


@pytest.mark.parametrize("data", [b"", b'{"type":"ping"}', b"\xff\xfe"])
async def test_a_binary_frame_is_an_error(alice: Persona, data: bytes) -> None:
    """The protocol is text; a binary frame is one invalid frame."""
    await binary(alice, data)
    assert "text" in (await alice.refused(ErrorCode.BAD_JSON)).message
    await alice.send("ping")
    await alice.expect(Pong)


async def test_an_error_bears_the_ref_where_there_is_one(alice: Persona) -> None:
    """A client can tell which of its commands was refused, and which field."""
    await alice.send("message", content=5, ref="m1")
    error = await alice.refused(ErrorCode.BAD_FIELD)
    assert (error.ref, error.field) == ("m1", "content")


async def test_ten_invalid_frames_in_a_row_close_the_socket(alice: Persona, bob: Persona) -> None:
    """Ten times an error, then 4400; what follows is not read."""
    await alice.join()
    await bob.join()
    for text in INVALID:
        await alice.write(text)
    await alice.write('{"type":"message","content":"too late"}')
    assert await alice.closed() == CloseCode.BAD_INPUT
    assert alice.count(Error) == 10
    await bob.say("hi")
    await bob.expect(Message)
    assert bob.count(Message, content="too late") == 0


async def test_nine_invalid_frames_do_not(alice: Persona) -> None:
    """A good frame in between restarts the count, a command that the rules refuse too."""
    for _ in range(3):
        for number in range(9):
            if number % 2:
                await alice.write("x")
            else:
                await binary(alice, b"x")
        await alice.send("message", content="hi", ref="r")
        await alice.expect(Error, ref="r", code=ErrorCode.NOT_JOINED)
    await alice.send("ping")
    await alice.expect(Pong)
    assert alice.count(Error) == 30


async def test_how_many_is_a_setting(alice: Persona, settings: Settings) -> None:
    """INVALID_FRAMES = 1 closes at the first."""
    settings.CHAT = {"INVALID_FRAMES": 1}
    await alice.write("x")
    assert await alice.closed() == CloseCode.BAD_INPUT
    assert alice.count(Error) == 1


# --- Who they are ---


@pytest.fixture
async def bob_s_cookies(transactional_db: None, async_client: AsyncClient) -> dict[str, str]:
    """Headers of Bob's browser: he is signed in."""
    await async_client.aforce_login(await User.objects.acreate_user("Bob"))
    return {"cookie": f"sessionid={async_client.cookies['sessionid'].value}", "origin": "http://localhost"}


async def test_an_account_s_name_is_not_the_client_s_to_say(
    person: Enter, charlie: Persona, bob_s_cookies: dict[str, str]
) -> None:
    """A signed-in user always posts under the account's name, whatever the JSON has."""
    await charlie.join()
    bob = await person("Mallory", headers=bob_s_cookies)
    assert (await bob.join()).username == "Bob"
    await bob.say("hi", username="Mallory")
    assert (await charlie.expect(Message)).username == "Bob"
    assert (await bob.join("tea", username="Charlie")).username == "Bob"


async def test_a_signed_in_user_needs_no_name(person: Enter, bob_s_cookies: dict[str, str]) -> None:
    """The join of the pages' own client has none."""
    bob = await person("Bob", headers=bob_s_cookies)
    await bob.send("join")
    assert (await bob.expect(Welcome)).username == "Bob"


async def test_an_account_is_one_person_in_all_tabs(
    person: Enter, alice: Persona, bob_s_cookies: dict[str, str], clock: Clock, settings: Settings
) -> None:
    """The second tab is no join, closing one is no leave, and each receives from the other."""
    settings.CHAT = {"GRACE": 0}
    await alice.join()
    one, two = await person("Bob", headers=bob_s_cookies), await person("Bob", headers=bob_s_cookies)
    await one.join()
    await two.join()
    await one.say("from one")
    await two.expect(Message, content="from one")
    await one.vanish()
    await clock.skip(1)
    await two.say("from two")
    await alice.expect(Message, content="from two")
    assert (alice.count(Joined, username="Bob"), alice.count(Left)) == (1, 0)
    assert current(Presence).user_list(LOBBY).count == 2


@pytest.mark.django_db(transaction=True)
async def test_a_guest_has_the_name_chosen_on_the_page(person: Enter) -> None:
    """A session's guest is who the session says, also after a reconnect and to a retried message."""
    session = SessionStore()
    session[GUEST_NAME] = "Alice"
    await session.acreate()
    headers = {"cookie": f"sessionid={session.session_key}", "origin": "http://localhost"}
    one = await person("Mallory", headers=headers)
    assert (await one.join()).username == "Alice"
    ack = await one.say("hi", ref="r1")
    await one.vanish()
    two = await person("Mallory", headers=headers)
    await two.join()
    assert await two.say("hi", ref="r1") == ack


async def test_a_socket_from_another_page_is_turned_away(person: Enter) -> None:
    """The consumer stands behind the Origin check."""
    with pytest.raises(Closed):
        await person("Mallory", headers={"origin": "http://evil.example"})


@pytest.mark.parametrize("path", ["/", "/ws/", "/ws/chat", "/wss", "/_next/webpack-hmr"])
async def test_another_path_is_turned_away(person: Enter, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Only /ws is served; anything else is refused with one line in the log, not a traceback."""
    with pytest.raises(Closed):
        await person("Mallory", path=path)
    (record,) = caplog.records
    assert record.exc_info is None
    assert path in record.getMessage()


# --- When things go wrong ---


async def test_an_unexpected_error_closes_that_socket_alone(
    alice: Persona, bob: Persona, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """One bug, one traceback in the log with the connection's id, one close with 1011; the others go on."""
    await alice.join()
    await bob.join()
    identifier = socket_of("Alice").id

    def boom(*_: object) -> None:
        raise ZeroDivisionError

    questions: dict[Any, Any] = {**consumer.QUESTIONS, GetHistory: boom}
    with monkeypatch.context() as patched:
        patched.setattr(consumer, "QUESTIONS", questions)
        await alice.send("history")
        assert await alice.closed() == CloseCode.INTERNAL
    await alice.communicator.wait(PATIENCE)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "chat.consumers"
    assert record.exc_info
    assert identifier in record.getMessage()
    await bob.say("still here")
    await bob.expect(Message, content="still here")
    await clock.skip(60)
    await bob.expect(Left, username="Alice")
    assert identifier not in current(Hub).sockets


async def test_an_error_before_the_open_turns_the_socket_away(
    person: Enter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that is away while the session is read is one error in the log, and no open socket."""

    async def boom(_: object) -> None:
        raise ConnectionError("no database")

    monkeypatch.setattr("chat.consumers.consumer.identify", boom)
    with pytest.raises(Closed):
        await person("Alice")
    assert len(caplog.records) == 1
    assert current(Hub).sockets == {}


async def test_an_application_that_is_killed_leaves_its_rooms(bob: Persona, settings: Settings) -> None:
    """A server that takes the application down does not leave its person behind."""
    settings.CHAT = {"GRACE": 0}
    await bob.join()
    alice = await open_socket("Alice")
    await alice.join()
    await alice.join("tea")
    alice.communicator.future.cancel()
    await bob.expect(Left, username="Alice")
    await until(alice.communicator.future.done)
    assert len(current(Hub).sockets) == 1
    assert current(Presence).counts() == {LOBBY: 1}


async def test_a_socket_that_waits_holds_up_nobody(
    alice: Persona, bob: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Alice's join waits for the channel layer, Bob talks; then she is in."""
    await bob.join()
    layer = current(Hub)._bus._layer
    group_add, opened = layer.group_add, asyncio.Event()

    async def slow(group: str, channel: str) -> None:
        await opened.wait()
        await group_add(group, channel)

    monkeypatch.setattr(layer, "group_add", slow)
    await alice.send("join", room="tea", username="Alice")
    for number in range(3):
        await bob.say(f"{number}")
        await bob.expect(Message, content=f"{number}")
    assert alice.heard == []
    opened.set()
    await alice.expect(Welcome, room="tea")


# --- Sockets that do not do their part ---


async def test_a_socket_that_joins_nothing_is_closed(alice: Persona, charlie: Persona, clock: Clock) -> None:
    """After the join timeout it is closed with 4009; one that is in a room is not."""
    await alice.join()
    await charlie.send("ping")
    await charlie.expect(Pong)
    await clock.skip(14)
    await charlie.silence()
    await clock.skip(2)
    assert await charlie.closed() == CloseCode.IDLE
    await clock.skip(3_600)
    await alice.say("still here")


async def test_a_refused_join_is_no_join(alice: Persona, charlie: Persona, clock: Clock) -> None:
    """Trying is not enough."""
    await alice.join()
    await charlie.send("join", username="Alice")
    await charlie.refused(ErrorCode.NAME_TAKEN)
    await clock.skip(61)
    assert await charlie.closed() == CloseCode.IDLE


@pytest.fixture
async def deaf(person: Enter, settings: Settings) -> Persona:
    """Somebody whose connection takes one message and then no more, until it is read."""
    settings.CHAT = {"OUTBOX": 2_048}
    return await open_socket("Charlie", unread=1)


async def test_a_socket_that_does_not_read_gets_it_later(deaf: Persona, alice: Persona, bob: Persona) -> None:
    """Past the bound it gets nothing more; when it reads again, all of it, once and in order."""
    await alice.join()
    await bob.join()
    await deaf.send("join", username="Charlie")
    await alice.expect(Joined, username="Charlie")
    transport = socket_of("Charlie").transport
    for number in range(60):
        await alice.say(f"{number} " + "x" * 300)
        await bob.expect(Message)
    assert transport.full
    assert transport.waiting < 8_192
    last = await deaf.expect(Message, id=60)
    assert last.content.startswith("59 ")
    assert [said.id for said in deaf.heard if isinstance(said, Message)] == list(range(1, 61))
    await alice.say("live again")
    await deaf.expect(Message, content="live again")


async def test_a_stuck_socket_is_closed(deaf: Persona, alice: Persona, clock: Clock) -> None:
    """A client that reads nothing is closed with 4008 after CHAT["STUCK"]."""
    await alice.join()
    await deaf.send("join", username="Charlie")
    await alice.expect(Joined, username="Charlie")
    transport = socket_of("Charlie").transport
    while not transport.full:
        await alice.say("x" * 300)
        await alice.expect(Message)
        await clock.skip(0.01)
    assert transport.closed_with is None
    await clock.skip(31)
    assert transport.closed_with is CloseCode.TOO_SLOW
    assert await deaf.closed() == CloseCode.TOO_SLOW
    await deaf.vanish()


async def test_a_socket_that_does_not_read_can_go(deaf: Persona, alice: Persona) -> None:
    """A peer that is cut while it does not read leaves no writer that waits for it."""
    await alice.join()
    await deaf.send("join", username="Charlie")
    await alice.expect(Joined, username="Charlie")
    transport = socket_of("Charlie").transport
    assert isinstance(transport, AsgiTransport)
    await alice.say("hi")
    await alice.expect(Message)
    await deaf.vanish()
    assert (transport.waiting, len(current(Hub).sockets)) == (0, 1)
    await until(lambda: transport._writer is None)


async def test_the_staff_closes_a_socket(alice: Persona, bob: Persona) -> None:
    """A socket that the staff disconnected is closed with 4403, and its further input is ignored."""
    await alice.join()
    await bob.join()
    current(Hub).disconnect(socket_of("Alice").id, CloseCode.FORBIDDEN)
    await alice.send("message", content="one more thing")
    assert await alice.closed() == CloseCode.FORBIDDEN
    await alice.vanish()
    await bob.say("hi")
    await bob.expect(Message)
    assert bob.count(Message, username="Alice") == 0


async def test_nothing_is_left_of_sockets_that_came_and_went(person: Enter, settings: Settings) -> None:
    """After 100 sockets that joined, talked and left in all ways, everything is where it was."""
    settings.CHAT = {"GRACE": 0, "USER_LIST_INTERVAL": 0}
    hub, presence, log = current(Hub), current(Presence), current(MessageLog)
    current(AccessEnforcer)
    current(Collector)

    async def visit(number: int) -> None:
        visitor = await person(f"u{number}")
        await visitor.join()
        await visitor.join(f"room-{number % 7}")
        await visitor.say("hi")
        await visitor.send("typing")
        if number % 3 == 0:
            await visitor.send("leave")
        if number % 10 == 0:
            for _ in range(10):
                await visitor.write("x")
            await visitor.closed()
        await visitor.vanish(1006 if number % 2 else 1000)

    # The first one starts what lasts, in the layer too.
    await visit(0)
    await until(lambda: not hub.rooms() and not presence._rooms and not hub._rooms.is_busy)
    before = asyncio.all_tasks() - set(hub._tasks)
    await asyncio.gather(*(visit(number) for number in range(100)))
    await until(lambda: not hub.rooms() and not presence._rooms)
    await until(lambda: not hub._rooms.is_busy and asyncio.all_tasks() - set(hub._tasks) == before)
    assert (hub.sockets, hub.rooms()) == ({}, {})
    assert (len(hub._bus._outgoing), len(log._waiting), log._task) == (0, 0, None)
    gc.collect()
    assert [thing for thing in gc.get_objects() if isinstance(thing, (ChatConsumer, Socket))] == []


async def test_the_article_s_conversation(alice: Persona, bob: Persona) -> None:
    """The article's client, frame for frame: what it sends is taken, what it reads is there."""
    await alice.write(json.dumps({"type": "join", "username": "Alice", "timestamp": 1}))
    await bob.write(json.dumps({"type": "join", "username": "Bob", "timestamp": 1}))
    await alice.expect(Joined, username="Bob")
    assert set((await alice.expect(UserList, count=2)).users) == {"Alice", "Bob"}
    await alice.write(json.dumps({"type": "message", "username": "Alice", "content": "hi", "timestamp": 1}))
    heard = await bob.expect(Message, username="Alice", content="hi")
    assert isinstance(heard.timestamp, int)


async def test_an_error_before_the_accept_refuses_the_handshake_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the identity can't be read there is no socket to close yet: one refusal, and nothing after it."""

    async def broken(scope: dict[str, Any]) -> Identity:
        raise RuntimeError(scope["type"])

    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    monkeypatch.setattr("chat.consumers.consumer.identify", broken)
    await ChatConsumer()({"type": "websocket"}, receive, send)
    for _ in range(5):
        await asyncio.sleep(0)
    assert sent == [{"type": "websocket.close"}]
    await loops.close_current()
