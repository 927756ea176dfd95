"""Rules: what an identity may do in a room. Every rule stands here, and nothing else decides one.

A room that an identity may not see is answered in the same way as a room that does not exist.
"""

import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

from msgspec import UNSET

from chat.access.authorize import ALLOWED, DENIED, Verdict
from chat.access.policy import ActiveRestriction, Policy
from chat.auth import Identity
from chat.conf import chat_settings
from chat.limits import is_shared_address, limit_key
from chat.models import Closed
from chat.protocol import AboutRoom, ErrorCode, Invalid, Role, no_room

RANKS: Final = {"guest": 0, "member": 1, "moderator": 2, "owner": 3}


class RoomPermission(StrEnum):
    """Operations for which a role is required. The value ends the sentence "Only … can"."""

    HIDE = "delete the messages of others"
    MODERATE = "mute, remove or ban people"
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


def role_of(policy: Policy, identity: Identity) -> Role | None:
    """The identity's role in the room. None: the identity may not see the room.

    Staff who may moderate everywhere are owners, except of private and direct rooms.
    """
    if policy.verdicts is not None and not _verdict(policy, identity).see:
        return None
    given = policy.roles.get(identity.account)
    if policy.kind in {"private", "direct"}:
        return given  # type: ignore[return-value]  # the model's choices are the protocol's
    if identity.account is None:
        return "guest" if policy.kind == "public" else None
    return "owner" if identity.staff else given or "member"  # type: ignore[return-value]  # as above


def check_entering(policy: Policy, identity: Identity, address: str, slug: str) -> None:
    """Raises Invalid: no_room, sign_in, forbidden, banned."""
    if role_of(policy, identity) is None:
        raise no_room(slug)
    if not _verdict(policy, identity).enter:
        raise Invalid(ErrorCode.FORBIDDEN, "You may not enter this room.")
    if identity.account is None and not chat_settings().GUESTS:
        raise Invalid(ErrorCode.SIGN_IN, "Only people with an account may enter this room: sign in.")
    if ban := _active(policy, policy.bans, identity, address):
        raise _refusal(ErrorCode.BANNED, "You may not be in this room", ban)


def check_posting(policy: Policy, identity: Identity, address: str) -> None:
    """Raises Invalid: read_only, muted."""
    if policy.closed:
        raise Invalid(ErrorCode.READ_ONLY, CLOSED[policy.closed])
    if policy.archived:
        raise Invalid(ErrorCode.READ_ONLY, "This room is archived: it can only be read.")
    if policy.read_only and _rank(policy, identity) < RANKS["moderator"]:
        raise Invalid(ErrorCode.READ_ONLY, "Only this room's owners and moderators may post in it.")
    if not _verdict(policy, identity).post:
        raise Invalid(ErrorCode.READ_ONLY, "You may not post in this room.")
    if mute := _active(policy, policy.mutes, identity, address):
        raise _refusal(ErrorCode.MUTED, "You may not post in this room", mute)


def slow_mode_pause(policy: Policy, identity: Identity) -> int:
    """Seconds that must pass between two messages of this person. Moderators and owners have no slow mode."""
    return policy.slow if _rank(policy, identity) < RANKS["moderator"] else 0


def may(policy: Policy, identity: Identity, permission: RoomPermission) -> bool:
    return _rank(policy, identity) >= RANKS[REQUIRED_ROLE[permission]]


def check(policy: Policy, identity: Identity, permission: RoomPermission) -> None:
    """Raises Invalid: forbidden."""
    if not may(policy, identity, permission):
        roles = "this room's owners" + (" and moderators" if REQUIRED_ROLE[permission] == "moderator" else "")
        raise Invalid(ErrorCode.FORBIDDEN, f"Only {roles} can {permission}.")


def check_over(policy: Policy, identity: Identity, other: Identity, permission: RoomPermission) -> None:
    """Check that ``identity`` may do this to ``other``: to a lower role, or as an owner to anyone but oneself.

    Raises Invalid: forbidden.
    """
    check(policy, identity, permission)
    if identity.key == other.key:
        raise Invalid(ErrorCode.FORBIDDEN, "username: that is you", field="username")
    mine, theirs = _rank(policy, identity), _rank(policy, other)
    if mine <= theirs and mine < RANKS["owner"]:
        message = "username: only an owner can do this to somebody of that role"
        raise Invalid(ErrorCode.FORBIDDEN, message, field="username")


def about_room(policy: Policy, identity: Identity, address: str) -> AboutRoom:
    """The room's settings and the identity's permissions in it, for the client."""
    mute = _active(policy, policy.mutes, identity, address)
    return AboutRoom(
        role=role_of(policy, identity) or "guest",
        title=title_for(policy, identity),
        kind=policy.kind,  # type: ignore[arg-type]  # the model's choices are the protocol's
        read_only=policy.read_only or not _verdict(policy, identity).post,
        slow=policy.slow,
        # An older client that doesn't know `closed` knows `archived`.
        archived=policy.archived or bool(policy.closed),
        closed=policy.closed or UNSET,
        muted=UNSET if mute is None else round(1_000 * (mute.until or 0)),
    )


def title_for(policy: Policy, identity: Identity) -> str:
    """The room's title. A direct room is called by the other person's name."""
    return policy.pair.title_for(identity.key) if policy.pair else policy.title


def _verdict(policy: Policy, identity: Identity) -> Verdict:
    """The project's verdict on this identity: everything, if it has no rules of its own."""
    return ALLOWED if policy.verdicts is None else policy.verdicts.get(identity.key, DENIED)


def _rank(policy: Policy, identity: Identity) -> int:
    role = role_of(policy, identity)
    return -1 if role is None else RANKS[role]


def _active(
    policy: Policy, restrictions: Mapping[str, ActiveRestriction], identity: Identity, address: str
) -> ActiveRestriction | None:
    """The restriction that holds for this identity now, if any."""
    if not restrictions:
        return None
    now = time.time()
    found = (restrictions[key] for key in _keys(policy, identity, address) if key in restrictions)
    return next((restriction for restriction in found if restriction.holds(now)), None)


def _keys(policy: Policy, identity: Identity, address: str) -> Iterator[str]:
    """The keys by which a restriction reaches an identity: the person, their browser, and a guest's address.

    Former identities of the browser count, also for accounts: a second account is made in a minute. They do not
    count for staff, and for an account that was given a role in the room. A shared address is never a reason.
    """
    yield identity.person
    if identity.account not in policy.roles and not identity.staff:
        yield from identity.browser
    if identity.account is None and not is_shared_address(address):
        yield limit_key(address)


def _refusal(code: ErrorCode, message: str, restriction: ActiveRestriction) -> Invalid:
    left = restriction.left(time.time())
    if left is None:
        return Invalid(code, f"{message}.")
    return Invalid(code, f"{message} for now.", retry_after=max(1, round(1_000 * left)))
