"""This process's sockets and open rooms, and the channel layer between processes."""

from chat.hub.bus import Event, LayerState, group_name, tell_from_outside
from chat.hub.cluster import people_part
from chat.hub.hub import Hub
from chat.hub.reconcile import RECONCILE
from chat.hub.room import REST, RETRY, STRETCH, TICK, OpenRoom
from chat.hub.sockets import Socket

__all__ = [
    "RECONCILE",
    "REST",
    "RETRY",
    "STRETCH",
    "TICK",
    "Event",
    "Hub",
    "LayerState",
    "OpenRoom",
    "Socket",
    "group_name",
    "people_part",
    "tell_from_outside",
]
