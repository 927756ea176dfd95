"""As test_verdict.py, of who is here: what the lists show in the end, and what is said on the way."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from torture.records import Announced, Cut, Fault, Gone, Ill, Late, Leaving, Listed, Lost, PutOut, Welcomed
from torture.told import Told, entering, listed

RIGHT = ("Ann", "Bob")


def cleo_comes(told: Told, at: float) -> None:
    """Somebody who says nothing comes, and is shown with the others."""
    told.events += [
        *entering("Cleo", at),
        *(listed(at + 0.1, *RIGHT, "Cleo", who=who) for who in (*RIGHT, "Cleo")),
    ]


def cleo_goes(told: Told, at: float) -> None:
    told.events += [Lost(at=at, who="Cleo", link=1, code=1006), Gone(at=at, who="Cleo")]


def said(told: Told, name: str, at: float, *, came: bool = False, who: str = "Ann") -> None:
    told.events.append(Announced(at=at, who=who, name=name, came=came, said=at))


def ill(told: Told, whom: str, at: float, lasted: float = 20.0) -> None:
    told.events.append(Ill(at=at, whom=whom, lasted=lasted))


# --- What is no problem ---


def one_who_came_and_went(told: Told) -> None:
    cleo_comes(told, 20.0)
    cleo_goes(told, 30.0)
    said(told, "Cleo", 33.0)
    told.events += [listed(39.9, *RIGHT, who=who) for who in RIGHT]


def a_list_that_is_wrong_while_it_may_be(told: Told) -> None:
    told.events += [
        Fault(at=20.0, what="redis_emptied", lasted=5.0),
        listed(26.0, "Ann", "Cleo"),
        listed(34.9, *RIGHT),
    ]


def one_who_left_in_the_moment_in_which_they_came_back(told: Told) -> None:
    told.events += [Lost(at=20.0, who="Bob", link=1, code=1006), *entering("Bob", 20.5)]
    told.events += [listed(20.6, *RIGHT, who=who) for who in RIGHT]
    said(told, "Bob", 20.9)
    said(told, "Bob", 20.9, came=True)


def one_who_only_says_a_name_and_is_put_out_for_another(told: Told) -> None:
    told.events.append(PutOut(at=20.0, who="Bob", code="name_taken", known=False))


def one_of_whom_the_others_heard_late(told: Told) -> None:
    told.events += [*entering("Cleo", 20.0), listed(20.1, "Cleo", who="Cleo")]
    told.change(Welcomed, {"who": "Cleo"}, node="two")
    said(told, "Cleo", 29.0, came=True)
    said(told, "Bob", 29.0, came=True, who="Cleo")
    told.events += [listed(29.1, *RIGHT, "Cleo", who=who) for who in (*RIGHT, "Cleo")]


def one_who_was_cut_and_learned_it_late(told: Told) -> None:
    told.events.append(Cut(at=20.0, who="Bob"))
    said(told, "Bob", 21.0)
    told.events += [Lost(at=30.0, who="Bob", link=1, code=1006), *entering("Bob", 31.0)]
    told.events += [listed(31.1, *RIGHT, who=who) for who in RIGHT]


def one_whose_server_stood_still(told: Told) -> None:
    ill(told, "one", 20.0)
    said(told, "Bob", 32.0)
    said(told, "Bob", 41.0, came=True)


def one_who_did_not_read(told: Told) -> None:
    ill(told, "Bob", 20.0)
    said(told, "Bob", 32.0)


def one_who_is_said_to_have_left_on_a_server_that_stood_still(told: Told) -> None:
    told.change(Welcomed, {"who": "Bob"}, node="two")
    ill(told, "one", 20.0)
    said(told, "Bob", 41.0)


def one_who_left_with_all_that_a_redis_had(told: Told) -> None:
    ill(told, "", 20.0, 1.0)
    said(told, "Bob", 22.0)


def one_for_whom_others_were_late(told: Told) -> None:
    told.events += [Late(at=20.0, who="Bob", late=True), Late(at=25.0, who="Bob", late=False)]


def one_who_left_and_was_noted_late(told: Told) -> None:
    cleo_comes(told, 20.0)
    told.events.append(Leaving(at=30.0, who="Cleo"))
    said(told, "Cleo", 30.2)
    cleo_goes(told, 34.0)
    told.events += [listed(34.1, *RIGHT, who=who) for who in RIGHT]


def one_who_left_before_they_were_let_in(told: Told) -> None:
    asked, welcomed = entering("Cleo", 24.0)
    told.events += [replace(asked, at=20.0), Leaving(at=20.1, who="Cleo"), welcomed]
    told.events += [listed(24.1, *RIGHT, "Cleo", who=who, said=20.1) for who in RIGHT]
    said(told, "Cleo", 26.0)
    cleo_goes(told, 28.0)
    told.events += [listed(28.1, *RIGHT, who=who) for who in RIGHT]


def one_whose_server_died_and_who_noticed_it_late(told: Told) -> None:
    said(told, "Bob", 23.5)
    told.events += [Lost(at=30.0, who="Bob", link=1, code=1006, alive=20.0), *entering("Bob", 31.0)]
    told.events += [listed(31.1, *RIGHT, who=who) for who in RIGHT]


def one_who_heard_of_it_after_they_were_cut_off(told: Told) -> None:
    cleo_comes(told, 20.0)
    cleo_goes(told, 25.0)
    said(told, "Cleo", 28.0, who="Bob")
    told.events += [Lost(at=32.0, who="Bob", link=1, code=1006, alive=28.0), *entering("Bob", 33.0)]
    told.events += [listed(33.1, *RIGHT, who=who) for who in RIGHT]


def a_right_list_that_was_read_late(told: Told) -> None:
    told.events += [
        Fault(at=20.0, what="redis_emptied", lasted=5.0),
        listed(34.0, "Ann", "Cleo"),
        listed(38.0, *RIGHT, said=34.5),
    ]


FINE = [
    one_who_left_and_was_noted_late,
    one_who_left_before_they_were_let_in,
    one_whose_server_died_and_who_noticed_it_late,
    one_who_heard_of_it_after_they_were_cut_off,
    a_right_list_that_was_read_late,
    one_for_whom_others_were_late,
    one_who_came_and_went,
    a_list_that_is_wrong_while_it_may_be,
    one_who_left_in_the_moment_in_which_they_came_back,
    one_who_only_says_a_name_and_is_put_out_for_another,
    one_of_whom_the_others_heard_late,
    one_who_was_cut_and_learned_it_late,
    one_whose_server_stood_still,
    one_who_did_not_read,
    one_who_is_said_to_have_left_on_a_server_that_stood_still,
    one_who_left_with_all_that_a_redis_had,
]


@pytest.mark.parametrize("tell", FINE, ids=[tell.__name__ for tell in FINE])
def test_this_is_no_problem(tell: Callable[[Told], None]) -> None:
    """The verdict asks for nothing that nobody can promise."""
    told = Told()
    tell(told)
    assert told.kinds() == set()


# --- What is one ---


def one_who_is_gone_and_shown(told: Told) -> None:
    cleo_comes(told, 20.0)
    cleo_goes(told, 30.0)
    told.events.append(listed(39.9, *RIGHT, who="Bob"))


def one_who_is_shown_again_when_all_is_over(told: Told) -> None:
    one_who_came_and_went(told)
    told.events.append(listed(50.0, *RIGHT, "Cleo"))


def one_who_is_here_and_not_shown(told: Told) -> None:
    told.events.append(listed(9.0, "Ann", count=2))


def one_who_is_shown_too_late(told: Told) -> None:
    told.events += [Fault(at=20.0, what="redis_killed", lasted=5.0), listed(26.0, "Ann"), listed(35.1, *RIGHT)]


def one_who_is_shown_twice(told: Told) -> None:
    told.events.append(listed(9.0, *RIGHT, "Bob", count=2))


def a_wrong_count(told: Told) -> None:
    told.events.append(listed(9.0, *RIGHT, count=3))


def one_who_was_never_told_who_is_here(told: Told) -> None:
    del told.events[told.find(Listed, who="Bob")]


def one_who_came_back_and_was_not_told_who_is_here(told: Told) -> None:
    told.events += [Lost(at=5.0, who="Bob", link=1, code=1006), *entering("Bob", 5.5)]


def one_who_is_known_and_put_out(told: Told) -> None:
    told.events.append(PutOut(at=20.0, who="Bob", code="name_taken", known=True))


def one_who_is_put_out_without_a_reason(told: Told) -> None:
    told.events.append(PutOut(at=20.0, who="Bob", code="banned", known=False))


def one_for_whom_others_are_late_for_ever(told: Told) -> None:
    told.events.append(Late(at=20.0, who="Bob", late=True))


def one_who_stays_and_is_said_to_have_left(told: Told) -> None:
    said(told, "Bob", 20.0)


def one_who_stays_and_is_said_to_have_come(told: Told) -> None:
    said(told, "Bob", 20.0, came=True)


def one_who_went_to_another_server_and_is_said_to_have_left_with_theirs(told: Told) -> None:
    ill(told, "one", 20.0)
    told.events += [Lost(at=21.0, who="Bob", link=1, code=1006), *entering("Bob", 22.0), *entering("Cleo", 22.0)]
    told.events += [listed(22.1, *RIGHT, "Cleo", who=who) for who in (*RIGHT, "Cleo")]
    for who in ("Bob", "Cleo"):
        told.change(Welcomed, {"who": who, "at": 22.0}, node="two")
    said(told, "Bob", 30.0, who="Cleo")


def one_who_is_said_to_have_left_long_after_all_is_well(told: Told) -> None:
    ill(told, "", 20.0, 1.0)
    said(told, "Bob", 32.0)


def one_who_is_said_to_have_left_before_they_did(told: Told) -> None:
    cleo_comes(told, 20.0)
    said(told, "Cleo", 25.0)
    told.events.append(Leaving(at=30.0, who="Cleo"))
    cleo_goes(told, 34.0)


def one_to_whom_the_server_spoke_after_it_had_said_that_they_left(told: Told) -> None:
    said(told, "Bob", 24.0)
    told.events += [Lost(at=30.0, who="Bob", link=1, code=1006, alive=29.5), *entering("Bob", 31.0)]
    told.events += [listed(31.1, *RIGHT, who=who) for who in RIGHT]


def one_who_left_and_is_shown_for_long(told: Told) -> None:
    cleo_comes(told, 20.0)
    told.events.append(Leaving(at=30.0, who="Cleo"))
    cleo_goes(told, 34.0)
    told.events += [listed(44.1, *RIGHT, who="Ann"), listed(44.1, *RIGHT, "Cleo", who="Bob")]


def a_list_that_was_said_too_late(told: Told) -> None:
    told.events += [
        Fault(at=20.0, what="redis_emptied", lasted=5.0),
        listed(34.0, "Ann", "Cleo"),
        listed(38.0, *RIGHT, said=35.5),
    ]


FINDS: list[tuple[Callable[[Told], None], str]] = [
    (one_who_is_gone_and_shown, "shown and gone"),
    (one_who_is_shown_again_when_all_is_over, "shown and gone"),
    (one_who_is_here_and_not_shown, "here and not shown"),
    (one_who_is_shown_too_late, "here and not shown"),
    (one_who_is_shown_twice, "shown twice"),
    (a_wrong_count, "count"),
    (one_who_was_never_told_who_is_here, "no list"),
    (one_who_came_back_and_was_not_told_who_is_here, "no list"),
    (one_who_left_and_is_shown_for_long, "shown and gone"),
    (a_list_that_was_said_too_late, "shown and gone"),
    (one_for_whom_others_are_late_for_ever, "late"),
    (one_who_is_known_and_put_out, "put out"),
    (one_who_is_put_out_without_a_reason, "put out"),
    (one_who_stays_and_is_said_to_have_left, "false leave"),
    (one_who_is_said_to_have_left_before_they_did, "false leave"),
    (one_to_whom_the_server_spoke_after_it_had_said_that_they_left, "false leave"),
    (one_who_stays_and_is_said_to_have_come, "false join"),
    (one_who_went_to_another_server_and_is_said_to_have_left_with_theirs, "false leave"),
    (one_who_is_said_to_have_left_long_after_all_is_well, "false leave"),
]


@pytest.mark.parametrize(("spoil", "kind"), FINDS, ids=[spoil.__name__ for spoil, _ in FINDS])
def test_the_verdict_finds(spoil: Callable[[Told], None], kind: str) -> None:
    """A list that is wrong when it must be right, and a word about who stays, are named."""
    told = Told()
    spoil(told)
    assert kind in told.kinds()
