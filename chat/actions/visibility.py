"""The rooms that a person may see: for pages, and before a room opens. For a thread that may use the ORM."""

from django.db.models import Exists, OuterRef, Q

from chat import models
from chat.auth import Identity


def visible(slug: str, who: Identity) -> models.Room | None:
    """The room; None where there is none, or none that they may see: one query, and the same."""
    return models.Room.objects.filter(_seen_by(who), slug=slug).first()


def _seen_by(who: Identity) -> Q:
    seen = Q(kind=models.Room.Kind.PUBLIC)
    if who.account is None:
        return seen
    mine = models.Membership.objects.filter(room=OuterRef("pk"), user=who.account)
    return seen | Q(kind=models.Room.Kind.MEMBERS) | Q(Exists(mine))
