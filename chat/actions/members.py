"""Members of a room: their roles, and invitations. Functions for a thread that may use the ORM."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from chat import models
from chat.access.permissions import RoomPermission, check, check_over
from chat.access.policy import Policy, active_restrictions
from chat.actions.guards import changing_policy, require_account, require_user
from chat.auth import Identity, account
from chat.conf import chat_settings
from chat.protocol import Appoint, ErrorCode, Invalid, no_room

Role = models.Membership.Role
RoomKind = models.Room.Kind

# --- Roles ---


def appoint(identity: Identity, command: Appoint, known: Policy | None = None) -> None:
    """Give a person another role. "none" ends a membership, which everybody may do with their own.

    Raises Invalid: no_room, no_person, forbidden.
    """
    with changing_policy(command.room, identity, known) as (room, policy):
        user = require_user(command.username)
        other = account(user)
        _check_appointing(room, policy, identity, other, command.role)
        _require_an_owner(room, user, command.role)
        if command.role == "none" or (
            command.role == "member" and room.kind in {RoomKind.PUBLIC, RoomKind.MEMBERS}
        ):
            room.memberships.filter(user=user.pk).delete()
        elif not _set_role(room, user, command.role):
            raise Invalid(ErrorCode.NO_PERSON, "username: must be a member first: invite them", field="username")
        models.AuditEntry.objects.record(
            room, identity, "role", target=other.key, target_name=other.name or "", detail=command.role
        )


def _check_appointing(room: models.Room, policy: Policy, identity: Identity, other: Identity, role: str) -> None:
    if room.kind == RoomKind.DIRECT:
        raise Invalid(ErrorCode.FORBIDDEN, "A direct room has no roles.")
    if other.key != identity.key:
        check_over(policy, identity, other, RoomPermission.APPOINT)
    elif role != "none":
        check(policy, identity, RoomPermission.APPOINT)


def _set_role(room: models.Room, user: AbstractBaseUser, role: str) -> bool:
    """Save the role. False if the user is no member of a private room."""
    membership = room.memberships.filter(user=user.pk).first()
    if membership is None:
        if room.kind == RoomKind.PRIVATE:
            return False
        membership = models.Membership(room=room, user_id=user.pk)
    membership.role = role
    membership.save()
    return True


def _require_an_owner(room: models.Room, user: AbstractBaseUser, role: str) -> None:
    owners = set(room.memberships.filter(role=Role.OWNER).values_list("user", flat=True))
    if role != Role.OWNER and owners == {user.pk} and room.memberships.count() > 1:
        message = "username: the room would have no owner: make somebody else one first"
        raise Invalid(ErrorCode.FORBIDDEN, message, field="username")


# --- Invitations ---


def add(identity: Identity, slug: str, username: str, known: Policy | None = None) -> None:
    """Make a person a member. Raises Invalid: no_room, no_person, forbidden, room_full."""
    with changing_policy(slug, identity, known) as (room, policy):
        check(policy, identity, RoomPermission.INVITE)
        _require_private(room)
        user = require_user(username)
        _add_member(room, user.pk)
        models.AuditEntry.objects.record(
            room, identity, "invite", target=models.account_key(user.pk), target_name=user.get_username()
        )


def make_link(identity: Identity, slug: str, known: Policy | None = None) -> tuple[str, models.Invitation]:
    """Create an invitation.

    Returns its code, which is kept nowhere, and its row. Raises Invalid: no_room, forbidden.
    """
    with changing_policy(slug, identity, known) as (room, policy):
        check(policy, identity, RoomPermission.INVITE)
        _require_private(room)
        code = secrets.token_urlsafe(24)
        invitation = models.Invitation.objects.create(
            room=room,
            digest=_digest(code),
            by_id=require_account(identity),
            expires=timezone.now() + timedelta(days=chat_settings().INVITE_LIFE),
        )
        detail = f"until {invitation.expires:%Y-%m-%d %H:%M} UTC"
        models.AuditEntry.objects.record(room, identity, "link", detail=detail)
        return code, invitation


def invitation(code: str) -> models.Invitation | None:
    """The invitation with this code. None if it has expired, or its room is archived or its author inactive."""
    found = models.Invitation.objects.filter(digest=_digest(code), expires__gt=timezone.now(), room__archived=None)
    link = found.select_related("room", "by").first()
    # An account that is deleted takes its invitations with it. A deactivated account still has them.
    return link if link and link.by.is_active else None


def accept(identity: Identity, code: str) -> str:
    """Become a member by an invitation. Returns the room's slug. Raises Invalid: sign_in, no_room, room_full."""
    account = require_account(identity)
    with transaction.atomic():
        found = invitation(code)
        if found is None:
            raise no_room("")
        room = models.Room.objects.filter(slug=found.room.slug).locked().first() or found.room
        if _is_banned(room, identity):
            raise no_room("")
        if _add_member(room, account):
            found.used += 1
            found.save(update_fields=["used"])
            models.AuditEntry.objects.record(
                room,
                identity,
                "accept",
                target=models.account_key(found.by_id),
                target_name=found.by.get_username(),
            )
    return room.slug


def _is_banned(room: models.Room, identity: Identity) -> bool:
    bans = active_restrictions(room).filter(kind=models.Restriction.Kind.BAN)
    return bans.filter(person__in=[identity.person, *identity.browser]).exists()


def _require_private(room: models.Room) -> None:
    if room.kind != RoomKind.PRIVATE:
        raise Invalid(ErrorCode.FORBIDDEN, "Only private rooms have invitations: the others need none.")


def _add_member(room: models.Room, account: Any) -> bool:
    """False if the account is a member already. Raises Invalid: room_full."""
    if room.memberships.filter(user=account).exists():
        return False
    most = chat_settings().MEMBERS
    if room.memberships.count() >= most:
        raise Invalid(ErrorCode.ROOM_FULL, f"A room has at most {most} members.")
    models.Membership.objects.create(room=room, user_id=account)
    return True


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
