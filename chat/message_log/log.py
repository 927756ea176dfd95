"""The log of the chat's rooms: their changes are messages."""

from functools import partial

from chat.log import Log, LogSlice, RoomCounters, RoomLog, read_or_busy, write_or_busy
from chat.message_log import queries, repair
from chat.message_log.search import SearchResults, search_results
from chat.message_log.search_indexing import SearchIndexer
from chat.message_log.writer import Writer
from chat.protocol import Message

_writer = Writer()


class MessageLog(Log):
    """One per event loop. All loops of a process share a writer, as they share the thread that writes."""

    counts_messages = True

    def __init__(self) -> None:
        super().__init__(_writer)
        # Runs from the first opened room on.
        self._indexing: SearchIndexer | None = None

    async def open(self, name: str, *, make: bool = True, owner: int | str | None = None) -> RoomLog:
        if self._indexing is None:
            self._indexing = SearchIndexer()
        return await read_or_busy(partial(queries.open_room, name, make=make, owner=owner))

    async def positions(self, rooms: list[RoomLog]) -> dict[int, RoomCounters]:
        return await read_or_busy(partial(queries.positions, [room.pk for room in rooms]))

    async def heal(self, rooms: list[RoomLog]) -> None:
        found = await read_or_busy(partial(repair.rooms_with_rows_ahead, [room.pk for room in rooms]))
        if found:
            await write_or_busy(partial(repair.heal, found, skip=True))

    async def since(self, room: RoomLog, position: int, limit: int) -> LogSlice:
        return await read_or_busy(partial(queries.changes_since, room, position, limit))

    async def history(
        self, room: RoomLog, *, before: int | None, after: int | None, limit: int
    ) -> tuple[list[Message], bool]:
        """Messages, oldest first, and whether there are more in that direction (chat.message_log.queries).

        This and the methods below raise Invalid (busy) if the database does not answer.
        """
        return await read_or_busy(
            partial(queries.history, room.pk, room.slug, before=before, after=after, limit=limit)
        )

    async def search(self, room: RoomLog, query: str, *, before: int | None, limit: int) -> SearchResults:
        """The newest messages with all words of the query."""
        return await read_or_busy(partial(search_results, room.pk, room.slug, query, before=before, limit=limit))

    async def read_position(self, room: RoomLog, reader: str) -> int:
        """The last number that ``reader`` has read in the room."""
        return await read_or_busy(partial(queries.read_position, room.pk, reader))

    async def close(self) -> None:
        if self._indexing:
            await self._indexing.close()
        await super().close()
