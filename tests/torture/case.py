"""The records of a run, sorted for the questions that the verdict asks of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from math import inf
from typing import TypeAlias

from msgspec import Struct

from torture.records import (
    Acked,
    Asked,
    Cut,
    Event,
    Fault,
    Gone,
    Heard,
    Holding,
    Ill,
    Leaving,
    Log,
    Lost,
    Refused,
    Row,
    Sent,
    Welcomed,
)

CHANGES = frozenset({"message", "edit", "delete", "react"})
"""Commands that write. The others are questions."""
BUSY = "busy"
JOIN = "join"
"""The ref of every join."""
AROUND = 6
"""Records before and behind one that is wrong."""


Fact: TypeAlias = Event | Row | Holding


class Problem(Struct, frozen=True, tag=True):
    """Something that does not hold: what, in one sentence, and the records that show it."""

    kind: str
    says: str
    facts: list[Fact] = []


class Operation:
    """One command of one author, however often and from whichever tab it was sent."""

    def __init__(self, author: str, ref: str) -> None:
        self.author, self.ref = author, ref
        self.sent: list[Sent] = []
        self.acked: list[Acked] = []
        # For good: not those that met a busy server.
        self.refused: list[Refused] = []

    @property
    def command(self) -> dict[str, object]:
        return self.sent[0].command

    @property
    def kind(self) -> str:
        return str(self.command["type"])

    @property
    def began(self) -> float:
        return self.sent[0].at

    @property
    def ended(self) -> float:
        """When its first ack came."""
        return self.acked[0].at if self.acked else inf

    @property
    def about(self) -> int | None:
        """The message that it makes or changes, where that is known."""
        if self.kind == "message":
            return self.acked[0].id if self.acked else None
        number = self.command["id"]
        return number if isinstance(number, int) else None

    @property
    def facts(self) -> list[Fact]:
        events: list[Event] = [*self.sent, *self.acked, *self.refused]
        return [*sorted(events, key=lambda event: event.at)]


class Stay(Struct, frozen=True):
    """Somebody was in the room by one connection, from a welcome until it was lost: inf where it never was.

    The end lies between two moments: until ``ended`` the connection is known to have held, and at ``over`` the
    client had noticed that it was gone.
    """

    who: str
    author: str
    node: str
    began: float
    ended: float
    over: float


class Case:
    """Records, log and holdings of one room."""

    def __init__(
        self, events: Sequence[Event], log: Log, holdings: Iterable[Holding], *, catch_up: int, lag: float
    ) -> None:
        self.events, self.log, self.holdings = events, log, list(holdings)
        # A client that missed no more changes than this need not start over.
        self.catch_up = catch_up
        # Seconds that a server may be behind what was acknowledged.
        self.lag = lag
        self.rows = {row.state.id: row for row in log.rows}

    @cached_property
    def operations(self) -> dict[tuple[str, str], Operation]:
        """Those that write, by author and ref, in the order in which they were first sent."""
        found: dict[tuple[str, str], Operation] = {}
        for event in self.events:
            if isinstance(event, Sent) and event.command["type"] in CHANGES:
                key = (event.author, event.ref)
                found.setdefault(key, Operation(*key)).sent.append(event)
            elif isinstance(event, (Acked, Refused)) and (event.author, event.ref) in found:
                _answer(found[event.author, event.ref], event)
        return found

    @cached_property
    def operations_on(self) -> dict[int, list[Operation]]:
        """Those about each message."""
        found: dict[int, list[Operation]] = defaultdict(list)
        for operation in self.operations.values():
            if operation.about is not None:
                found[operation.about].append(operation)
        return found

    @cached_property
    def of_client(self) -> dict[str, list[Event]]:
        """Each client's commands and received frames of the log."""
        found: dict[str, list[Event]] = {holding.who: [] for holding in self.holdings}
        for event in self.events:
            if isinstance(event, (Asked, Welcomed, Heard, Lost)) or (
                isinstance(event, Refused) and event.ref == JOIN
            ):
                found.setdefault(event.who, []).append(event)
        return found

    @cached_property
    def stays(self) -> list[Stay]:
        """Stays of users in the room, in the order of their ends."""
        authors = {holding.who: holding.author for holding in self.holdings}
        there: dict[str, Welcomed] = {}
        leaving: dict[str, float] = {}
        found = []

        def end(who: str, last: float, over: float) -> None:
            welcome, left = there.pop(who), leaving.pop(who, inf)
            found.append(Stay(who, authors.get(who, who), welcome.node, welcome.at, min(last, left), over))

        for event in self.events:
            if isinstance(event, Welcomed):
                there.setdefault(event.who, event)
            elif isinstance(event, Leaving):
                leaving.setdefault(event.who, event.at)
            elif isinstance(event, (Cut, Lost, Gone)) and event.who in there:
                end(event.who, _last_known(event), event.at)
        for who in list(there):
            end(who, inf, inf)
        return found

    @cached_property
    def faults(self) -> list[Fault | Ill]:
        """Faults, and stalls."""
        return [event for event in self.events if isinstance(event, (Fault, Ill))]

    def facts(self, number: int) -> list[Fact]:
        """Commands about a message, and their outcomes."""
        asked = [fact for operation in self.operations_on[number] for fact in operation.facts]
        row = self.rows.get(number)
        return [*asked, row] if row else asked

    def heard(self, who: str, number: int) -> list[Fact]:
        """Frames about a message that a client received."""
        return [event for event in self.of_client[who] if isinstance(event, Heard) and event.id == number]

    def around(self, who: str, seq: int) -> list[Fact]:
        """A client's commands and received frames around the place of a number."""
        stream = self.of_client[who]
        at = next((i for i, e in enumerate(stream) if isinstance(e, Heard) and e.seq >= seq), len(stream))
        return self.near(who, at)

    def near(self, who: str, at: int) -> list[Fact]:
        """The same, where the place in the client's stream is known."""
        return list(self.of_client[who][max(0, at - AROUND) : at + AROUND])


def _last_known(event: Cut | Lost | Gone) -> float:
    """Until when the connection is known to have held that has ended."""
    return event.alive if isinstance(event, Lost) and event.alive is not None else event.at


def _answer(operation: Operation, event: Acked | Refused) -> None:
    if isinstance(event, Acked):
        operation.acked.append(event)
    elif event.code != BUSY:
        operation.refused.append(event)
