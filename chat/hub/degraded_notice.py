"""The notice to clients that this process is cut off from the others, and that their events may be late."""

from collections.abc import Iterable

from chat import protocol
from chat.hub.room import OpenRoom
from chat.hub.sockets import Socket
from chat.protocol import Late
from chat.transport import Batch

CHECKS = 3
"""Checks in a row, one a second, that find the layer away before clients are told of it."""


class DegradedNotice:
    """One per hub."""

    def __init__(self) -> None:
        self._away = 0
        # Do clients know that events of other processes may be late?
        self.is_shown = False

    def check(self, sockets: Iterable[Socket], rooms: Iterable[OpenRoom], *, away: bool) -> None:
        """Send the notice when the layer goes away and when it is back. Sockets that are behind get it later."""
        self._away = self._away + 1 if away else 0
        late = self._away >= CHECKS or (self.is_shown and away)
        if late != self.is_shown:
            self.is_shown = late
            frame = self.frame()
            batch = Batch((frame,))
            for room in rooms:
                room.keep_latest("late", frame)
            for socket in list(sockets):
                if not socket.transport.full:
                    socket.transport.write(batch)

    def frame(self) -> str:
        return protocol.encode(Late(late=self.is_shown, timestamp=protocol.now()))
