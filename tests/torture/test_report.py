"""A run's output: its numbers, its faults, and all records."""

import json
from pathlib import Path

from msgspec.structs import replace

from torture.records import Acked, Fault, History, Sent
from torture.report import Report, counted, dump
from torture.told import Told
from torture.verdict import judge


def told_in(told: Told) -> History:
    history = History()
    for event in told.events:
        history.add(event)
    return history


def test_a_good_run_is_told_in_numbers() -> None:
    """Acks, retries (on purpose or not), faults and findings are counted."""
    told = Told()
    at = told.find(Acked, ref="a1")
    # Once more before the answer is a retry; after it, it is somebody who says it again.
    told.events.insert(at, replace(told.events[told.find(Sent, ref="a1")], at=1.005))
    told.events.append(replace(told.events[told.find(Sent, ref="a1")], at=8.0))
    told.events.append(Fault(at=5.0, what="kill_twice", lasted=1.0))
    counts = counted(told_in(told), told.log, away=1.25)
    assert counts["messages acknowledged"] == 2
    assert counts["changes acknowledged"] == 2
    assert counts["retries"] == 1
    assert counts["fault: kill twice"] == 1
    text = Report(seed=7, seconds=9.0, counts=counts, problems=[]).text()
    assert "seed 7" in text
    assert "Nothing lost" in text


def test_a_bad_run_is_told_with_what_shows_it(tmp_path: Path) -> None:
    """Each kind of problem is named with its records, and the dump has everything, what is wrong first."""
    told = Told()
    del told.rows[1]
    history = told_in(told)
    problems = judge(history.events, told.log, told.holdings)
    report = Report(seed=7, seconds=9.0, counts={}, problems=problems)
    assert "WRONG" in report.text()
    assert "lost: Ann's a2 was acknowledged as 2, and is not there" in report.text()
    assert '"type":"Acked","author":"Ann","ref":"a2"' in report.text()
    dump(report, history, told.log, tmp_path / "dump.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "dump.jsonl").read_text().splitlines()]
    assert lines[0]["kind"] == "lost"
    assert len(lines) == len(problems) + len(told.log.rows) + len(history.events)
