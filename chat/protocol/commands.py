"""Commands: what a client asks for."""

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from chat.protocol.fields import Content, Emoji, Epoch, Id, Number, PageSize, Query, Ref, Room, Username
from chat.protocol.limits import LOBBY


class Command(Struct, tag_field="type", rename="camel", kw_only=True):
    """What a client asks for. Fields that are not known are ignored: the article's client sends some."""

    ref: Ref | UnsetType = UNSET


class Join(Command, tag="join"):
    """Enter a room. Answered by `welcome`, then `userList`, then what was missed since `since`, then live."""

    username: Username | UnsetType = UNSET
    room: Room = LOBBY
    since: Number | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET


class Leave(Command, tag="leave"):
    """Leave a room at once, without the grace that a lost connection has. Answered by `ack`."""

    room: Room = LOBBY


class Post(Command, tag="message"):
    """Say something in a room. Answered by `ack`; the same `ref` again gets the same answer, and no copy."""

    content: Content
    room: Room = LOBBY
    reply_to: Annotated[Id, Meta(description="The `id` of the message that this answers.")] | UnsetType = UNSET


class Edit(Command, tag="edit"):
    """Change the text of a message of one's own. Answered by `ack`."""

    id: Id
    content: Content
    room: Room = LOBBY


class Delete(Command, tag="delete"):
    """Delete a message of one's own: its text and its reactions are gone, its place stays. Answered by `ack`."""

    id: Id
    room: Room = LOBBY


class React(Command, tag="react"):
    """Put an emoji on a message, or take one's own off again. Answered by `ack`."""

    id: Id
    emoji: Emoji
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


class Ping(Command, tag="ping"):
    """Ask whether the other end is alive. Answered by `pong`."""


AnyCommand: TypeAlias = Join | Leave | Post | Edit | Delete | React | Read | Typing | GetHistory | Search | Ping
