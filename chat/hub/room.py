"""An open room: it delivers the log's changes to the sockets in it, in order, and fills gaps from the log."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from chat import protocol
from chat.hub.bus import Event
from chat.hub.catch_up import CatchUp, read_patiently
from chat.hub.recent_changes import RecentChanges
from chat.hub.reorder_buffer import ReorderBuffer
from chat.hub.sockets import Socket
from chat.hub.subscription import Subscription
from chat.log import Change, LogSlice, RoomLog, Source
from chat.metrics.counters import counters
from chat.protocol import Invalid
from chat.transport import Batch

logger = logging.getLogger("chat.hub")

TICK = 0.005
"""Least seconds between two writes of one room to its sockets. A room also rests for as long as it wrote. So a big
room leaves the loop half of its time, and what comes meanwhile leaves together: with 1,000 sockets and 64 messages
in flight a system call carries 62 frames; with 5 ms alone it was 40 to 48."""
REST = 0.25
"""Most seconds of that rest. 10,000 sockets take less; a process that was stopped did not write all the time."""


class OpenRoom:
    """A room that sockets of this process are in, or are joining. It knows the log's changes and no chat.

    A kind of room overrides the methods of the first section (chat.actions.chat_room).
    """

    # Least seconds between two writes to the sockets, if that is more than TICK.
    every = 0.0

    def __init__(self, source: Source, log: RoomLog) -> None:
        self.slug = log.slug
        self.log = log
        # The log that its changes are read from.
        self.source = source
        self._loop = asyncio.get_running_loop()
        self._closed = False
        # Calls ``load``, or None; True: it must be called once more.
        self._loading: asyncio.Task[None] | None = None
        self._stale = False
        # Number of the last change that is on its way to the sockets: written, or in ``_ready``.
        self.position = log.seq
        # Number of the last change that is written to all of ``sockets``.
        self.written = log.seq
        # Live sockets: they get each frame as it is written.
        self.sockets: set[Socket] = set()
        # The newest frame of each kind that counts only as the newest, for sockets that were behind when it came.
        self._latest: dict[str, str] = {}
        # This process's membership of the room's channel group, and how many hold the room open.
        self.subscription = Subscription(log.slug)
        self._recent = RecentChanges(log.slug, log.seq)
        self._catch_up = CatchUp(self, source, self._recent)
        # Frames that wait for the next tick, and the ids of the messages that are deleted with them.
        self._ready: list[str] = []
        self._gone: list[int] = []
        # Number of new messages among them, and the first one's frame.
        self._new = 0
        self._first_new = ""
        # Earliest next write (loop time), and its timer, or None.
        self._next_at = 0.0
        self._tick: asyncio.TimerHandle | None = None
        # How many sockets came back with a position, ever; and how many of those surely have all messages up to
        # it. A client that was cut off while another process sent it what it missed may lack a message that had
        # moved on from its place, to a number that was not delivered here yet.
        self.returned = 0
        self._sure = 0
        # Changes that came before a missing one.
        self._early = ReorderBuffer(self.catch_up)
        # True: the log has changes that were not delivered here. The task that reads them, or None.
        self._more = False
        self._gap: asyncio.Task[None] | None = None
        # How many of the log's numbers were pruned. None: not asked yet.
        self._pruned: int | None = None

    # --- A kind of room overrides these ---

    async def load(self) -> None:
        """Load the room's rules from the database. The room calls it when it opens, and in ``reload``.

        Raises Invalid (no_room, busy).
        """

    def is_up_to_date(self, rules: int) -> bool:  # noqa: ARG002 a kind with rules compares it
        """``rules``: the database's counter of their changes."""
        return True

    async def open_again(self) -> RoomLog:
        """The room's row, made again if it is gone. Raises Invalid: no_room if it may not be made again, busy."""
        return await self.source.open(self.slug)

    def invalidate(self) -> None:
        """The room's row is another one: nothing that was loaded holds."""

    def remove_everybody(self) -> None:
        """The room's row is gone."""

    def greet(self, socket: Socket) -> None:
        """The room's log started over: send the socket its new position."""

    def first_position(self) -> int | None:
        """The position that sockets start over from; None: from what is written."""
        return None

    def receive(self, event: Event) -> None:
        """An event that only this kind of room publishes."""
        raise ValueError(f"an unknown event of a room: {event[0]!r}")

    def write_changes(self, changes: Sequence[Change], *, known: bool) -> None:
        """Write changes to the live sockets. ``known``: the clients have everything that came before."""
        self.write([change.frame if known else change.fresh for change in changes])

    def left(self, socket: Socket) -> None:
        """A socket is not in the room any more."""

    def forget_pages(self) -> None:
        """Pages of the log that were read before may be too old."""

    # --- Rules ---

    def reload(self) -> asyncio.Task[None]:
        """Load the rules soon. A call while they are loading has them loaded once more."""
        self._stale = True
        if self._loading is None:
            self._loading = self._loop.create_task(self._reload())
        return self._loading

    async def _reload(self) -> None:
        try:
            while self._stale and not self._closed:
                self._stale = False
                # Without the database, or the room, the next comparison calls ``reload`` again.
                with suppress(Invalid):
                    await self.load()
        finally:
            self._loading = None

    async def loaded(self) -> None:
        """Return when the rules are here, if a load has begun."""
        if self._loading:
            await asyncio.shield(self._loading)

    def loading_tasks(self) -> list[asyncio.Task[None]]:
        """The task that loads the rules, if one does."""
        return [self._loading] if self._loading else []

    # --- Sockets ---

    @property
    def behind(self) -> Mapping[Socket, int]:
        """Sockets that are catching up, each with the number of the last change that it was sent."""
        return self._catch_up.behind

    @property
    def latest(self) -> Mapping[str, str]:
        """The newest frame of each kind that counts only as the newest."""
        return self._latest

    @property
    def everybody(self) -> list[Socket]:
        """The room's sockets of this process, also those that are behind."""
        return [*self.sockets, *self.behind]

    @property
    def audience(self) -> int:
        """Number of sockets in the room, also those that are behind."""
        return len(self.sockets) + len(self.behind)

    async def can_resume(self, since: int | None, epoch: str | None, most: int) -> bool:
        """Can a client that has everything up to ``since`` be sent the rest?

        Not without the ``epoch`` that its position is of. Not if more than ``most`` changes came since: the latest
        page is of more use then. Not if the log has not reached ``since``: the database was restored. A position
        that another process is ahead with is fine.
        """
        if since is None or epoch != self.log.epoch or since < self.position - most:
            return False
        if since <= self.position:
            return True
        log = self.log
        now = (await self.source.positions([log])).get(log.pk)
        return now is not None and since <= now.seq and self.log is log

    def has(self, socket: Socket) -> bool:
        return socket in self.sockets or socket in self.behind

    def enter(self, socket: Socket, since: int | None) -> None:
        """Send a socket the changes after ``since``, then what is written in the room. None: from here on."""
        self.sockets.discard(socket)
        if since is not None:
            # Frames that wait for their tick were made for sockets that had everything before them.
            self.returned += 1
            self._catch_up.settle_at(self.position)
        position = self.written if since is None else since
        self._catch_up.add(socket, position)
        if position > self.position:
            # Another process sent it more than came here yet.
            self.forget_pages()
        if not socket.transport.full:
            self._catch_up.go_on(socket, late=False)

    def exit(self, socket: Socket) -> bool:
        """True if the socket was in the room."""
        was_live = socket in self.sockets
        self.sockets.discard(socket)
        was_in = was_live or self._catch_up.remove(socket)
        if was_in:
            self.left(socket)
        return was_in

    def make_live(self, socket: Socket) -> None:
        """The socket has everything that is written."""
        self.sockets.add(socket)

    def fall_behind(self, socket: Socket) -> None:
        """Too much waits for the socket: write to it no more until that is gone."""
        if socket in self.sockets:
            self.sockets.discard(socket)
            self._catch_up.add(socket, self.written)

    def go_on(self, socket: Socket) -> None:
        """The socket's transport has drained: send it what it missed."""
        self._catch_up.go_on(socket)

    # --- Changes ---

    def deliver(self, changes: Sequence[Change]) -> None:
        """Deliver numbered changes in order, none twice. A gap before them is read from the log."""
        # While a gap is read, a message may have moved here from a place that was read already: no client has it.
        self._deliver_following(changes, known=self._gap is None and self._sure == self.returned)

    def _deliver_following(self, changes: Sequence[Change], *, known: bool) -> None:
        """Deliver the changes that follow without a gap, and hold the others.

        ``known``: the clients have the messages that the changes are about.
        """
        if self._early.held or any(change.seq != seq for seq, change in enumerate(changes, self.position + 1)):
            changes = self._early.take(changes, self.position)
            self._early.wait(reading=self._gap is not None)
        self._write_changes(changes, known=known)

    def _write_changes(self, following: Sequence[Change], *, known: bool) -> None:
        for change in following:
            self.position = change.seq
            self._add(change)
        if following:
            self.write_changes(following, known=known)

    def catch_up(self) -> None:
        """The log has more than was delivered: read it to the end."""
        self._more = True
        self._gap = self._gap or self._loop.create_task(self._read_gap())

    async def caught_up(self) -> None:
        """Return when what is being read from the log, and the rules, are here. Everything is written then."""
        works = [work for work in (self._loading, self._gap) if work]
        if works:
            await asyncio.wait(works)
        self.flush()

    async def _read_gap(self) -> None:
        try:
            while self._more:
                self._more = False
                before, log = self.position, self.log
                stretch = await read_patiently(self.source, log, before)
                counters.gaps_read += 1
                if self.position == before and self.log is log:
                    self._deliver_read(stretch)
                    self._more |= not stretch.whole
                else:
                    self._more = True
        finally:
            self._gap = None
        self._deliver_following((), known=False)

    def _deliver_read(self, stretch: LogSlice) -> None:
        changes = stretch.to_the_end()
        for change in changes:
            self._add(change)
        self.position = max(self.position, stretch.end)
        self._early.drop(self.position)
        self.write_changes(changes, known=False)

    def _add(self, change: Change) -> None:
        self._recent.add(change)
        if change.gone:
            self._gone.append(change.id)
        if change.id == change.seq:
            self._first_new = self._first_new or change.fresh
            self._new += 1

    def compared(self, returned: int, last: int) -> None:
        """``returned`` had come back when the log was at ``last``. Once that is delivered, they lack nothing."""
        if last <= self.position:
            self._sure = returned

    def pruned(self, numbers: int) -> None:
        """``numbers`` of the log were pruned in all. Changes in memory may be among them."""
        if self._pruned not in (None, numbers):
            self._recent.start_over(self.position)
            self._catch_up.forget()
            self.forget_pages()
        self._pruned = numbers

    def start_over(self, log: RoomLog) -> None:
        """The room's log is of another epoch: its sockets start over."""
        logger.warning("room %s: its log is another now, at %d", self.slug, log.seq, extra={"room": self.slug})
        self.flush()
        self.log = log
        self.position = self.written = log.seq
        self._recent.start_over(log.seq)
        self._early.clear()
        self._catch_up.start_over(log.seq)
        for socket in self.everybody:
            self.greet(socket)
            self.enter(socket, self.first_position())

    # --- Writes ---

    def write(self, frames: Sequence[str]) -> None:
        """Write frames to the live sockets: at once after quiet, else with the next tick."""
        self._ready.extend(frames)
        if self._tick is None:
            if self._loop.time() >= self._next_at:
                self.flush()
            else:
                self._tick = self._loop.call_at(self._next_at, self.flush)

    def keep_latest(self, kind: str, frame: str) -> None:
        """Sockets that are behind get this frame, and no older one of its kind, when they have caught up."""
        self._latest[kind] = frame

    def send_to(self, person: str, frame: str, *, but: str) -> None:
        """Send a frame to the sockets of one person (an identity's key), except the one with the id ``but``."""
        for socket in self.everybody:
            if socket.identity.key == person and socket.id != but:
                socket.transport.send(frame)

    def flush(self) -> None:
        """Write what is ready."""
        if self._tick:
            self._tick.cancel()
        began = self._loop.time()
        batch, self._ready, self._tick = Batch(self._ready), [], None
        self.written = self.position
        if batch.texts:
            # A copy: a socket whose transport becomes full leaves the set.
            sockets = tuple(self.sockets)
            for socket in sockets:
                socket.transport.write(batch)
            self._count(len(batch.texts), len(sockets))
        for message in self._gone:
            self._recent.forget(message)
        self._gone.clear()
        if self._catch_up.nearly_live:
            self._catch_up.go_on_nearly_live()
        # Counted from the end: in a big room the writes alone take longer than a tick, and what comes meanwhile
        # would otherwise leave frame by frame.
        ended = self._loop.time()
        self._next_at = ended + max(TICK, self.every, min(ended - began, REST))

    def _count(self, frames: int, sockets: int) -> None:
        """Count once for all frames and sockets: a delivery costs less than timing it would."""
        counters.delivered(frames, sockets)
        if kept := protocol.timestamp_of(self._first_new):
            counters.delivery_seconds.add(max(0, protocol.now() - kept) / 1_000, self._new * sockets)
        self._new, self._first_new = 0, ""

    def close(self) -> None:
        """Nobody holds the room any more."""
        self._closed = True
        self._early.stop()
        self._catch_up.close()
        for work in (self._tick, self._gap):
            if work:
                work.cancel()
