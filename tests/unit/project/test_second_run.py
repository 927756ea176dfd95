"""The second run takes the tests that use the database, once for each SQL."""

from types import SimpleNamespace
from typing import Any

import pytest
import second_run


def an_item(*marks: str, of: str = "tests/unit/hub/test_hub.py::test_x", **fields: Any) -> Any:
    """A test as pytest collects it: with these marks, fixtures, and indices of its case."""
    case = {"callspec": SimpleNamespace(indices=fields["indices"])} if "indices" in fields else {}
    return SimpleNamespace(
        nodeid=of,
        fixturenames=fields.get("fixtures", ["request"]),
        get_closest_marker=lambda name: name in marks,
        **case,
    )


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_run, "EVERY_CASE", False)


ASKS = ["request", "transactional_db"]


@pytest.mark.parametrize(
    ("item", "again"),
    [
        (an_item(), False),
        (an_item("django_db"), True),
        (an_item(fixtures=ASKS), True),
        (an_item(fixtures=ASKS, indices={"kind": 0, "number": 0}), True),
        (an_item(fixtures=ASKS, indices={"kind": 0, "number": 1}), False),
        (an_item("every_case", fixtures=ASKS, indices={"kind": 1}), True),
        (an_item(fixtures=ASKS, indices={"kind": 1}, of="tests/unit/message_log/test_log.py::test_x[1]"), True),
        (an_item("e2e", fixtures=ASKS), False),
        (an_item("e2e", "on_services"), True),
        (an_item("e2e", "on_services", indices={"server": 1}), False),
        (an_item("once", fixtures=ASKS), False),
    ],
)
def test_a_test_runs_again_for_its_sql(item: Any, *, again: bool) -> None:
    """Without the database it has none; a further case has the same, unless it says otherwise."""
    assert second_run.runs_again(item) is again


def test_every_case_runs_again_in_a_thorough_run_and_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests without the database still run once."""
    monkeypatch.setattr(second_run, "EVERY_CASE", True)
    assert second_run.runs_again(an_item(fixtures=ASKS, indices={"kind": 1}))
    assert second_run.runs_again(an_item("once", fixtures=ASKS))
    assert not second_run.runs_again(an_item(indices={"kind": 1}))


def test_only_the_second_run_leaves_tests_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that the arguments name run all, and so do those of the first run."""
    items = [an_item(), an_item(fixtures=ASKS)]
    monkeypatch.delenv(second_run.VARIABLE, raising=False)
    assert second_run.chosen(items) == items
    monkeypatch.setenv(second_run.VARIABLE, "1")
    assert second_run.chosen(items) == items[1:]
