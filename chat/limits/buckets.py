"""Token buckets, and the people and addresses that hold them.

A bucket is stored as one number: the time at which it will be full again (the generic cell rate algorithm,
ITU-T I.371). The tokens left follow from the current time, so nothing has to be refilled and no timer runs.
"""

from collections.abc import Callable, Collection

IDLE_LIMIT = 100_000
"""Most holders without sockets to keep, of each kind: some 30 MB. Past that, the holder that was idle longest is
forgotten, and gets a full bucket when it comes back."""
ROUNDING = 1e-9
"""Seconds by which a time may be rounded: a double is more exact than that after a year of uptime."""


class Bucket:
    """Holds at most ``burst`` tokens and gets ``rate`` a second. ``now`` is a monotonic time in seconds."""

    __slots__ = ("_depth", "_price", "full_at", "unreported")

    def __init__(self, rate: float, burst: float) -> None:
        # Time at which the bucket is full. A time in the past: it is full now.
        self.full_at = 0.0
        # Tokens that were taken in this process and not yet reported to the others.
        self.unreported = 0.0
        # Seconds until one token, and until all tokens come back.
        self._price = 1 / rate
        self._depth = burst / rate

    @property
    def burst(self) -> float:
        return self._depth / self._price

    def take(self, cost: float, now: float) -> float:
        """Take ``cost`` tokens and return 0.0, or take none and return the seconds to wait for them."""
        wait = self.wait(cost, now)
        if not wait:
            self.pay(cost, now)
        return wait

    def wait(self, cost: float, now: float) -> float:
        """Seconds until ``cost`` tokens are available. A cost above the burst waits for a full bucket."""
        left = self.full_at - now
        if left <= 0:
            return 0.0
        short = left + cost * self._price - self._depth
        return min(short, left) if short > ROUNDING else 0.0

    def pay(self, cost: float, now: float) -> None:
        """Take ``cost`` tokens, available or not. The bucket can go into debt."""
        # Tokens taken before the bucket was full again have come back, in every process.
        self.unreported = cost if self.full_at <= now else self.unreported + cost
        self.charge(cost, now)

    def charge(self, cost: float, now: float) -> None:
        """Like ``pay``, for tokens that were taken in another process."""
        self.full_at = max(self.full_at, now)
        self.full_at += cost * self._price

    def refund(self, cost: float) -> None:
        """Undo a ``pay``."""
        self.full_at -= cost * self._price
        self.unreported -= cost

    def debt(self, now: float) -> float:
        """Seconds until the bucket is full."""
        return max(0.0, self.full_at - now)

    def tokens(self, now: float) -> float:
        return max(0.0, self._depth - max(0.0, self.full_at - now)) / self._price


def take_all(buckets: Collection[Bucket], cost: float, now: float) -> float:
    """Take from every bucket and return 0.0, or take from none and return the longest wait in seconds."""
    longest = 0.0
    for bucket in buckets:
        longest = max(longest, bucket.wait(cost, now))
    if not longest:
        for bucket in buckets:
            bucket.pay(cost, now)
    return longest


class Holder:
    """A person or an address: a bucket, and the number of open sockets."""

    __slots__ = ("bucket", "key", "sockets")

    def __init__(self, key: str, bucket: Bucket) -> None:
        self.key = key
        self.bucket = bucket
        self.sockets = 0


class Holders:
    """All holders of one kind.

    A holder without sockets is kept until its bucket is full, because then a new one would be the same. A holder
    with sockets is kept even with a full bucket: its next socket would get a second bucket otherwise.
    """

    def __init__(self, make: Callable[[], Bucket]) -> None:
        self._make = make
        self._connected: dict[str, Holder] = {}
        # Holders without sockets, the one that was active last at the end.
        self._idle: dict[str, Holder] = {}

    def __len__(self) -> int:
        return len(self._connected) + len(self._idle)

    @property
    def connected_count(self) -> int:
        """How many holders have sockets."""
        return len(self._connected)

    def all(self) -> list[Holder]:
        # Each copy is atomic: another thread may call this.
        return [*self._connected.values(), *self._idle.values()]

    def connected(self) -> list[Holder]:
        """The holders that have sockets."""
        return [*self._connected.values()]

    def sockets(self, key: str) -> int:
        holder = self._connected.get(key)
        return holder.sockets if holder else 0

    def find(self, key: str, now: float) -> Holder:
        """The holder of ``key``, made on first use. It need not have sockets."""
        holder = self._connected.get(key)
        if holder is None:
            holder = self._idle.pop(key, None) or Holder(key, self._make())
            self._idle[key] = holder
            self._forget(now)
        return holder

    def add_socket(self, key: str, now: float) -> Holder:
        """Count one more socket of ``key``."""
        holder = self.find(key, now)
        if not holder.sockets:
            self._connected[key] = self._idle.pop(key)
        holder.sockets += 1
        return holder

    def remove_socket(self, holder: Holder, now: float) -> None:
        """Count one socket less."""
        holder.sockets -= 1
        if not holder.sockets:
            del self._connected[holder.key]
            self._idle[holder.key] = holder
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Forget idle holders, the oldest first. The one that was active last always stays."""
        while len(self._idle) > 1:
            key, first = next(iter(self._idle.items()))
            if len(self._idle) <= IDLE_LIMIT and first.bucket.full_at > now:
                return
            del self._idle[key]
