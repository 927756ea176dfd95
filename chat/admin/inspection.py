"""Private conversations: the staff may look at what is said in them, and that they looked is written down."""

from collections.abc import Iterable
from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone

from chat import auth, models
from chat.admin.history import audit, staff

PRIVATE = (models.Room.Kind.PRIVATE, models.Room.Kind.DIRECT)
"""Kinds of rooms in which what is said is between those who were asked in."""
ONCE_IN = timedelta(hours=1)
"""Who looks at a room again within this time is not written down again."""


def is_private(room: models.Room) -> bool:
    return room.kind in PRIVATE


def inspected(request: HttpRequest, rooms: Iterable[models.Room]) -> bool:
    """Write down that the request shows what is said in these rooms. Is any of them private?"""
    private = {room.pk: room for room in rooms if is_private(room)}
    if not private:
        return False
    looked = models.AuditEntry.objects.filter(
        room__in=private,
        action="inspect",
        actor=auth.account(staff(request)).key,
        created__gt=timezone.now() - ONCE_IN,
    )
    for pk in private.keys() - set(looked.values_list("room", flat=True)):
        audit(request, "inspect", private[pk])
    return True
