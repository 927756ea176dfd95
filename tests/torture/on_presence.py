"""Presence: in the end all lists are exact, and on the way no `leave` names a user who stays.

Promised:

- RECOVERY seconds after the last fault has ended, and the last user has joined or left, every connected client
  is shown exactly the connected users: each once, no other, and the right count.
- From then on no client is told any more that events of other servers are late.
- A user who stays connected to a healthy server is not announced as gone. This holds when an earlier server of
  theirs dies or is drained, and while the database or Redis is away or restarts. Users who are shown already
  are not announced as joined.

Not promised:

- anything about or on a server that is frozen or disconnected from Redis. The others take it for dead, and its
  users leave with it; it knows no more of them. When it is back, both sides are announced as joined.
- anything while the servers fill a Redis again that lost its data.
- a user with a bare name may be taken for another one when they reconnect while servers don't receive from each
  other. Then one of the two is removed, and may join again when the other is gone.
- the order of two events in the same moment.

On a busy machine clients notice events seconds late, so the verdict uses these times instead: a frame counts
from when the server sent it. A connection held until its client was about to end it, or else until the server
last sent something on it.
"""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator
from math import inf

from torture.case import Case, Problem, Stay
from torture.records import Announced, Gone, Ill, Late, Listed, Lost, PutOut

NAME_TAKEN = "name_taken"
RECOVERY = 10.0
MOMENT = 1.0
"""Seconds in which somebody may have come or gone, as one or the other knows it."""


def shown(case: Case) -> Iterator[Problem]:
    """In the end everybody is shown who is here."""
    here = {stay.who: stay for stay in case.stays if stay.ended == inf}
    right, due = {stay.author for stay in here.values()}, _last_change(case) + RECOVERY
    lists: dict[str, list[Listed]] = defaultdict(list)
    for event in case.events:
        if isinstance(event, Listed) and event.who in here and event.at >= here[event.who].began:
            lists[event.who].append(event)
    for who, stay in here.items():
        if not lists[who]:
            yield Problem("no list", f"{who} came at {stay.began:.1f} and was never told who is here")
        # The one that stood when it had to be right, and those after it.
        first = max(0, bisect(lists[who], due, key=lambda listed: listed.said) - 1)
        better = next(
            (f"{each.said:.1f}" for each in lists[who][first:] if not [*_wrong_with(each, right)]), "the end"
        )
        for listed in lists[who][first:]:
            for kind, says in _wrong_with(listed, right):
                when = f"told at {listed.said:.1f}, to be right from {due:.1f} on, and wrong until {better}"
                yield Problem(kind, f"{who} on {stay.node} is shown {says}: {when}", [*case.faults[-3:], listed])


def _last_change(case: Case) -> float:
    """When the last fault was over, and the last person had come or gone."""
    faults = [fault.at + fault.lasted for fault in case.faults]
    ends = [stay.over for stay in case.stays if stay.over < inf]
    return max([*faults, *ends, *(stay.began for stay in case.stays)], default=0.0)


def _wrong_with(listed: Listed, right: set[str]) -> Iterator[tuple[str, str]]:
    times = Counter(listed.names)
    if gone := times.keys() - right:
        yield "shown and gone", f"{sorted(gone)}, who are gone"
    if hidden := right - times.keys():
        yield "here and not shown", f"all but {sorted(hidden)}, who are here"
    if again := sorted(name for name, count in times.items() if count > 1):
        yield "shown twice", f"{again} more than once"
    if listed.count != len(right):
        yield "count", f"that {listed.count} are here, not {len(right)}"


def late(case: Case) -> Iterator[Problem]:
    """In the end nobody is told that others are late."""
    last = {event.who: event for event in case.events if isinstance(event, Late)}
    for stay in case.stays:
        told = last.get(stay.who)
        if stay.ended == inf and told and told.late and told.at >= stay.began:
            says = f"{stay.who} on {stay.node} was told at {told.at:.1f} that others are late, and no more"
            yield Problem("late", says, [*case.faults[-3:], told])


def put_out(case: Case) -> Iterator[Problem]:
    """No user is removed who can be distinguished from others."""
    for event in case.events:
        if isinstance(event, PutOut) and (event.known or event.code != NAME_TAKEN):
            yield Problem("put out", f"{event.who} was put out: {event.code}", [*case.faults[-3:], event])


def announced(case: Case) -> Iterator[Problem]:
    """Nobody who stays is said to have left, and nobody who is shown is said to have come."""
    witness, told = _Witness(case), set()
    for event, since in _seen(case):
        # A user who joined while servers did not receive from each other is announced when they do.
        news = event.came and (since is None or event.said - since < witness.margin)
        key = (event.name, event.said)
        if not news and key not in told and witness.stayed(event) and (heard := witness.heard(event)):
            told.add(key)
            kind, what = ("false join", "come") if event.came else ("false leave", "left")
            says = f"{event.name}, who was there, was said to have {what} at {event.said:.1f} on {heard.node}"
            yield Problem(kind, says, [*[fault for fault in case.faults if fault.at <= event.said][-3:], event])


def _seen(case: Case) -> Iterator[tuple[Announced, float | None]]:
    """Each announcement, and since when its receiver had been shown the user; None: it had not."""
    views: dict[str, dict[str, float]] = defaultdict(dict)
    for event in case.events:
        match event:
            case Lost() | Gone():
                views.pop(event.who, None)
            case Listed(names=names):
                before = views[event.who]
                views[event.who] = {name: before.get(name, event.at) for name in names}
            case Announced(name=name):
                view = views[event.who]
                yield event, view.get(name)
                if event.came:
                    view.setdefault(name, event.at)
                else:
                    view.pop(name, None)


class _Witness:
    """The users' stays, and the stalls."""

    def __init__(self, case: Case) -> None:
        self.margin = max(MOMENT, case.lag)
        self._ills = [fault for fault in case.faults if isinstance(fault, Ill)]
        self._of_author: dict[str, list[Stay]] = defaultdict(list)
        self._of_client: dict[str, list[Stay]] = defaultdict(list)
        for stay in case.stays:
            self._of_author[stay.author].append(stay)
            self._of_client[stay.who].append(stay)
        # A frame to many clients is judged once.
        self._judged: dict[tuple[str, float], bool] = {}

    def stayed(self, event: Announced) -> bool:
        """Was the person there before and after, by a connection to a server that was well?"""
        key = (event.name, event.said)
        if key not in self._judged:
            self._judged[key] = any(
                stay.began + self.margin < event.said < stay.ended - self.margin and self._well(stay, event.said)
                for stay in self._of_author[event.name]
            )
        return self._judged[key]

    def heard(self, event: Announced) -> Stay | None:
        """The receiver's stay, if its server was healthy."""
        stays = self._of_client[event.who]
        stay = next((stay for stay in stays if stay.began <= event.at <= stay.over), None)
        return stay if stay and self._well(stay, event.said) else None

    def _well(self, stay: Stay, moment: float) -> bool:
        """Was everything that the stay rests on running, then and a while before?"""
        return not any(
            ill.at <= moment <= ill.at + ill.lasted + RECOVERY
            for ill in self._ills
            if ill.whom in {"", stay.node, stay.who}
        )


CHECKS = (shown, late, put_out, announced)
