"""Rooms are made, changed and shared. Functions for a thread that may use the ORM."""

import hashlib
import secrets
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone
from msgspec import UNSET

from chat import models
from chat.access.permissions import RoomPermission, check, check_over, no_room
from chat.access.policy import active_restrictions
from chat.actions.audit import keep
from chat.actions.joining import may_make
from chat.actions.policy_changes import changing, end_membership, locked
from chat.auth import Identity, account
from chat.auth.usernames import account_named
from chat.conf import chat_settings
from chat.protocol import LOBBY, Appoint, Configure, ErrorCode, Invalid, is_hidden, quoted, slug_of

Role = models.Membership.Role
Kind = models.Room.Kind


def create(who: Identity, *, title: str, kind: str, slug: str | None = None) -> str:
    """Make a room, owned by who makes it. Its slug: of a public one as given, else one that nobody can guess."""
    pk = _account(who)
    if kind == Kind.PUBLIC:
        return _create_public(who, pk, slug, title)
    with transaction.atomic():
        return _make(models.new_hidden_slug(), kind, title, {pk: Role.OWNER}, who=who)


def _create_public(who: Identity, pk: Any, slug: str | None, title: str) -> str:
    if slug == LOBBY:
        raise _known_already(slug)
    if slug is None or is_hidden(slug):
        proposed = slug_of(title)
        proposal = f"; the slug of this title is {proposed!r}" if proposed else ""
        message = f"room: a public room needs a name, not starting with _{proposal}"
        raise Invalid(ErrorCode.BAD_FIELD, message, field="room")
    if not may_make(who, slug):
        raise Invalid(ErrorCode.FORBIDDEN, "Only the staff makes public rooms here.")
    try:
        with transaction.atomic():
            return _make(slug, Kind.PUBLIC, title, {pk: Role.OWNER}, who=who)
    except IntegrityError:
        raise _known_already(slug) from None


def create_titled(who: Identity | None, slug: str, title: str) -> None:
    """Make the public room that somebody is about to enter by a name that its slug does not say, if there is none.

    Entering by the slug would make it as well, without a title.
    """
    who = who or Identity("guest")
    if slug == LOBBY or not may_make(who, slug) or models.Room.objects.filter(slug=slug).exists():
        return
    owners = {} if who.account is None else {who.account: Role.OWNER}
    # Two may have the same thought; they are of one mind about the title, too.
    with suppress(IntegrityError), transaction.atomic():
        _make(slug, Kind.PUBLIC, title, owners, who=who)


def _known_already(slug: str) -> Invalid:
    return Invalid(ErrorCode.BAD_FIELD, f"room: there is a room {slug!r} already", field="room")


def direct(who: Identity, username: str) -> str:
    """The room of two people, made where there is none."""
    pk, other = _account(who), _account_named(username)
    if str(other.pk) == str(pk):
        raise Invalid(ErrorCode.NO_PERSON, "username: you can't talk with yourself here", field="username")
    pair = models.pair_key(pk, other.pk)
    known = models.Room.objects.filter(pair=pair).first()
    if known:
        return known.slug
    try:
        with transaction.atomic():
            two = {pk: Role.MEMBER, other.pk: Role.MEMBER}
            return _make(models.new_hidden_slug(), Kind.DIRECT, "", two, who=who, pair=pair)
    except IntegrityError:
        # The other one had the same thought.
        return models.Room.objects.get(pair=pair).slug


def configure(who: Identity, command: Configure) -> None:
    """Change what is given of a room."""
    with changing(command.room, who) as (room, policy):
        if (command.read_only, command.slow) != (UNSET, UNSET):
            check(policy, who, RoomPermission.CALM)
        if (command.title, command.archived) != (UNSET, UNSET):
            check(policy, who, RoomPermission.CHANGE)
        changed = _apply(room, command)
        if changed:
            room.save(update_fields=list(changed))
            keep(room, who, "change", detail=", ".join(f"{name}: {value}" for name, value in changed.items()))


def _apply(room: models.Room, command: Configure) -> dict[str, object]:
    """What is another now, by field."""
    wanted: dict[str, object] = {"title": command.title, "read_only": command.read_only, "slow": command.slow}
    if command.archived is not UNSET and command.archived != (room.archived is not None):
        wanted["archived"] = timezone.now() if command.archived else None
    changed = {
        name: value for name, value in wanted.items() if value is not UNSET and getattr(room, name) != value
    }
    for name, value in changed.items():
        setattr(room, name, value)
    return changed


def appoint(who: Identity, command: Appoint) -> None:
    """Give somebody another role; "none" ends a membership, which everybody may do with their own."""
    with changing(command.room, who) as (room, policy):
        user = _account_named(command.username)
        other = account(user)
        leaves = other.key == who.key and command.role == "none"
        if room.kind == Kind.DIRECT:
            raise Invalid(ErrorCode.FORBIDDEN, "In a room of two there are no roles.")
        if other.key != who.key:
            check_over(policy, who, other, RoomPermission.APPOINT)
        elif not leaves:
            check(policy, who, RoomPermission.APPOINT)
        _keep_an_owner(room, user, command.role)
        if command.role == "none" or (command.role == "member" and room.kind in {Kind.PUBLIC, Kind.MEMBERS}):
            end_membership(room, user.pk)
        elif not _set_role(room, user, command.role):
            raise Invalid(ErrorCode.NO_PERSON, "username: must be a member first: invite them", field="username")
        keep(room, who, "role", target=other.key, target_name=other.name or "", detail=command.role)


def _set_role(room: models.Room, user: AbstractBaseUser, role: str) -> bool:
    membership = room.memberships.filter(user=user.pk).first()
    if membership is None:
        if room.kind == Kind.PRIVATE:
            return False
        membership = models.Membership(room=room, user_id=user.pk)
    membership.role = role
    membership.save()
    return True


def _keep_an_owner(room: models.Room, user: AbstractBaseUser, role: str) -> None:
    owners = set(room.memberships.filter(role=Role.OWNER).values_list("user", flat=True))
    if role != Role.OWNER and owners == {user.pk} and room.memberships.count() > 1:
        message = "username: the room would have no owner: make somebody else one first"
        raise Invalid(ErrorCode.FORBIDDEN, message, field="username")


# --- Invitations ---


def add(who: Identity, slug: str, username: str) -> None:
    """Make somebody a member."""
    with changing(slug, who) as (room, policy):
        check(policy, who, RoomPermission.INVITE)
        _check_invites(room)
        user = _account_named(username)
        _let_in(room, user.pk)
        keep(room, who, "invite", target=models.account_key(user.pk), target_name=user.get_username())


def make_link(who: Identity, slug: str) -> tuple[str, models.Invitation]:
    """A code that lets people in, told this once, and the invitation."""
    with changing(slug, who) as (room, policy):
        check(policy, who, RoomPermission.INVITE)
        _check_invites(room)
        code = secrets.token_urlsafe(24)
        invitation = models.Invitation.objects.create(
            room=room,
            digest=_digest(code),
            by_id=_account(who),
            expires=timezone.now() + timedelta(days=chat_settings().INVITE_LIFE),
        )
        keep(room, who, "link", detail=f"until {invitation.expires:%Y-%m-%d %H:%M} UTC")
        return code, invitation


def invitation(code: str) -> models.Invitation | None:
    """The invitation behind a link, where it still holds."""
    found = models.Invitation.objects.filter(digest=_digest(code), expires__gt=timezone.now(), room__archived=None)
    link = found.select_related("room", "by").first()
    # With the account its invitations are deleted; while it is deactivated they do not hold.
    return link if link and link.by.is_active else None


def accept(who: Identity, code: str) -> str:
    """Become a member by a link. The room's slug. Raises Invalid: no_room, room_full, banned."""
    pk = _account(who)
    with transaction.atomic():
        found = invitation(code)
        if found is None:
            raise no_room("")
        room = locked(found.room.slug) or found.room
        if (
            active_restrictions(room)
            .filter(kind=models.Restriction.Kind.BAN, person__in=[who.person, *who.browser])
            .exists()
        ):
            raise no_room("")
        if _let_in(room, pk):
            found.used += 1
            found.save(update_fields=["used"])
            keep(room, who, "accept", target=models.account_key(found.by_id), target_name=found.by.get_username())
    return room.slug


def _check_invites(room: models.Room) -> None:
    if room.kind != Kind.PRIVATE:
        raise Invalid(ErrorCode.FORBIDDEN, "Only private rooms have invitations: the others need none.")


def _let_in(room: models.Room, pk: Any) -> bool:
    """Make an account a member. False where it is one."""
    if room.memberships.filter(user=pk).exists():
        return False
    most = chat_settings().MEMBERS
    if room.memberships.count() >= most:
        raise Invalid(ErrorCode.ROOM_FULL, f"A room has at most {most} members.")
    models.Membership.objects.create(room=room, user_id=pk)
    return True


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


# --- What they have in common ---


def _make(
    slug: str, kind: str, title: str, people: dict[Any, Role], *, who: Identity, pair: str | None = None
) -> str:
    room = models.Room.objects.create(slug=slug, kind=kind, title=title, pair=pair)
    for pk, role in people.items():
        models.Membership.objects.create(room=room, user_id=pk, role=role)
    keep(room, who, "create", detail=kind)
    return slug


def _account(who: Identity) -> Any:
    if who.account is None:
        raise Invalid(ErrorCode.SIGN_IN, "Only people with an account can do this: sign in.")
    return who.account


def _account_named(username: str) -> AbstractBaseUser:
    """Raises Invalid (no_person)."""
    user = account_named(username)
    if user is None or not user.is_active:
        raise Invalid(
            ErrorCode.NO_PERSON, f"username: nobody here has an account {quoted(username)}", field="username"
        )
    return user
