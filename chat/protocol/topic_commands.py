"""Commands about topics: the messages that a client sends to subscribe, to publish and to show its state."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from chat.protocol.commands import Command
from chat.protocol.limits import HISTORY_LIMIT
from chat.protocol.types import Data, Epoch, EventName, Id, Key, Number, PageSize, Token, TopicName


class Subscribe(Command, tag="subscribe", kw_only=True):
    """Receive a topic's publications. Answered by `subscribed`, then the changes after `since`, then live ones.

    Without a position that the server can go on from, a topic of keys sends its whole state, and a stream sends
    its last `rewind` entries. A socket may subscribe again: it goes back to `since`.
    """

    topic: TopicName
    since: Number | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET
    rewind: Annotated[
        int, Meta(ge=0, le=HISTORY_LIMIT, description="How many of a stream's latest entries to send first.")
    ] = 0
    token: Token | UnsetType = UNSET


class Unsubscribe(Command, tag="unsubscribe", kw_only=True):
    """End a subscription. Answered by `ack`."""

    topic: TopicName


class Publish(Command, tag="publish", kw_only=True):
    """Publish an event in a topic. Answered by `ack`, after the event is stored.

    A retry with the same `ref` gets the same answer and publishes nothing more. `gone` removes the `key`.
    """

    topic: TopicName
    event: EventName | UnsetType = UNSET
    data: Data | UnsetType = UNSET
    key: Key | UnsetType = UNSET
    gone: Annotated[bool, Meta(description="Remove the key; `event` and `data` are not needed.")] = False


class SendSignal(Command, tag="signal", kw_only=True):
    """Send an event to the subscribers that are there now. It is not stored, and has no number. Not answered."""

    topic: TopicName
    event: EventName
    data: Data | UnsetType = UNSET
    key: Key | UnsetType = UNSET


class SetPresence(Command, tag="present", kw_only=True):
    """Set this socket's state among the people who are present in a topic. Not answered."""

    topic: TopicName
    state: Data | UnsetType = UNSET


class GetEntries(Command, tag="entries", kw_only=True):
    """Request the entries before `before` or after `after`, or the latest. Answered by `entries`."""

    topic: TopicName
    before: Id | UnsetType = UNSET
    after: Id | UnsetType = UNSET
    limit: PageSize = 50
