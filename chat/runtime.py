"""The composition root: what one event loop needs for the chat, built in order and connected in one place.

``chat.loops.current(Hub)`` finds an object of the running loop again. Nothing is built by being asked for: the
first call builds everything here. The first connection calls ``start``, a server calls ``join_cluster`` when it
starts.
"""

from collections.abc import Mapping

from chat.actions import snapshot
from chat.actions.chat_room import ChatRoom
from chat.actions.enforcement import AccessEnforcer
from chat.auth.usernames import NameLookup
from chat.hub import Hub
from chat.hub.cluster_query import Answer
from chat.limits import Limits
from chat.log import Log, RoomLog
from chat.loops import Objects, current
from chat.metrics.collector import Collector
from chat.presence import Presence, registry
from chat.transport import PendingSends

ANSWERS: Mapping[str, Answer] = {snapshot.CONNECTIONS: snapshot.connections, snapshot.GUESTS: snapshot.guests_from}
"""Answers of each process to the questions of others (chat.hub.cluster_query), by topic."""


def build(log: Log | None = None) -> Objects:
    """The objects of the running loop, oldest first. A test may bring a log of its own."""
    limits = Limits()
    names = NameLookup()
    pending = PendingSends()
    log = log or Log()

    def make_room(source: Log, row: RoomLog) -> ChatRoom:
        # A policy that changes reaches the sockets in the room.
        return ChatRoom(source, row, on_policy=enforcer.apply_policy)

    hub = Hub(log, limits, make_room=make_room, answers=ANSWERS)
    presence = Presence(hub, registry.shared())
    enforcer = AccessEnforcer(hub, presence)
    collector = Collector(hub, limits)
    # Committed changes go to every process.
    log.on_committed = hub.publish_changes
    # Events about the people in rooms go to presence.
    hub.on_presence = presence.receive
    # Events were lost while the layer was away.
    hub.on_layer_back = [presence.layer_returned, enforcer.recheck_everybody]
    # Lost access reaches open connections: when people or sessions change, and when another process has the name.
    hub.cluster.on_people = enforcer.receive
    presence.on_name_lost = enforcer.remove_name
    return {
        Limits: limits,
        NameLookup: names,
        PendingSends: pending,
        Log: log,
        Hub: hub,
        Presence: presence,
        AccessEnforcer: enforcer,
        Collector: collector,
    }


def start() -> None:
    """Start the running loop's own tasks, unless they run: rechecks of sign-ins, and metrics."""
    current(AccessEnforcer).start()
    current(Collector).start()


def join_cluster() -> None:
    """Follow the other processes from now on, also before the first connection and the first join."""
    current(Hub).follow()
    current(Presence).follow()
