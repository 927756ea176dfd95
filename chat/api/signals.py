"""Django signals after the commit, for code that follows the chat.

Each is sent once in the cluster, in the process that made the change. For a message that waited for a commit this
is the server that numbered it. A server sends them off the event loop's thread, one after another. Async receivers
run on the loop. Django logs the errors of receivers, and they harm nobody.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from django.dispatch import Signal

from chat import loops, models, protocol
from chat.log import Change, RoomLog
from chat.protocol import Deleted, Message


class Follower:
    """Sends the signals of one event loop's changes."""

    def listen(self) -> None:
        """A signal has a receiver: follow what it is about."""
        raise NotImplementedError


class ChatSignal(Signal):
    """A signal of the chat. Nothing is followed before its first receiver, so that a change costs nothing more."""

    def connect(self, *arguments: Any, **options: Any) -> None:
        super().connect(*arguments, **options)
        for loop, follower in loops.all_loops(Follower):
            loop.call_soon_threadsafe(follower.listen)


message_posted = ChatSignal()
"""Arguments: ``room`` (its slug), ``message`` (chat.protocol.Message), ``author`` (its key, as "account:<pk>")."""
message_edited = ChatSignal()
"""Arguments: as of message_posted. The message is as it is now. A change of its emoji sends it too."""
message_deleted = ChatSignal()
"""Arguments: ``room``, ``id``, ``author``. A message that the staff hides counts as deleted."""
user_joined = ChatSignal()
"""Arguments: ``room``, ``username``, ``user`` ("account:<pk>", "guest:...", or "socket:..." for a name alone)."""
user_left = ChatSignal()
"""Arguments: as of user_joined. Not sent for the users of a process that was killed."""
room_created = ChatSignal()
"""Arguments: ``room`` (chat.models.Room)."""

Announcement: TypeAlias = tuple[Signal, dict[str, Any]]
"""A signal and its arguments."""


def anybody_listens(*signals: Signal) -> bool:
    """True if one of the signals has a receiver."""
    return any(signal.has_listeners() for signal in signals)


def about_messages() -> bool:
    return anybody_listens(message_posted, message_edited, message_deleted)


def announcements(room: RoomLog, changes: Sequence[Change]) -> Iterator[Announcement]:
    """The signals of committed changes. For a thread that may use the ORM: it reads the messages' authors."""
    rows = models.Message.objects.filter(room=room.pk, number__in={change.id for change in changes})
    authors = dict(rows.values_list("number", "author"))
    for change in changes:
        about = {"room": room.slug, "author": authors.get(change.id, "")}
        match protocol.decode_outgoing(change.fresh):
            case Message(deleted=True, id=number) | Deleted(id=number):
                yield message_deleted, {**about, "id": number}
            case Message() as message:
                yield message_posted if change.id == change.seq else message_edited, {**about, "message": message}


def announce(room: RoomLog, changes: Sequence[Change]) -> None:
    """Send the signals of committed changes, on this thread."""
    if about_messages():
        send(announcements(room, changes))


def send(found: Iterable[Announcement]) -> None:
    """Send signals on this thread. Django logs the errors of receivers."""
    for signal, arguments in found:
        signal.send_robust(sender=None, **arguments)
