"""Django signals after the commit: for code that follows the chat.

Each is sent once in the cluster, in the process that made the change, on a thread outside of the event loop. A
receiver that fails is logged, and harms nobody.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias
from weakref import WeakSet

from django.dispatch import Signal

from chat import protocol
from chat.database import run_read
from chat.log import Change, Log, RoomLog
from chat.protocol import Deleted, Edited, Message, Reacted

logger = logging.getLogger("chat.api")

Publish: TypeAlias = Callable[[RoomLog, list[Change]], None]

_logs: WeakSet[Log] = WeakSet()
_tasks: set[asyncio.Task[Any]] = set()


class MessageSignal(Signal):
    """A signal about messages. The first receiver of any of them makes the logs announce their changes."""

    def connect(self, *arguments: Any, **options: Any) -> None:
        super().connect(*arguments, **options)
        for log in _logs:
            follow(log)


message_posted = MessageSignal()
"""Arguments: ``room`` (its slug), ``message`` (chat.protocol.Message)."""
message_edited = MessageSignal()
"""Arguments: ``room``, ``message`` (the message as it is now)."""
message_deleted = MessageSignal()
"""Arguments: ``room``, ``id``."""
room_created = Signal()
"""Arguments: ``room`` (chat.models.Room)."""


def follow(log: Log) -> None:
    """Announce what this log commits, from the first receiver on. Before, a message costs nothing more."""
    _logs.add(log)
    receivers = (message_posted.receivers, message_edited.receivers, message_deleted.receivers)
    if any(receivers) and not isinstance(log.on_committed, _Announcing):
        log.on_committed = _Announcing(log.on_committed)


class _Announcing:
    """Publishes committed changes, and then announces those of rooms."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def __call__(self, room: RoomLog, changes: list[Change]) -> None:
        self._publish(room, changes)
        if ":" not in room.slug:
            task = asyncio.get_running_loop().create_task(run_read(lambda: announce(room, changes)))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)


def announce(room: RoomLog, changes: Sequence[Change]) -> None:
    """Send the signals of committed changes, on this thread."""
    for change in changes:
        match protocol.decode_outgoing(change.frame):
            case Message() as message:
                _send(message_posted, room=room.slug, message=message)
            case Deleted(id=number):
                _send(message_deleted, room=room.slug, id=number)
            case Edited() | Reacted():
                _send(message_edited, room=room.slug, message=protocol.decode_outgoing(change.fresh))


def announce_room(room: Any) -> None:
    _send(room_created, room=room)


def _send(signal: Signal, **arguments: Any) -> None:
    for receiver, error in signal.send_robust(sender=None, **arguments):
        if isinstance(error, Exception):
            logger.error("the receiver %r failed", receiver, exc_info=error)
