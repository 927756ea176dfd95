"""Replies and events: the messages that the server sends."""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from chat.protocol.errors import ErrorCode
from chat.protocol.limits import AVATAR_LIMIT, REACTORS_LIMIT, VERSION
from chat.protocol.types import (
    AuthorKey,
    Data,
    EmojiText,
    Epoch,
    EventName,
    Follows,
    Id,
    MessageText,
    Name,
    Number,
    ReasonText,
    Ref,
    Role,
    Room,
    RoomKind,
    Slow,
    Timestamp,
    Title,
    TopicName,
)


class Outgoing(Struct, tag_field="type", rename="camel", kw_only=True, omit_defaults=True):
    """A message from the server. Fields with their default value are omitted."""


class AboutRoom(Outgoing, kw_only=True):
    """A room's settings, and one user's role in it. An omitted field has the value of a plain public room."""

    role: Role = "member"
    title: Title = ""
    kind: RoomKind = "public"
    read_only: Annotated[bool, Meta(description="Only owners and moderators may post.")] = False
    slow: Slow = 0
    archived: Annotated[bool, Meta(description="Nobody may post or change anything.")] = False
    closed: (
        Annotated[
            Literal["deleted", "deactivated", "left"],
            Meta(
                description="Why a direct room accepts no more messages: the other account was deleted or "
                "deactivated, or has left the room. `archived` is true then."
            ),
        ]
        | UnsetType
    ) = UNSET
    muted: (
        Annotated[int, Meta(ge=0, description="You are muted until then, in ms since 1970. 0: without end.")]
        | UnsetType
    ) = UNSET


class Welcome(AboutRoom, tag="welcome"):
    """The socket has joined the room, at position `seq`.

    If `resumed` is true, every change after the command's `since` follows. If not, start again from `history`.
    """

    room: Room
    username: Name
    seq: Number
    epoch: Epoch
    resumed: Annotated[bool, Meta(description="Every change after `since` follows.")]
    timestamp: Timestamp
    you: (
        Annotated[
            str,
            Meta(
                max_length=32,
                description="Your own key, as in `by`. Empty for a client without an account or a session.",
            ),
        ]
        | UnsetType
    ) = UNSET
    read: (
        Annotated[
            Number, Meta(description="The position up to which you have read, if the server stores it for you.")
        ]
        | UnsetType
    ) = UNSET
    protocol: Annotated[int, Meta(description="The version of this protocol.")] = msgspec.field(
        default_factory=lambda: VERSION
    )
    ref: Ref | UnsetType = UNSET


class RoomChanged(AboutRoom, tag="room"):
    """The room's settings or your role have changed. An omitted field has the value of a plain public room."""

    room: Room
    timestamp: Timestamp


class Removed(Outgoing, tag="removed", kw_only=True):
    """You were removed from the room or topic: `code` and `message` give the reason, `retryAfter` the duration."""

    room: Room = ""
    topic: TopicName | UnsetType = UNSET
    code: Annotated[ErrorCode, Meta(description="The reason, for programs.")]
    message: Annotated[str, Meta(description="A sentence for people.")]
    timestamp: Timestamp
    retry_after: Annotated[int, Meta(ge=0, description="Milliseconds.")] | UnsetType = UNSET


class Expiring(Outgoing, tag="expiring"):
    """This socket's token expires soon. Send a newer one with `token`, or the socket is closed with 4401."""

    after: Annotated[int, Meta(ge=0, description="Milliseconds.")]
    timestamp: Timestamp


class Late(Outgoing, tag="late"):
    """Whether this server is cut off from the site's other servers. Their messages still arrive, a little late.

    Sent when that begins and when it ends, and after each `welcome` in between.
    """

    late: Annotated[bool, Meta(description="True: messages from other servers may arrive late. False: no longer.")]
    timestamp: Timestamp


class Joined(Outgoing, tag="join"):
    """A user entered the room. Sent once, however many tabs the user opens."""

    room: Room
    username: Name
    timestamp: Timestamp
    by: AuthorKey | UnsetType = UNSET


class Left(Outgoing, tag="leave"):
    """A user left the room, with their last tab."""

    room: Room
    username: Name
    timestamp: Timestamp
    by: AuthorKey | UnsetType = UNSET


class UserList(Outgoing, tag="userList"):
    """The users in the room. `users` has a limited number of names (200 by default), `count` has no cap."""

    room: Room
    users: Annotated[list[str], Meta(description="Names, the latest to join first; capped.")]
    count: Annotated[int, Meta(ge=0, description="The number of users here, never capped.")]
    timestamp: Timestamp


class Reaction(Struct, rename="camel", frozen=True, omit_defaults=True):
    """One emoji on a message, and the users who added it, the earliest first."""

    emoji: EmojiText
    usernames: Annotated[list[str], Meta(description=f"The first {REACTORS_LIMIT} names at most.")]
    count: Annotated[int, Meta(ge=0, description="The number of users, never capped.")]
    by: Annotated[list[str], Meta(description="The keys of `usernames`, in the same order.")] = []


class Message(Outgoing, tag="message", kw_only=True):
    """A message in its current state. `id` identifies it in its room, `seq` is the position of its last change.

    If you already have a message with this `id`, this is its new state.
    """

    room: Room
    id: Id
    seq: Number
    username: Name
    content: MessageText
    # Before the timestamp, which is looked up from the frame's end (codec.timestamp_of).
    data: Data | UnsetType = UNSET
    timestamp: Timestamp
    by: AuthorKey | UnsetType = UNSET
    reply_to: Annotated[Id, Meta(description="The `id` of the message that this one replies to.")] | UnsetType = (
        UNSET
    )
    edited: Annotated[Timestamp, Meta(description="The time of the last edit of its text.")] | UnsetType = UNSET
    deleted: Annotated[bool, Meta(description="Its text is removed.")] = False
    reactions: Annotated[list[Reaction], Meta(description="The emoji on it, the oldest first.")] = []
    bot: Annotated[bool, Meta(description="The author is a program of the site.")] = False
    avatar: (
        Annotated[str, Meta(max_length=AVATAR_LIMIT, description="The address of the author's image.")] | UnsetType
    ) = UNSET
    follows: Follows | UnsetType = UNSET


class Edited(Outgoing, tag="edit"):
    """A message has changed: this is its current state. A client that was away may have missed several changes."""

    room: Room
    id: Id
    seq: Number
    content: MessageText
    edited: Annotated[Timestamp, Meta(description="The time of the last edit of its text.")] | UnsetType = UNSET
    reactions: Annotated[list[Reaction], Meta(description="The emoji on it, the oldest first.")] = []
    follows: Follows | UnsetType = UNSET


class Deleted(Outgoing, tag="delete"):
    """A message is deleted: its text and reactions are removed. Clients must remove them too."""

    room: Room
    id: Id
    seq: Number
    follows: Follows | UnsetType = UNSET


class Reacted(Outgoing, tag="react"):
    """The reactions to a message changed. `reactions` has all of them."""

    room: Room
    id: Id
    seq: Number
    reactions: Annotated[list[Reaction], Meta(description="The emoji on it, the oldest first.")]
    follows: Follows | UnsetType = UNSET


class Position(Outgoing, tag="position", kw_only=True):
    """Every change up to `seq` was sent. Later changes replaced those with the numbers before it."""

    room: Room = ""
    topic: TopicName | UnsetType = UNSET
    seq: Number
    follows: Follows | UnsetType = UNSET


class ReadUpTo(Outgoing, tag="read"):
    """Another socket of the same user has read the room up to `seq`."""

    room: Room
    username: Name
    seq: Number


class TypingNow(Outgoing, tag="typing"):
    """A user is typing."""

    room: Room
    username: Name
    timestamp: Timestamp
    by: AuthorKey | UnsetType = UNSET


class History(Outgoing, tag="history"):
    """A page of messages, oldest first. `more` is true if there are more in that direction."""

    room: Room
    messages: Annotated[list[Message], Meta(description="Oldest first.")]
    more: Annotated[bool, Meta(description="There are older messages; for `after`: newer ones.")]
    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET


class Found(Outgoing, tag="found"):
    """Search results, newest first. `more` is true if there are older ones."""

    room: Room
    messages: Annotated[list[Message], Meta(description="Newest first.")]
    more: Annotated[bool, Meta(description="There are older results.")]
    timestamp: Timestamp
    indexing: Annotated[
        bool, Meta(description="This room's messages are still being indexed. Some may be missing here.")
    ] = False
    ref: Ref | UnsetType = UNSET


class Invited(Outgoing, tag="invite"):
    """An invitation link to the room. The server sends it only once."""

    room: Room
    path: Annotated[str, Meta(description="The link's path on this site.")]
    expires: Timestamp
    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET


class Member(Struct, rename="camel", frozen=True):
    """A member of a room, and their role."""

    username: Name
    role: Role


class Restricted(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A muted or banned user."""

    username: Name
    kind: Annotated[Literal["mute", "ban"], Meta(description="`mute`: may not post. `ban`: may not enter.")]
    until: Timestamp | UnsetType = UNSET
    reason: ReasonText = ""


class Members(Outgoing, tag="members"):
    """The room's members; for moderators also its mutes and bans."""

    room: Room
    members: Annotated[list[Member], Meta(description="Owners first.")]
    timestamp: Timestamp
    restricted: Annotated[list[Restricted], Meta(description="The latest first.")] = []
    ref: Ref | UnsetType = UNSET


class Sharing(Outgoing, tag="sharing"):
    """How many other guests share a user's address. The address itself is not sent."""

    room: Room
    username: Name
    others: Annotated[int, Meta(ge=0, description="Other guests in the room with this address.")]
    restrictable: Annotated[
        bool, Meta(description="False if the user is not here, or the address is unknown or a proxy's.")
    ]
    known: Annotated[
        bool,
        Meta(
            description="The user's account, session or browser is known. If not, the user can return at once, "
            "unless the command has `address`."
        ),
    ]
    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET


class Ack(Outgoing, tag="ack", kw_only=True):
    """The command was carried out. A message, or a change of one, has its `id` and its new `seq`."""

    room: Room = ""
    topic: TopicName | UnsetType = UNSET
    timestamp: Timestamp
    id: Id | UnsetType = UNSET
    seq: Number | UnsetType = UNSET
    ref: Ref | UnsetType = UNSET


class Pong(Outgoing, tag="pong"):
    """The reply to `ping`."""

    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET


class Reconnect(Outgoing, tag="reconnect"):
    """The server ends this connection now. Reconnect in `after`, not earlier: each client gets its own delay."""

    after: Annotated[int, Meta(ge=0, description="Milliseconds.")]
    reason: Annotated[str, Meta(description="A sentence for people.")]
    timestamp: Timestamp


class Error(Outgoing, tag="error"):
    """The command was refused: `message` is a sentence for people, `code` is for programs."""

    code: Annotated[ErrorCode, Meta(description="The reason, for programs.")]
    message: Annotated[str, Meta(description="A sentence for people.")]
    timestamp: Timestamp
    field: Annotated[str, Meta(description="The invalid field.")] | UnsetType = UNSET
    ref: Ref | UnsetType = UNSET
    retry_after: Annotated[int, Meta(ge=0, description="Milliseconds.")] | UnsetType = UNSET


NumberedEvent: TypeAlias = Message | Edited | Deleted | Reacted
"""The events that have a number in the room's log."""


class RoomEvent(Outgoing, tag="event", kw_only=True):
    """An event of the site, for the users who are in a room now. It has no number, and comes at most once.

    Without `room` it is for you alone.
    """

    room: Room = ""
    event: EventName
    data: Data
    timestamp: Timestamp
