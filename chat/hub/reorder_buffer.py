"""Numbers that came before one that is missing: it may be under way from another process."""

import asyncio
from collections.abc import Callable, Sequence

from chat.log import Change

CROSSING = 0.05
"""Seconds for which a number that is missing may still be under way: what two processes say at once comes in any
order."""
MOST = 1_000
"""Changes that wait for a missing one, at most."""


class ReorderBuffer:
    """One room's. ``missed`` is called when what is missing did not come: nothing waits for it any more."""

    def __init__(self, missed: Callable[[], None]) -> None:
        self._missed = missed
        self._loop = asyncio.get_running_loop()
        self._changes: dict[int, Change] = {}
        # Gives up the wait; None while nothing is missing, or is being read.
        self._timer: asyncio.TimerHandle | None = None

    def take(self, changes: Sequence[Change], position: int) -> Sequence[Change]:
        """Of what came, and of what was early, that which goes on from ``position`` without a gap. Old numbers are
        dropped, what is early is kept.
        """
        if not self._changes and all(change.seq == seq for seq, change in enumerate(changes, position + 1)):
            # As nearly always.
            return changes
        self._changes.update((change.seq, change) for change in changes if change.seq > position)
        following = []
        while change := self._changes.pop(position + 1, None):
            position = change.seq
            following.append(change)
        return following

    def wait(self, *, reading: bool) -> None:
        """See to what is missing, after all that follows was taken; ``reading``: it is being read."""
        if not self._changes:
            self.stop()
        elif len(self._changes) > MOST:
            self._give_up()
        elif self._timer is None and not reading:
            self._timer = self._loop.call_later(CROSSING, self._give_up)

    def drop(self, position: int) -> None:
        """All up to there was read."""
        self._changes = {seq: change for seq, change in self._changes.items() if seq > position}

    def clear(self) -> None:
        self.stop()
        self._changes.clear()

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        # What came is in the log too.
        self.clear()
        self._missed()
