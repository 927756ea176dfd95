"""The versions of a room's presence that this process has received."""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class VersionSet:
    """The registry numbers each change of a room. The numbers arrive out of order, and each counts once."""

    # All versions up to this one are known.
    complete_to: int = 0
    # Known versions after a gap.
    ahead: set[int] = field(default_factory=set)
    # The registry's version at the last comparison.
    last_compared: int = 0
    # (node, key) of users who left a process that could not reach the registry: the registry still has them.
    unregistered_leaves: set[tuple[str, str]] = field(default_factory=set)
    # The first read of the room while it runs, else None. Every join meanwhile waits for it.
    first_read: asyncio.Task[None] | None = None
    # True once everybody was read who was in the room before this process followed it. Until then a user who is
    # read for the first time is not announced as a join.
    is_complete: bool = False

    def add(self, version: int) -> bool:
        """Note a change. False if it was known before."""
        if version <= self.complete_to or version in self.ahead:
            return False
        self.ahead.add(version)
        self._close_gap()
        return True

    def advance_to(self, version: int) -> None:
        """Note that all changes up to ``version`` were read."""
        self.complete_to = max(self.complete_to, version)
        self.ahead = {each for each in self.ahead if each > self.complete_to}
        self._close_gap()

    def _close_gap(self) -> None:
        while self.complete_to + 1 in self.ahead:
            self.complete_to += 1
            self.ahead.discard(self.complete_to)

    def is_behind(self, version: int) -> bool:
        """True if a change has been missing since the last comparison. Younger changes may still arrive."""
        before, self.last_compared = self.last_compared, version
        return before > self.complete_to
