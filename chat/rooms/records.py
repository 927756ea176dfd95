"""The audit log: what was done to a room or to somebody in it, written with the deed."""

from chat import models
from chat.auth import Identity


def keep(
    room: models.Room,
    who: Identity,
    action: str,
    *,
    target: str = "",
    target_name: str = "",
    number: int | None = None,
    detail: str = "",
) -> None:
    """Write an entry, in the transaction of what it tells of."""
    models.AuditEntry.objects.create(
        room=room,
        slug=room.slug,
        actor=who.key,
        actor_name=who.name or "",
        action=action,
        target=target,
        target_name=target_name,
        number=number,
        detail=detail[:300],
    )
