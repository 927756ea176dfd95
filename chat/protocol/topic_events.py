"""Replies and events about topics: the messages that the server sends."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from chat.protocol.events import Outgoing
from chat.protocol.types import (
    AuthorKey,
    Data,
    Epoch,
    EventName,
    Follows,
    Id,
    Key,
    Name,
    Number,
    Patch,
    Ref,
    Timestamp,
    TopicName,
)

Permission = Literal["publish", "signal", "present"]
"""A user's permission in a topic, beside reading it."""


KeepWord = Literal["log", "latest", "memory"]
"""How a topic is kept."""


class Subscribed(Outgoing, tag="subscribed", kw_only=True):
    """The socket receives the topic's publications, from position `seq` on.

    If `resumed` is true, every change after the command's `since` follows. If not, forget what you have of this
    topic: its state, or its latest entries, follow.
    """

    topic: TopicName
    seq: Number
    epoch: Epoch
    resumed: Annotated[bool, Meta(description="Every change after `since` follows.")]
    keep: Annotated[
        KeepWord,
        Meta(
            description="`log`: all entries are kept. `latest`: one for each key. `memory`: the same, not stored."
        ),
    ]
    timestamp: Timestamp
    may: Annotated[list[Permission], Meta(description="Your permissions in the topic, beside reading it.")] = []
    you: Annotated[str, Meta(max_length=32, description="Your own key, as in `by`.")] | UnsetType = UNSET
    ref: Ref | UnsetType = UNSET


class Publication(Outgoing, tag="publication", kw_only=True):
    """An entry in its current state. `id` identifies it in its topic, `seq` is the position of its last change.

    An entry with a `key` replaces the one with the same key. `data` is the whole value; `patch` changes the value
    that you have (RFC 7396). `gone`: the key is removed.
    """

    topic: TopicName
    id: Id
    seq: Number
    event: EventName | UnsetType = UNSET
    data: Data | UnsetType = UNSET
    patch: Patch | UnsetType = UNSET
    key: Key | UnsetType = UNSET
    gone: Annotated[bool, Meta(description="The key is removed.")] = False
    by: AuthorKey | UnsetType = UNSET
    username: Name | UnsetType = UNSET
    timestamp: Timestamp
    follows: Follows | UnsetType = UNSET


class Publications(Outgoing, tag="publications", kw_only=True):
    """The changes of one tick in a topic that sends at intervals: of each key only the latest. Short, on purpose.

    Each array begins with an event, then key, data, key, data and so on. Removed keys: `null`, then the keys. An
    entry without a key: event, `null`, data, `id`, timestamp.
    """

    topic: TopicName
    seq: Number
    entries: Annotated[list[list[Any]], Meta(description="Arrays: event, key, data, key, data …")]
    follows: Follows | UnsetType = UNSET


class Signal(Outgoing, tag="signal", kw_only=True):
    """An event for the subscribers that are there now. It has no number, and comes at most once."""

    topic: TopicName
    event: EventName
    data: Data
    timestamp: Timestamp
    key: Key | UnsetType = UNSET
    by: AuthorKey | UnsetType = UNSET
    username: Name | UnsetType = UNSET


class Person(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A user who is present in a topic, and the state that they set."""

    by: Annotated[
        str, Meta(max_length=32, description="The user's key. A user without one has a key of the socket.")
    ]
    username: Name = ""
    state: Data | UnsetType = UNSET


class Present(Outgoing, tag="present", kw_only=True):
    """Users came to a topic, changed their state, or went. `whole`: these are all who are present."""

    topic: TopicName
    came: Annotated[list[Person], Meta(description="Users who came, or whose state is another.")] = []
    went: Annotated[list[str], Meta(description="The keys of the users who went.")] = []
    whole: Annotated[bool, Meta(description="The list is complete. It comes after `subscribed`.")] = False


class Entries(Outgoing, tag="entries", kw_only=True):
    """A page of entries, oldest first. `more` is true if there are more in that direction."""

    topic: TopicName
    entries: Annotated[list[Publication], Meta(description="Oldest first.")]
    more: Annotated[bool, Meta(description="There are older entries; for `after`: newer ones.")]
    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET
