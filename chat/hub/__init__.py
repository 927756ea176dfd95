"""This process's sockets and open rooms, and the channel layer between processes."""

from chat.hub.bus import Event, LayerState, group_name, publish_from_outside
from chat.hub.cluster import people_part
from chat.hub.hub import Hub
from chat.hub.open_rooms import Kind
from chat.hub.reconcile import RECONCILE
from chat.hub.room import REST, TICK, OpenRoom
from chat.hub.sockets import Socket

__all__ = [
    "RECONCILE",
    "REST",
    "TICK",
    "Event",
    "Hub",
    "Kind",
    "LayerState",
    "OpenRoom",
    "Socket",
    "group_name",
    "people_part",
    "publish_from_outside",
]
