"""The composition root: what one event loop needs for the chat, built in order and connected in one place.

``chat.loops.current(Hub)`` finds an object of the running loop again. Nothing is built by being asked for: the
first call builds everything here. The first connection calls ``start``, a server calls ``join_cluster`` when it
starts.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from chat.actions import snapshot
from chat.actions.chat_room import ChatRoom
from chat.actions.enforcement import AccessEnforcer
from chat.api import orders
from chat.api import people as api_people
from chat.api import rooms as api_rooms
from chat.api.announcer import Announcer
from chat.api.signals import Follower
from chat.auth.usernames import NameLookup
from chat.hub import Hub, Kind
from chat.hub.cluster_query import Answer
from chat.limits import Limits
from chat.log import Change, RoomLog
from chat.loops import Objects, current
from chat.message_log import MessageLog
from chat.metrics.collector import Collector
from chat.presence import Presence, registry
from chat.topics import memory as topic_memory
from chat.topics import people as topic_people
from chat.topics import publishing
from chat.topics.memory import MemoryLog
from chat.topics.outbox import OutboxReader
from chat.topics.rights import RightsReader
from chat.topics.subscriptions import Subscriptions
from chat.topics.topic_log import TopicLog
from chat.transport import PendingSends

ANSWERS: Mapping[str, Answer] = {snapshot.CONNECTIONS: snapshot.connections, snapshot.GUESTS: snapshot.guests_from}
"""Answers of each process to the questions of others (chat.hub.cluster_query), by topic."""


def build(log: MessageLog | None = None) -> Objects:
    """The objects of the running loop, oldest first. A test may bring a log of its own."""
    limits = Limits()
    names = NameLookup()
    pending = PendingSends()
    log = log or MessageLog()

    def make_room(source: MessageLog, row: RoomLog) -> ChatRoom:
        # A policy that changes reaches the sockets in the room.
        return ChatRoom(source, row, on_policy=enforcer.apply_policy)

    topics, memory, rights = TopicLog(), MemoryLog(), RightsReader()
    subscriptions = Subscriptions(topics, memory, rights)
    kinds: list[Kind[Any]] = [
        Kind(topics, subscriptions.make_room, subscriptions.accepts),
        Kind(memory, subscriptions.make_room, subscriptions.is_memory),
        # Every other name is a room's.
        Kind(log, make_room),
    ]
    answers = {topic_memory.QUESTION: memory.answer, topic_people.QUESTION: subscriptions.people_here}
    hub = Hub(kinds, limits, answers={**ANSWERS, **answers})
    subscriptions.hub = hub
    presence = Presence(hub, registry.shared())
    enforcer = AccessEnforcer(hub, presence)
    collector = Collector(hub, limits, [log, topics])
    # Committed changes go to every process.
    log.on_committed = topics.on_committed = hub.publish_changes
    # Signals for the project's receivers, if there are any.
    announcer = Announcer(log, presence)
    announcer.listen()

    def numbered(row: RoomLog, changes: list[Change]) -> None:
        log.on_committed(row, changes)

    # Publications that views and commands committed get their numbers.
    outbox = OutboxReader(
        rooms=orders.write_waiting,
        on_numbered=numbered,
        on_passed=subscriptions.take,
        each_second=subscriptions.sweep,
    )

    def wake() -> None:
        # Another process wrote to the outbox, or numbered something itself.
        outbox.soon()
        hub.compare_soon()

    # Topics in memory: every hub receives every publication.
    memory.publish_to_all = partial(hub.publish_to_all, topic_memory.EVENT)
    memory.ask_all = partial(hub.ask_all, topic_memory.QUESTION)
    memory.on_change = hub.deliver_here
    memory.is_open = lambda name: hub.room(name) is not None
    hub.cluster.handlers = {
        publishing.WAKE: wake,
        publishing.RULES: subscriptions.rules_changed,
        topic_memory.EVENT: memory.receive,
        api_people.DISCONNECT: hub.disconnect_person,
        api_rooms.EVENT: hub.write_to_person,
    }
    # Events about the people in rooms go to presence.
    hub.on_presence = presence.receive
    # Events were lost while the layer was away.
    hub.on_layer_back = [presence.layer_returned, enforcer.recheck_everybody, subscriptions.layer_returned]
    # Lost access reaches open connections: when people or sessions change, and when another process has the name.
    hub.cluster.on_people = enforcer.receive
    enforcer.on_checked = subscriptions.recheck
    presence.on_name_lost = enforcer.remove_name
    return {
        Limits: limits,
        NameLookup: names,
        PendingSends: pending,
        MessageLog: log,
        TopicLog: topics,
        MemoryLog: memory,
        RightsReader: rights,
        Hub: hub,
        Subscriptions: subscriptions,
        OutboxReader: outbox,
        Presence: presence,
        AccessEnforcer: enforcer,
        Collector: collector,
        Follower: announcer,
    }


def start() -> None:
    """Start the running loop's own tasks, unless they run: rechecks of sign-ins, metrics, the outbox."""
    current(OutboxReader).start()
    current(AccessEnforcer).start()
    current(Collector).start()


def join_cluster() -> None:
    """Follow the other processes from now on, also before the first connection and the first join."""
    current(Hub).follow()
    current(OutboxReader).start()
    current(Presence).follow()
