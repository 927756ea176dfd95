"""Commands: the messages that a client sends."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from chat.protocol.limits import LOBBY
from chat.protocol.types import (
    Content,
    EmojiText,
    Epoch,
    Id,
    Number,
    PageSize,
    Query,
    ReasonText,
    Ref,
    Room,
    Slow,
    TargetName,
    Title,
    Token,
    Username,
    WithAddress,
)


class Command(Struct, tag_field="type", rename="camel", kw_only=True):
    """A message from a client. Unknown fields are ignored: the client of the original article sends some."""

    ref: Ref | UnsetType = UNSET


class Join(Command, tag="join"):
    """Enter a room. Answered by `welcome`, then `userList`, then the changes after `since`, then live events."""

    username: Username | UnsetType = UNSET
    room: Room = LOBBY
    since: Number | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET
    token: Token | UnsetType = UNSET


class Leave(Command, tag="leave"):
    """Leave a room at once, without the grace period of a lost connection. Answered by `ack`."""

    room: Room = LOBBY


class Post(Command, tag="message"):
    """Post a message in a room. Answered by `ack`.

    A retry with the same `ref` gets the same answer and posts no second message.
    """

    content: Content
    room: Room = LOBBY
    reply_to: Annotated[Id, Meta(description="The `id` of the message that this one replies to.")] | UnsetType = (
        UNSET
    )


class Edit(Command, tag="edit"):
    """Change the text of your own message. Answered by `ack`."""

    id: Id
    content: Content
    room: Room = LOBBY


class Delete(Command, tag="delete"):
    """Delete a message: its text and reactions are removed, its `id` stays. Answered by `ack`.

    Users delete their own messages; moderators delete those of others too.
    """

    id: Id
    room: Room = LOBBY


class React(Command, tag="react"):
    """Add an emoji to a message, or remove your own. Answered by `ack`."""

    id: Id
    emoji: EmojiText
    on: Annotated[bool, Meta(description="True adds the emoji, false removes it.")] = True
    room: Room = LOBBY


class Read(Command, tag="read"):
    """Report that the user has read everything up to `seq`. It never goes back. Not answered.

    The server stores it for users who are signed in or have a session, and sends `read` to their other sockets.
    """

    seq: Number
    room: Room = LOBBY


class Typing(Command, tag="typing"):
    """Report that the user is typing. Not answered; more than one a second (by default) is dropped."""

    room: Room = LOBBY


class GetHistory(Command, tag="history"):
    """Request the messages before `before` or after `after`, or the latest. Answered by `history`."""

    room: Room = LOBBY
    before: Id | UnsetType = UNSET
    after: Id | UnsetType = UNSET
    limit: PageSize = 50


class Search(Command, tag="search"):
    """Search for messages with these words, newest first, before `before` if given. Answered by `found`."""

    query: Query
    room: Room = LOBBY
    before: Id | UnsetType = UNSET
    limit: PageSize = 20


class ShowToken(Command, tag="token"):
    """Send a newer token, before the one of this socket expires. Answered by `ack`.

    The token in a `join` identifies the user. This one must belong to the same account.
    """

    token: Token
    room: Room = LOBBY


class Create(Command, tag="create"):
    """Create a room and become its owner. Answered by `ack`, whose `room` is the new room's name."""

    title: Title
    kind: Annotated[
        Literal["public", "members", "private"],
        Meta(description="The users who may enter: all users, all accounts, or invited members."),
    ] = "private"
    room: (
        Annotated[Room, Meta(description="The name of a public room. Other rooms get theirs from the server.")]
        | UnsetType
    ) = UNSET


class Direct(Command, tag="direct"):
    """Open the direct room with one other user. Answered by `ack`, whose `room` is that room, new or not."""

    username: TargetName


class Configure(Command, tag="room"):
    """Change a room's settings: the fields that are given. Answered by `ack`.

    For owners. Moderators may change `slow` and `readOnly`.
    """

    room: Room
    title: Title | UnsetType = UNSET
    read_only: Annotated[bool, Meta(description="Only owners and moderators may post.")] | UnsetType = UNSET
    slow: Slow | UnsetType = UNSET
    archived: Annotated[bool, Meta(description="The room can be read, but nobody can post.")] | UnsetType = UNSET


class Invite(Command, tag="invite"):
    """Make `username` a member, or create an invitation link. Answered by `invite`; with a `username` by `ack`."""

    room: Room
    username: TargetName | UnsetType = UNSET


class Appoint(Command, tag="role"):
    """Give a member another role. `none` ends the membership, your own too. Answered by `ack`."""

    room: Room
    username: TargetName
    role: Annotated[Literal["owner", "moderator", "member", "none"], Meta(description="The new role.")]


class GetMembers(Command, tag="members"):
    """Request a room's members, and its mutes and bans. Answered by `members`."""

    room: Room


class GetSharing(Command, tag="sharing"):
    """Request how many other guests share a user's address, before you restrict it. Answered by `sharing`.

    For moderators.
    """

    room: Room
    username: TargetName


class Kick(Command, tag="kick"):
    """Remove a user from the room for a minute, on all their sockets. Answered by `ack`.

    For moderators. In a room that is not public the user's membership ends.
    """

    room: Room
    username: TargetName
    reason: ReasonText = ""
    address: WithAddress = False


class Restrict(Command, kw_only=True):
    """The fields of `mute` and `ban`."""

    room: Room
    username: TargetName
    on: Annotated[bool, Meta(description="True restricts the user, false lifts the restriction.")] = True
    seconds: Annotated[int, Meta(ge=1, le=100_000_000, description="Duration. Without it there is no end.")] | (
        UnsetType
    ) = UNSET
    reason: ReasonText = ""
    address: WithAddress = False


class Mute(Restrict, tag="mute"):
    """Mute a user: they can read and not post. Or lift the mute. For moderators. Answered by `ack`."""


class Ban(Restrict, tag="ban"):
    """Ban a user from the room, on all their sockets, or lift the ban. For moderators. Answered by `ack`.

    A ban applies to the account or session, and to everyone who uses the same browser.
    """


class Report(Command, tag="report"):
    """Report a message to the moderators. Answered by `ack`."""

    room: Room
    id: Id
    reason: ReasonText = ""


class Ping(Command, tag="ping"):
    """Check the connection. Answered by `pong`."""
