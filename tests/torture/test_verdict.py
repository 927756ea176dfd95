"""The verdict can say no: each thing that must not be is put into a history, and found."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from torture.records import Acked, Asked, Heard, Lost, Paged, Refused, Row, Searched, Sent, Strange, Welcomed
from torture.told import Told, command, heard


def test_a_run_in_which_all_is_right_has_no_problems() -> None:
    """The verdict finds nothing where there is nothing."""
    assert Told().kinds() == set()


def test_a_process_that_lags_is_no_problem() -> None:
    """Who comes to another process, which is behind them, may hear again what that one has not told yet."""
    told = Told()
    told.events += [
        Lost(at=5.0, who="Bob", link=1, code=1006),
        Asked(at=5.1, who="Bob", link=2, since=4, epoch="e"),
        Welcomed(at=5.2, who="Bob", link=2, seq=3, epoch="e", resumed=True, last=4),
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


# --- What is there in the end ---


def a_message_that_somebody_does_not_have(told: Told) -> None:
    told.holds(1, [told.one])


def a_message_that_somebody_has_and_the_log_not(told: Told) -> None:
    told.holds(1, [told.one, told.two, replace(told.two, id=7)])


def another_text_than_the_log_s(told: Told) -> None:
    told.holds(1, [replace(told.one, content="one"), told.two])


def another_emoji_than_the_log_s(told: Told) -> None:
    told.holds(1, [told.one, replace(told.two, reactions="")])


def messages_out_of_order(told: Told) -> None:
    told.holds(1, [told.two, told.one])


def one_who_is_behind(told: Told) -> None:
    told.holds(1, [told.one, told.two], last=3)


def an_edit_that_is_not_kept(told: Told) -> None:
    told.row(0, content="one")
    told.holdings.clear()


def an_emoji_that_is_not_kept(told: Told) -> None:
    told.row(1, {"reactors": []}, reactions="")
    told.holdings.clear()


def an_emoji_that_nobody_put_there(told: Told) -> None:
    told.row(1, {"reactors": [("👍", "Bob"), ("🎉", "Ann")]})


def _deleted(told: Told) -> None:
    """Ann deletes 2, and that is all right."""
    told.events += command("Ann", "a4", 6.0, id=2, seq=5, type="delete")
    told.events += heard(6.1, "Deleted", 2, 5, content="", reactions="")
    told.row(1, {"changes": 2, "reactors": []}, seq=5, content="", deleted=True, reactions="")
    told.room(seq=5, texts=["one! there"])
    for who in (0, 1):
        told.holds(who, [told.one, told.rows[1].state], last=5)


def test_a_deletion_is_no_problem() -> None:
    """What was deleted, and is gone everywhere, is as it should be."""
    told = Told()
    _deleted(told)
    assert told.kinds() == set()


def a_deletion_that_did_not_happen(told: Told) -> None:
    _deleted(told)
    told.row(1, {"reactors": [("👍", "Bob")]}, content="two", deleted=False)


def a_deletion_that_nobody_asked_for(told: Told) -> None:
    _deleted(told)
    told.change(Sent, {"ref": "a4"}, command={"type": "edit", "id": 2, "content": "two"})


def a_deleted_text_that_somebody_holds(told: Told) -> None:
    _deleted(told)
    told.holds(1, [told.one, replace(told.two, seq=5)], last=5)


def a_deleted_text_in_its_row(told: Told) -> None:
    _deleted(told)
    told.row(1, content="two")


def a_deleted_text_elsewhere_in_the_database(told: Told) -> None:
    _deleted(told)
    told.room(texts=["words: one there two"])


def a_counter_that_is_wrong(told: Told) -> None:
    told.room(seq=5)
    told.holds(0, told.holdings[0].messages, last=5)
    told.holds(1, told.holdings[1].messages, last=5)


def a_number_given_twice(told: Told) -> None:
    told.row(1, seq=3)


def a_page_with_a_hole(told: Told) -> None:
    told.events.append(Paged(at=5.0, who="Bob", before=None, after=0, limit=10, ids=[2], more=False))


def a_page_that_hides_what_is_older(told: Told) -> None:
    told.events.append(Paged(at=5.0, who="Bob", before=3, after=None, limit=1, ids=[2], more=False))


def a_search_that_finds_what_was_deleted(told: Told) -> None:
    _deleted(told)
    told.events.append(Searched(at=9.0, who="Bob", query="two", ids=[2]))


def a_search_that_finds_nothing(told: Told) -> None:
    told.events.append(Searched(at=9.0, who="Bob", query="there", ids=[]))


def a_position_that_went_back(told: Told) -> None:
    told.room(read={"Bob": 3})


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
    (a_message_that_somebody_does_not_have, "missing"),
    (a_message_that_somebody_has_and_the_log_not, "ghost"),
    (another_text_than_the_log_s, "state"),
    (another_emoji_than_the_log_s, "state"),
    (messages_out_of_order, "unordered"),
    (one_who_is_behind, "behind"),
    (an_edit_that_is_not_kept, "forgotten"),
    (an_emoji_that_is_not_kept, "forgotten"),
    (an_emoji_that_nobody_put_there, "forgotten"),
    (a_deletion_that_did_not_happen, "forgotten"),
    (a_deletion_that_nobody_asked_for, "stranger"),
    (a_deleted_text_that_somebody_holds, "remembered"),
    (a_deleted_text_in_its_row, "kept"),
    (a_deleted_text_elsewhere_in_the_database, "kept"),
    (a_counter_that_is_wrong, "numbers"),
    (a_number_given_twice, "numbers"),
    (a_page_with_a_hole, "page"),
    (a_page_that_hides_what_is_older, "page"),
    (a_search_that_finds_what_was_deleted, "search"),
    (a_search_that_finds_nothing, "search"),
    (a_position_that_went_back, "read"),
]


@pytest.mark.parametrize(("spoil", "kind"), FINDS, ids=[spoil.__name__ for spoil, _ in FINDS])
def test_the_verdict_finds(spoil: Callable[[Told], None], kind: str) -> None:
    """What is wrong in a history, a log or a holding is named."""
    told = Told()
    spoil(told)
    assert kind in told.kinds()
