"""The bus between the hubs of all processes. Only this module uses the channel layer.

A layer may fail, hang, or lose events silently. So each hub sends a heartbeat every second and must get it back.
While none comes back the layer is *away*: events are delivered within this process, at once, and the layer is
asked for nothing but the next heartbeat. Changes of other processes come from the log meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from enum import StrEnum
from itertools import count
from typing import Any, TypeAlias

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from chat.layers import FrozenMessage, ProcessChannelLayer
from chat.log import Change
from chat.loops import end_tasks
from chat.metrics.counters import counters

logger = logging.getLogger("chat.hub")

ALL_HUBS = "chat.people"
"""The channel group of all hubs."""
TURN = 256
"""Messages from the layer between two turns of the sockets' own tasks. Acks wait a moment to leave with their
message (chat.transport). With 64, of 500 messages in flight many acks left alone, for 12 % more CPU each."""
PATIENCE = 1.0
"""Seconds that the layer may take for one call. A frozen layer would hold up the whole process."""
UNHEARD = 3
"""Heartbeats that may be under way. With one more the layer counts as away: it takes events and delivers none."""

RETRY = 0.5
"""Seconds before the layer is asked again after it failed."""
QUIET = 5.0
"""Seconds for which a process without a hub does not call a layer that failed."""
SILENT = 3.0
"""Seconds without a heartbeat after which another hub counts as gone."""

FOR_OTHERS = frozenset({"rules", "limits", "tries"})
"""Events that a hub has acted on before it publishes them. It ignores them when they come back."""

Event: TypeAlias = tuple[Any, ...]
"""An event as the layer carries it: its kind, and its values (chat.hub.Hub receives it)."""


class LayerState(StrEnum):
    """The state of the layer, as far as a hub knows."""

    # It delivers events.
    OK = "ok"
    AWAY = "away"
    # No heartbeat has come back yet, and none is overdue.
    UNKNOWN = "unknown"


class Bus:
    """One per hub."""

    def __init__(
        self,
        deliver: Callable[[str, Event], None],
        receive: Callable[[str, Event], None],
        comes_back: Callable[[str], bool],
        returned: Callable[[], None],
    ) -> None:
        # Called with events of a room: its slug, and the event.
        self._deliver = deliver
        # Called with events of ``publish_to_all``: the name of the hub that published it, and the event.
        self._receive = receive
        # True if the layer delivers this room's events to us.
        self._comes_back = comes_back
        # Called when the layer is there again.
        self._returned = returned
        self._layer = get_channel_layer()
        if self._layer is None:
            raise RuntimeError("CHANNEL_LAYERS has no default layer; chat.checks says what to set.")
        # A layer in this process never waits, and a timeout costs 5 µs, more than the rest of a send.
        self._may_hang = not isinstance(self._layer, ProcessChannelLayer)
        # Our channel's name, given by the layer. "": not yet.
        self._channel = ""
        # Events that wait to be sent, by room (None: for all hubs), and the task that sends them, or None.
        self._outgoing: dict[str | None, list[Event]] = {}
        self._publisher: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        # True: we are in the group of all hubs.
        self._with_all_hubs = False
        # True: the layer failed, and no heartbeat came back since.
        self.is_away = False
        # The last heartbeat of each other hub (loop time), by name.
        self._others: dict[str, float] = {}
        # Numbers of heartbeats: the last that was sent, the last that came back, and the first that proves that
        # the layer is there again.
        self._beat = self._last_back = self._proof = 0

    @property
    def state(self) -> LayerState:
        if self.is_away:
            return LayerState.AWAY
        return LayerState.OK if self._last_back else LayerState.UNKNOWN

    # --- Out ---

    def publish(self, slug: str, event: Event) -> None:
        """Publish an event of a room to every hub. They receive this hub's events in this order."""
        self._put(slug, event)

    def publish_changes(self, slug: str, epoch: str, changes: Sequence[Change]) -> None:
        self._put(slug, changes_event(epoch, changes))

    def publish_to_all(self, event: Event) -> None:
        """Publish an event that belongs to no room to every hub."""
        self._put(None, event)

    def _put(self, slug: str | None, event: Event) -> None:
        self._outgoing.setdefault(slug, []).append(event)
        if self._publisher is None:
            self._publisher = asyncio.get_running_loop().create_task(self._publish_waiting())

    async def _publish_waiting(self) -> None:
        """Send all that waits for a room as one message: a layer elsewhere is called once for a crowd."""
        try:
            while self._outgoing:
                slug = next(iter(self._outgoing))
                message = self._message(slug, self._outgoing.pop(slug))
                carried = not self.is_away and await self._send(slug, message)
                # The layer is away, or does not know us yet: deliver to this process all the same.
                if not (carried and (self._with_all_hubs if slug is None else self._comes_back(slug))):
                    self._hand_over(message)
        finally:
            self._publisher = None

    def _message(self, slug: str | None, parts: Sequence[Event]) -> dict[str, Any]:
        message = {"type": "hub.hear", "room": slug, "from": self._channel, "parts": tuple(parts)}
        # Events of a room are tuples of strings and numbers. An event for all hubs may carry anything.
        return message if slug is None else FrozenMessage(message)

    async def _send(self, slug: str | None, message: dict[str, Any]) -> bool:
        group = ALL_HUBS if slug is None else group_name(slug)
        carried = await self._guarded(self._layer.group_send(group, message))
        counters.layer_published += carried
        return carried

    async def beat(self, *events: Event) -> None:
        """Send a heartbeat, with events for all hubs, and check whether the one before came back."""
        if not self._with_all_hubs:
            await self.join_all_hubs()
        if self._with_all_hubs:
            self._beat += 1
            await self._send(None, self._message(None, [("beat", self._beat), *events]))
            if self._beat - self._last_back > UNHEARD:
                self._lost("it brings nothing")

    def _receive_beat(self, origin: str, beat: int) -> None:
        if origin == self._channel:
            self._came_back(beat)
        else:
            self._others[origin] = asyncio.get_running_loop().time()

    @property
    def name(self) -> str:
        return self._channel

    def is_alive(self, name: str) -> bool:
        """True for this hub, and for another one whose heartbeat came in the last SILENT seconds."""
        return name == self._channel or self._others.get(name, -SILENT) >= (
            asyncio.get_running_loop().time() - SILENT
        )

    @property
    def others(self) -> int:
        """Number of the other hubs that are alive, as far as is known."""
        oldest = asyncio.get_running_loop().time() - SILENT
        self._others = {name: heard for name, heard in self._others.items() if heard >= oldest}
        return len(self._others)

    def _came_back(self, beat: int) -> None:
        self._last_back = max(self._last_back, beat)
        if self.is_away and beat >= self._proof:
            self.is_away = False
            logger.warning("the channel layer is there again")
            self._returned()

    # --- In ---

    async def started(self) -> None:
        """Get a channel of our own from the layer, if it is there."""
        await self._name_us()

    async def _name_us(self) -> bool:
        async def ask() -> None:
            self._channel = await self._layer.new_channel("chat.hub")

        # Two callers at once must not get two names.
        async with self._starting:
            return bool(self._channel) or await self._guarded(ask())

    @property
    def is_with_all_hubs(self) -> bool:
        return self._with_all_hubs

    async def join_all_hubs(self) -> None:
        """Join the group of all hubs, or renew the membership."""
        if await self._name_us():
            self._with_all_hubs = await self._guarded(self._layer.group_add(ALL_HUBS, self._channel))

    async def subscribe(self, slug: str) -> bool:
        """Join a room's group. While the layer is away, the room works within this process until a renewal."""
        if self.is_away or not await self._name_us():
            return False
        return await self._guarded(self._layer.group_add(group_name(slug), self._channel))

    async def unsubscribe(self, slug: str) -> None:
        await self._guarded(self._layer.group_discard(group_name(slug), self._channel))

    async def receive(self) -> None:
        """Deliver events, until cancelled."""
        await self._name_us()
        while not self._channel:  # noqa: ASYNC110 until a renewal finds the layer
            await asyncio.sleep(RETRY)
        for received in count(1):
            try:
                message = await self._layer.receive(self._channel)
            except Exception:
                # Each layer has errors of its own. None may end the deliveries.
                logger.exception("the channel layer brings nothing")
                await asyncio.sleep(RETRY)
            else:
                counters.layer_received += 1
                self._take(message)
            # A layer in memory does not suspend while messages wait.
            if received % TURN == 0:
                await asyncio.sleep(0)

    def _take(self, message: Any) -> None:
        try:
            self._hand_over(message)
        except Exception:
            # A message that is not ours must not hold up the next ones.
            logger.exception("a message from the channel layer was not delivered")

    def _hand_over(self, message: dict[str, Any]) -> None:
        slug = message["room"]
        for part in message["parts"]:
            if part[0] in FOR_OTHERS and message["from"] == self._channel:
                continue
            if part[0] == "beat":
                self._receive_beat(message["from"], part[1])
            elif slug is None:
                self._receive(message["from"], part)
            elif part[0] == "changes":
                self._deliver(slug, ("changes", part[1], [_unpacked(change) for change in part[2]]))
            else:
                self._deliver(slug, part)

    async def _guarded(self, call: Any) -> bool:
        """Await a call to the layer. Its errors must not reach a socket. False if it failed."""
        try:
            async with self._patience():
                await call
        except Exception as error:  # noqa: BLE001 each layer raises its own library's errors, and they share no base
            self._lost(repr(error))
            counters.layer_failed += 1
            return False
        return True

    def _patience(self) -> AbstractAsyncContextManager[Any]:
        return asyncio.timeout(PATIENCE) if self._may_hang else nullcontext()

    def _lost(self, why: str) -> None:
        """Log one line each time the layer goes away: meanwhile it is called once a second."""
        if not self.is_away:
            logger.warning("the channel layer is away: %s", why)
        self.is_away, self._proof = True, self._beat + 1

    async def close(self) -> None:
        if self._publisher:
            await end_tasks(self._publisher)
        if self._with_all_hubs:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY):
                    await self._guarded(self._layer.group_discard(ALL_HUBS, self._channel))
        self._outgoing.clear()


class Outside:
    """Publishes events to every hub from a thread of a process without a hub: a command, a page before any socket.

    A layer that is away loses them, and is not called for a while: a command may publish thousands of events. The
    other processes find lost events by comparing.
    """

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def publish(self, event: Event, slug: str | None = None) -> None:
        """``slug``: the event is of this room, and goes to the hubs in which it is open."""
        layer = get_channel_layer()
        if layer is None or time.monotonic() < self._quiet_until:
            return
        try:
            async_to_sync(_send_to_hubs)(layer, event, slug)
        except Exception as error:  # noqa: BLE001 as in ``Bus._guarded``
            logger.warning("the channel layer is away: %r", error)
            self._quiet_until = time.monotonic() + QUIET


async def _send_to_hubs(layer: Any, event: Event, slug: str | None) -> None:
    group = ALL_HUBS if slug is None else group_name(slug)
    async with asyncio.timeout(PATIENCE):
        await layer.group_send(group, {"type": "hub.hear", "room": slug, "from": "", "parts": (event,)})


publish_from_outside = Outside().publish


def changes_event(epoch: str, changes: Sequence[Change]) -> Event:
    """The event of a room that its log, of this epoch, has these changes."""
    return ("changes", epoch, tuple(map(_packed, changes)))


def _packed(change: Change) -> tuple[Any, ...]:
    """A change as the layer carries it, with its second text only if that differs."""
    fresh = None if change.fresh is change.frame else change.fresh
    return (change.seq, change.id, change.frame, fresh, change.gone)


def _unpacked(packed: Sequence[Any]) -> Change:
    seq, message, frame, fresh, gone = packed
    return Change(seq, message, frame, frame if fresh is None else fresh, gone)


def group_name(name: str) -> str:
    """A room's or a topic's channel group. A layer allows all characters of names, and 99 of them."""
    kind, colon, key = name.partition(":")
    return f"chat.topic.{kind}.{key}" if colon else f"chat.room.{name}"
