"""Catching up: the sockets of a room that are behind, because they came back or read too slowly.

A socket gets what it missed from the recent changes in memory, and what is older from the database: in stretches
of STRETCH changes, once for all sockets that need them. It is live again when it has everything that is written.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from chat.hub.recent_changes import RecentChanges
from chat.hub.sockets import Socket
from chat.log import Change, LogSlice, RoomLog, Source
from chat.metrics.counters import counters
from chat.protocol import Invalid
from chat.transport import Batch

if TYPE_CHECKING:
    from chat.hub.room import OpenRoom

CHUNK = 65_536
"""Characters of one write to a socket that catches up."""
STRETCH = 500
"""Changes that one query reads from the log."""
RETRY = 0.5
"""Seconds before a failed read of the log is tried again."""

Piece: TypeAlias = tuple[int, Batch]
"""Frames for one write, and the number of the last."""


async def read_patiently(source: Source, room: RoomLog, position: int) -> LogSlice:
    """The changes after ``position``. Waits for the database for as long as that is away."""
    while True:
        try:
            return await source.since(room, position, STRETCH)
        except Invalid:
            await asyncio.sleep(RETRY)


class CatchUp:
    """One per open room."""

    def __init__(self, room: "OpenRoom", source: Source, recent: RecentChanges) -> None:
        self._room, self._source, self._recent = room, source, recent
        # Sockets that are behind, each with the number of the last change that it was sent.
        self.behind: dict[Socket, int] = {}
        # The room's last number when the log was last read for a socket, and the sockets that wait until that is
        # written. A message that changed meanwhile was not found in its old place: only its live event tells of
        # it, which is of no use to a client that never had the message.
        self._settled = 0
        self.nearly_live: set[Socket] = set()
        # Reads older changes from the log, or None.
        self._reading: asyncio.Task[None] | None = None
        # The pieces that were made last, and between which numbers they are: a crowd that was cut at once shares
        # them.
        self._last_pieces: tuple[tuple[int, int], list[Piece]] = ((0, 0), [])

    def close(self) -> None:
        if self._reading:
            self._reading.cancel()

    def add(self, socket: Socket, position: int) -> None:
        """The socket has everything up to ``position``. It is live when ``go_on`` has sent the rest."""
        self.behind[socket] = position

    def remove(self, socket: Socket) -> bool:
        """True if the socket was behind."""
        self.nearly_live.discard(socket)
        return self.behind.pop(socket, None) is not None

    def settle_at(self, position: int) -> None:
        """Make no socket live before everything up to ``position`` is written."""
        self._settled = max(self._settled, position)

    def start_over(self, position: int) -> None:
        """The room's log is another one, at ``position``."""
        self._settled = position
        self.forget()

    def forget(self) -> None:
        """Changes may have been pruned from the log: pieces that were made before are not sent again."""
        self._last_pieces = ((0, 0), [])

    def go_on(self, socket: Socket, *, late: bool = True) -> None:
        """Write what the socket misses, as far as its transport takes it. With the last change it is live.

        ``late``: it also gets the latest frame of each kind that counts only as the newest.
        """
        position = self.behind.get(socket)
        if position is None or socket.transport.full:
            return
        if position < self._recent.floor:
            self._reading = self._reading or asyncio.get_running_loop().create_task(self._read_for_all())
        elif not self._write(socket, self._pieces_since(position)):
            return
        elif self._room.written < self._settled:
            self.nearly_live.add(socket)
        else:
            del self.behind[socket]
            self._room.make_live(socket)
            if late and self._room.latest:
                _write(socket, Batch(list(self._room.latest.values())))

    def go_on_nearly_live(self) -> None:
        """More was written to the room: sockets that waited for it may be live now."""
        for socket in tuple(self.nearly_live):
            self.nearly_live.discard(socket)
            self.go_on(socket)

    def _pieces_since(self, position: int) -> list[Piece]:
        """The changes after ``position`` that are written to the live sockets."""
        key = (position, self._room.written)
        if self._last_pieces[0] != key:
            changes = [change for change in self._recent.since(position) if change.seq <= self._room.written]
            self._last_pieces = (key, pieces_of(changes))
        return self._last_pieces[1]

    def _write(self, socket: Socket, pieces: list[Piece]) -> bool:
        """Write the pieces. False if the transport is full before the last one, or with it."""
        for number, batch in pieces:
            self.behind[socket] = number
            _write(socket, batch)
            if socket.transport.full:
                return False
        return True

    # --- From the log ---

    async def _read_for_all(self) -> None:
        """Read what memory no longer has: once for all sockets, from the one that is furthest behind."""
        try:
            while needed := self._needed():
                await self._read_stretch(min(needed))
        finally:
            self._reading = None

    def _needed(self) -> set[int]:
        """The positions of the sockets that need the log now."""
        floor = self._recent.floor
        return {at for socket, at in self.behind.items() if at < floor and not socket.transport.full}

    async def _read_stretch(self, low: int) -> None:
        room = self._room.log
        stretch = await read_patiently(self._source, room, low)
        counters.stretches_read += 1
        if room is not self._room.log:
            return
        if stretch.end <= low:
            # The room is gone, or was restored: the hub's comparison finds that out, and starts over.
            await asyncio.sleep(RETRY)
            return
        self.settle_at(stretch.last)
        changes = stretch.to_the_end()
        self._write_stretch(low, stretch.end, changes)
        if low < self._recent.floor <= stretch.end:
            self._recent.extend_back([change for change in changes if change.seq <= self._recent.floor], low)
        for socket in list(self.behind):
            self.go_on(socket)

    def _write_stretch(self, low: int, end: int, changes: Sequence[Change]) -> None:
        pieces: dict[int, list[Piece]] = {}
        for socket, position in list(self.behind.items()):
            if low <= position < end and not socket.transport.full:
                if position not in pieces:
                    pieces[position] = pieces_of([change for change in changes if change.seq > position])
                self._write(socket, pieces[position])


def _write(socket: Socket, batch: Batch) -> None:
    socket.transport.write(batch)
    counters.caught_up += len(batch.texts)


def pieces_of(changes: Sequence[Change]) -> list[Piece]:
    """The changes as whole messages, in writes of about CHUNK characters."""
    pieces: list[Piece] = []
    chunk: list[str] = []
    size = 0
    for change in changes:
        chunk.append(change.fresh)
        size += len(change.fresh)
        if size >= CHUNK:
            pieces.append((change.seq, Batch(chunk)))
            chunk, size = [], 0
    if chunk:
        pieces.append((changes[-1].seq, Batch(chunk)))
    return pieces
