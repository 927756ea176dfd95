"""The reads that the hub needs of each kind of rooms."""

from abc import ABC, abstractmethod

from chat.log.changes import LogSlice
from chat.log.room_log import RoomCounters, RoomLog


class Source(ABC):
    """The numbered changes of all rooms of one kind, for one event loop.

    All methods raise Invalid (busy) if the database does not answer.
    """

    @abstractmethod
    async def open(self, name: str, *, make: bool = True, owner: int | str | None = None) -> RoomLog:
        """Open the room. If it does not exist, create it for its owner.

        Without ``make`` raise Invalid (no_room).
        """

    @abstractmethod
    async def positions(self, rooms: list[RoomLog]) -> dict[int, RoomCounters]:
        """The current counters of each room, by its key. Deleted rooms are left out."""

    @abstractmethod
    async def heal(self, rooms: list[RoomLog]) -> None:
        """Move the counters of rooms behind rows that something else wrote."""

    @abstractmethod
    async def since(self, room: RoomLog, position: int, limit: int) -> LogSlice:
        """The changes after ``position``, in order, at most ``limit``."""
