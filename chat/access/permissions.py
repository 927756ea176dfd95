"""Who may do what in a room: every rule stands here, and nothing else decides one.

A room that one may not see is answered for as one that does not exist.
"""

import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

from msgspec import UNSET

from chat.access.policy import ActiveRestriction, Policy
from chat.auth import Identity
from chat.conf import chat_settings
from chat.limits import is_shared_address, limit_key
from chat.models import Closed
from chat.protocol import AboutRoom, ErrorCode, Invalid, Role

RANKS: Final = {"guest": 0, "member": 1, "moderator": 2, "owner": 3}


class RoomPermission(StrEnum):
    """What not everybody in a room may do; the value goes on with "Only … can"."""

    HIDE = "delete the messages of others"
    MODERATE = "mute people or put them out"
    CALM = "slow the room down or make it read-only"
    INVITE = "invite people"
    APPOINT = "give people roles"
    CHANGE = "rename or archive the room"


REQUIRED_ROLE: Final[dict[RoomPermission, Role]] = {
    RoomPermission.HIDE: "moderator",
    RoomPermission.MODERATE: "moderator",
    RoomPermission.CALM: "moderator",
    RoomPermission.INVITE: "moderator",
    RoomPermission.APPOINT: "owner",
    RoomPermission.CHANGE: "owner",
}


CLOSED: Final[dict[Closed, str]] = {
    "deleted": "The other account was deleted: this conversation can only be read.",
    "deactivated": "The other account is deactivated: this conversation can only be read.",
    "left": "The other person is not in this conversation any more: it can only be read.",
}


def no_room(slug: str) -> Invalid:
    return Invalid(ErrorCode.NO_ROOM, f"room: there is no room {slug!r} for you", field="room")


def role_of(policy: Policy, who: Identity) -> Role | None:
    """What somebody is in the room; None where it is not there for them.

    The staff who may moderate everywhere are owners, except of what is private.
    """
    given = policy.roles.get(who.key)
    if policy.kind in {"private", "direct"}:
        return given  # type: ignore[return-value]  # the model's choices are the protocol's
    if who.account is None:
        return "guest" if policy.kind == "public" else None
    return "owner" if who.staff else given or "member"  # type: ignore[return-value]  # as above


def check_entering(policy: Policy, who: Identity, address: str, slug: str) -> None:
    """Raises Invalid: no_room, sign_in, banned."""
    if role_of(policy, who) is None:
        raise no_room(slug)
    if who.account is None and not chat_settings().GUESTS:
        raise Invalid(ErrorCode.SIGN_IN, "Only people with an account may come in here: sign in.")
    if ban := _restricted(policy, policy.bans, who, address):
        raise _for_so_long(ErrorCode.BANNED, "You may not be in this room", ban)


def check_posting(policy: Policy, who: Identity, address: str) -> None:
    """Raises Invalid: read_only, muted."""
    if policy.closed:
        raise Invalid(ErrorCode.READ_ONLY, CLOSED[policy.closed])
    if policy.archived:
        raise Invalid(ErrorCode.READ_ONLY, "This room is archived: it can only be read.")
    if policy.read_only and _rank(policy, who) < RANKS["moderator"]:
        raise Invalid(ErrorCode.READ_ONLY, "Only this room's owners and moderators may speak in it.")
    if mute := _restricted(policy, policy.mutes, who, address):
        raise _for_so_long(ErrorCode.MUTED, "You may not speak in this room", mute)


def slow_mode_pause(policy: Policy, who: Identity) -> int:
    """Seconds between two messages of theirs. Slow mode is not for those who look after the room."""
    return policy.slow if _rank(policy, who) < RANKS["moderator"] else 0


def may(policy: Policy, who: Identity, verb: RoomPermission) -> bool:
    return _rank(policy, who) >= RANKS[REQUIRED_ROLE[verb]]


def check(policy: Policy, who: Identity, verb: RoomPermission) -> None:
    """Raises Invalid (forbidden)."""
    if not may(policy, who, verb):
        roles = "this room's owners" + (" and moderators" if REQUIRED_ROLE[verb] == "moderator" else "")
        raise Invalid(ErrorCode.FORBIDDEN, f"Only {roles} can {verb}.")


def check_over(policy: Policy, who: Identity, other: Identity, verb: RoomPermission) -> None:
    """May ``who`` do it to ``other``? Only to those of a lower role; owners also to owners. Not to oneself."""
    check(policy, who, verb)
    if who.key == other.key:
        raise Invalid(ErrorCode.FORBIDDEN, "username: that is you", field="username")
    mine, theirs = _rank(policy, who), _rank(policy, other)
    if mine <= theirs and mine < RANKS["owner"]:
        message = "username: only an owner can do this to somebody of that role"
        raise Invalid(ErrorCode.FORBIDDEN, message, field="username")


def about_room(policy: Policy, who: Identity, address: str) -> AboutRoom:
    """The room as somebody finds it who is in it."""
    mute = _restricted(policy, policy.mutes, who, address)
    return AboutRoom(
        role=role_of(policy, who) or "guest",
        title=title_for(policy, who),
        kind=policy.kind,  # type: ignore[arg-type]  # the model's choices are the protocol's
        read_only=policy.read_only,
        slow=policy.slow,
        # A client that doesn't know `closed` knows what that means.
        archived=policy.archived or bool(policy.closed),
        closed=policy.closed or UNSET,
        muted=UNSET if mute is None else round(1_000 * (mute.until or 0)),
    )


def title_for(policy: Policy, who: Identity) -> str:
    """Of two, the other one's name."""
    return policy.pair.title_for(who.key) if policy.pair else policy.title


def _rank(policy: Policy, who: Identity) -> int:
    role = role_of(policy, who)
    return -1 if role is None else RANKS[role]


def _restricted(
    policy: Policy, found: Mapping[str, ActiveRestriction], who: Identity, address: str
) -> ActiveRestriction | None:
    """The restriction for a person: by their identity, by their browser, and for guests by their address."""
    if not found:
        return None
    now = time.time()
    keys = _restricted_as(policy, who, address)
    return next((found[key] for key in keys if key in found and found[key].holds(now)), None)


def _restricted_as(policy: Policy, who: Identity, address: str) -> Iterator[str]:
    """By what somebody is known here.

    Former identities of the browser count, also for accounts: a second one is made in a minute. But an account
    that was given a role in the room is judged by itself alone, and so is the staff. An address that stands for
    many people is never a reason.
    """
    yield who.person
    if who.key not in policy.roles and not who.staff:
        yield from who.browser
    if who.account is None and not is_shared_address(address):
        yield limit_key(address)


def _for_so_long(code: ErrorCode, message: str, restricted: ActiveRestriction) -> Invalid:
    left = restricted.left(time.time())
    if left is None:
        return Invalid(code, f"{message}.")
    return Invalid(code, f"{message} for now.", retry_after=max(1, round(1_000 * left)))
