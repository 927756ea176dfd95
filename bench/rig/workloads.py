"""The workloads. Each has a letter; a letter may have several."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rig.peers import Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of work. The fields after ``title`` are the load generator's options (load/crowd.h)."""

    name: str
    group: str
    title: str
    work: str = "messages"
    rooms: int = 1
    members: int
    publishers: int = 0
    in_flight: int = 0
    rate: float = 0
    size: int = 80
    sample: int = 1
    at_once: int = 64
    stuck: bool = False
    warm_up: float = 1.0
    seconds: float = 4.0
    patience: float = 8.0
    # The maximum number of measurements, whatever the number of repeats.
    at_most: int = 1_000
    # Does the room receive each join? Then only servers that send joins are measured.
    needs_announcing: bool = False
    has_floor: bool = False
    # Other options for a peer, by its name.
    differently: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, peer: Peer) -> "Workload":
        return replace(self, **self.differently.get(peer.name, {}))

    def within(self, seconds: float | None) -> "Workload":
        """The same with a window of at most so many seconds."""
        if not seconds:
            return self
        others = {peer: {**other, "seconds": seconds} for peer, other in self.differently.items()}
        return replace(self, seconds=min(self.seconds, seconds), differently=others)

    @property
    def clients(self) -> int:
        return self.rooms * self.members

    @property
    def separate_rooms(self) -> bool:
        return self.rooms > 1 or self.work != "messages"

    def not_for(self, peer: Peer) -> str | None:
        """Why the peer does not do this work, or None."""
        if self.needs_announcing and not peer.announces:
            return "it tells nobody that somebody joined"
        return None

    def options(self, peer: Peer) -> list[str]:
        """The load generator's."""
        publishers = 0 if peer.floor else self.publishers
        options: dict[str, Any] = {
            "dialect": peer.dialect,
            "work": self.work,
            "rooms": self.rooms,
            "members": self.members,
            "publishers": publishers,
            "in-flight": self.in_flight,
            "rate": self.rate,
            "size": self.size,
            "sample": self.sample,
            "at-once": self.at_once,
            "listeners-join": int(peer.listeners_join or self.separate_rooms),
            "stuck": int(self.stuck),
            "warm-up": self.warm_up,
            "seconds": self.seconds,
            "patience": self.patience,
        }
        return [f"--{name}={value}" for name, value in options.items()]


def _saturated(members: int, in_flight: int = 64) -> Workload:
    return Workload(
        name=f"a{members}" if in_flight == 64 else f"a{members}x{in_flight}",
        group="a",
        title=f"One room of {members:,}, saturated: {in_flight} messages in flight",
        members=members,
        publishers=min(50, members),
        in_flight=in_flight,
        sample=16,
        has_floor=True,
        # At 10,000 a round of 640,000 deliveries takes most servers seven seconds.
        warm_up=3.0 if members == 10_000 else 1.0,
        seconds=10.0 if members == 10_000 else 4.0,
        patience=10.0,
        # Slow servers get ten seconds.
        differently={"channels": {"seconds": 10.0}} if members == 1_000 else {},
    )


def _beside_a_stuck_reader(*, stuck: bool) -> Workload:
    # 50 messages a second of 3,000 characters: more than a socket's buffers take in these seconds. And fewer than
    # 500 messages in all: the chat keeps that many in memory for clients that resume.
    return Workload(
        name="f-stuck" if stuck else "f-clean",
        group="f",
        title="1,000 in a room, 50 messages a second of 3,000 bytes: "
        + ("one never reads" if stuck else "all read"),
        members=1_000,
        publishers=50,
        rate=50,
        size=3_000,
        sample=4,
        stuck=stuck,
        warm_up=1.0,
        seconds=7.0,
    )


WORKLOADS = (
    _saturated(10),
    _saturated(100),
    _saturated(1_000),
    _saturated(10_000),
    _saturated(10_000, 16),
    Workload(
        name="b",
        group="b",
        title="50 messages a second into a room of 100",
        members=100,
        publishers=50,
        rate=50,
        seconds=8.0,
    ),
    Workload(
        name="c",
        group="c",
        title="500 rooms of 2, in each one message in flight",
        rooms=500,
        members=2,
        publishers=1,
        in_flight=1,
        sample=4,
    ),
    Workload(
        name="d",
        group="d",
        title="5,000 connect and join one room, 64 at a time",
        work="arrivals",
        members=5_000,
        # Ours delays a long list of users for up to 4 s; its cost belongs to the joins too.
        patience=5.0,
        needs_announcing=True,
        # It sends each name to each member at each join: 5,000 would take 330 GB.
        differently={"article": {"members": 1_000}},
    ),
    Workload(
        name="e",
        group="e",
        title="10,000 idle sockets, in 100 rooms of 100",
        rooms=100,
        members=100,
        warm_up=3.0,
        # Two rounds of pings of ours, three half ones of Node's and Python's.
        seconds=30.0,
        # Memory hardly varies, and each takes a minute.
        at_most=2,
        # It takes a minute to let 10,000 in.
        differently={"channels": {"rooms": 20}},
    ),
    _beside_a_stuck_reader(stuck=False),
    _beside_a_stuck_reader(stuck=True),
    Workload(
        name="g",
        group="g",
        title="1,000 connect at once and join one room",
        work="arrivals",
        members=1_000,
        at_once=1_000,
        patience=1.0,
    ),
)

WORKLOADS_BY_NAME = {workload.name: workload for workload in WORKLOADS}
