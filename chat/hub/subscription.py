"""A process's membership of a room's channel group, for as long as somebody holds the room open."""

import asyncio

from chat.hub.bus import Bus


class Subscription:
    """One per open room."""

    def __init__(self, slug: str) -> None:
        self._slug = slug
        # Number of holds on the room: its sockets, and those that are joining.
        self._holds = 0
        # Is this process in the group, so that the layer delivers the room's events? None: it has not asked.
        self.joined: bool | None = None
        # Held while the group is joined or left, so that the two never cross.
        self._lock = asyncio.Lock()

    def hold(self) -> None:
        """Keep the room open until ``release``."""
        self._holds += 1

    def release(self) -> bool:
        """Give up a hold. True with the last one."""
        self._holds -= 1
        return self._holds == 0

    def hold_only(self) -> None:
        """One hold is left, whatever there was: the process ends."""
        self._holds = 1

    def lose(self) -> None:
        """The layer may have forgotten this process: the next renewal joins again."""
        if self.joined:
            self.joined = False

    async def join(self, bus: Bus) -> None:
        """Join the group. While the layer is away, only the first caller tries and waits."""
        async with self._lock:
            if self.joined is None:
                self.joined = False
                self.joined = await bus.subscribe(self._slug)

    async def renew(self, bus: Bus, *, due: bool) -> None:
        """Join the group again, if that is ``due`` or failed before."""
        if due or self.joined is False:
            async with self._lock:
                if self._holds:
                    self.joined = await bus.subscribe(self._slug)

    async def leave(self, bus: Bus) -> bool:
        """Leave the group. False if somebody holds the room again: they wait for this, with the same room."""
        async with self._lock:
            if self._holds:
                return False
            if self.joined is not None:
                await bus.unsubscribe(self._slug)
                self.joined = None
            return self._holds == 0
