"""Commands: what a client asks for."""

from typing import Annotated, Literal, TypeAlias

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
    """What a client asks for. Fields that are not known are ignored: the article's client sends some."""

    ref: Ref | UnsetType = UNSET


class Join(Command, tag="join"):
    """Enter a room. Answered by `welcome`, then `userList`, then what was missed since `since`, then live."""

    username: Username | UnsetType = UNSET
    room: Room = LOBBY
    since: Number | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET
    token: Token | UnsetType = UNSET


class Leave(Command, tag="leave"):
    """Leave a room at once, without the grace that a lost connection has. Answered by `ack`."""

    room: Room = LOBBY


class Post(Command, tag="message"):
    """Say something in a room. Answered by `ack`; the same again with its `ref` gets that answer, and no copy."""

    content: Content
    room: Room = LOBBY
    reply_to: Annotated[Id, Meta(description="The `id` of the message that this answers.")] | UnsetType = UNSET


class Edit(Command, tag="edit"):
    """Change the text of a message of one's own. Answered by `ack`."""

    id: Id
    content: Content
    room: Room = LOBBY


class Delete(Command, tag="delete"):
    """Delete a message: its text and its reactions are gone, its place stays. Answered by `ack`.

    One's own; moderators also those of others.
    """

    id: Id
    room: Room = LOBBY


class React(Command, tag="react"):
    """Put an emoji on a message, or take one's own off again. Answered by `ack`."""

    id: Id
    emoji: EmojiText
    on: Annotated[bool, Meta(description="Put it on, or take it off.")] = True
    room: Room = LOBBY


class Read(Command, tag="read"):
    """Say that everything up to `seq` was read; it never goes back. Not answered.

    Kept for who is signed in or has a session; their other sockets hear of it.
    """

    seq: Number
    room: Room = LOBBY


class Typing(Command, tag="typing"):
    """Say that the user is typing. Not answered; more than one a second (by default) is dropped."""

    room: Room = LOBBY


class GetHistory(Command, tag="history"):
    """Ask for messages before `before`, or after `after`, or for the latest. Answered by `history`."""

    room: Room = LOBBY
    before: Id | UnsetType = UNSET
    after: Id | UnsetType = UNSET
    limit: PageSize = 50


class Search(Command, tag="search"):
    """Ask for the messages with these words, those before `before` first. Answered by `found`."""

    query: Query
    room: Room = LOBBY
    before: Id | UnsetType = UNSET
    limit: PageSize = 20


class ShowToken(Command, tag="token"):
    """Show a newer token, before the one that this socket came with expires. Answered by `ack`.

    In a `join` it says who somebody is; here it must be of the same account.
    """

    token: Token
    room: Room = LOBBY


class Create(Command, tag="create"):
    """Make a room, and be its owner. Answered by `ack`, whose `room` is the new room's name."""

    title: Title
    kind: Annotated[
        Literal["public", "members", "private"],
        Meta(description="Who may come in: everybody, everybody with an account, who is invited."),
    ] = "private"
    room: Annotated[Room, Meta(description="Of a public room: its name.")] | UnsetType = UNSET


class Direct(Command, tag="direct"):
    """Talk with one other person. Answered by `ack`, whose `room` is that of the two, new or not."""

    username: TargetName


class Configure(Command, tag="room"):
    """Change a room: what is given is changed. For owners; `slow` and `readOnly` for moderators too.

    Answered by `ack`.
    """

    room: Room
    title: Title | UnsetType = UNSET
    read_only: Annotated[bool, Meta(description="Only owners and moderators may speak.")] | UnsetType = UNSET
    slow: Slow | UnsetType = UNSET
    archived: Annotated[bool, Meta(description="It can be read, and nothing said in it.")] | UnsetType = UNSET


class Invite(Command, tag="invite"):
    """Make `username` a member. Without one, make a link that does. Answered by `invite`; with a name by `ack`."""

    room: Room
    username: TargetName | UnsetType = UNSET


class Appoint(Command, tag="role"):
    """Give a member another role; `none` ends the membership, also one's own. Answered by `ack`."""

    room: Room
    username: TargetName
    role: Annotated[
        Literal["owner", "moderator", "member", "none"], Meta(description="What they are from now on.")
    ]


class GetMembers(Command, tag="members"):
    """Ask for a room's members, and who is muted or banned. Answered by `members`."""

    room: Room


class GetSharing(Command, tag="sharing"):
    """Ask how many others come from somebody's address, before it is restricted. For moderators.

    Answered by `sharing`.
    """

    room: Room
    username: TargetName


class Kick(Command, tag="kick"):
    """Take somebody out of the room, on all their sockets, for a minute. For moderators. Answered by `ack`.

    Of a room that is not public they are no member any more.
    """

    room: Room
    username: TargetName
    reason: ReasonText = ""
    address: WithAddress = False


class Restrict(Command, kw_only=True):
    """Whom, whether from now on or no longer, and for how long."""

    room: Room
    username: TargetName
    on: Annotated[bool, Meta(description="From now on, or no longer.")] = True
    seconds: Annotated[int, Meta(ge=1, le=100_000_000, description="For how long; without it: for good.")] | (
        UnsetType
    ) = UNSET
    reason: ReasonText = ""
    address: WithAddress = False


class Mute(Restrict, tag="mute"):
    """Let somebody be there and not speak, or let them speak again. For moderators. Answered by `ack`."""


class Ban(Restrict, tag="ban"):
    """Put somebody out of the room, on all their sockets, or let them in again. For moderators. Answered by `ack`.

    It holds for their account or session, and for whoever comes with the same browser.
    """


class Report(Command, tag="report"):
    """Tell the moderators of a message that should not be there. Answered by `ack`."""

    room: Room
    id: Id
    reason: ReasonText = ""


class Ping(Command, tag="ping"):
    """Ask whether the other end is alive. Answered by `pong`."""


AnyCommand: TypeAlias = (
    Join
    | Leave
    | Post
    | Edit
    | Delete
    | React
    | Read
    | Typing
    | GetHistory
    | Search
    | ShowToken
    | Create
    | Direct
    | Configure
    | Invite
    | Appoint
    | GetMembers
    | GetSharing
    | Kick
    | Mute
    | Ban
    | Report
    | Ping
)
