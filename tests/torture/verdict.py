"""The verdict: all that does not hold, found out from what was recorded and what is in the database."""

from collections.abc import Iterable, Sequence

from torture import on_commands, on_states, on_streams
from torture.case import Case, Problem
from torture.records import Event, Holding, Log

CHECKS = (*on_commands.CHECKS, *on_streams.CHECKS, *on_states.CHECKS)


def judge(
    events: Sequence[Event],
    log: Log,
    holdings: Iterable[Holding],
    *,
    catch_up: int = 500,
    lag: float = 0.1,
) -> list[Problem]:
    """Everything that is wrong; nothing is, where this is empty.

    Who missed no more than ``catch_up`` changes must not have to start over. For ``lag`` seconds after a deletion
    was acknowledged its text may still be told.
    """
    case = Case(events, log, holdings, catch_up=catch_up, lag=lag)
    return [problem for check in CHECKS for problem in check(case)]
