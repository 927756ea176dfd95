"""The verdict: all that does not hold, found out from what was recorded and what is in the database."""

from collections.abc import Iterable, Sequence

from torture import on_commands, on_presence, on_states, on_streams
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
    together: bool = True,
) -> list[Problem]:
    """Everything that is wrong; nothing is, where this is empty.

    A client that missed at most ``catch_up`` changes must not have to start over. A server may be ``lag`` seconds
    behind another one: for that long after a deletion's ack its text may still be sent. ``together``: they know
    each other's users.
    """
    case = Case(events, log, holdings, catch_up=catch_up, lag=lag)
    checks = (*CHECKS, *on_presence.CHECKS) if together else CHECKS
    return [problem for check in checks for problem in check(case)]
