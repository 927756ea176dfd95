"""A room's policy: its settings, roles, mutes and bans, as the database has them.

It is loaded when a room is opened, and again when the room's counter ``rules`` has moved. The rules that follow
from it stand in chat.access.permissions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q, QuerySet
from django.utils import timezone

from chat import models
from chat.access.authorize import Verdict, verdicts
from chat.auth import Identity
from chat.conf import chat_settings
from chat.limits import limit_key


@dataclass(frozen=True, slots=True)
class ActiveRestriction:
    """A mute or a ban. ``until``: its end, in seconds since 1970; None: it has no end."""

    until: float | None = None

    def left(self, now: float) -> float | None:
        """Seconds from ``now`` to its end, at most 0 if it is over. None: it has no end."""
        return None if self.until is None else self.until - now

    def holds(self, now: float) -> bool:
        return self.until is None or self.until > now


@dataclass(frozen=True, slots=True)
class Policy:
    """A room's rules, as of its counter ``rules`` in its life ``epoch``."""

    rules: int = 0
    epoch: str = ""
    kind: str = models.Room.Kind.PUBLIC
    title: str = ""
    archived: bool = False
    read_only: bool = False
    # Slow mode: seconds between two messages of one person.
    slow: int = 0
    # Roles by account: its primary key as text (Identity.account).
    roles: Mapping[str, str] = field(default_factory=dict)
    # The two people of a direct room.
    pair: models.Pair | None = None
    # Why a direct room takes no more messages; "" if it does.
    closed: models.Closed = ""
    # By person, and for guests by address too (an IPv6 address counts as its network: chat.limits).
    mutes: Mapping[str, ActiveRestriction] = field(default_factory=dict)
    bans: Mapping[str, ActiveRestriction] = field(default_factory=dict)
    # The project's verdicts by the identities' keys (chat.access.authorize); None: it has no rules of its own.
    verdicts: dict[str, Verdict] | None = field(default=None, compare=False)

    def is_of(self, row: models.Room) -> bool:
        """Is this the policy of the row as it is? Every change of a policy counts one in ``rules``."""
        return self.rules == row.rules and self.epoch == row.epoch


def load(room: int, identities: Iterable[Identity] = ()) -> Policy | None:
    """Read the policy of the room with this primary key. None if it is gone. For a thread that may use the ORM."""
    row = models.Room.objects.filter(pk=room).first()
    return None if row is None else build_policy(row, identities)


def build_policy(row: models.Room, identities: Iterable[Identity] = ()) -> Policy:
    """Read the roles and restrictions of the room. For a thread that may use the ORM.

    ``identities``: those that the policy will be asked about, for the project's own rules.
    """
    memberships = list(row.memberships.values_list("user", "role"))
    restrictions = list(active_restrictions(row))
    pair = models.pairs_of([row])[row.pk] if row.kind == models.Room.Kind.DIRECT else None
    return Policy(
        rules=row.rules,
        epoch=row.epoch,
        kind=row.kind,
        title=row.title,
        archived=row.archived is not None,
        read_only=row.read_only,
        slow=row.slow,
        roles={str(pk): role for pk, role in memberships},
        pair=pair,
        closed=pair.closed if pair else "",
        mutes=_by_key(restrictions, models.Restriction.Kind.MUTE),
        bans=_by_key(restrictions, models.Restriction.Kind.BAN),
        verdicts=verdicts(row, identities) if chat_settings().AUTHORIZE else None,
    )


def active_restrictions(row: models.Room) -> QuerySet[models.Restriction]:
    """The restrictions that hold in the room now: its own, and those that hold everywhere. The latest first."""
    here = Q(room=row) | Q(room=None)
    return models.Restriction.objects.filter(here, Q(until=None) | Q(until__gt=timezone.now())).order_by("-pk")


def _by_key(restrictions: list[models.Restriction], kind: str) -> dict[str, ActiveRestriction]:
    """The restrictions of one kind, by person and by address.

    A key with several gets the one that lasts longest.
    """
    found: dict[str, ActiveRestriction] = {}
    for restriction in restrictions:
        if restriction.kind != kind:
            continue
        new = ActiveRestriction(_seconds(restriction.until))
        address = limit_key(restriction.address) if restriction.address else ""
        for key in filter(None, (restriction.person, address)):
            known = found.get(key)
            if known is None or (known.until is not None and (new.until is None or new.until > known.until)):
                found[key] = new
    return found


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
