"""What people are told while this process is cut off from the others."""

from collections.abc import Iterable

from chat import protocol
from chat.hub.room import OpenRoom
from chat.hub.sockets import Socket
from chat.protocol import Late
from chat.transport import Batch

PATIENCE = 3
"""Looks in a row at a layer that is away, one a second, after which people are told: not of a hiccup."""


class DegradedNotice:
    """One per hub."""

    def __init__(self) -> None:
        self._away = 0
        # Were people told that what others say may come late?
        self.told = False

    def look(self, sockets: Iterable[Socket], rooms: Iterable[OpenRoom], *, away: bool) -> None:
        """Tell the sockets when that begins and when it ends; those that are behind, when they have caught up."""
        self._away = self._away + 1 if away else 0
        late = self._away >= PATIENCE or (self.told and away)
        if late != self.told:
            self.told = late
            frame = self.frame()
            batch = Batch((frame,))
            for room in rooms:
                # For those who have to catch up first.
                room.latest["late"] = frame
            for socket in list(sockets):
                if not socket.transport.full:
                    socket.transport.write(batch)

    def frame(self) -> str:
        return protocol.encode(Late(late=self.told, timestamp=protocol.now()))
