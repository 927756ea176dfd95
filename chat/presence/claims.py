"""A socket's request to join a room, and the claim to a name that it gets."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chat.auth import Identity
from chat.presence.state import Occupant, PresenceDiff


class JoinRequest(NamedTuple):
    """A socket that joins a room."""

    slug: str
    identity: Identity
    name: str
    # The socket's id and address.
    socket: str
    address: str = ""


@dataclass(slots=True)
class Claim:
    """The right to join a room under a name."""

    request: JoinRequest
    key: str
    # The registry's version of the room that has the user; 0 if the registry was not asked.
    version: int = 0
    # Processes where the name belonged to a user in the grace.
    taken_from: Sequence[str] = ()
    # How many resyncs this process had made when the registry was asked; None if it was not asked.
    resyncs: int | None = None
    # True if the socket is the user's first one in the room. Set by ``Presence.enter``.
    first: bool = False
    # Joins and leaves to send to the room for the user's new name; None if the name is the same.
    renamed: PresenceDiff | None = None


def since_of(occupant: Occupant | None, request: JoinRequest) -> float:
    """The time since which the user is in the room under this name (seconds since 1970).

    If an account has two names in a room, the one with the later time counts.
    """
    if occupant is None:
        return time.time()
    return occupant.since if occupant.name == request.name else max(time.time(), occupant.since + 0.001)
