"""The codes for refused commands and for closed sockets."""

from enum import IntEnum, StrEnum
from typing import Self

from chat.protocol.limits import EMOJIS_LIMIT, FRAME_LIMIT


class ErrorCode(StrEnum):
    """The reason why a command was refused. The socket stays open."""

    BAD_JSON = "bad_json", "The frame is not one JSON object in UTF-8 text.", False
    UNKNOWN_TYPE = "unknown_type", "The `type` is missing or is none of the commands.", False
    BAD_FIELD = "bad_field", "A field is missing or has a wrong value; `field` names it.", False
    TOO_LARGE = "too_large", f"The frame is longer than {FRAME_LIMIT} bytes.", False
    NAME_TAKEN = "name_taken", "Another user in the room has this username.", False
    NAME_NEEDED = "name_needed", "The client is not signed in and gave no `username`.", False
    NAME_FIXED = "name_fixed", "This socket already uses another username.", False
    NOT_JOINED = "not_joined", "This socket has not joined the room.", False
    NOT_FOUND = "not_found", "The room has no such message, or not any more.", False
    FORBIDDEN = "forbidden", "You may not do this: `message` gives the reason.", False
    TOO_MANY_EMOJI = "too_many_emoji", f"A message has at most {EMOJIS_LIMIT} different emoji.", False
    TOO_MANY_ROOMS = "too_many_rooms", "This socket has joined the maximum number of rooms.", False
    NAME_RESERVED = "name_reserved", "An account has this username, or one that looks like it.", False
    SIGN_IN = "sign_in", "Only signed-in users may do this.", False
    NO_ROOM = "no_room", "There is no such room, or you may not enter it.", False
    BANNED = "banned", "You are banned from this room; `retryAfter` is the time left, if it ends.", False
    MUTED = "muted", "You are muted in this room; `retryAfter` is the time left, if it ends.", False
    READ_ONLY = "read_only", "Nobody may post in this room, or only its moderators.", False
    SLOW_MODE = "slow_mode", "The room is in slow mode: wait `retryAfter` before your next message.", True
    REFUSED = "refused", "A filter of this site refused the text: `message` gives the reason.", False
    NO_PERSON = "no_person", "There is no user with this name.", False
    ROOM_FULL = "room_full", "The room has the maximum number of members.", False
    REF_REUSED = (
        "ref_reused",
        "You have used this `ref` for another command: send this one with a new `ref`.",
        False,
    )
    NO_TOPIC = "no_topic", "There is no such topic, or you may not subscribe to it.", False
    NOT_SUBSCRIBED = "not_subscribed", "This socket has not subscribed to the topic.", False
    TOO_MANY_TOPICS = "too_many_topics", "This socket has subscribed to the maximum number of topics.", False
    BAD_TOKEN = "bad_token", "The token is not valid for this site.", False
    TOKEN_EXPIRED = "token_expired", "The token has expired.", False
    TOO_MANY = "too_many", "Too many commands: wait `retryAfter`, then retry.", True
    BUSY = "busy", "The server cannot accept the command now: retry with the same `ref`.", True

    meaning: str
    retry: bool

    def __new__(cls, value: str, meaning: str, retry: bool) -> Self:  # noqa: FBT001 the rows above
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.retry = retry
        return member


class CloseCode(IntEnum):
    """The reason why a socket was closed. Below 4400 a client reconnects; from 4400 on it does not by itself.

    An application may send only 1000 and 3000-4999 (RFC 6455, section 7.4). The server sends 1011 and 1012 for it.
    """

    NORMAL = 1000, "The connection is no longer needed."
    INTERNAL = 1011, "The server had an internal error, which it has logged."
    RESTART = 1012, "The server restarts."
    TOO_SLOW = 4008, "Slow consumer: the client did not read fast enough."
    IDLE = 4009, "The socket joined no room in time."
    TOO_MANY = 4029, "Too many commands or too many sockets."
    BAD_INPUT = 4400, "Too many invalid frames in a row."
    NOT_SIGNED_IN = 4401, "The socket's sign-in has ended."
    FORBIDDEN = 4403, "Disconnected by the staff."

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    @property
    def client_reconnects(self) -> bool:
        """True if a client reconnects by itself, also after a 1000 from the server: proxies have time limits."""
        return self < CloseCode.BAD_INPUT


class Invalid(Exception):  # noqa: N818 the name states what is wrong with the input
    """A client's input was refused. ``message`` is a sentence for people, ``field`` names the invalid field.

    ``ref`` is the command's, or None if the text was too broken to have one. ``retry_after`` is in milliseconds.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        field: str | None = None,
        ref: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.ref = ref
        self.retry_after = retry_after


def no_room(slug: str) -> Invalid:
    """One refusal for a room that does not exist and for one that the client may not enter."""
    return Invalid(ErrorCode.NO_ROOM, f"room: there is no room {slug!r}, or you may not enter it", field="room")


def no_topic(name: str) -> Invalid:
    """One refusal for a topic that does not exist and for one that the client may not subscribe to."""
    message = f"topic: there is no topic {name!r}, or you may not subscribe to it"
    return Invalid(ErrorCode.NO_TOPIC, message, field="topic")
