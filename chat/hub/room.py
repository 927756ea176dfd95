"""A room that somebody here is in: who gets what is written, in order, and who has to catch up first."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TypeAlias

from msgspec import UNSET
from msgspec.structs import asdict

from chat import protocol
from chat.access.policy import Policy
from chat.hub.recent_changes import RecentChanges
from chat.hub.reorder_buffer import ReorderBuffer
from chat.hub.sockets import PLAIN, Socket
from chat.log import Change, Log, LogSlice, RoomLog
from chat.metrics.counters import counters
from chat.protocol import Invalid, Message, Ref, Welcome
from chat.transport import Batch

logger = logging.getLogger("chat.hub")

TICK = 0.005
"""Seconds between two writes of one room to its sockets, at least: it rests as long as it wrote. So a big room
leaves the loop half of its time, and what comes meanwhile leaves together: with 1,000 sockets and 64 messages in
flight a system call carries 62 frames, with 5 ms alone it was 40 to 48."""
REST = 0.25
"""And at most: 10,000 sockets take less, and a process that stood still for a while did not write all the time."""
CHUNK = 65_536
"""Characters that a socket which is caught up gets in one write."""
STRETCH = 500
"""Changes that are read from the log at once for those who catch up."""
RETRY = 0.5
"""Seconds before what failed (the layer, the log) is tried again."""

Piece: TypeAlias = tuple[int, Batch]
"""Frames for one write, and the number of the last."""


class OpenRoom:
    """A room that somebody here is in, or is just coming into."""

    def __init__(self, log: Log, room: RoomLog, policy: Policy | None = None) -> None:
        self.slug = room.slug
        self.log = room
        # Who may do what; and what loads it anew, None while nothing does; and is there a reason to?
        self.policy = policy or Policy()
        self.loading: asyncio.Task[None] | None = None
        self.stale = False
        # When each person last spoke, in the loop's time: for slow mode.
        self.spoke: dict[str, float] = {}
        # The number of the last change that is on its way to the sockets here: written, or in ``_ready``.
        self.position = room.seq
        # The number of the last change that is written to all of ``sockets``.
        self.written = room.seq
        # Who gets what is written.
        self.sockets: set[Socket] = set()
        # Who does not at the moment, each with the number of the last change that it was given.
        self.behind: dict[Socket, int] = {}
        # The newest frame of each kind of which only the newest counts: for those who were behind when it came.
        self.latest: dict[str, str] = {}
        # How many hold the room open: its sockets and those that are coming in.
        self.holders = 0
        # Did the layer take us into the room's group? None until it was asked.
        self.subscribed: bool | None = None
        # Held while the group is joined or left, so that the two never cross.
        self.turn = asyncio.Lock()
        self._ring = RecentChanges(room.slug, room.seq)
        self._source = log
        self._loop = asyncio.get_running_loop()
        # Frames that wait for the next tick, and the messages that are deleted with them.
        self._ready: list[str] = []
        self._gone: list[int] = []
        # How many new messages are among them, and the first of these.
        self._new = 0
        self._first_new = ""
        # When that is, in the loop's time, and what will write them; None while nothing waits.
        self._next_at = 0.0
        self._tick: asyncio.TimerHandle | None = None
        # The last number when the log was last read for somebody, and who waits for that to be written. A message
        # that changed meanwhile was not found in its old place: only its live event tells of it, and that is of no
        # use to who never had the message.
        self._settled = 0
        self._nearly: set[Socket] = set()
        # How many came back with a position, ever; and how many of those have all the messages up to it, for sure.
        # Who was cut off while another process told them what they missed may lack one that had moved on from its
        # place, to a number that was not delivered here yet.
        self.returned = 0
        self._sure = 0
        # Changes that came before one that is missing.
        self._early = ReorderBuffer(self.catch_up)
        # Does the log have more than was delivered, as far as is known?
        self._more = False
        # Reads from the log what is missing here, and for those who catch up; None while neither does.
        self._gap: asyncio.Task[None] | None = None
        self._feed: asyncio.Task[None] | None = None
        # What was last made for somebody who came back: after which number, up to which, and that.
        self._last_missed: tuple[tuple[int, int], list[Piece]] = ((0, 0), [])
        # How many numbers of the log were pruned; None until that was asked.
        self._pruned: int | None = None
        # The latest page of messages, and of what it is: the log, its position, how many.
        self._latest_page: tuple[tuple[RoomLog, int, int], asyncio.Task[tuple[list[Message], bool]]] | None = None

    @property
    def audience(self) -> int:
        """How many sockets are in the room, those that are behind too."""
        return len(self.sockets) + len(self.behind)

    def close(self) -> None:
        """Nobody is in the room any more."""
        self._early.stop()
        for work in (self._tick, self._gap, self._feed):
            if work:
                work.cancel()

    async def history(self, *, before: int | None, after: int | None, limit: int) -> tuple[list[Message], bool]:
        """A page of messages, oldest first, and whether there are more that way.

        The latest page is read once for all who ask while nothing changes: a crowd that starts over does.
        """
        if before is not None or after is not None:
            return await self._source.history(self.log, before=before, after=after, limit=limit)
        key = (self.log, self.position, limit)
        if self._latest_page is None or self._latest_page[0] != key or self._latest_page[1].cancelled():
            page = self._loop.create_task(self._source.history(self.log, before=None, after=None, limit=limit))
            self._latest_page = (key, page)
        try:
            return await asyncio.shield(self._latest_page[1])
        except Invalid:
            self._latest_page = None
            raise

    # --- Who is in it ---

    async def can_resume(self, since: int | None, epoch: str | None, most: int) -> bool:
        """Can everything after ``since`` be told? Not without the epoch that it is of: it may be another's.

        Nor where more than ``most`` changes came since: after so long the latest page is of more use. Nor where
        the log itself is not there yet: the database was restored. That another process is ahead of us is none.
        """
        if since is None or epoch != self.log.epoch or since < self.position - most:
            return False
        if since <= self.position:
            return True
        log = self.log
        now = (await self._source.positions([log])).get(log.pk)
        return now is not None and since <= now.seq and self.log is log

    def welcome(self, socket: Socket, *, resumed: bool, read: int | None = None, ref: Ref | None = None) -> None:
        """Tell a socket where in the room's log it is."""
        welcome = Welcome(
            **asdict(socket.rooms.get(self.slug, PLAIN)),
            room=self.slug,
            username=socket.username or "",
            seq=self.written,
            epoch=self.log.epoch,
            resumed=resumed,
            timestamp=protocol.now(),
            you=socket.identity.public,
            read=UNSET if read is None else read,
            ref=ref or UNSET,
        )
        socket.transport.say(protocol.encode(welcome))

    def has(self, socket: Socket) -> bool:
        return socket in self.sockets or socket in self.behind

    def enter(self, socket: Socket, since: int | None) -> None:
        """Give a socket what came after ``since``, and then what is written in the room."""
        self.sockets.discard(socket)
        if since is not None:
            # What waits for its tick was made for those who had all that came before it.
            self.returned += 1
            self._settled = max(self._settled, self.position)
        position = self.written if since is None else since
        self.behind[socket] = position
        if position > self.position:
            # Another process told it more than came here yet: a page that was read before may be too old for it.
            self._latest_page = None
        if not socket.transport.full:
            self.go_on(socket, late=False)

    def exit(self, socket: Socket) -> bool:
        """Was it here?"""
        self._nearly.discard(socket)
        if socket in self.sockets:
            self.sockets.discard(socket)
            return True
        return self.behind.pop(socket, None) is not None

    # --- Slow readers, and those who come back ---

    def fall_behind(self, socket: Socket) -> None:
        """Too much waits for the socket: write it no more until that is gone."""
        if socket in self.sockets:
            self.sockets.discard(socket)
            self.behind[socket] = self.written

    def go_on(self, socket: Socket, *, late: bool = True) -> None:
        """Write what the socket misses, as far as its lane takes it; with the last it is live.

        One that comes ``late`` also gets what it may have missed of the kinds of which only the newest counts.
        """
        position = self.behind.get(socket)
        if position is None or socket.transport.full:
            return
        if position < self._ring.floor:
            self._feed = self._feed or self._loop.create_task(self._read_for_those_behind())
        elif not self._tell(socket, self._missed(position)):
            return
        elif self.written < self._settled:
            self._nearly.add(socket)
        else:
            del self.behind[socket]
            self.sockets.add(socket)
            if late and self.latest:
                self._tell_again(socket, Batch(list(self.latest.values())))

    def _missed(self, position: int) -> list[Piece]:
        """What came after ``position`` and is written to the others: made once for a crowd that is cut at once."""
        key = (position, self.written)
        if self._last_missed[0] != key:
            changes = [change for change in self._ring.since(position) if change.seq <= self.written]
            self._last_missed = (key, _pieces(changes))
        return self._last_missed[1]

    def _tell(self, socket: Socket, pieces: list[Piece]) -> bool:
        """Write them. False where the lane is full before the last, or with it."""
        for number, batch in pieces:
            self.behind[socket] = number
            self._tell_again(socket, batch)
            if socket.transport.full:
                return False
        return True

    def _tell_again(self, socket: Socket, batch: Batch) -> None:
        socket.transport.write(batch)
        counters.caught_up += len(batch.texts)

    async def _read_for_those_behind(self) -> None:
        """Read from the log what the ring no longer has: once for all who need it, from the furthest behind on."""
        try:
            while needed := self._needed():
                await self._read_once_for_all(min(needed))
        finally:
            self._feed = None

    def _needed(self) -> set[int]:
        """The positions from which somebody needs the log now."""
        floor = self._ring.floor
        return {at for socket, at in self.behind.items() if at < floor and not socket.transport.full}

    async def _read_once_for_all(self, low: int) -> None:
        room, stretch = self.log, await self._patiently(low)
        counters.stretches_read += 1
        if room is not self.log:
            return
        if stretch.end <= low:
            # The room is gone, or was restored: the hub will find that out, and start over.
            await asyncio.sleep(RETRY)
            return
        self._settled = max(self._settled, stretch.last)
        changes = stretch.to_the_end()
        pieces: dict[int, list[Piece]] = {}
        for socket, position in list(self.behind.items()):
            if low <= position < stretch.end and not socket.transport.full:
                if position not in pieces:
                    pieces[position] = _pieces([change for change in changes if change.seq > position])
                self._tell(socket, pieces[position])
        if low < self._ring.floor <= stretch.end:
            self._ring.extend_back([change for change in changes if change.seq <= self._ring.floor], low)
        for socket in list(self.behind):
            self.go_on(socket)

    async def _patiently(self, position: int) -> LogSlice:
        """Changes from the log, however long the database is away."""
        while True:
            try:
                return await self._source.since(self.log, position, STRETCH)
            except Invalid:
                await asyncio.sleep(RETRY)

    # --- What is delivered ---

    def deliver(self, changes: Sequence[Change]) -> None:
        """Numbered changes: in order, none twice; what stays missing before them is read from the log."""
        # While a gap is read, a message may have moved here from a place that was read already: nobody has it.
        self._deliver_what_follows(changes, known=self._gap is None and self._sure == self.returned)

    def _deliver_what_follows(self, changes: Sequence[Change], *, known: bool) -> None:
        following = self._early.take(changes, self.position)
        for change in following:
            self.position = change.seq
            self._add(change)
        if following:
            self.write([change.frame if known else change.fresh for change in following])
        self._early.wait(reading=self._gap is not None)

    def catch_up(self) -> None:
        """The log has more than was delivered: read that, to the end."""
        self._more = True
        self._gap = self._gap or self._loop.create_task(self._read_gap())

    async def caught_up(self) -> None:
        """Return when what is being read from the log is here, and the rules; all that came is then written."""
        works = [work for work in (self.loading, self._gap) if work]
        if works:
            await asyncio.wait(works)
        self.flush()

    async def _read_gap(self) -> None:
        try:
            while self._more:
                self._more = False
                before, room = self.position, self.log
                stretch = await self._patiently(before)
                counters.gaps_read += 1
                if self.position == before and self.log is room:
                    self._deliver_read(stretch)
                    self._more |= not stretch.whole
                else:
                    self._more = True
        finally:
            self._gap = None
        self._deliver_what_follows((), known=False)

    def _deliver_read(self, stretch: LogSlice) -> None:
        changes = stretch.to_the_end()
        for change in changes:
            self._add(change)
        self.position = max(self.position, stretch.end)
        self._early.drop(self.position)
        self.write([change.fresh for change in changes])

    def _add(self, change: Change) -> None:
        self._ring.add(change)
        if change.gone:
            self._gone.append(change.id)
        if change.is_new:
            self._first_new = self._first_new or change.fresh
            self._new += 1

    def compared(self, returned: int, last: int) -> None:
        """The log was at ``last`` when so many had come back: when that is delivered, they lack nothing."""
        if last <= self.position:
            self._sure = returned

    def pruned(self, numbers: int) -> None:
        """So many numbers of the log were pruned, in all. What is kept of it here may be among them."""
        if self._pruned not in (None, numbers):
            self._ring.start_over(self.position)
            self._latest_page, self._last_missed = None, ((0, 0), [])
        self._pruned = numbers

    def start_over(self, room: RoomLog) -> None:
        """The room's log is of another life: those who are here start with it anew."""
        logger.warning("room %s: its log is another now, at %d", self.slug, room.seq, extra={"room": self.slug})
        self.flush()
        self.log = room
        self.position = self.written = self._settled = room.seq
        self._ring.start_over(room.seq)
        self._early.clear()
        self._last_missed = ((0, 0), [])
        for socket in [*self.sockets, *self.behind]:
            self.welcome(socket, resumed=False)
            self.enter(socket, None)

    def write(self, frames: Sequence[str]) -> None:
        """Write to the room's sockets: now after quiet, else with the next tick."""
        self._ready.extend(frames)
        if self._tick is None:
            if self._loop.time() >= self._next_at:
                self.flush()
            else:
                self._tick = self._loop.call_at(self._next_at, self.flush)

    def say_to(self, person: str, frame: str, *, but: str) -> None:
        """Send a frame to one person's sockets (by their identity's key), except the one with the id ``but``."""
        for socket in [*self.sockets, *self.behind]:
            if socket.identity.key == person and socket.id != but:
                socket.transport.say(frame)

    def flush(self) -> None:
        """Write what is ready."""
        if self._tick:
            self._tick.cancel()
        began = self._loop.time()
        batch, self._ready, self._tick = Batch(self._ready), [], None
        self.written = self.position
        if batch.texts:
            # A copy: a socket whose lane becomes full leaves the set.
            sockets = tuple(self.sockets)
            for socket in sockets:
                socket.transport.write(batch)
            self._count(len(batch.texts), len(sockets))
        for message in self._gone:
            self._ring.forget(message)
        self._gone.clear()
        for socket in tuple(self._nearly):
            self._nearly.discard(socket)
            self.go_on(socket)
        # Counted from the end: in a big room the writes alone take longer than a tick, and what comes meanwhile
        # would otherwise leave one by one.
        ended = self._loop.time()
        self._next_at = ended + min(max(TICK, ended - began), REST)

    def _count(self, frames: int, sockets: int) -> None:
        """For the metrics: once for all frames and sockets, for a delivery costs less than to time it would."""
        counters.delivered(frames, sockets)
        if kept := protocol.timestamp_of(self._first_new):
            counters.delivery_seconds.add(max(0, protocol.now() - kept) / 1_000, self._new * sockets)
        self._new, self._first_new = 0, ""


def _pieces(changes: Sequence[Change]) -> list[Piece]:
    """The changes for somebody who catches up, in writes of about CHUNK characters."""
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
