"""The audit log: what was done to a room or to somebody in it, written with the deed."""

from chat import models
from chat.auth import Identity

DETAIL = 300
"""Characters of an entry's detail."""


def keep(
    room: models.Room | None,
    who: Identity,
    action: str,
    *,
    target: str = "",
    target_name: str = "",
    number: int | None = None,
    detail: str = "",
) -> None:
    """Write an entry, in the transaction of what it tells of. Without a room it is about all of them."""
    models.AuditEntry.objects.create(
        # It may have been deleted just now: its name stays.
        room=room if room and room.pk else None,
        slug=room.slug if room else "",
        actor=who.key,
        actor_name=who.name or "",
        action=action,
        target=target,
        target_name=target_name,
        number=number,
        detail=detail[:DETAIL],
    )
