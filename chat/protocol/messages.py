"""All commands, and all messages that the server sends."""

from typing import TypeAlias

from chat.protocol.commands import (
    Appoint,
    Ban,
    Configure,
    Create,
    Delete,
    Direct,
    Edit,
    GetHistory,
    GetMembers,
    GetSharing,
    Invite,
    Join,
    Kick,
    Leave,
    Mute,
    Ping,
    Post,
    React,
    Read,
    Report,
    Search,
    ShowToken,
    Typing,
)
from chat.protocol.events import (
    Ack,
    Error,
    Expiring,
    Found,
    History,
    Invited,
    Joined,
    Late,
    Left,
    Members,
    NumberedEvent,
    Pong,
    Position,
    ReadUpTo,
    Reconnect,
    Removed,
    RoomChanged,
    RoomEvent,
    Sharing,
    TypingNow,
    UserList,
    Welcome,
)
from chat.protocol.topic_commands import GetEntries, Publish, SendSignal, SetPresence, Subscribe, Unsubscribe
from chat.protocol.topic_events import Entries, Present, Publication, Publications, Signal, Subscribed

TopicCommand: TypeAlias = Subscribe | Unsubscribe | Publish | SendSignal | SetPresence | GetEntries
"""The commands about topics."""

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
    | TopicCommand
)

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
    | RoomEvent
    | History
    | Found
    | Invited
    | Members
    | Sharing
    | Ack
    | Pong
    | Reconnect
    | Error
    | Subscribed
    | Publication
    | Publications
    | Signal
    | Present
    | Entries
)
