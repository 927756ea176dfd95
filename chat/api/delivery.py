"""Bring what was committed here to the hubs: of this process, or through the channel layer to the others."""

from collections.abc import Sequence

from chat import loops
from chat.api.signals import announce
from chat.hub import Hub, publish_from_outside
from chat.hub.bus import changes_event
from chat.log import Change, RoomLog
from chat.message_log import MessageLog


def deliver(room: RoomLog, changes: Sequence[Change]) -> None:
    """Publish committed changes of a room to every process, and send their signals in this one.

    Other processes without the layer find them by comparing, within a second.
    """
    logs = loops.all_loops(MessageLog)
    for loop, log in logs[:1]:
        loop.call_soon_threadsafe(log.on_committed, room, list(changes))
    for loop, hub in loops.all_loops(Hub)[1:]:
        loop.call_soon_threadsafe(hub.compare_soon)
    if not logs:
        publish_from_outside(changes_event(room.epoch, changes), room.slug)
        announce(room, changes)
