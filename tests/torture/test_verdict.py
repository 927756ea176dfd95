"""The verdict can say no: each thing that must not be is put into a history, and found."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from torture.records import Acked, Asked, Heard, Lost, Refused, Row, Sent, Strange, Welcomed
from torture.told import Told, command, heard, listed


def test_a_run_in_which_all_is_right_has_no_problems() -> None:
    """The verdict finds nothing where there is nothing."""
    assert Told().kinds() == set()


def test_a_process_that_lags_is_no_problem() -> None:
    """A client that moves to another process, which is behind it, may receive some events again."""
    told = Told()
    told.events += [
        Lost(at=5.0, who="Bob", link=1, code=1006),
        Asked(at=5.1, who="Bob", link=2, since=4, epoch="e"),
        Welcomed(at=5.2, who="Bob", link=2, seq=3, epoch="e", resumed=True, last=4),
        listed(5.2, "Ann", "Bob", who="Bob"),
        replace(told.events[told.find(Heard, who="Bob", seq=4)], link=2, at=5.3, taken=False),
    ]
    assert told.kinds() == set()


# --- Loss, duplicates, order ---


def a_lost_message(told: Told) -> None:
    del told.rows[1]
    told.room(seq=3)


def a_lost_message_whose_number_is_another_s(told: Told) -> None:
    told.rows[1] = replace(told.rows[1], ref="b9")


def an_unanswered_message(told: Told) -> None:
    told.events += command("Bob", "b2", 9.0, id=5, seq=5, type="message", content="three")[:1]


def a_message_twice(told: Told) -> None:
    again = replace(told.two, id=5, seq=5, reactions="")
    told.rows.append(Row(again, "a2"))
    told.room(seq=5)


def a_message_twice_without_its_ref(told: Told) -> None:
    told.rows.append(Row(replace(told.two, id=5, seq=5), None))


def two_answers_to_one_ref(told: Told) -> None:
    told.events += command("Ann", "a1", 9.0, id=2, seq=2, type="message", content="one")


def a_later_message_with_a_lower_number(told: Told) -> None:
    """As if `a2` had been sent before `a1`, and acknowledged before that was said."""
    told.change(Sent, {"ref": "a2"}, at=0.5)
    told.change(Acked, {"ref": "a2"}, at=0.6)


def a_refusal_without_a_reason(told: Told) -> None:
    at = told.find(Acked, ref="b1")
    told.events[at] = Refused(at=4.01, who="Bob", author="Bob", ref="b1", code="not_found")


def a_refused_message_that_was_kept(told: Told) -> None:
    at = told.find(Acked, ref="a2")
    told.events[at] = Refused(at=4.01, who="Ann", author="Ann", ref="a2", code="forbidden")


def a_retry_that_counted_twice(told: Told) -> None:
    told.row(1, {"changes": 2}, seq=5)
    told.room(seq=5)


# --- Streams ---


def a_frame_twice(told: Told) -> None:
    told.events.append(told.events[told.find(Heard, who="Bob", seq=4)])


def two_frames_swapped(told: Told) -> None:
    first, second = told.find(Heard, who="Bob", seq=1), told.find(Heard, who="Bob", seq=2)
    told.events[first], told.events[second] = told.events[second], told.events[first]


def a_frame_left_out(told: Told) -> None:
    del told.events[told.find(Heard, who="Bob", seq=2)]


def a_frame_before_the_welcome(told: Told) -> None:
    at = told.find(Welcomed, who="Bob")
    told.events.insert(at, heard(0.1, "Message", 1, 1, content="one", reactions="")[1])


def a_welcome_that_nobody_asked_for(told: Told) -> None:
    told.events.append(Welcomed(at=9.0, who="Bob", link=1, seq=4, epoch="e", resumed=True, last=4))


def a_resumption_that_says_again_what_was_heard(told: Told) -> None:
    told.events += [
        Lost(at=5.0, who="Bob", link=1, code=1006),
        Asked(at=5.1, who="Bob", link=2, since=4, epoch="e"),
        Welcomed(at=5.2, who="Bob", link=2, seq=4, epoch="e", resumed=True, last=4),
        replace(told.events[told.find(Heard, who="Bob", seq=4)], link=2, at=5.3, taken=False),
    ]


def starting_over_without_need(told: Told) -> None:
    told.events += [
        Lost(at=5.0, who="Bob", link=1, code=1006),
        Asked(at=5.1, who="Bob", link=2, since=4, epoch="e"),
        Welcomed(at=5.2, who="Bob", link=2, seq=4, epoch="e", resumed=False, last=4),
    ]


def one_number_for_two_things(told: Told) -> None:
    told.change(Heard, {"who": "Bob", "seq": 2}, content="too")


def a_message_that_only_somebody_heard(told: Told) -> None:
    told.events += heard(5.0, "Message", 5, 5, content="five", reactions="")[1:]
    told.holds(1, [told.one, told.two], last=5)


def something_that_the_protocol_does_not_have(told: Told) -> None:
    told.events.append(Strange(at=5.0, who="Bob", says="a frame of another room"))


FINDS: list[tuple[Callable[[Told], None], str]] = [
    (a_lost_message, "lost"),
    (a_lost_message_whose_number_is_another_s, "lost"),
    (an_unanswered_message, "unanswered"),
    (a_message_twice, "twice"),
    (a_message_twice_without_its_ref, "stranger"),
    (two_answers_to_one_ref, "two answers"),
    (a_later_message_with_a_lower_number, "order"),
    (a_refusal_without_a_reason, "refused"),
    (a_refused_message_that_was_kept, "refused and kept"),
    (a_retry_that_counted_twice, "changed too often"),
    (a_frame_twice, "heard again"),
    (two_frames_swapped, "gap"),
    (a_frame_left_out, "gap"),
    (a_frame_before_the_welcome, "heard before the welcome"),
    (a_welcome_that_nobody_asked_for, "answered without a question"),
    (a_resumption_that_says_again_what_was_heard, "heard again"),
    (starting_over_without_need, "reset"),
    (one_number_for_two_things, "different"),
    (a_message_that_only_somebody_heard, "ghost"),
    (something_that_the_protocol_does_not_have, "strange"),
]


@pytest.mark.parametrize(("spoil", "kind"), FINDS, ids=[spoil.__name__ for spoil, _ in FINDS])
def test_the_verdict_finds(spoil: Callable[[Told], None], kind: str) -> None:
    """Each fault in a history, a log or a client's state is named."""
    told = Told()
    spoil(told)
    assert kind in told.kinds()
