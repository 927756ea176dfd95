"""The queue that is fair to addresses."""

import pytest

from chatsite.handlers.fair_queue import FairQueue, QueueFull


async def test_so_many_have_a_turn_at_once() -> None:
    """The next when one ends, in the order of their coming."""
    turns = FairQueue(2, waiting=10)
    first, second, third, fourth = (turns.enter("a") for _ in range(4))
    assert (first.done(), second.done(), third.done(), fourth.done()) == (True, True, False, False)
    turns.end()
    assert (third.done(), fourth.done()) == (True, False)
    turns.end()
    assert fourth.done()
    turns.end()
    turns.end()
    assert turns.enter("a").done()


async def test_a_crowd_of_one_address_does_not_stand_before_another() -> None:
    """Addresses take turns: who comes first of theirs waits for one of each other address at most."""
    turns = FairQueue(1, waiting=1_000)
    turns.enter("flood")
    flood = [turns.enter("flood") for _ in range(100)]
    mine, other = turns.enter("mine"), turns.enter("other")
    turns.end()
    assert flood[0].done()
    turns.end()
    assert mine.done()
    turns.end()
    assert other.done()
    assert not flood[1].done()


async def test_who_has_left_the_queue_gets_no_turn() -> None:
    turns = FairQueue(1, waiting=10)
    turns.enter("a")
    gone, here = turns.enter("a"), turns.enter("b")
    gone.cancel()
    turns.end()
    assert here.done()


async def test_the_queue_has_an_end() -> None:
    """A request outside the queue costs nothing; there is space again when somebody had their turn."""
    turns = FairQueue(1, waiting=2)
    for _ in range(3):
        turns.enter("a")
    with pytest.raises(QueueFull):
        turns.enter("b")
    turns.end()
    turns.enter("b")
