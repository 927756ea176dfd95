"""Why a command was refused, and why a socket was closed."""

from enum import IntEnum, StrEnum
from typing import Self

from chat.protocol.limits import EMOJIS_LIMIT, FRAME_LIMIT


class ErrorCode(StrEnum):
    """Why a command was refused. The socket stays open."""

    BAD_JSON = "bad_json", "The frame is not one JSON object in UTF-8 text.", False
    UNKNOWN_TYPE = "unknown_type", "The `type` is missing or is none of the commands.", False
    BAD_FIELD = "bad_field", "A field is missing or has a wrong value; `field` names it.", False
    TOO_LARGE = "too_large", f"The frame is longer than {FRAME_LIMIT} bytes.", False
    NAME_TAKEN = "name_taken", "Somebody else in the room has this username.", False
    NAME_NEEDED = "name_needed", "Nobody is signed in and `username` was not given.", False
    NAME_FIXED = "name_fixed", "This socket already speaks under another username.", False
    NOT_JOINED = "not_joined", "The command needs a room that this socket has joined.", False
    NOT_FOUND = "not_found", "There is no such message in this room, or no longer.", False
    FORBIDDEN = "forbidden", "The command is right, but not yours to give: `message` says why.", False
    TOO_MANY_EMOJI = "too_many_emoji", f"A message has at most {EMOJIS_LIMIT} different emoji.", False
    TOO_MANY_ROOMS = "too_many_rooms", "This socket is in as many rooms as one socket may join.", False
    NAME_RESERVED = "name_reserved", "An account has this username, or one that looks like it.", False
    SIGN_IN = "sign_in", "Only who is signed in may do this.", False
    NO_ROOM = "no_room", "There is no such room, or none that you may see.", False
    BANNED = "banned", "You may not be in this room; `retryAfter` says for how long.", False
    MUTED = "muted", "You may not speak in this room; `retryAfter` says for how long.", False
    READ_ONLY = "read_only", "Nobody, or only its moderators, may speak in this room.", False
    SLOW_MODE = "slow_mode", "In this room some time must pass between two messages of one person.", True
    REFUSED = "refused", "A filter of this site does not take the text: `message` says why.", False
    NO_PERSON = "no_person", "There is nobody of this name to do it to.", False
    ROOM_FULL = "room_full", "The room has as many members as a room may have.", False
    REF_REUSED = (
        "ref_reused",
        "You used this `ref` here for something else: send it again with another one.",
        False,
    )
    BAD_TOKEN = "bad_token", "The token is not valid here.", False
    TOKEN_EXPIRED = "token_expired", "The token was valid, and is not any more.", False
    TOO_MANY = "too_many", "Too many commands for now: wait `retryAfter`, then send it again.", True
    BUSY = "busy", "The server cannot take the command now; send it again with the same `ref`.", True

    meaning: str
    retry: bool

    def __new__(cls, value: str, meaning: str, retry: bool) -> Self:  # noqa: FBT001 the rows above
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.retry = retry
        return member


class CloseCode(IntEnum):
    """Why a socket was closed. Below 4400 a client comes back; from 4400 on it does not by itself.

    Only 1000 and 3000-4999 are an application's to send (RFC 6455, section 7.4); 1011 and 1012 are sent by
    the server on its behalf.
    """

    NORMAL = 1000, "The work is done."
    INTERNAL = 1011, "The server met an error of its own; it is logged there."
    RESTART = 1012, "The server restarts."
    TOO_SLOW = 4008, "The client read too slowly for what was sent to it."
    IDLE = 4009, "The socket joined no room for too long."
    TOO_MANY = 4029, "Too many commands, or too many sockets, for now."
    BAD_INPUT = 4400, "Too many invalid frames in a row."
    NOT_SIGNED_IN = 4401, "The sign-in that the socket came with has ended."
    FORBIDDEN = 4403, "Disconnected by the staff."

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    @property
    def client_reconnects(self) -> bool:
        """Does a client connect again by itself? After a 1000 of the server too: proxies have time limits."""
        return self < CloseCode.BAD_INPUT


class Invalid(Exception):  # noqa: N818 it names what the input is
    """A client's input was refused: what was wrong, where, and what would be right.

    ``ref`` is the command's, when the text was readable enough to have one; ``retry_after`` are milliseconds.
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
