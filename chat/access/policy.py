"""What the database says of who may do what in a room: its settings, the roles, who is muted or banned.

Loaded when a room is opened, and again when its ``rules`` counter has moved. What follows from it is decided in
chat.access.permissions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q, QuerySet
from django.utils import timezone

from chat import models
from chat.limits import limit_key


@dataclass(frozen=True, slots=True)
class ActiveRestriction:
    """Until when something is not allowed, in seconds since 1970; None: for good."""

    until: float | None = None

    def left(self, now: float) -> float | None:
        """Seconds from ``now``; None: for good. At most 0 where it is over."""
        return None if self.until is None else self.until - now

    def holds(self, now: float) -> bool:
        return self.until is None or self.until > now


@dataclass(frozen=True, slots=True)
class Policy:
    """A room's rules, as of the counter ``rules``."""

    rules: int = 0
    kind: str = models.Room.Kind.PUBLIC
    title: str = ""
    archived: bool = False
    read_only: bool = False
    # Seconds between two messages of one person.
    slow: int = 0
    # Roles by person: "account:<pk>".
    roles: Mapping[str, str] = field(default_factory=dict)
    # The people of a direct room.
    pair: models.Pair | None = None
    # By person, and for guests by address too (an IPv6 address's network: chat.limits).
    mutes: Mapping[str, ActiveRestriction] = field(default_factory=dict)
    bans: Mapping[str, ActiveRestriction] = field(default_factory=dict)

    @property
    def closed(self) -> models.Closed:
        """Why a direct room takes no messages any more."""
        return self.pair.closed if self.pair else ""


def load(room: int) -> Policy | None:
    """The policy of the room with this key; None where it is gone. For a thread that may use the ORM."""
    row = models.Room.objects.filter(pk=room).first()
    return None if row is None else build_policy(row)


def build_policy(row: models.Room) -> Policy:
    memberships = list(row.memberships.values_list("user", "role"))
    restrictions = list(active_restrictions(row))
    return Policy(
        rules=row.rules,
        kind=row.kind,
        title=row.title,
        archived=row.archived is not None,
        read_only=row.read_only,
        slow=row.slow,
        roles={models.account_key(pk): role for pk, role in memberships},
        pair=models.pairs_of([row]).get(row.pk),
        mutes=_restricted(restrictions, models.Restriction.Kind.MUTE),
        bans=_restricted(restrictions, models.Restriction.Kind.BAN),
    )


def _restricted(restrictions: list[models.Restriction], kind: str) -> dict[str, ActiveRestriction]:
    """Those of one kind, by person and by address; of several the one that lasts longest."""
    found: dict[str, ActiveRestriction] = {}
    for restriction in restrictions:
        if restriction.kind != kind:
            continue
        new = ActiveRestriction(_seconds(restriction.until))
        address = limit_key(restriction.address) if restriction.address else ""
        for whom in filter(None, (restriction.person, address)):
            known = found.get(whom)
            if known is None or (known.until is not None and (new.until is None or new.until > known.until)):
                found[whom] = new
    return found


def active_restrictions(row: models.Room) -> QuerySet[models.Restriction]:
    """The restrictions that hold in the room now: its own, and those that hold everywhere."""
    here = Q(room=row) | Q(room=None)
    return models.Restriction.objects.filter(here, Q(until=None) | Q(until__gt=timezone.now())).order_by("-pk")


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
