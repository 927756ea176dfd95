"""Presence: each user once, published to all at a bounded price."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from doubles import Clock
from pytest_django import Settings

from chat import loops
from chat.auth import Identity
from chat.presence import JoinRequest, Presence, ShownName
from chat.protocol import (
    AnyOutgoing,
    ErrorCode,
    Invalid,
    Joined,
    Left,
    UserList,
    decode_outgoing,
    encode,
    name_key,
)

ROOM = "lobby"
GRACE = 5.0
INTERVAL = 0.25

ALICE = Identity("account:1", "Alice", lasting=True)
BOB = Identity("guest:b0b:Bob", "Bob", lasting=True)


def passer_by(number: int) -> Identity:
    """A guest without a session: nobody but this socket."""
    return Identity(f"socket:{number}")


@dataclass
class Recorder:
    """Stands for the hub: all clients in the room receive the published events."""

    said: list[AnyOutgoing] = field(default_factory=list)
    # The number of sockets that receive it, and the resulting bytes, in all and of the lists alone.
    listeners: int = 1
    bytes: int = 0
    bytes_of_lists: int = 0

    def __post_init__(self) -> None:
        self.on_presence: Callable[[str, Sequence[Any]], None] = lambda *_: None

    def publish_presence(self, slug: str, news: Sequence[Any]) -> None:
        self.on_presence(slug, news)

    def write_here(self, slug: str, frame: str, *, latest: str | None = None) -> None:
        outgoing = decode_outgoing(frame)
        assert (latest == "userList") == isinstance(outgoing, UserList)
        assert getattr(outgoing, "room", None) == slug
        self.said.append(outgoing)
        size = len(frame.encode()) * self.listeners
        self.bytes += size
        if isinstance(outgoing, UserList):
            self.bytes_of_lists += size

    def audience(self, slug: str) -> int:
        return self.listeners if slug == ROOM else 0

    def names(self, kind: type[Joined | Left]) -> list[str]:
        return [said.username for said in self.said if isinstance(said, kind)]

    def lists(self) -> list[UserList]:
        return [said for said in self.said if isinstance(said, UserList)]


@pytest.fixture
def hub(settings: Settings) -> Recorder:
    settings.CHAT = {"GRACE": GRACE, "USER_LIST_INTERVAL": INTERVAL}
    return Recorder()


@pytest.fixture
async def presence(hub: Recorder, clock: Clock) -> AsyncIterator[Presence]:
    """Presence in a loop in which time goes on by ``skip`` only, however slow the machine."""
    clock.stop()
    presence = loops.current(Presence)
    presence._hub = hub  # type: ignore[assignment]  # what presence needs of it
    hub.on_presence = presence.receive
    yield presence
    clock.start()
    await loops.close_current()


async def come(presence: Presence, identity: Identity, name: str, tab: str = "tab", room: str = ROOM) -> bool:
    """Enter and announce, as joining does. Is it the person's first tab?"""
    async with presence.joining(JoinRequest(room, identity, name, tab)) as claim:
        presence.enter(claim)
    presence.announce(claim)
    return claim.first


async def taken(presence: Presence, identity: Identity, name: str) -> bool:
    try:
        async with presence.joining(JoinRequest(ROOM, identity, name, "another tab")) as claim:
            presence.enter(claim)
    except Invalid as refused:
        assert (refused.code, refused.field) == (ErrorCode.NAME_TAKEN, "username")  # noqa: PT017 both ways are right
        return True
    return False


# --- Once per person ---


async def test_a_join_is_announced(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """The first socket of a person is a join, and then the list."""
    assert await come(presence, ALICE, "Alice")
    await clock.skip(0)
    assert [type(said) for said in hub.said] == [Joined, UserList]
    assert hub.lists()[0].users == ["Alice"]


async def test_many_tabs_are_one_person(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """Further tabs announce nothing, and neither does closing any but the last."""
    assert await come(presence, BOB, "Bob", "1")
    assert not await come(presence, BOB, "Bob", "2")
    assert not await come(presence, BOB, "Bob", "3")
    assert presence.sockets(ROOM, "Bob") == {"1", "2", "3"}
    presence.exit(ROOM, "1")
    presence.exit(ROOM, "3", at_once=True)
    await clock.skip(GRACE * 2)
    assert hub.names(Joined) == ["Bob"]
    assert hub.names(Left) == []
    assert presence.user_list(ROOM).users == ["Bob"]
    presence.exit(ROOM, "2")
    await clock.skip(GRACE)
    assert hub.names(Left) == ["Bob"]


async def test_a_lost_person_leaves_after_the_grace(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """Not before: until then they are in the list."""
    await come(presence, ALICE, "Alice")
    presence.exit(ROOM, "tab")
    await clock.skip(GRACE - 0.1)
    assert (hub.names(Left), presence.counts()) == ([], {ROOM: 1})
    await clock.skip(0.1)
    assert (hub.names(Left), presence.counts()) == (["Alice"], {})


async def test_a_reconnect_cancels_the_leave(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """A user who reconnects within the grace never left; the next loss has a grace of its own."""
    await come(presence, ALICE, "Alice", "1")
    presence.exit(ROOM, "1")
    await clock.skip(GRACE - 0.1)
    assert not await come(presence, ALICE, "Alice", "2")
    await clock.skip(GRACE * 3)
    presence.exit(ROOM, "2")
    await clock.skip(GRACE - 0.1)
    assert (hub.names(Joined), hub.names(Left)) == (["Alice"], [])
    await clock.skip(0.1)
    assert hub.names(Left) == ["Alice"]


async def test_a_user_who_leaves_has_no_grace(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """Leaving is not a lost connection."""
    await come(presence, ALICE, "Alice")
    presence.exit(ROOM, "tab", at_once=True)
    assert hub.names(Left) == ["Alice"]
    await clock.skip(GRACE * 2)
    assert hub.names(Left) == ["Alice"]


async def test_a_grace_of_nothing_is_at_once(presence: Presence, hub: Recorder, settings: Settings) -> None:
    """GRACE = 0 announces each lost connection."""
    settings.CHAT = {"GRACE": 0}
    await come(presence, ALICE, "Alice")
    presence.exit(ROOM, "tab")
    assert hub.names(Left) == ["Alice"]


async def test_a_user_who_left_joins_anew(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """After the leave the next socket is a join again."""
    for _ in range(2):
        assert await come(presence, ALICE, "Alice")
        presence.exit(ROOM, "tab", at_once=True)
    assert (hub.names(Joined), hub.names(Left)) == (["Alice", "Alice"], ["Alice", "Alice"])


async def test_leaving_where_one_is_not_changes_nothing(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """An exit of an unknown room, person or tab, or a second one, is nobody's leave."""
    await come(presence, ALICE, "Alice")
    presence.exit("never", "tab")
    presence.exit(ROOM, "other tab", at_once=True)
    presence.exit(ROOM, "tab")
    presence.exit(ROOM, "tab", at_once=True)
    await clock.skip(GRACE - 0.1)
    assert hub.names(Left) == []


async def test_rooms_are_apart(presence: Presence, clock: Clock) -> None:
    """A name, a count and a leave are of one room."""
    await come(presence, ALICE, "Alice")
    await come(presence, passer_by(1), "Alice", "1", "tea")
    await come(presence, BOB, "Bob", "2", "tea")
    assert presence.counts() == {ROOM: 1, "tea": 2}
    assert [person.name for person in presence.people("tea")] == ["Alice", "Bob"]
    assert list(presence.people("never")) == []
    assert presence.sockets("tea", "Bob") == {"2"}
    assert presence.sockets(ROOM, "Bob") == presence.sockets("never", "Bob") == set()


# --- Names ---


async def test_an_account_keeps_its_name_beside_others(presence: Presence, hub: Recorder) -> None:
    """Two accounts whose names look the same are two people; each goes with their own last tab."""
    other = Identity("account:2", "alice", lasting=True)
    assert await come(presence, ALICE, "Alice", "1")
    assert await come(presence, other, "alice", "2")
    assert not await come(presence, other, "alice", "3")
    assert presence.user_list(ROOM).count == 2
    assert presence.sockets(ROOM, "Alice") == {"1"}
    assert presence.sockets(ROOM, "alice") == {"2", "3"}
    presence.exit(ROOM, "2", at_once=True)
    presence.exit(ROOM, "3", at_once=True)
    assert (hub.names(Left), presence.sockets(ROOM, "Alice")) == (["alice"], {"1"})


@pytest.mark.parametrize(
    ("holder", "comer", "expected"),
    [
        (ALICE, ALICE, False),
        (BOB, BOB, False),
        (ALICE, Identity("account:2", "alice", lasting=True), False),
        (BOB, Identity("guest:0ther:Bob", "Bob", lasting=True), True),
        (ALICE, passer_by(1), True),
        (passer_by(1), ALICE, False),
        (passer_by(1), passer_by(2), True),
        (passer_by(1), passer_by(1), False),
    ],
)
async def test_a_name_is_one_person_s(
    presence: Presence,
    holder: Identity,
    comer: Identity,
    expected: bool,
) -> None:
    """While its holder is here a name is taken for other guests; a session is one person; accounts come in."""
    await come(presence, holder, "Same")
    assert await taken(presence, comer, "Same") is expected


@pytest.mark.parametrize(
    ("holder", "comer", "expected"),
    [
        (ALICE, ALICE, False),
        (ALICE, passer_by(1), True),
        (BOB, passer_by(1), True),
        (BOB, Identity("guest:0ther:Bob", "Bob", lasting=True), True),
        (passer_by(1), passer_by(2), False),
        (passer_by(1), BOB, True),
    ],
)
async def test_in_the_grace_of_a_guest_without_a_session_another_gets_the_name(
    presence: Presence,
    hub: Recorder,
    holder: Identity,
    comer: Identity,
    expected: bool,
) -> None:
    """Another guest without a session counts as the reconnect. A user who can prove their identity keeps the
    name.
    """
    await come(presence, holder, "Same", "1")
    presence.exit(ROOM, "1")
    assert await taken(presence, comer, "Same") is expected
    assert hub.names(Joined) == ["Same"]


@pytest.mark.parametrize("name", ["ALICE", "alice", "\uff21lice"])
async def test_case_and_width_make_no_second_alice(presence: Presence, name: str) -> None:
    """Names that people read as the same are the same name."""
    await come(presence, ALICE, "Alice")
    assert await taken(presence, passer_by(1), name)
    assert presence.sockets(ROOM, name) == {"tab"}


async def test_a_refused_name_leaves_no_trace(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """The holder is neither counted twice nor gone when the other's socket is."""
    await come(presence, ALICE, "Alice")
    assert await taken(presence, passer_by(1), "Alice")
    presence.exit(ROOM, "another tab", at_once=True)
    await clock.skip(1)
    assert presence.counts() == {ROOM: 1}
    assert hub.names(Left) == []


async def test_a_returning_passer_by_may_write_the_name_otherwise(
    presence: Presence, hub: Recorder, clock: Clock
) -> None:
    """The list and the leave have the name that the person speaks under now."""
    await come(presence, passer_by(1), "charlie", "1")
    await clock.skip(1)
    presence.exit(ROOM, "1")
    await come(presence, passer_by(2), "Charlie", "2")
    await clock.skip(1)
    assert hub.lists()[-1].users == ["Charlie"]
    presence.exit(ROOM, "2", at_once=True)
    assert hub.names(Left) == ["Charlie"]


async def test_a_taken_name_is_free_after_the_leave(presence: Presence, clock: Clock) -> None:
    """Until the grace is over it is not."""
    await come(presence, ALICE, "Alice")
    presence.exit(ROOM, "tab")
    assert await taken(presence, passer_by(1), "Alice")
    await clock.skip(GRACE)
    assert not await taken(presence, passer_by(1), "Alice")


# --- Renamed accounts ---

ALICIA = Identity("account:1", "Alicia", lasting=True)


async def test_an_account_that_is_renamed_in_its_grace_goes_on_under_the_new_name(
    presence: Presence, hub: Recorder, clock: Clock
) -> None:
    """The room receives a leave and a join, each once; the old name is free; the end is announced under the new
    one.
    """
    await come(presence, ALICE, "Alice", "1")
    presence.exit(ROOM, "1")
    assert not await come(presence, ALICIA, "Alicia", "2")
    await clock.skip(GRACE * 2)
    assert (hub.names(Joined), hub.names(Left)) == (["Alice", "Alicia"], ["Alice"])
    assert presence.user_list(ROOM).users == ["Alicia"] == hub.lists()[-1].users
    assert (presence.sockets(ROOM, "Alicia"), presence.sockets(ROOM, "Alice")) == ({"2"}, set())
    assert not await taken(presence, passer_by(1), "Alice")
    assert await taken(presence, passer_by(2), "alicia")
    presence.exit(ROOM, "2")
    await clock.skip(GRACE)
    assert hub.names(Left)[1:] == ["Alicia"]


async def test_an_account_that_is_renamed_and_stays_away_leaves_under_the_old_name(
    presence: Presence, hub: Recorder, clock: Clock
) -> None:
    """The old name is the one that the room knew; in the other room it came back under the new one."""
    await come(presence, ALICE, "Alice", "1")
    await come(presence, ALICE, "Alice", "2", "tea")
    presence.exit(ROOM, "1")
    presence.exit("tea", "2")
    await come(presence, ALICIA, "Alicia", "3", "tea")
    await clock.skip(GRACE)
    told = [(said.room, type(said), said.username) for said in hub.said if isinstance(said, (Joined, Left))]
    assert told == [
        (ROOM, Joined, "Alice"),
        ("tea", Joined, "Alice"),
        ("tea", Joined, "Alicia"),
        ("tea", Left, "Alice"),
        (ROOM, Left, "Alice"),
    ]
    assert presence.counts() == {"tea": 1}


async def test_an_account_with_an_open_socket_takes_its_new_name(
    presence: Presence, hub: Recorder, clock: Clock
) -> None:
    """A rename that no signal told of: the first socket that knows of it is believed, and the older one's end is
    nobody's leave.
    """
    await come(presence, ALICE, "Alice", "1")
    assert not await come(presence, ALICIA, "Alicia", "2")
    presence.exit(ROOM, "1", at_once=True)
    assert (hub.names(Joined), hub.names(Left)) == (["Alice", "Alicia"], ["Alice"])
    presence.exit(ROOM, "2", at_once=True)
    assert hub.names(Left) == ["Alice", "Alicia"]
    assert presence.counts() == {}


@pytest.mark.parametrize(
    "names", [("Alice", "Bob", "Carol"), ("Alice", "Alicia", "Alice"), ("Alice", "bob", "B0b"), ("Alice", "alice")]
)
async def test_however_often_an_account_is_renamed_its_name_is_found_and_forgotten(
    presence: Presence, hub: Recorder, clock: Clock, names: Sequence[str]
) -> None:
    """Also where it looks like another account's; the joins and leaves that are told add up."""
    bob = Identity("account:2", "Bob", lasting=True)
    await come(presence, bob, "Bob", "bob")
    for number, name in enumerate(names):
        await come(presence, Identity("account:1", name, lasting=True), name, str(number))
        assert presence.sockets(ROOM, name) == {str(number)} or name in {"Bob", "bob"}
        assert await taken(presence, passer_by(number), name)
        assert sorted(presence.user_list(ROOM).users) == sorted(["Bob", name])
        presence.exit(ROOM, str(number))
    await clock.skip(GRACE)
    presence.exit(ROOM, "bob", at_once=True)
    looks = [name_key(name) for name in names]
    changes = sum(before != after for before, after in pairwise(looks))
    assert sorted(map(name_key, hub.names(Joined))) == sorted(map(name_key, hub.names(Left)))
    assert len(hub.names(Joined)) == 2 + changes
    await clock.skip(GRACE)
    assert presence._rooms == {}


# --- The list ---


async def test_the_list_names_the_latest_first(presence: Presence) -> None:
    """The latest user is first; a reconnect changes no user's place."""
    for number in range(3):
        await come(presence, passer_by(number), f"u{number}", str(number))
    presence.exit(ROOM, "0")
    await come(presence, passer_by(9), "u0", "9")
    assert presence.user_list(ROOM).users == ["u2", "u1", "u0"]
    assert presence.user_list("never").users == []


async def test_after_quiet_the_list_goes_out_at_once(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """The first change is told without delay, and those that follow in one list after the interval."""
    await come(presence, passer_by(0), "u0", "0")
    await clock.skip(0)
    assert len(hub.lists()) == 1
    for number in range(1, 20):
        await come(presence, passer_by(number), f"u{number}", str(number))
        await clock.skip(0.01)
    assert len(hub.lists()) == 1
    await clock.skip(INTERVAL)
    assert [said.count for said in hub.lists()] == [1, 20]
    await clock.skip(INTERVAL)
    await come(presence, passer_by(20), "u20", "20")
    await clock.skip(0)
    assert [said.count for said in hub.lists()] == [1, 20, 21]


async def test_without_a_change_nothing_is_sent(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """A quiet room costs nothing."""
    await come(presence, ALICE, "Alice")
    await clock.skip(INTERVAL)
    said = len(hub.said)
    for _ in range(5):
        await clock.skip(60)
    assert len(hub.said) == said


async def test_the_last_list_is_true(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """After any storm the list that everybody has is the one that holds."""
    for number in range(50):
        await come(presence, passer_by(number), f"u{number}", str(number))
        if number % 3:
            presence.exit(ROOM, str(number), at_once=True)
        await clock.skip(0.02)
    await clock.skip(60)
    last = hub.lists()[-1]
    assert (last.users, last.count) == (presence.user_list(ROOM).users, 17)


async def test_the_list_is_capped_and_the_count_is_true(
    presence: Presence, hub: Recorder, clock: Clock, settings: Settings
) -> None:
    """Past the cap the list has the latest names, the count has all, and single joins and leaves are not told."""
    settings.CHAT = {"USER_LIST_NAMES": 3, "GRACE": 0}
    for number in range(5):
        await come(presence, passer_by(number), f"u{number}", str(number))
    await clock.skip(1)
    assert hub.names(Joined) == ["u0", "u1", "u2"]
    assert (hub.lists()[-1].users, hub.lists()[-1].count) == (["u4", "u3", "u2"], 5)
    for number in range(5):
        presence.exit(ROOM, str(number))
    assert hub.names(Left) == ["u2", "u3", "u4"]


async def test_a_crowd_of_guests_pushes_no_account_off_the_list(
    presence: Presence, hub: Recorder, clock: Clock, settings: Settings
) -> None:
    """If not all names fit, accounts come first; among them and among guests the latest."""
    settings.CHAT = {"USER_LIST_NAMES": 4, "GRACE": 0}
    for number in range(2):
        await come(
            presence,
            Identity(key=f"account:{number}", name=f"a{number}", lasting=True),
            f"a{number}",
            f"a{number}",
        )
    for number in range(5):
        await come(presence, passer_by(number), f"u{number}", str(number))
    await clock.skip(1)
    assert (hub.lists()[-1].users, hub.lists()[-1].count) == (["a1", "a0", "u4", "u3"], 7)


async def test_a_big_room_s_lists_keep_to_the_bandwidth(
    presence: Presence, hub: Recorder, clock: Clock, settings: Settings
) -> None:
    """All members' lists together cost at most USER_LIST_BANDWIDTH, whatever comes and goes, in any script."""
    bandwidth = 100_000
    settings.CHAT = {"GRACE": 0, "USER_LIST_BANDWIDTH": bandwidth, "USER_LIST_NAMES": 50}
    seconds, step = 10, 0.05
    for number in range(int(seconds / step)):
        hub.listeners = number + 1
        await come(presence, passer_by(number), f"\u30a2\u30ea\u30b9{number}", str(number))
        await clock.skip(step)
    dearest = len(encode(hub.lists()[-1]).encode()) * hub.listeners
    assert bandwidth * seconds / 2 < hub.bytes_of_lists < bandwidth * seconds + dearest


async def bytes_of_joins(presence: Presence, hub: Recorder, clock: Clock, people: int) -> int:
    """The traffic of a crowd: a join each millisecond, every user gets the list on entering."""
    for number in range(people):
        await come(presence, passer_by(number), f"user {number:04}", str(number))
        hub.listeners = number + 1
        hub.bytes += len(encode(presence.user_list(ROOM)))
        await clock.skip(0.001)
    await clock.skip(5)
    return hub.bytes


@pytest.mark.parametrize("people", [250, 500, 1_000])
async def test_joins_cost_in_proportion(presence: Presence, hub: Recorder, clock: Clock, people: int) -> None:
    """250, 500 and 1,000 joins cost at most 15 kB each; telling all names to all would cost 1.2 MB each."""
    assert await bytes_of_joins(presence, hub, clock, people) < 15_000 * people
    assert hub.lists()[-1].count == people


# --- Nothing stays ---


async def test_an_empty_room_is_forgotten(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """With the last person the room goes, after the list that nobody needs any more."""
    await come(presence, ALICE, "Alice")
    presence.exit(ROOM, "tab")
    await clock.skip(GRACE)
    await clock.skip(INTERVAL)
    assert presence._rooms == {}
    assert [said.count for said in hub.lists()] == [1]


async def test_a_room_that_fills_again_in_time_goes_on(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """A user who joins between the last leave and the list is in the list."""
    await come(presence, ALICE, "Alice")
    await clock.skip(0)
    presence.exit(ROOM, "tab", at_once=True)
    await come(presence, BOB, "Bob")
    await clock.skip(INTERVAL)
    assert [said.users for said in hub.lists()] == [["Alice"], ["Bob"]]


@pytest.mark.parametrize("anew", [True, False], ids=["opened anew", "empty"])
async def test_a_late_diff_of_a_closed_room_is_dropped(
    presence: Presence, hub: Recorder, clock: Clock, anew: bool
) -> None:
    """A read from the registry for a closed room is not published in the next one, and does not end it."""
    await come(presence, ALICE, "Alice")
    forgotten = presence._rooms[ROOM]
    presence.exit(ROOM, "tab", at_once=True)
    await clock.skip(INTERVAL)
    assert presence._rooms == {}
    if anew:
        await come(presence, BOB, "Bob")
        await clock.skip(INTERVAL)
    said = len(hub.said)
    presence._send_diff(ROOM, forgotten, [ShownName("Carol")], [ShownName("Dave")])
    presence._schedule_list(ROOM, forgotten)
    await clock.skip(INTERVAL * 2)
    assert len(hub.said) == said
    assert [person.name for person in presence.people(ROOM)] == (["Bob"] if anew else [])
    assert forgotten.list_timer is None


async def test_closing_stops_every_timer(presence: Presence, hub: Recorder, clock: Clock) -> None:
    """After the close no leave and no list comes."""
    await come(presence, ALICE, "Alice")
    await come(presence, BOB, "Bob")
    presence.exit(ROOM, "tab")
    said = len(hub.said)
    await presence.close()
    await clock.skip(GRACE * 2)
    assert len(hub.said) == said
    assert presence.counts() == {}
