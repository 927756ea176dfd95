"""A room's recent changes in memory: from every position in them, they lead to the present state."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from logs import Follower, Messages, examples
from msgspec import UNSET
from msgspec.structs import replace
from pytest_django import Settings

from chat import protocol
from chat.hub import recent_changes as ring_module
from chat.hub.recent_changes import RecentChanges
from chat.log import Change, LogSlice
from chat.message_log.changes import event_of, message_changes
from chat.protocol import Message, Position, decode_outgoing

RING = 4


class Book:
    """A room's messages in memory. Each thing that is done to them makes a change, as the log makes it."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        # The state at each number.
        self.states: list[Messages] = [{}]

    @property
    def seq(self) -> int:
        return len(self.states) - 1

    @property
    def now(self) -> Messages:
        return self.states[-1]

    def say(self, text: str = "hi") -> Change:
        number = self.seq + 1
        self.texts[number] = text
        message = Message(room="lobby", id=number, seq=number, username="Alice", content=text, timestamp=1)
        return self._turn(message, new=True)

    def edit(self, number: int, text: str) -> Change:
        self.texts[number] = text
        return self._turn(replace(self.now[number], content=text, edited=1))

    def hide(self, number: int) -> Change:
        return self._turn(replace(self.now[number], content="", deleted=True, edited=UNSET))

    def show(self, number: int) -> Change:
        return self._turn(replace(self.now[number], content=self.texts[number], deleted=False))

    def _turn(self, message: Message, *, new: bool = False) -> Change:
        state = replace(message, seq=self.seq + 1)
        self.states.append({**self.now, state.id: state})
        fresh = protocol.encode(state)
        frame = fresh if new else protocol.encode(event_of(state))
        return Change(state.seq, state.id, frame, fresh, gone=state.deleted)

    def read(self, position: int, limit: int = 100) -> LogSlice:
        """The log's changes after a position."""
        found = sorted((m for m in self.now.values() if m.seq > position), key=lambda message: message.seq)
        copies = [replace(message) for message in found[:limit]]
        return LogSlice("lobby", position, message_changes(copies, position), len(found) <= limit, self.seq)

    def caught_up(self, ring: RecentChanges, position: int) -> Messages:
        """The state of a client that had all up to a position and then got the recent changes."""
        follower = Follower(position, self.states[position])
        follower.read(change.fresh for change in ring.since(position))
        assert follower.seq == self.seq
        return follower.messages


@pytest.fixture(autouse=True)
def small(settings: Settings) -> None:
    settings.CHAT = {"RING": RING}


def fill(ring: RecentChanges, book: Book, number: int) -> None:
    for _ in range(number):
        ring.add(book.say(f"message {book.seq + 1}"))


def numbers(ring: RecentChanges) -> list[int]:
    return [change.seq for change in ring.since(ring.floor)]


def test_a_new_ring_has_nothing_and_all(settings: Settings) -> None:
    """A client at its position misses nothing."""
    ring = RecentChanges("lobby", 7)
    assert (ring.floor, ring.since(7)) == (7, [])


def test_what_came_after_a_position_is_told() -> None:
    """From every position that it has, exactly what came later."""
    ring, book = RecentChanges("lobby", 0), Book()
    fill(ring, book, 5)
    for position in range(6):
        assert [change.seq for change in ring.since(position)] == list(range(position + 1, 6))


def test_it_keeps_the_latest() -> None:
    """It grows to twice RING, then it is cut to RING: its floor is the beginning of its oldest change."""
    ring, book = RecentChanges("lobby", 0), Book()
    fill(ring, book, 2 * RING)
    assert (ring.floor, len(numbers(ring))) == (0, 2 * RING)
    fill(ring, book, 1)
    assert (ring.floor, numbers(ring)) == (RING + 1, list(range(RING + 2, 2 * RING + 2)))
    fill(ring, book, 50)
    assert numbers(ring) == list(range(ring.floor + 1, book.seq + 1))
    assert RING <= len(numbers(ring)) <= 2 * RING


def test_long_messages_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bounded in characters too, for any number of changes; it always has the last one."""
    monkeypatch.setattr(ring_module, "CHARACTERS", 1_000)
    ring, book = RecentChanges("lobby", 0), Book()
    for number in range(20):
        ring.add(book.say("x" * 600))
        kept = ring.since(ring.floor)
        assert sum(len(change.fresh) for change in kept) <= 2_000 + 700
        assert kept[-1].seq == number + 1
    ring.add(book.say("x" * 5_000))
    assert numbers(ring) == [21]


def test_a_deleted_message_s_text_is_not_told_again() -> None:
    """Changes with the text become numbers without a change; the deletion itself, and all other texts, stay."""
    ring, book = RecentChanges("lobby", 0), Book()
    ring.add(book.say("secret"))
    ring.add(book.say("harmless"))
    ring.add(book.edit(1, "secret too"))
    ring.add(book.hide(1))
    ring.forget(1)
    told = ring.since(0)
    assert not any("secret" in change.frame + change.fresh for change in told)
    assert [type(decode_outgoing(change.fresh)) for change in told] == [Position, Message, Position, Message]
    assert [decode_outgoing(change.frame) for change in (told[0], told[2])] == [
        Position(room="lobby", seq=1, follows=0),
        Position(room="lobby", seq=3, follows=2),
    ]
    for position in range(5):
        assert book.caught_up(ring, position) == book.now


def test_what_is_shown_again_is_told() -> None:
    """A message that was hidden and came back stays, when what had its text before is forgotten."""
    ring, book = RecentChanges("lobby", 0), Book()
    ring.add(book.say("rude?"))
    ring.add(book.hide(1))
    ring.add(book.show(1))
    ring.forget(1)
    for position in range(4):
        assert book.caught_up(ring, position) == book.now
    assert book.now[1].content == "rude?"


def test_it_is_extended_backwards() -> None:
    """Changes read from the log for a client far behind are there for the next one, and join without a seam."""
    ring, book = RecentChanges("lobby", 6), Book()
    fill(RecentChanges("lobby", 0), book, 6)
    ring.add(book.edit(2, "x"))
    low = 1
    stretch = book.read(low)
    ring.extend_back([change for change in stretch.to_the_end() if change.seq <= ring.floor], low)
    assert ring.floor == low
    for position in range(low, book.seq + 1):
        assert book.caught_up(ring, position) == book.now


def test_numbers_that_moved_away_leave_no_hole_where_it_is_extended() -> None:
    """Where the last changes before the floor were made void by later ones, a position bridges them."""
    ring, book = RecentChanges("lobby", 3), Book()
    fill(RecentChanges("lobby", 0), book, 3)
    ring.add(book.edit(3, "x"))
    ring.add(book.edit(2, "y"))
    ring.extend_back([change for change in book.read(0).changes if change.seq <= 3], 0)
    assert numbers(ring) == [1, 3, 4, 5]
    for position in range(6):
        assert book.caught_up(ring, position) == book.now


def test_an_extension_tells_no_deleted_text() -> None:
    """A page that was read before a deletion among the recent changes does not bring the text back."""
    ring, book = RecentChanges("lobby", 2), Book()
    fill(RecentChanges("lobby", 0), book, 1)
    book.say("secret")
    old = book.read(0)
    ring.add(book.hide(2))
    ring.extend_back(old.to_the_end(), 0)
    assert not any("secret" in change.frame + change.fresh for change in ring.since(0))
    for position in range(4):
        assert book.caught_up(ring, position) == book.now


def test_an_extension_keeps_what_is_shown_again() -> None:
    """A message that was hidden and came back is sent in its present state, also to a client from before the
    recent changes.
    """
    ring, book = RecentChanges("lobby", 1), Book()
    fill(RecentChanges("lobby", 0), book, 1)
    old = book.read(0)
    for change in (book.hide(1), book.show(1)):
        ring.add(change)
    ring.extend_back(old.to_the_end(), 0)
    for position in range(4):
        assert book.caught_up(ring, position) == book.now


def test_too_long_an_extension_is_left_out() -> None:
    """Changes beyond its limit are not kept; its content stays complete."""
    ring, book = RecentChanges("lobby", 6), Book()
    fill(RecentChanges("lobby", 0), book, 6)
    fill(ring, book, 3)
    ring.extend_back([change for change in book.read(0).to_the_end() if change.seq <= 6], 0)
    assert (ring.floor, numbers(ring)) == (6, [7, 8, 9])


def test_another_life_begins_empty() -> None:
    """Nothing of the former life is told to anybody."""
    ring, book = RecentChanges("lobby", 0), Book()
    fill(ring, book, 5)
    ring.start_over(2)
    assert (ring.floor, ring.since(2)) == (2, [])
    ring.add(Change(3, 3, "frame", "frame"))
    assert numbers(ring) == [3]


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["say", "say", "edit", "hide", "show", "extend"]), st.integers(1, 8)), max_size=40
)


@given(before=ACTIONS, after=ACTIONS)
@hypothesis_settings(max_examples=examples(200), deadline=None)
def test_every_position_leads_to_the_present(before: list[tuple[str, int]], after: list[tuple[str, int]]) -> None:
    """For any changes: a client that had all up to a position gets the present state from the recent changes."""
    book = Book()
    for what, number in before:
        act(book, what, number)
    ring = RecentChanges("lobby", book.seq)
    for what, number in after:
        low = max(0, ring.floor - number)
        if what == "extend":
            ring.extend_back([change for change in book.read(low).to_the_end() if change.seq <= ring.floor], low)
        elif change := act(book, what, number):
            ring.add(change)
            if change.gone:
                ring.forget(change.id)
        for position in range(ring.floor, book.seq + 1):
            assert book.caught_up(ring, position) == book.now
        kept = ring.since(ring.floor)
        assert len(kept) <= 2 * RING
        gone = [book.texts[message.id] for message in book.now.values() if message.deleted]
        assert not any(f'"{text}"' in change.frame + change.fresh for text in gone for change in kept)


def act(book: Book, what: str, number: int) -> Change | None:
    """Do something to the book, where that can be done."""
    message = book.now.get(number)
    match what, message:
        case "say", _:
            return book.say(f"first of {book.seq}")
        case "edit", Message(deleted=False):
            return book.edit(number, f"text of {book.seq}")
        case "hide", Message(deleted=False):
            return book.hide(number)
        case "show", Message(deleted=True):
            return book.show(number)
    return None
