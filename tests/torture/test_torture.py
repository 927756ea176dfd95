"""The short form of the torture: a few rounds against a real server, at each `make test`."""

import os
import random
from pathlib import Path

import pytest
from doubles import until

from torture.again import many_times
from torture.database import Database
from torture.faults import SHORT, Scene
from torture.records import Row
from torture.report import dump
from torture.run import Plan, torture
from torture.site import a_file, migrated

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """The database of servers that come and go."""
    return migrated(os.environ.get("TORTURE_DATABASE_URL") or a_file(tmp_path_factory.mktemp("torture")))


async def test_nothing_is_lost_or_twice_or_out_of_order(kept: Database, tmp_path: Path) -> None:
    """Through kills, drains, cuts, locks and slow readers everybody ends with what the log has, all of it once."""
    seed = int(os.environ.get("TORTURE_SEED") or random.randrange(2**31))
    plan = Plan(seed=seed, rounds=len(SHORT), clients=12, faults=SHORT, calm=0.5, least=0.5, most=1.5)
    report, history, log = await torture(plan, tmp_path, kept)
    print(report.text())
    if not report.good:
        dump(report, history, log, tmp_path / "torture.jsonl")
        pytest.fail(f"{report.text()}\nAll that was recorded is in {tmp_path / 'torture.jsonl'}", pytrace=False)
    assert report.counts["messages acknowledged"] > 100


async def test_one_message_sent_a_hundred_times_is_one(kept: Database, tmp_path: Path) -> None:
    """The same ref from several tabs, before and after a kill: a hundred acks, one id, one row."""
    report = await many_times(tmp_path, kept, random.randrange(2**31))
    assert report.good, report.text()


async def test_a_server_that_loses_what_it_acknowledged_does_not_pass(kept: Database, tmp_path: Path) -> None:
    """The torture sees a real server's loss: here a message is taken out of its database behind its back."""

    async def steal(scene: Scene) -> str:
        def plain() -> list[Row]:
            made = kept.query("SELECT id FROM chat_room WHERE slug = ?", (scene.crowd.room,))
            return [row for row in kept.log(scene.crowd.room).rows if not row.reactors] if made else []

        await until(plain)
        last = plain()[-1]
        kept.query(
            "DELETE FROM chat_message WHERE number = ? AND room_id IN (SELECT id FROM chat_room WHERE slug = ?)",
            (last.state.id, scene.crowd.room),
        )
        return ""

    plan = Plan(seed=random.randrange(2**31), rounds=1, clients=4, faults=(steal,), calm=0.2, patience=2)
    report, _, _ = await torture(plan, tmp_path, kept)
    assert {"lost", "numbers", "ghost"} <= {problem.kind for problem in report.problems}, report.text()
