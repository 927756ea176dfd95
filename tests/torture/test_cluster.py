"""The short form of the torture of a cluster: two servers on one PostgreSQL and one Redis, which suffer too."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from thorough import either

from torture.engines import Engines, engines
from torture.outages import SHORT
from torture.report import dump
from torture.run import Plan, torture
from torture.site import migrated

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shared() -> Iterator[Engines]:
    with engines() as shared:
        yield shared


async def test_a_cluster_loses_nothing_and_knows_who_is_here(shared: Engines, tmp_path: Path) -> None:
    """Any part may die, stall, lose its data or freeze: all clients end with the same room and the same users."""
    seed = int(os.environ.get("TORTURE_SEED") or random.randrange(2**31))
    # A usual run has some of the faults, by chance.
    plan = Plan(
        seed=seed,
        rounds=either(4, len(SHORT)),
        clients=12,
        servers=2,
        faults=either(tuple(random.Random(seed).sample(SHORT, 4)), SHORT),
        calm=0.3,
        least=0.3,
        most=1.0,
        longest=9.0,
    )
    report, history, log = await torture(plan, tmp_path, migrated(shared.postgresql.url), shared)
    print(report.text())
    if not report.good:
        dump(report, history, log, tmp_path / "torture.jsonl")
        pytest.fail(f"{report.text()}\nAll that was recorded is in {tmp_path / 'torture.jsonl'}", pytrace=False)
    assert report.counts["messages acknowledged"] > either(20, 100)
