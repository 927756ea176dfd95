"""A run's summary in numbers, and its faults in sentences."""

from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct

from torture.case import BUSY, CHANGES, Problem
from torture.records import Acked, Asked, Fault, Heard, History, Log, Lost, Refused, Sent, Welcomed

SHOWN = 5
"""Problems of one kind that are shown with their facts; the dump has all."""


class Report(Struct, kw_only=True):
    """The summary, and the broken promises."""

    seed: int
    seconds: float
    counts: dict[str, int | float]
    problems: list[Problem]

    @property
    def good(self) -> bool:
        return not self.problems

    def text(self) -> str:
        lines = [f"seed {self.seed}, {self.seconds:.0f} s"]
        lines += [f"  {name:.<32} {count:>9,}" for name, count in self.counts.items()]
        if self.good:
            return "\n".join([*lines, "Nothing lost, nothing twice, everything in order, everybody shown."])
        kinds = Counter(problem.kind for problem in self.problems)
        lines.append(f"WRONG: {', '.join(f'{count} x {kind}' for kind, count in kinds.most_common())}")
        for kind in kinds:
            alike = [problem for problem in self.problems if problem.kind == kind]
            lines += [line for problem in alike[:SHOWN] for line in _lines(problem)]
        return "\n".join(lines)


def _lines(problem: Problem) -> list[str]:
    facts = [msgspec.json.encode(fact).decode() for fact in problem.facts[:20]]
    return [f"- {problem.kind}: {problem.says[:400]}", *(f"    {fact[:400]}" for fact in facts)]


def counted(history: History, log: Log, away: float) -> dict[str, int | float]:
    """The numbers of a run."""
    sent, acked = history.of(Sent), history.of(Acked)
    posts = {(event.author, event.ref) for event in sent if event.command["type"] == "message"}
    faults = Counter(event.what for event in history.of(Fault))
    welcomes, heard = history.of(Welcomed), history.of(Heard)
    return {
        "messages acknowledged": len({(e.author, e.ref) for e in acked} & posts),
        "changes acknowledged": len({(e.author, e.ref) for e in acked} - posts),
        "acks": len(acked),
        "retries": _retries(history),
        "busy answers": sum(event.code == BUSY for event in history.of(Refused)),
        "messages in the log": len(log.rows),
        "numbers in the log": log.seq,
        "frames heard": len(heard),
        "frames for several changes": sum(event.seq - event.lower > 1 for event in heard),
        "connections lost": len(history.of(Lost)),
        "for reading too slowly": sum(event.code == TOO_SLOW for event in history.of(Lost)),
        "joins": len(history.of(Asked)),
        "resumed": sum(welcome.resumed for welcome in welcomes),
        "started over": sum(not welcome.resumed and welcome.last is not None for welcome in welcomes),
        "gaps found": len({(e.who, e.link, e.lower) for e in heard if not e.taken}),
        **{f"fault: {what.replace('_', ' ')}": count for what, count in sorted(faults.items())},
        "seconds without a server": round(away, 1),
        "seconds away, all clients": round(_away(history), 1),
    }


TOO_SLOW = 4008


def _retries(history: History) -> int:
    """Commands that were sent again because no answer came: not those that were said again on purpose."""
    answered: set[tuple[str, str]] = set()
    times: Counter[tuple[str, str]] = Counter()
    for event in history.events:
        if isinstance(event, Acked):
            answered.add((event.author, event.ref))
        elif isinstance(event, Sent) and (event.author, event.ref) not in answered:
            times[event.author, event.ref] += event.command["type"] in CHANGES
    return sum(count - 1 for count in times.values() if count)


def _away(history: History) -> float:
    """How long clients were in no room, from a loss to the next welcome, all together."""
    lost: dict[str, float] = {}
    total = 0.0
    for event in history.events:
        if isinstance(event, Lost):
            lost.setdefault(event.who, event.at)
        elif isinstance(event, Welcomed) and event.who in lost:
            total += event.at - lost.pop(event.who)
    return total


def dump(report: Report, history: History, log: Log, path: Path) -> None:
    """All that was recorded, for who looks into it: problems first, then the log, then each event."""
    history.write(path, *report.problems, *log.rows)
