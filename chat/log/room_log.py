"""A room's row and its counters, as the log's readers have them."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(eq=False, slots=True)
class RoomLog:
    """A room's row, as it was when the room was opened."""

    pk: int
    slug: str
    epoch: str
    # The number of the last change at that time.
    seq: int


class RoomCounters(NamedTuple):
    """A room's counters, as its row has them now."""

    epoch: str
    # The number of the last change, and the count of pruned numbers.
    seq: int
    pruned: int
    # Count of the changes of its settings, roles and restrictions.
    rules: int = 0
