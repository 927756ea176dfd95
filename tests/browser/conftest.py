"""One server for the pages of most tests here: a start takes as much CPU as a page."""

from collections.abc import Iterator

import pytest
from databases import copy_of
from servers import Server, running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Server]:
    """`manage.py serve` for all tests of a worker. Each test has rooms of its own in it, and no more."""
    folder = tmp_path_factory.mktemp("pages")
    with copy_of(database, folder) as mine, running("daphne", folder, mine) as server:
        yield server
