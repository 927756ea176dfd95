"""Kick, mute, ban and report people. Functions for a thread that may use the ORM."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from chat import models
from chat.access.permissions import RoomPermission, check, check_over
from chat.access.policy import Policy
from chat.actions.guards import changing_policy
from chat.auth import Identity, account
from chat.auth.usernames import account_named
from chat.conf import chat_settings
from chat.limits import is_shared_address
from chat.protocol import Ban, ErrorCode, Invalid, Kick, Mute, Report, given, quoted

RestrictionKind = models.Restriction.Kind


@dataclass(frozen=True, slots=True)
class Target:
    """The person that a command is about, and the addresses of their sockets in the room."""

    identity: Identity
    name: str
    addresses: frozenset[str] = frozenset()


def kick(identity: Identity, command: Kick, here: Target | None, known: Policy | None = None) -> None:
    """Ban a person for KICK seconds, and end their membership. ``here``: the target, if in the room now.

    Raises Invalid: no_room, forbidden, no_person, bad_field.
    """
    with changing_policy(command.room, identity, known) as (room, policy):
        check(policy, identity, RoomPermission.MODERATE)
        target = _target(room, policy, identity, command, here)
        addresses = _addresses(command, target)
        _end_membership(room, target)
        if seconds := chat_settings().KICK:
            _restrict(
                room, RestrictionKind.BAN, identity, target, addresses, seconds=seconds, reason=command.reason
            )
        _record(room, identity, "kick", target, f"{_with_address(addresses)} {command.reason}")


def restrict(identity: Identity, command: Mute | Ban, here: Target | None, known: Policy | None = None) -> None:
    """Mute or ban a person, or lift that. ``here``: the target, if in the room now.

    Raises Invalid: no_room, forbidden, no_person, bad_field.
    """
    kind = RestrictionKind.BAN if isinstance(command, Ban) else RestrictionKind.MUTE
    with changing_policy(command.room, identity, known) as (room, policy):
        check(policy, identity, RoomPermission.MODERATE)
        if not command.on:
            _lift(room, kind, identity, command.username)
            return
        target = _target(room, policy, identity, command, here)
        addresses = _addresses(command, target)
        seconds = given(command.seconds)
        _restrict(room, kind, identity, target, addresses, seconds=seconds, reason=command.reason)
        if kind == RestrictionKind.BAN:
            _end_membership(room, target)
        length = "for good" if seconds is None else f"{seconds} s"
        _record(room, identity, kind, target, f"{length} {_with_address(addresses)} {command.reason}")


def report(identity: Identity, command: Report, known: Policy | None = None) -> None:
    """Report a message to the staff, and keep its text. Only a changed text can be reported twice by one person.

    Raises Invalid: no_room, not_found.
    """
    with changing_policy(command.room, identity, known) as (room, _):
        message = room.messages.filter(number=command.id, deleted=None, hidden=False).first()
        if message is None:
            raise Invalid(ErrorCode.NOT_FOUND, "id: there is no such message in this room", field="id")
        earlier = room.reports.filter(number=command.id, reporter=identity.key, content=message.content)
        if earlier.exists():
            return
        row = models.Report(
            room=room,
            number=command.id,
            reporter=identity.key,
            username=identity.name or "",
            reason=command.reason,
        )
        row.copy_message(message)
        row.save()


def _target(
    room: models.Room, policy: Policy, identity: Identity, command: Kick | Mute | Ban, here: Target | None
) -> Target:
    """The person that the command names. Raises Invalid: no_person, forbidden."""
    target = here or _absent_target(room, command.username)
    check_over(policy, identity, target.identity, RoomPermission.MODERATE)
    return target


def _absent_target(room: models.Room, username: str) -> Target:
    """An account of this name, or the guest who posted last under it. Raises Invalid: no_person."""
    user = account_named(username)
    if user is not None:
        return Target(account(user), user.get_username())
    last = room.messages.filter(username=username, author__startswith="guest:").order_by("-number").first()
    if last is None:
        message = f"username: nobody called {quoted(username)} is or was here, as far as can be told"
        raise Invalid(ErrorCode.NO_PERSON, message, field="username")
    return Target(Identity(key=last.author, lasting=True), username)


def restrictable(addresses: Iterable[str]) -> list[str]:
    """The addresses that are not a proxy's."""
    return sorted(address for address in addresses if not is_shared_address(address))


def _addresses(command: Kick | Mute | Ban, target: Target) -> list[str]:
    """The addresses to restrict beside the person: none, unless the command asks for it.

    Raises Invalid: bad_field.
    """
    if not command.address:
        return []
    found = restrictable(target.addresses)
    if not found:
        message = "address: nobody knows theirs, or it is a proxy's, behind which others are: leave it out"
        raise Invalid(ErrorCode.BAD_FIELD, message, field="address")
    return found


def _with_address(addresses: list[str]) -> str:
    return "with the address" if addresses else ""


def _end_membership(room: models.Room, target: Target) -> None:
    if target.identity.account is not None:
        room.memberships.filter(user=target.identity.account).delete()


def _restrict(
    room: models.Room,
    kind: RestrictionKind,
    identity: Identity,
    target: Target,
    addresses: list[str],
    *,
    seconds: float | None,
    reason: str,
) -> None:
    """Replace the person's restrictions of this kind: by a row per address, or by one row without an address.

    ``seconds`` None: without an end.
    """
    room.restrictions.filter(kind=kind, person=target.identity.person).delete()
    places: list[str | None] = [*addresses]
    for address in places or [None]:
        models.Restriction.objects.create(
            room=room,
            kind=kind,
            person=target.identity.person,
            address=address,
            username=target.name,
            until=None if seconds is None else timezone.now() + timedelta(seconds=seconds),
            reason=reason,
            by=identity.name or "",
        )


def _lift(room: models.Room, kind: RestrictionKind, identity: Identity, username: str) -> None:
    restrictions = room.restrictions.filter(kind=kind, username=username)
    found = restrictions.first()
    if found is None:
        message = f"username: {quoted(username)} is not {kind.label} here"
        raise Invalid(ErrorCode.NO_PERSON, message, field="username")
    restrictions.delete()
    models.AuditEntry.objects.record(room, identity, f"un{kind}", target=found.person, target_name=username)


def _record(room: models.Room, identity: Identity, action: str, target: Target, detail: str) -> None:
    models.AuditEntry.objects.record(
        room,
        identity,
        action,
        target=target.identity.key,
        target_name=target.name,
        detail=" ".join(detail.split()),
    )
