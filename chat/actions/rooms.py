"""Create and configure rooms. Functions for a thread that may use the ORM."""

from contextlib import suppress
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from msgspec import UNSET

from chat import models
from chat.access.permissions import RoomPermission, check
from chat.access.policy import Policy
from chat.actions.guards import changing_policy, require_account, require_user
from chat.actions.joining import may_create
from chat.auth import Identity
from chat.protocol import LOBBY, Configure, ErrorCode, Invalid, is_hidden, slug_of

Role = models.Membership.Role
RoomKind = models.Room.Kind


def create(identity: Identity, *, title: str, kind: str, slug: str | None = None) -> str:
    """Create a room, owned by its creator. Returns its slug.

    A public room has the given slug, every other room one that nobody can guess. Raises Invalid: sign_in,
    bad_field, forbidden.
    """
    account = require_account(identity)
    if kind == RoomKind.PUBLIC:
        return _create_public(identity, account, slug, title)
    with transaction.atomic():
        return _insert(models.new_hidden_slug(), kind, title, {account: Role.OWNER}, actor=identity)


def _create_public(identity: Identity, account: Any, slug: str | None, title: str) -> str:
    if slug == LOBBY:
        raise _exists(slug)
    if slug is None or is_hidden(slug):
        proposed = slug_of(title)
        proposal = f"; the slug of this title is {proposed!r}" if proposed else ""
        message = f"room: a public room needs a name, not starting with _{proposal}"
        raise Invalid(ErrorCode.BAD_FIELD, message, field="room")
    if not may_create(identity, slug):
        raise Invalid(ErrorCode.FORBIDDEN, "Only the staff creates public rooms here.")
    try:
        with transaction.atomic():
            return _insert(slug, RoomKind.PUBLIC, title, {account: Role.OWNER}, actor=identity)
    except IntegrityError:
        raise _exists(slug) from None


def create_titled(identity: Identity | None, slug: str, title: str) -> None:
    """Create a public room that a person is about to enter, so that it has a title. An existing room is kept.

    A join creates such a room too, but without a title.
    """
    identity = identity or Identity("guest")
    if slug == LOBBY or not may_create(identity, slug) or models.Room.objects.filter(slug=slug).exists():
        return
    owners = {} if identity.account is None else {identity.account: Role.OWNER}
    # Two people may do this at the same time. Either's room will do.
    with suppress(IntegrityError), transaction.atomic():
        _insert(slug, RoomKind.PUBLIC, title, owners, actor=identity)


def _exists(slug: str) -> Invalid:
    return Invalid(ErrorCode.BAD_FIELD, f"room: there is a room {slug!r} already", field="room")


def open_direct(identity: Identity, username: str) -> str:
    """The slug of the direct room with another account.

    The first call creates it. Raises Invalid: sign_in, no_person.
    """
    account, other = require_account(identity), require_user(username)
    if str(other.pk) == str(account):
        raise Invalid(ErrorCode.NO_PERSON, "username: you can't talk with yourself here", field="username")
    pair = models.pair_key(account, other.pk)
    existing = models.Room.objects.filter(pair=pair).first()
    if existing:
        return existing.slug
    try:
        with transaction.atomic():
            two = {account: Role.MEMBER, other.pk: Role.MEMBER}
            return _insert(models.new_hidden_slug(), RoomKind.DIRECT, "", two, actor=identity, pair=pair)
    except IntegrityError:
        # The other person created it at the same time.
        return models.Room.objects.get(pair=pair).slug


def _insert(
    slug: str, kind: str, title: str, members: dict[Any, Role], *, actor: Identity, pair: str | None = None
) -> str:
    room = models.Room.objects.create(slug=slug, kind=kind, title=title, pair=pair)
    for account, role in members.items():
        models.Membership.objects.create(room=room, user_id=account, role=role)
    models.AuditEntry.objects.record(room, actor, "create", detail=kind)
    return slug


def configure(identity: Identity, command: Configure, known: Policy | None = None) -> None:
    """Set the fields that the command has. Raises Invalid: no_room, forbidden."""
    with changing_policy(command.room, identity, known) as (room, policy):
        if (command.read_only, command.slow) != (UNSET, UNSET):
            check(policy, identity, RoomPermission.CALM)
        if (command.title, command.archived) != (UNSET, UNSET):
            check(policy, identity, RoomPermission.CHANGE)
        changed = _set_fields(room, command)
        if changed:
            room.save(update_fields=list(changed))
            detail = ", ".join(f"{name}: {value}" for name, value in changed.items())
            models.AuditEntry.objects.record(room, identity, "change", detail=detail)


def _set_fields(room: models.Room, command: Configure) -> dict[str, object]:
    """Set the row's fields. Returns those that changed, with their new values."""
    wanted: dict[str, object] = {"title": command.title, "read_only": command.read_only, "slow": command.slow}
    if command.archived is not UNSET and command.archived != (room.archived is not None):
        wanted["archived"] = timezone.now() if command.archived else None
    changed = {
        name: value for name, value in wanted.items() if value is not UNSET and getattr(room, name) != value
    }
    for name, value in changed.items():
        setattr(room, name, value)
    return changed
