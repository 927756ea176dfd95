"""The frames of each client: the room's numbers in order, each once, without a gap, and the same as all others."""

from collections import deque
from collections.abc import Iterator
from math import inf

from torture.case import Case, Problem
from torture.records import Acked, Asked, Event, Heard, Lost, Refused, Strange, Welcomed


def out_of_step(case: Case) -> Iterator[Problem]:
    """After a welcome each frame goes on where the one before it ended."""
    for who, events in case.of_client.items():
        stream = _Stream()
        for at, event in enumerate(events):
            wrong = stream.follow(event)
            if wrong:
                seq = event.seq if isinstance(event, (Heard, Welcomed)) else 0
                yield Problem(wrong, f"{who}: {wrong} at {seq}", case.near(who, at))


class _Stream:
    """Where a client's stream of numbered frames is."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        # None until it was welcomed.
        self.at: int | None = None
        # The client's state when the frame came.
        self.since = 0
        # The positions of joins that have no answer yet: a link's joins are answered in turn.
        self.asked: deque[int | None] = deque()
        # The client asked to go on from its position: it drops what comes until it is welcomed there.
        self.broken = False

    def follow(self, event: Event) -> str | None:
        """The event's fault, or None."""
        match event:
            case Lost():
                self.begin()
            case Asked(since=since):
                self.asked.append(since)
                self.broken = self.at is not None
            case Welcomed() | Refused() if not self.asked:
                return "answered without a question"
            case Refused():
                self.asked.popleft()
            case Welcomed(resumed=resumed, seq=seq):
                since, self.broken = self.asked.popleft(), False
                # One of several processes may be a moment behind, and go on from there: the client drops that.
                self.at, self.since = (min(since or 0, seq), since or 0) if resumed else (seq, seq)
            case Heard() if not self.broken:
                return self._hear(event)
        return None

    def _hear(self, event: Heard) -> str | None:
        if self.at is None:
            return "heard before the welcome"
        if event.seq <= self.at:
            return "heard again"
        if event.lower > max(self.at, self.since):
            self.broken = True
            return "gap"
        self.at = event.seq
        return None


def resumed(case: Case) -> Iterator[Problem]:
    """A client that returns in the same epoch resumes at its position, if it has not missed too much."""
    asked: dict[str, Asked] = {}
    # The room's last number, as far as anybody knows at that time.
    last = 0
    for event in case.events:
        match event:
            case Asked(who=who):
                asked[who] = event
            case Heard(seq=seq) | Acked(seq=int(seq)):
                last = max(last, seq)
            case Welcomed(who=who, resumed=False) if who in asked and _had_no_need(case, asked[who], event, last):
                yield Problem("reset", f"{who} had to start over from {asked[who].since}", [asked[who], event])


def _had_no_need(case: Case, asked: Asked, welcomed: Welcomed, last: int) -> bool:
    if asked.since is None or welcomed.epoch != asked.epoch or case.log.pruned:
        return False
    return max(last, welcomed.seq) - asked.since <= case.catch_up


def different(case: Case) -> Iterator[Problem]:
    """A number says the same to everybody, and that is what the log says."""
    said: dict[int, Heard] = {}
    for events in case.of_client.values():
        for event in events:
            if isinstance(event, Heard) and event.id:
                before = said.setdefault(event.seq, event)
                if _differ(before, event):
                    says = f"{before.who} and {event.who} heard different things as {event.seq}"
                    yield Problem("different", says, [before, event, *case.facts(event.id)])
                if before.content is None:
                    said[event.seq] = event
    yield from (problem for event in said.values() for problem in _not_in_log(case, event))


def _differ(one: Heard, other: Heard) -> bool:
    """Emoji are compared live only: what is read from the log later may have some that came since."""
    live = one.kind == other.kind == "Reacted"
    return (
        one.id != other.id
        or (None not in (one.content, other.content) and one.content != other.content)
        or (live and one.reactions != other.reactions)
    )


def _not_in_log(case: Case, event: Heard) -> Iterator[Problem]:
    row = case.rows.get(event.id)
    if row is None or event.seq > case.log.seq:
        yield Problem("ghost", f"{event.who} heard {event.seq}, which the log does not have", [event])
    elif event.seq > row.state.seq:
        says = f"{event.who} heard that {event.id} changed at {event.seq}, and the log says {row.state.seq}"
        yield Problem("ghost", says, [event, row])
    elif event.seq == row.state.seq and (
        event.content not in (None, row.state.content) or event.reactions not in (None, row.state.reactions)
    ):
        yield Problem("different", f"{event.who} heard another {event.seq} than the log's", [event, row])


def told_again(case: Case) -> Iterator[Problem]:
    """A client that joins after a deletion does not get the text."""
    gone = {
        number: min(operation.ended for operation in operations if operation.kind == "delete")
        for number, operations in case.operations_on.items()
        if any(operation.kind == "delete" for operation in operations)
    }
    for who, events in case.of_client.items():
        came = 0.0
        for at, event in enumerate(events):
            if isinstance(event, Asked) and (at == 0 or isinstance(events[at - 1], Lost)):
                came = event.at
            if isinstance(event, Heard) and event.content and gone.get(event.id, inf) + case.lag < came:
                says = f"{who} came after {event.id} was deleted, and was told its text"
                yield Problem("told again", says, [event, *case.facts(event.id)])


def strange(case: Case) -> Iterator[Problem]:
    """The server says nothing that the protocol does not have."""
    for event in case.events:
        if isinstance(event, Strange):
            yield Problem("strange", f"{event.who}: {event.says}", [event])


CHECKS = (out_of_step, resumed, different, told_again, strange)
