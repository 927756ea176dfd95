"""Which tests run again on PostgreSQL and Redis.

The second run is for what another database or channel layer may change. It leaves out tests that use neither, and
repetitions of the same SQL. ``make test-all`` and CI take the repetitions too.
"""

import os

import pytest
from thorough import THOROUGH

VARIABLE = "SECOND_RUN"
"""Set by ``on_services.py`` for its pytest, unless its arguments name the tests."""

ASKS_THE_DATABASE = {"db", "transactional_db"}
"""Fixtures of a test of the code that uses the database. pytest-django refuses it to all others."""
EVERY_CASE = THOROUGH or bool(os.environ.get("CI"))
"""True if repetitions run too."""
SQL_DIFFERS = "tests/unit/message_log/"
"""Tests whose cases differ in their SQL, as those with the marker ``every_case`` do."""


def runs_again(item: pytest.Item) -> bool:
    """True if the test takes part in the second run.

    A test with a real server or a browser takes part if it is marked ``on_services``. The others test what comes
    before the database and the layer, or start their own.
    """
    real = item.get_closest_marker("e2e")
    takes_part = item.get_closest_marker("on_services") if real else _asks_the_database(item)
    if EVERY_CASE or not takes_part:
        return bool(takes_part)
    return not item.get_closest_marker("once") and (_is_first_case(item) or _cases_differ(item))


def _asks_the_database(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    return bool(item.get_closest_marker("django_db")) or not ASKS_THE_DATABASE.isdisjoint(fixtures)


def _is_first_case(item: pytest.Item) -> bool:
    """True for a test without parameters, and for the first set of them."""
    case = getattr(item, "callspec", None)
    return case is None or not any(case.indices.values())


def _cases_differ(item: pytest.Item) -> bool:
    return item.nodeid.startswith(SQL_DIFFERS) or bool(item.get_closest_marker("every_case"))


def chosen(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests of this run: all, or in the second run those that run again."""
    return [item for item in items if runs_again(item)] if os.environ.get(VARIABLE) else items
