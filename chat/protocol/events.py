"""Replies and events: what the server says."""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from chat.protocol.errors import ErrorCode
from chat.protocol.limits import REACTORS_LIMIT, VERSION
from chat.protocol.types import (
    AuthorKey,
    EmojiText,
    Epoch,
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
)


class Outgoing(Struct, tag_field="type", rename="camel", kw_only=True, omit_defaults=True):
    """What the server says. A field that has nothing to say is left out."""


class AboutRoom(Outgoing, kw_only=True):
    """A room as one person finds it. What is left out is as in a plain public room."""

    role: Role = "member"
    title: Title = ""
    kind: RoomKind = "public"
    read_only: Annotated[bool, Meta(description="Only owners and moderators may speak.")] = False
    slow: Slow = 0
    archived: Annotated[bool, Meta(description="Nobody may speak, or change anything.")] = False
    closed: (
        Annotated[
            Literal["deleted", "deactivated", "left"],
            Meta(
                description="In a direct room: why it takes no messages any more. The other account was "
                "deleted or deactivated, or is not in the room any more. `archived` is true then."
            ),
        ]
        | UnsetType
    ) = UNSET
    muted: (
        Annotated[int, Meta(ge=0, description="Until when you may not speak, in ms since 1970; 0: for good.")]
        | UnsetType
    ) = UNSET


class Welcome(AboutRoom, tag="welcome"):
    """The socket is in the room, at position `seq`.

    `resumed` tells whether everything after the command's `since` follows; if not, start over from `history`.
    """

    room: Room
    username: Name
    seq: Number
    epoch: Epoch
    resumed: Annotated[bool, Meta(description="Everything after `since` follows.")]
    timestamp: Timestamp
    you: (
        Annotated[
            str,
            Meta(
                max_length=32,
                description="Your own key, as in `by`; empty where nothing but a name is known of you.",
            ),
        ]
        | UnsetType
    ) = UNSET
    read: (
        Annotated[Number, Meta(description="Up to here this person has read, where that is kept.")] | UnsetType
    ) = UNSET
    protocol: Annotated[int, Meta(description="The version of this protocol.")] = msgspec.field(
        default_factory=lambda: VERSION
    )
    ref: Ref | UnsetType = UNSET


class RoomChanged(AboutRoom, tag="room"):
    """The room, or what you are in it, is another now. What is left out is as in a plain public room."""

    room: Room
    timestamp: Timestamp


class Removed(Outgoing, tag="removed"):
    """You are not in the room any more: `code` and `message` say why, `retryAfter` how long that lasts."""

    room: Room
    code: Annotated[ErrorCode, Meta(description="For programs.")]
    message: Annotated[str, Meta(description="A sentence for people.")]
    timestamp: Timestamp
    retry_after: Annotated[int, Meta(ge=0, description="Milliseconds.")] | UnsetType = UNSET


class Expiring(Outgoing, tag="expiring"):
    """The token that this socket came with expires soon: show a newer one, or the socket is closed with 4401."""

    after: Annotated[int, Meta(ge=0, description="Milliseconds.")]
    timestamp: Timestamp


class Late(Outgoing, tag="late"):
    """Is this server cut off from the others of the site? What people say there comes all the same, a little late.

    Sent when that begins and when it is over, and after each `welcome` in between.
    """

    late: Annotated[bool, Meta(description="True: what others say may come late. False: no longer.")]
    timestamp: Timestamp


class Joined(Outgoing, tag="join"):
    """Somebody came into the room: once, however many tabs they open."""

    room: Room
    username: Name
    timestamp: Timestamp
    by: AuthorKey | UnsetType = UNSET


class Left(Outgoing, tag="leave"):
    """Somebody is gone from the room, with the last of their tabs."""

    room: Room
    username: Name
    timestamp: Timestamp
    by: AuthorKey | UnsetType = UNSET


class UserList(Outgoing, tag="userList"):
    """Who is here: `users` are at most so many names (200 by default), `count` is always true."""

    room: Room
    users: Annotated[list[str], Meta(description="Names, those who came last first; capped.")]
    count: Annotated[int, Meta(ge=0, description="How many people are here, never capped.")]
    timestamp: Timestamp


class Reaction(Struct, rename="camel", frozen=True, omit_defaults=True):
    """One emoji on a message: who put it there, the first first."""

    emoji: EmojiText
    usernames: Annotated[list[str], Meta(description=f"At most {REACTORS_LIMIT} names, the first ones.")]
    count: Annotated[int, Meta(ge=0, description="How many people, never capped.")]
    by: Annotated[list[str], Meta(description="The keys of those whom `usernames` names, in the same order.")] = []


class Message(Outgoing, tag="message"):
    """What somebody said, as it is now. `id` names it in its room, `seq` is the position of its last change.

    One whose `id` is known already is that message's new state.
    """

    room: Room
    id: Id
    seq: Number
    username: Name
    content: MessageText
    timestamp: Timestamp
    by: AuthorKey | UnsetType = UNSET
    reply_to: Annotated[Id, Meta(description="The `id` of the message that this answers.")] | UnsetType = UNSET
    edited: Annotated[Timestamp, Meta(description="When its text was last changed.")] | UnsetType = UNSET
    deleted: Annotated[bool, Meta(description="Its text is gone.")] = False
    reactions: Annotated[list[Reaction], Meta(description="The emoji on it, the oldest first.")] = []
    follows: Follows | UnsetType = UNSET


class Edited(Outgoing, tag="edit"):
    """A message has changed: this is its state now. Who was away may have missed more than an edit of its text."""

    room: Room
    id: Id
    seq: Number
    content: MessageText
    edited: Annotated[Timestamp, Meta(description="When its text was last changed.")] | UnsetType = UNSET
    reactions: Annotated[list[Reaction], Meta(description="The emoji on it, the oldest first.")] = []
    follows: Follows | UnsetType = UNSET


class Deleted(Outgoing, tag="delete"):
    """A message is deleted: its text and reactions are gone, and whoever shows them must forget them."""

    room: Room
    id: Id
    seq: Number
    follows: Follows | UnsetType = UNSET


class Reacted(Outgoing, tag="react"):
    """The emoji on a message changed: these are all that it has now."""

    room: Room
    id: Id
    seq: Number
    reactions: Annotated[list[Reaction], Meta(description="The emoji on it, the oldest first.")]
    follows: Follows | UnsetType = UNSET


class Position(Outgoing, tag="position"):
    """Everything up to `seq` was told: the changes with the numbers before it were made void by later ones."""

    room: Room
    seq: Number
    follows: Follows | UnsetType = UNSET


class ReadUpTo(Outgoing, tag="read"):
    """Another socket of the same person read the room up to `seq`."""

    room: Room
    username: Name
    seq: Number


class TypingNow(Outgoing, tag="typing"):
    """Somebody is typing."""

    room: Room
    username: Name
    timestamp: Timestamp
    by: AuthorKey | UnsetType = UNSET


class History(Outgoing, tag="history"):
    """A page of messages, oldest first. `more` tells whether there are others that way."""

    room: Room
    messages: Annotated[list[Message], Meta(description="Oldest first.")]
    more: Annotated[bool, Meta(description="There are older ones; after `after`: newer ones.")]
    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET


class Found(Outgoing, tag="found"):
    """The messages that a search found, newest first. `more` tells whether there are older ones."""

    room: Room
    messages: Annotated[list[Message], Meta(description="Newest first.")]
    more: Annotated[bool, Meta(description="There are older ones.")]
    timestamp: Timestamp
    indexing: Annotated[
        bool, Meta(description="Messages of this room are still being indexed: some may be missing here.")
    ] = False
    ref: Ref | UnsetType = UNSET


class Invited(Outgoing, tag="invite"):
    """A link into the room; it is told this once."""

    room: Room
    path: Annotated[str, Meta(description="The link's path on this site.")]
    expires: Timestamp
    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET


class Member(Struct, rename="camel", frozen=True):
    """Somebody with a role in a room."""

    username: Name
    role: Role


class Restricted(Struct, rename="camel", frozen=True, omit_defaults=True):
    """Somebody who is muted or banned."""

    username: Name
    kind: Annotated[Literal["mute", "ban"], Meta(description="May not speak, or may not be there.")]
    until: Timestamp | UnsetType = UNSET
    reason: ReasonText = ""


class Members(Outgoing, tag="members"):
    """Who has a role in the room; for its moderators also who is muted or banned."""

    room: Room
    members: Annotated[list[Member], Meta(description="Owners first.")]
    timestamp: Timestamp
    restricted: Annotated[list[Restricted], Meta(description="The latest first.")] = []
    ref: Ref | UnsetType = UNSET


class Sharing(Outgoing, tag="sharing"):
    """How many others come from somebody's address. The address itself is not told."""

    room: Room
    username: Name
    others: Annotated[int, Meta(ge=0, description="Other guests in the room who come from it.")]
    restrictable: Annotated[
        bool, Meta(description="Not where they are not here, nobody knows the address, or it is a proxy's.")
    ]
    known: Annotated[
        bool,
        Meta(
            description="Is their account, session or browser known? If not, they can come back at once, unless "
            "`address` is given."
        ),
    ]
    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET


class Ack(Outgoing, tag="ack"):
    """The command was carried out. For a message and for its changes: its `id`, and its `seq` now."""

    room: Room
    timestamp: Timestamp
    id: Id | UnsetType = UNSET
    seq: Number | UnsetType = UNSET
    ref: Ref | UnsetType = UNSET


class Pong(Outgoing, tag="pong"):
    """Alive."""

    timestamp: Timestamp
    ref: Ref | UnsetType = UNSET


class Reconnect(Outgoing, tag="reconnect"):
    """The server ends this connection now: come back in `after`, not before; others have other moments."""

    after: Annotated[int, Meta(ge=0, description="Milliseconds.")]
    reason: Annotated[str, Meta(description="A sentence for people.")]
    timestamp: Timestamp


class Error(Outgoing, tag="error"):
    """The command was refused: `message` is a sentence for people, `code` is for programs."""

    code: Annotated[ErrorCode, Meta(description="For programs.")]
    message: Annotated[str, Meta(description="A sentence for people.")]
    timestamp: Timestamp
    field: Annotated[str, Meta(description="The field that was wrong.")] | UnsetType = UNSET
    ref: Ref | UnsetType = UNSET
    retry_after: Annotated[int, Meta(ge=0, description="Milliseconds.")] | UnsetType = UNSET


NumberedEvent: TypeAlias = Message | Edited | Deleted | Reacted
"""What has a number in the room's log."""

AnyOutgoing: TypeAlias = (
    Welcome
    | RoomChanged
    | Removed
    | Expiring
    | Late
    | Joined
    | Left
    | UserList
    | NumberedEvent
    | Position
    | ReadUpTo
    | TypingNow
    | History
    | Found
    | Invited
    | Members
    | Sharing
    | Ack
    | Pong
    | Reconnect
    | Error
)
