"""The way between the hubs of all processes: the channel layer, and nobody else speaks to it.

A layer may fail, hang, or lose what it was given without a word. So each hub sends a beat every second and must
hear it come back. While none does the layer is *away*: what is said is handed over within this process, at once,
and the layer is asked for nothing but the next beat. What others said meanwhile comes from the log.
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
from chat.metrics.counters import counters

logger = logging.getLogger("chat.hub")

ALL_HUBS = "chat.people"
"""The group of all hubs."""
TURN = 256
"""Messages from the layer after which the sockets' own tasks have a turn. Acks wait a moment for their message to
leave with it (chat.transport): with 64, of 500 messages in flight many acks left alone, for 12 % more CPU each."""
PATIENCE = 1.0
"""Seconds that the layer may take for anything. One that is frozen would hold up everybody in the process."""
UNHEARD = 3
"""Beats that may be under way. With one more the layer takes what it is given and brings nothing."""

RETRY = 0.5
"""Seconds before the layer is asked again after it failed."""
QUIET = 5.0
"""Seconds for which a process without a hub leaves a layer alone that failed."""
SILENT = 3.0
"""Seconds without a beat after which another hub is not counted on."""

FOR_OTHERS = frozenset({"rules"})
"""Events that a hub has acted on before it publishes them. It ignores them when they come back."""

Event: TypeAlias = tuple[Any, ...]
"""A piece of news for a room, as a layer carries it: what it is, and the rest (chat.hub.Hub hears it)."""


class LayerState(StrEnum):
    """How the layer is, as far as a hub knows."""

    # It brings what it is given.
    OK = "ok"
    AWAY = "away"
    # No beat has come back yet, and none is overdue.
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
        # Hears what comes: a room's slug, and what was published there.
        self._deliver = deliver
        # Hears what ``tell`` was given: from whom, and that.
        self._receive = receive
        # Does the layer bring us what we send to this room?
        self._comes_back = comes_back
        # Called when the layer is there again.
        self._returned = returned
        self._layer = get_channel_layer()
        if self._layer is None:
            raise RuntimeError("CHANNEL_LAYERS has no default layer; chat.checks says what to set.")
        # One in this process never waits; and to be patient costs 5 µs, more than all else of a send.
        self._may_hang = not isinstance(self._layer, ProcessChannelLayer)
        # Our name in the layer, made by it; "" until it did.
        self._channel = ""
        # What waits to be sent, by room, each room's in order; the task that sends it; None while nothing waits.
        self._outgoing: dict[str | None, list[Event]] = {}
        self._publisher: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        # Are we in the group of all hubs?
        self._with_all_hubs = False
        # Did the layer fail, and has not brought a beat since?
        self.is_away = False
        # The other hubs, by name, and when each last gave a sign of life, in the loop's time.
        self._others: dict[str, float] = {}
        # The numbers of the last beat that was sent, of the last that came back, and of the first that proves
        # that the layer is there again.
        self._beat = self._last_back = self._proof = 0

    @property
    def state(self) -> LayerState:
        if self.is_away:
            return LayerState.AWAY
        return LayerState.OK if self._last_back else LayerState.UNKNOWN

    # --- Out ---

    def publish(self, slug: str, event: Event) -> None:
        """Tell every hub something of a room; they hear what is published here in this order."""
        self._put(slug, event)

    def publish_changes(self, slug: str, epoch: str, changes: Sequence[Change]) -> None:
        self._put(slug, ("changes", epoch, tuple(map(_packed, changes))))

    def publish_to_all(self, event: Event) -> None:
        """Publish an event that belongs to no room to every hub."""
        self._put(None, event)

    def _put(self, slug: str | None, event: Event) -> None:
        self._outgoing.setdefault(slug, []).append(event)
        if self._publisher is None:
            self._publisher = asyncio.get_running_loop().create_task(self._publish_waiting())

    async def _publish_waiting(self) -> None:
        """All that waits for a room is one message: so a layer in another process is asked once for a crowd."""
        try:
            while self._outgoing:
                slug = next(iter(self._outgoing))
                message = self._message(slug, self._outgoing.pop(slug))
                carried = not self.is_away and await self._send(slug, message)
                # The layer is away, or does not know us yet: those in this process hear it all the same.
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

    async def beat(self, *news: Event) -> None:
        """Send a beat, with news for all hubs; and find out whether the one before came back."""
        if not self._with_all_hubs:
            await self.join_all_hubs()
        if self._with_all_hubs:
            self._beat += 1
            await self._send(None, self._message(None, [("beat", self._beat), *news]))
            if self._beat - self._last_back > UNHEARD:
                self._lost("it brings nothing")

    def _receive_beat(self, origin: str, beat: int) -> None:
        if origin == self._channel:
            self._came_back(beat)
        else:
            self._others[origin] = asyncio.get_running_loop().time()

    @property
    def others(self) -> int:
        """How many other hubs live, as far as is known."""
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
        """Have a channel of our own in the layer, if it is there."""
        await self._name_us()

    async def _name_us(self) -> bool:
        async def ask() -> None:
            self._channel = await self._layer.new_channel("chat.hub")

        # Two that ask at once must not get two names.
        async with self._starting:
            return bool(self._channel) or await self._guarded(ask())

    @property
    def name(self) -> str:
        """Who we are among the hubs."""
        return self._channel

    @property
    def is_with_all_hubs(self) -> bool:
        return self._with_all_hubs

    async def join_all_hubs(self) -> None:
        """Join the group of all hubs, or renew that."""
        if await self._name_us():
            self._with_all_hubs = await self._guarded(self._layer.group_add(ALL_HUBS, self._channel))

    async def subscribe(self, slug: str) -> bool:
        """Join a room's group. Where the layer is away, the room works within this process until a renewal."""
        if self.is_away or not await self._name_us():
            return False
        return await self._guarded(self._layer.group_add(group_name(slug), self._channel))

    async def unsubscribe(self, slug: str) -> None:
        await self._guarded(self._layer.group_discard(group_name(slug), self._channel))

    async def receive(self) -> None:
        """Deliver what comes, until cancelled."""
        await self._name_us()
        while not self._channel:  # noqa: ASYNC110 until a renewal finds the layer there
            await asyncio.sleep(RETRY)
        for received in count(1):
            try:
                message = await self._layer.receive(self._channel)
            except Exception:
                # It fails in ways of its own; that must not end the deliveries.
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
            # A message that is not ours: those that follow are.
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
        """Await a call to the layer. A layer may fail in ways of its own; that must not reach a socket."""
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
        """One line for each time: while it is away the layer is asked once a second."""
        if not self.is_away:
            logger.warning("the channel layer is away: %s", why)
        self.is_away, self._proof = True, self._beat + 1

    async def close(self) -> None:
        if self._publisher:
            self._publisher.cancel()
            await asyncio.gather(self._publisher, return_exceptions=True)
        if self._with_all_hubs:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY):
                    await self._guarded(self._layer.group_discard(ALL_HUBS, self._channel))
        self._outgoing.clear()


class Outside:
    """Tells every hub something, from a thread of a process that has no hub: a command, a page before any socket.

    A layer that is away loses it, and is then left alone for a while: a command may have thousands of people to
    tell of. What went past it is found by comparison.
    """

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def publish(self, event: Event) -> None:
        layer = get_channel_layer()
        if layer is None or time.monotonic() < self._quiet_until:
            return
        try:
            async_to_sync(_send_to_all_hubs)(layer, event)
        except Exception as error:  # noqa: BLE001 as in ``Bus._guarded``
            logger.warning("the channel layer is away: %r", error)
            self._quiet_until = time.monotonic() + QUIET


async def _send_to_all_hubs(layer: Any, event: Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await layer.group_send(ALL_HUBS, {"type": "hub.hear", "room": None, "from": "", "parts": (event,)})


publish_from_outside = Outside().publish


def _packed(change: Change) -> tuple[Any, ...]:
    """A change as a layer carries it: the second text only where it differs."""
    fresh = None if change.fresh is change.frame else change.fresh
    return (change.seq, change.id, change.frame, fresh, change.gone)


def _unpacked(packed: Sequence[Any]) -> Change:
    seq, message, frame, fresh, gone = packed
    return Change(seq, message, frame, frame if fresh is None else fresh, gone)


def group_name(slug: str) -> str:
    """A room's channel group. A slug has only characters that layers take, and fits their 99."""
    return f"chat.room.{slug}"
