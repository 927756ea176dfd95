"""Queued writes with the same order_key stay in their order, whatever is held up, for how long and how often."""

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
        # The rooms that are locked during the next try.
        st.tuples(st.just("try"), st.sets(st.integers(0, 2))),
        st.tuples(st.just("pass"), st.floats(0, 1)),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_room_s_writes_stay_in_their_order(steps: list[tuple[str, object]]) -> None:
    """A room's written messages are the first of the appended ones, none twice. In the end all are written."""
    queue, now = WriteQueue(), 0.0
    appended: dict[Hashable, list[Write]] = {room.pk: [] for room in ROOMS}
    done: dict[Hashable, list[Write]] = {room.pk: [] for room in ROOMS}

    def attempt(locked: set[int]) -> None:
        batch, _ = queue.take(now)
        held = [write for write in batch if write.room.pk in locked]
        gone = queue.settle(batch, held, began=now, now=now + 0.01)
        for write in [*(write for write in batch if write not in held), *gone]:
            done[write.order_key].append(write)

    for what, value in steps:
        if what == "append":
            write = post(ROOMS[value])  # type: ignore[call-overload]
            appended[write.order_key].append(write)
            queue.append(write)
        elif what == "try":
            attempt(value)  # type: ignore[arg-type]
        else:
            now += value  # type: ignore[operator]
        assert len(queue) == sum(map(len, appended.values())) - sum(map(len, done.values()))
    while queue:
        now += 1
        attempt(set())
    assert done == appended
    assert not queue.has_held


def test_the_database_waits_for_a_lock_if_nothing_else_is_queued() -> None:
    """It does not if others are held up too, or if something can be written at once."""
    queue = WriteQueue()
    first, second = post(ROOMS[0]), post(ROOMS[1])
    queue.append(first)
    assert queue.take(0.0) == ([first], True)
    queue.settle([first], [first], began=0.0, now=0.0)
    assert queue.take(1.0) == ([first], True)
    queue.settle([first], [first], began=1.0, now=1.0)
    queue.append(second)
    assert queue.take(2.0) == ([second], False)
    queue.settle([second], [second], began=2.0, now=2.0)
    assert queue.take(3.0) == ([first, second], False)


def test_pauses_are_long_if_a_try_takes_long() -> None:
    """A try that blocks the thread is rare; one that costs nothing is made often."""
    queue = WriteQueue()
    write = post(ROOMS[0])
    queue.append(write)
    queue.take(0.0)
    queue.settle([write], [write], began=0.0, now=0.05)
    assert queue.next_due() < 0.06
    for took in (0.0, 0.05):
        queue.take(10.0)
        queue.settle([write], [write], began=1.0, now=1.0 + took)
    assert queue.next_due() == pytest.approx(1.15)
    assert PAUSE_LIMIT < 0.1


def test_a_read_position_holds_up_no_message() -> None:
    """A reader's position has an order_key of its own."""
    queue = WriteQueue()
    position, message = read(ROOMS[0], 1), post(ROOMS[0])
    queue.append(position)
    queue.take(0.0)
    queue.settle([position], [position], began=0.0, now=0.0)
    queue.append(message)
    assert queue.take(0.0)[0] == [message]
