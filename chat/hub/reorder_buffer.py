"""Holds changes that came before a missing one, which may be under way from another process."""

import asyncio
from collections.abc import Callable, Sequence

from chat.log import Change

CROSSING = 0.05
"""Seconds for which a missing number may still be under way: changes that two processes publish at once come in
any order."""
MOST = 1_000
"""Most changes that wait for a missing one."""


class ReorderBuffer:
    """One per room. ``missed`` is called when a missing change did not come, and nothing waits for it any more."""

    def __init__(self, missed: Callable[[], None]) -> None:
        self._missed = missed
        self._loop = asyncio.get_running_loop()
        # The held changes, by number.
        self.held: dict[int, Change] = {}
        # Ends the wait, or None: nothing is missing, or it is being read from the log.
        self._timer: asyncio.TimerHandle | None = None

    def take(self, changes: Sequence[Change], position: int) -> list[Change]:
        """The changes that follow ``position`` without a gap, of these and of the held ones.

        Old numbers are dropped, later ones are held.
        """
        self.held.update((change.seq, change) for change in changes if change.seq > position)
        following = []
        while change := self.held.pop(position + 1, None):
            position = change.seq
            following.append(change)
        return following

    def wait(self, *, reading: bool) -> None:
        """Start or stop the wait for a missing change. ``reading``: it is being read from the log."""
        if not self.held:
            self.stop()
        elif len(self.held) > MOST:
            self._give_up()
        elif self._timer is None and not reading:
            self._timer = self._loop.call_later(CROSSING, self._give_up)

    def drop(self, position: int) -> None:
        """Forget the changes up to ``position``: they were read from the log."""
        self.held = {seq: change for seq, change in self.held.items() if seq > position}
        if not self.held:
            self.stop()

    def clear(self) -> None:
        self.stop()
        self.held.clear()

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        # The log has these changes too.
        self.clear()
        self._missed()
