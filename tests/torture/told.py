"""A small run of which everything is right, and what it takes to spoil it."""

from typing import Any

from msgspec.structs import replace

from torture.records import (
    Acked,
    Announced,
    Asked,
    Event,
    HasRead,
    Heard,
    Holding,
    Listed,
    Log,
    Row,
    Sent,
    State,
    Welcomed,
)
from torture.verdict import judge


class Told:
    """A run without faults: Ann sends 1 and 2, Bob receives both; 1 is edited, 2 gets an emoji."""

    def __init__(self) -> None:
        self.one = State(id=1, seq=3, username="Ann", content="one! there", edited=5)
        self.two = State(id=2, seq=4, username="Ann", content="two", reactions="👍 Bob (1)")
        self.rows = [Row(self.one, "a1", 1), Row(self.two, "a2", 1, [("👍", "Bob")])]
        self.log = Log(
            epoch="e", seq=4, pruned=0, rows=self.rows, read={"Bob": 4}, texts=["one! there", "two", "👍"]
        )
        self.events: list[Event] = [
            *entering("Ann", at=0.0),
            *entering("Bob", at=0.1),
            Announced(at=0.2, who="Ann", name="Bob", came=True, said=0.1),
            *(listed(0.2, "Ann", "Bob", who=who) for who in ("Ann", "Bob")),
            *command("Ann", "a1", 1.0, id=1, seq=1, type="message", content="one"),
            *heard(1.1, "Message", 1, 1, content="one", reactions=""),
            *command("Ann", "a2", 2.0, id=2, seq=2, type="message", content="two"),
            *heard(2.1, "Message", 2, 2, content="two", reactions=""),
            *command("Ann", "a3", 3.0, id=1, seq=3, type="edit", content="one! there"),
            *heard(3.1, "Edited", 1, 3, content="one! there", reactions=""),
            *command("Bob", "b1", 4.0, id=2, seq=4, type="react", emoji="👍", on=True),
            *heard(4.1, "Reacted", 2, 4, content=None, reactions="👍 Bob (1)"),
            HasRead(at=4.5, who="Bob", author="Bob", seq=4),
        ]
        self.holdings = [
            Holding(who=who, author=who, first=0, last=4, messages=[self.one, self.two]) for who in ("Ann", "Bob")
        ]

    def find(self, kind: type[Any], **fields: object) -> int:
        """Where the event with these fields is."""
        return next(
            at
            for at, event in enumerate(self.events)
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
        )

    def change(self, kind: type[Any], where: dict[str, object], **fields: object) -> None:
        at = self.find(kind, **where)
        self.events[at] = replace(self.events[at], **fields)

    def row(self, at: int, changes: dict[str, Any] | None = None, **state: Any) -> None:
        """Change a row, and the state in it."""
        row = self.rows[at]
        self.rows[at] = replace(row, state=replace(row.state, **state), **(changes or {}))

    def room(self, **fields: Any) -> None:
        self.log = replace(self.log, rows=self.rows, **fields)

    def holds(self, who: int, messages: list[State], **fields: Any) -> None:
        self.holdings[who] = replace(self.holdings[who], messages=messages, **fields)

    def kinds(self) -> set[str]:
        return {problem.kind for problem in judge(self.events, replace(self.log, rows=self.rows), self.holdings)}


def entering(who: str, at: float) -> list[Event]:
    return [
        Asked(at=at, who=who, link=1, since=None, epoch=None),
        Welcomed(at=at, who=who, link=1, seq=0, epoch="e", resumed=False, last=None, node="one"),
    ]


def listed(
    at: float, *names: str, who: str = "Ann", count: int | None = None, said: float | None = None
) -> Listed:
    """A list that came at a moment; ``said``: before, by the server."""
    there = len(names) if count is None else count
    return Listed(at=at, who=who, names=names, count=there, said=at if said is None else said)


def command(who: str, ref: str, at: float, *, id: int, seq: int, **command: object) -> list[Event]:  # noqa: A002 the wire's word
    about = {} if command["type"] == "message" else {"id": id}
    return [
        Sent(at=at, who=who, author=who, ref=ref, link=1, command={"ref": ref, **command, **about}),
        Acked(at=at + 0.01, who=who, author=who, ref=ref, link=1, id=id, seq=seq),
    ]


def heard(at: float, kind: str, number: int, seq: int, **said: Any) -> list[Event]:
    return [
        Heard(at=at, who=who, link=1, kind=kind, id=number, seq=seq, lower=seq - 1, taken=True, **said)
        for who in ("Ann", "Bob")
    ]
