"""Waiting writes stay in the order of their line, whatever is held up, for how long and how often."""

from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import post, read

from chat.log import RoomLog
from chat.log.write_queue import PAUSE_LIMIT, WriteQueue
from chat.log.writes import Write

ROOMS = [RoomLog(pk, f"r{pk}", "e", 0) for pk in range(3)]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2)),
        # The lines that are locked when what is next is tried, and how long that takes.
        st.tuples(st.just("try"), st.sets(st.integers(0, 2))),
        st.tuples(st.just("pass"), st.floats(0, 1)),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_line_stays_in_its_order(steps: list[tuple[str, object]]) -> None:
    """A room's written rows are the first of the appended ones, none twice; in the end they are all of them."""
    waiting, now = WriteQueue(), 0.0
    appended: dict[Hashable, list[Write]] = {room.pk: [] for room in ROOMS}
    done: dict[Hashable, list[Write]] = {room.pk: [] for room in ROOMS}

    def attempt(locked: set[int]) -> None:
        batch, _ = waiting.take(now)
        held = [write for write in batch if write.room.pk in locked]
        gone = waiting.settle(batch, held, began=now, now=now + 0.01)
        for write in [*(write for write in batch if write not in held), *gone]:
            done[write.order_key].append(write)

    for what, value in steps:
        if what == "append":
            write = post(ROOMS[value])  # type: ignore[call-overload]
            appended[write.order_key].append(write)
            waiting.append(write)
        elif what == "try":
            attempt(value)  # type: ignore[arg-type]
        else:
            now += value  # type: ignore[operator]
        assert len(waiting) == sum(map(len, appended.values())) - sum(map(len, done.values()))
    while waiting:
        now += 1
        attempt(set())
    assert done == appended
    assert not waiting.has_held


def test_the_lock_of_one_is_waited_for_where_nothing_else_is_there() -> None:
    """Nor is it where others are held up too, or something can be written at once."""
    waiting = WriteQueue()
    first, second = post(ROOMS[0]), post(ROOMS[1])
    waiting.append(first)
    assert waiting.take(0.0) == ([first], True)
    waiting.settle([first], [first], began=0.0, now=0.0)
    assert waiting.take(1.0) == ([first], True)
    waiting.settle([first], [first], began=1.0, now=1.0)
    waiting.append(second)
    assert waiting.take(2.0) == ([second], False)
    waiting.settle([second], [second], began=2.0, now=2.0)
    assert waiting.take(3.0) == ([first, second], False)


def test_tries_are_far_between_where_each_takes_long() -> None:
    """A try that blocks the thread is rare; one that costs nothing comes often."""
    waiting = WriteQueue()
    write = post(ROOMS[0])
    waiting.append(write)
    waiting.take(0.0)
    waiting.settle([write], [write], began=0.0, now=0.05)
    assert waiting.next_due() < 0.06
    for took in (0.0, 0.05):
        waiting.take(10.0)
        waiting.settle([write], [write], began=1.0, now=1.0 + took)
    assert waiting.next_due() == pytest.approx(1.15)
    assert PAUSE_LIMIT < 0.1


def test_who_has_read_how_far_holds_up_no_message() -> None:
    """A reader's position is a line of its own."""
    waiting = WriteQueue()
    position, message = read(ROOMS[0], 1), post(ROOMS[0])
    waiting.append(position)
    waiting.take(0.0)
    waiting.settle([position], [position], began=0.0, now=0.0)
    waiting.append(message)
    assert waiting.take(0.0)[0] == [message]
