"""Tables of cases in one test."""

import asyncio
import inspect

import pytest
from tables import table


def test_all_rows_run_and_all_failures_are_reported() -> None:
    """A row that fails stops no other, and each failure names its row."""
    seen = []

    @table(("number", "limit"), [(1, 2), (3, 2), (0, 2), (5, 2)])
    def check(number: int, limit: int) -> None:
        seen.append(number)
        assert number < limit

    with pytest.raises(ExceptionGroup, match="2 of 4 rows") as caught:
        check()
    assert seen == [1, 3, 0, 5]
    notes = [note for error in caught.value.exceptions for note in error.__notes__]
    assert notes == ["in the row {'number': 3, 'limit': 2}", "in the row {'number': 5, 'limit': 2}"]


def test_a_row_that_raises_nothing_fails() -> None:
    """A failure of `pytest.raises` is no Exception, and is reported too."""

    @table("number", [1, "x"])
    def check(number: int) -> None:
        with pytest.raises(ValueError, match="invalid literal"):
            int(number)

    with pytest.raises(BaseExceptionGroup, match="1 of 2 rows") as caught:
        check()
    assert caught.value.exceptions[0].__notes__ == ["in the row {'number': 1}"]


def test_two_tables_give_each_combination() -> None:
    """As two marks of `parametrize` do."""
    seen = []

    @table("one", "ab")
    @table("other", [1, 2])
    def check(one: str, other: int) -> None:
        seen.append((one, other))

    check()
    assert sorted(seen) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_a_coroutine_runs_with_each_row() -> None:
    """The rows of an asynchronous test share an event loop."""
    loops = []

    @table("number", [1, 2])
    async def check(number: int) -> None:
        loops.append(asyncio.get_running_loop())
        assert number == 1

    with pytest.raises(ExceptionGroup, match="1 of 2 rows"):
        asyncio.run(check())
    assert loops[0] is loops[1]


@table("number", [1, 2])
def test_fixtures_come_beside_rows(number: int, tmp_path: object) -> None:
    """Pytest gives what the table leaves."""
    assert tmp_path
    assert list(inspect.signature(test_fixtures_come_beside_rows).parameters) == ["tmp_path"]


def test_an_empty_table_is_refused() -> None:
    """It would check nothing."""
    with pytest.raises(AssertionError, match="no row"):
        table("number", [])
