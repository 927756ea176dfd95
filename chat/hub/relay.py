"""The way of a frame between the hubs of all processes: the channel layer, and nobody else speaks to it."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from channels.layers import get_channel_layer

from chat.hub.room import RETRY
from chat.log import Change
from chat.tally import tally

logger = logging.getLogger("chat.hub")

PEOPLE = "chat.people"
"""The group of all hubs."""
TURN = 256
"""Messages from the layer after which the sockets' own tasks have a turn. Acks wait a moment for their message to
leave with it (chat.lanes): with 64, of 500 messages in flight many acks left alone, for 12 % more CPU each."""


class Relay:
    """One per hub."""

    def __init__(
        self,
        deliver: Callable[..., None],
        deliver_people: Callable[[list[str], list[str]], None],
        comes_back: Callable[[str], bool],
    ) -> None:
        # Hears what comes: a room's slug, and what ``publish`` was given for it.
        self._deliver = deliver
        # Hears what ``publish_people`` was given.
        self._deliver_people = deliver_people
        # Does the layer bring us what we send to this room?
        self._comes_back = comes_back
        self._layer = get_channel_layer()
        if self._layer is None:
            raise RuntimeError("CHANNEL_LAYERS has no default layer; chat.checks says what to set.")
        # Our name in the layer, made by it; "" until it did.
        self._channel = ""
        # What waits to be sent, in order, and the task that sends it; None while nothing waits.
        self._outgoing: deque[dict[str, Any]] = deque()
        self._publisher: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        # Did the layer fail when it was last asked?
        self.is_away = False
        # Are we in the group of all hubs?
        self._with_people = False

    # --- Out ---

    def publish(
        self,
        slug: str,
        *,
        epoch: str | None = None,
        changes: list[Change] | None = None,
        frame: str | None = None,
        latest: str | None = None,
        rules: bool = False,
    ) -> None:
        """Send a room's numbered changes, one frame without a number, or that its rules changed: in this order."""
        self._put(
            {
                "type": "hub.deliver",
                "room": slug,
                "epoch": epoch,
                "changes": changes and tuple(map(_packed, changes)),
                "frame": frame,
                "latest": latest,
                "rules": rules,
            }
        )

    def publish_people(self, people: Sequence[str], sessions: Sequence[str]) -> None:
        """Tell every hub of people who may have lost something, and of sessions that ended (chat.auth)."""
        self._put({"type": "hub.people", "people": list(people), "sessions": list(sessions)})

    def _put(self, message: dict[str, Any]) -> None:
        self._outgoing.append(message)
        if self._publisher is None:
            self._publisher = asyncio.get_running_loop().create_task(self._publish_waiting())

    async def _publish_waiting(self) -> None:
        try:
            while self._outgoing:
                message = self._outgoing.popleft()
                slug = message.get("room")
                group = PEOPLE if slug is None else group_name(slug)
                carried = await self._guarded(self._layer.group_send(group, message))
                tally.layer_published += carried
                # The layer is away, or does not know us yet: those in this process hear it all the same.
                if not (carried and (self._with_people if slug is None else self._comes_back(slug))):
                    self._hand_over(message)
        finally:
            self._publisher = None

    # --- In ---

    async def started(self) -> None:
        """Have a channel of our own in the layer, if it is there."""
        async with self._starting:
            await self._name_us()

    async def _name_us(self) -> bool:
        async def ask() -> None:
            self._channel = await self._layer.new_channel("chat.hub")

        return bool(self._channel) or await self._guarded(ask())

    @property
    def is_with_people(self) -> bool:
        return self._with_people

    async def join_people(self) -> None:
        """Join the group of all hubs, or renew that."""
        if self._channel:
            self._with_people = await self._guarded(self._layer.group_add(PEOPLE, self._channel))

    async def subscribe(self, slug: str) -> bool:
        """Join a room's group. Where the layer is away, the room works within this process until a renewal."""
        return await self._name_us() and await self._guarded(
            self._layer.group_add(group_name(slug), self._channel)
        )

    async def unsubscribe(self, slug: str) -> None:
        await self._guarded(self._layer.group_discard(group_name(slug), self._channel))

    async def receive(self) -> None:
        """Deliver what comes, until cancelled."""
        while not self._channel:  # noqa: ASYNC110 until a renewal finds the layer there
            await asyncio.sleep(RETRY)
        for received in count(1):
            try:
                self._hand_over(await self._layer.receive(self._channel))
                tally.layer_received += 1
            except Exception:
                # The layer, or a message that is not ours: neither may end the deliveries.
                logger.exception("a message from the channel layer was not delivered")
                await asyncio.sleep(RETRY)
            # A layer in memory does not suspend while messages wait.
            if received % TURN == 0:
                await asyncio.sleep(0)

    def _hand_over(self, message: dict[str, Any]) -> None:
        if "people" in message:
            self._deliver_people(message["people"], message["sessions"])
            return
        changes = message["changes"]
        self._deliver(
            message["room"],
            epoch=message["epoch"],
            changes=changes and [_unpacked(change) for change in changes],
            frame=message["frame"],
            latest=message["latest"],
            rules=message["rules"],
        )

    async def _guarded(self, call: Any) -> bool:
        """Await a call to the layer. A layer may fail in ways of its own; that must not reach a socket."""
        try:
            await call
        except Exception:
            # Each layer raises its own library's errors, and they share no base.
            logger.warning("the channel layer failed", exc_info=True)
            self.is_away = True
            tally.layer_failed += 1
            return False
        self.is_away = False
        return True

    async def close(self) -> None:
        if self._publisher:
            self._publisher.cancel()
            await asyncio.gather(self._publisher, return_exceptions=True)
        if self._with_people:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY):
                    await self._guarded(self._layer.group_discard(PEOPLE, self._channel))
        self._outgoing.clear()


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
