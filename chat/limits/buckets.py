"""Token buckets, and who holds them.

A bucket is kept as one number: the moment at which it will be full again (the generic cell rate algorithm,
ITU-T I.371). What is left follows from the time, so nothing has to be filled and no timer runs.
"""

from collections.abc import Callable, Collection

KEPT = 100_000
"""How many holders without sockets are kept, of each kind: some 30 MB. Past that, who was away longest is
forgotten, and gets a full bucket when they come back."""
ROUNDING = 1e-9
"""Seconds that a moment may be off: a double has less than that after a year of uptime."""


class Bucket:
    """``burst`` tokens at most; ``rate`` a second come back. ``now`` is in seconds and never goes back."""

    __slots__ = ("_depth", "_price", "full_at", "spent")

    def __init__(self, rate: float, burst: float) -> None:
        # The moment at which it is full; one that has passed says that it is.
        self.full_at = 0.0
        # Tokens that were taken here, and that no other process knows of yet.
        self.spent = 0.0
        # Seconds that a token takes to come back, and all of them.
        self._price = 1 / rate
        self._depth = burst / rate

    @property
    def burst(self) -> float:
        return self._depth / self._price

    def take(self, cost: float, now: float) -> float:
        """Take so many tokens; 0.0 where they were there, else the seconds to wait for them: none is taken."""
        wait = self.wait(cost, now)
        if not wait:
            self.pay(cost, now)
        return wait

    def wait(self, cost: float, now: float) -> float:
        """Seconds until so many tokens are there; 0.0 now. What costs more than the burst waits for a full one."""
        left = self.full_at - now
        if left <= 0:
            return 0.0
        short = left + cost * self._price - self._depth
        return min(short, left) if short > ROUNDING else 0.0

    def pay(self, cost: float, now: float) -> None:
        """Take so many tokens, there or not: what was not is owed."""
        # What was taken before it was full has come back, in every process.
        self.spent = cost if self.full_at <= now else self.spent + cost
        self.owe(cost, now)

    def owe(self, cost: float, now: float) -> None:
        """As ``pay``, for what was taken in another process."""
        self.full_at = max(self.full_at, now)
        self.full_at += cost * self._price

    def give_back(self, cost: float) -> None:
        """Undo a ``pay``."""
        self.full_at -= cost * self._price
        self.spent -= cost

    def debt(self, now: float) -> float:
        """Seconds until all that was taken has come back."""
        return max(0.0, self.full_at - now)

    def tokens(self, now: float) -> float:
        return max(0.0, self._depth - max(0.0, self.full_at - now)) / self._price


def take_all(buckets: Collection[Bucket], cost: float, now: float) -> float:
    """Take from every bucket, or from none: 0.0, or the seconds to wait for the one that lacks most."""
    longest = 0.0
    for bucket in buckets:
        longest = max(longest, bucket.wait(cost, now))
    if not longest:
        for bucket in buckets:
            bucket.pay(cost, now)
    return longest


class Holder:
    """A person or an address: their bucket, and how many sockets they have open."""

    __slots__ = ("bucket", "key", "sockets")

    def __init__(self, key: str, bucket: Bucket) -> None:
        self.key = key
        self.bucket = bucket
        self.sockets = 0


class Holders:
    """All holders of one kind.

    Who has sockets is kept. Who has none is kept until the bucket is full, for then a new one is the same; while
    their last socket is open even a full bucket must stay, or the next socket would get another beside it.
    """

    def __init__(self, make: Callable[[], Bucket]) -> None:
        self._make = make
        self._open: dict[str, Holder] = {}
        # Who has no sockets: who was here last is last.
        self._away: dict[str, Holder] = {}

    def __len__(self) -> int:
        return len(self._open) + len(self._away)

    @property
    def here(self) -> int:
        """How many have sockets."""
        return len(self._open)

    def all(self) -> list[Holder]:
        # Copied in one step each: another thread may ask.
        return [*self._open.values(), *self._away.values()]

    def open(self) -> list[Holder]:
        """Those who have sockets."""
        return [*self._open.values()]

    def sockets(self, key: str) -> int:
        holder = self._open.get(key)
        return holder.sockets if holder else 0

    def find(self, key: str, now: float) -> Holder:
        """Somebody who need not have a socket."""
        holder = self._open.get(key)
        if holder is None:
            holder = self._away.pop(key, None) or Holder(key, self._make())
            self._away[key] = holder
            self._forget(now)
        return holder

    def enter(self, key: str, now: float) -> Holder:
        """Somebody has one more socket."""
        holder = self.find(key, now)
        if not holder.sockets:
            self._open[key] = self._away.pop(key)
        holder.sockets += 1
        return holder

    def leave(self, holder: Holder, now: float) -> None:
        """Somebody has one socket less."""
        holder.sockets -= 1
        if not holder.sockets:
            del self._open[holder.key]
            self._away[holder.key] = holder
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Forget who was away long enough: from the front, never who came last."""
        while len(self._away) > 1:
            key, first = next(iter(self._away.items()))
            if len(self._away) <= KEPT and first.bucket.full_at > now:
                return
            del self._away[key]
