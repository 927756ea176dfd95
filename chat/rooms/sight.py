"""Which rooms somebody may see: for pages, and before a room opens. For a thread that may use the ORM."""

from django.db.models import Exists, OuterRef, Q, QuerySet

from chat import models
from chat.auth import Identity

LISTED = 200
"""Rooms in a list."""


def visible(slug: str, who: Identity) -> models.Room | None:
    """The room; None where there is none, or none that they may see: one query, and the same."""
    return models.Room.objects.filter(_seen_by(who), slug=slug).first()


def listed(who: Identity) -> list[tuple[models.Room, str]]:
    """The rooms that are not public and that somebody may see, each with its title for them."""
    if who.account is None:
        return []
    seen = models.Room.objects.filter(_seen_by(who), archived=None).exclude(kind=models.Room.Kind.PUBLIC)
    rooms = list(seen[:LISTED])
    others = _others([room for room in rooms if room.kind == models.Room.Kind.DIRECT], who)
    return [(room, others.get(room.pk) or room.title or room.slug) for room in rooms]


def _seen_by(who: Identity) -> Q:
    seen = Q(kind=models.Room.Kind.PUBLIC)
    if who.account is None:
        return seen
    mine = models.Membership.objects.filter(room=OuterRef("pk"), user=who.account)
    return seen | Q(kind=models.Room.Kind.MEMBERS) | Q(Exists(mine))


def _others(rooms: list[models.Room], who: Identity) -> dict[int, str]:
    """The other one's name in each room of two."""
    rows: QuerySet[models.Membership] = models.Membership.objects.filter(room__in=rooms).exclude(user=who.account)
    return {row.room_id: row.user.get_username() for row in rows.select_related("user")}
