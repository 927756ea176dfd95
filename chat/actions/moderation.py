"""Somebody is put out of a room, muted, or reported. Functions for a thread that may use the ORM."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from chat import models
from chat.access.permissions import RoomPermission, check, check_over
from chat.access.policy import Policy
from chat.actions.audit import keep
from chat.actions.guards import given
from chat.actions.policy_changes import changing, end_membership
from chat.auth import Identity, account
from chat.auth.usernames import account_named
from chat.conf import chat_settings
from chat.limits import is_shared_address
from chat.protocol import Ban, ErrorCode, Invalid, Kick, Mute, Report, quoted

Kind = models.Restriction.Kind


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody who is in the room now: who they are, and where from."""

    identity: Identity
    name: str
    addresses: frozenset[str] = frozenset()


def kick(who: Identity, command: Kick, here: Target | None) -> None:
    """Put somebody out for a while; of a room that is not public they are no member any more."""
    with changing(command.room, who) as (room, policy):
        check(policy, who, RoomPermission.MODERATE)
        target = _target(room, policy, who, command, here)
        addresses = _addresses(command, target)
        _put_out(room, target)
        if seconds := chat_settings().KICK:
            _restrict(room, Kind.BAN, who, target, addresses, seconds=seconds, reason=command.reason)
        _record(room, who, "kick", target, f"{_also(addresses)} {command.reason}")


def restrict(who: Identity, command: Mute | Ban, here: Target | None) -> None:
    """Mute or ban somebody, or lift that."""
    kind = Kind.BAN if isinstance(command, Ban) else Kind.MUTE
    with changing(command.room, who) as (room, policy):
        check(policy, who, RoomPermission.MODERATE)
        if not command.on:
            _lift(room, kind, who, command.username)
            return
        target = _target(room, policy, who, command, here)
        addresses = _addresses(command, target)
        seconds = given(command.seconds)
        _restrict(room, kind, who, target, addresses, seconds=seconds, reason=command.reason)
        if kind == Kind.BAN:
            _put_out(room, target)
        length = "for good" if seconds is None else f"{seconds} s"
        _record(room, who, kind, target, f"{length} {_also(addresses)} {command.reason}")


def report(who: Identity, command: Report) -> None:
    """Tell the staff of a message, and keep its text. A second report of a person counts for another text only."""
    with changing(command.room, who) as (room, _):
        message = room.messages.filter(number=command.id, deleted=None, hidden=False).first()
        if message is None:
            raise Invalid(ErrorCode.NOT_FOUND, "id: there is no such message in this room", field="id")
        theirs = room.reports.filter(number=command.id, reporter=who.key, content=message.content)
        if theirs.exists():
            return
        kept = models.Report(
            room=room, number=command.id, reporter=who.key, username=who.name or "", reason=command.reason
        )
        kept.keep(message)
        kept.save()


def _target(
    room: models.Room, policy: Policy, who: Identity, command: Kick | Mute | Ban, here: Target | None
) -> Target:
    """Whom the command names, if it may be done to them."""
    target = here or _find(room, command.username)
    check_over(policy, who, target.identity, RoomPermission.MODERATE)
    return target


def restrictable(addresses: Iterable[str]) -> list[str]:
    """The addresses that are not a proxy's."""
    return sorted(address for address in addresses if not is_shared_address(address))


def _addresses(command: Kick | Mute | Ban, target: Target) -> list[str]:
    """The addresses to restrict beside the person: none, unless that is asked for. Raises Invalid."""
    if not command.address:
        return []
    found = restrictable(target.addresses)
    if not found:
        message = "address: nobody knows theirs, or it is a proxy's, behind which others are: leave it out"
        raise Invalid(ErrorCode.BAD_FIELD, message, field="address")
    return found


def _also(addresses: list[str]) -> str:
    return "with the address" if addresses else ""


def _put_out(room: models.Room, target: Target) -> None:
    if target.identity.account is not None:
        end_membership(room, target.identity.account)


def _find(room: models.Room, username: str) -> Target:
    """Somebody who is not here now: an account of this name, or who last spoke under it. Raises Invalid."""
    user = account_named(username)
    if user is not None:
        return Target(account(user), user.get_username())
    said = room.messages.filter(username=username, author__startswith="guest:").order_by("-number").first()
    if said is None:
        message = f"username: nobody called {quoted(username)} is or was here, as far as can be told"
        raise Invalid(ErrorCode.NO_PERSON, message, field="username")
    return Target(Identity(key=said.author, lasting=True), username)


def _restrict(
    room: models.Room,
    kind: Kind,
    who: Identity,
    target: Target,
    addresses: list[str],
    *,
    seconds: float | None,
    reason: str,
) -> None:
    """One for the person, or one for each address and the person; they take the place of the former ones."""
    for former in room.restrictions.filter(kind=kind, person=target.identity.person):
        former.delete()
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
            by=who.name or "",
        )


def _lift(room: models.Room, kind: Kind, who: Identity, username: str) -> None:
    found = list(room.restrictions.filter(kind=kind, username=username))
    if not found:
        raise Invalid(
            ErrorCode.NO_PERSON, f"username: {quoted(username)} is not {kind.label} here", field="username"
        )
    for restriction in found:
        restriction.delete()
    keep(room, who, f"un{kind}", target=found[0].person, target_name=username)


def _record(room: models.Room, who: Identity, action: str, target: Target, detail: str) -> None:
    keep(room, who, action, target=target.identity.key, target_name=target.name, detail=" ".join(detail.split()))
