"""The verdict on what is there in the end can say no: as test_verdict.py, for log and holdings."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from torture.records import Asked, Heard, Lost, Paged, Searched, Sent, Welcomed
from torture.told import Told, command, heard


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
    """A deleted message that is gone everywhere is right."""
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


def a_deleted_text_that_is_told_to_who_comes_later(told: Told) -> None:
    _deleted(told)
    told.events += [
        Lost(at=6.5, who="Bob", link=1, code=1006),
        Asked(at=7.0, who="Bob", link=2, since=1, epoch="e"),
        Welcomed(at=7.1, who="Bob", link=2, seq=5, epoch="e", resumed=True, last=5),
        replace(told.events[told.find(Heard, who="Bob", seq=2)], link=2, at=7.2, taken=False),
    ]


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
    (a_deleted_text_that_is_told_to_who_comes_later, "told again"),
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
    """Each fault in a history, a log or a client's state is named."""
    told = Told()
    spoil(told)
    assert kind in told.kinds()
