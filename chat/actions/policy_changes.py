"""A change of a room's rules: locked, permitted by the rules as they are now, and recorded, in one transaction.

What is saved or deleted here, and in the admin, reaches the live sockets by signals (chat.signals).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import router, transaction

from chat import models
from chat.access.permissions import no_room, role_of
from chat.access.policy import Policy, build_policy
from chat.auth import Identity


@contextmanager
def changing(slug: str, who: Identity) -> Iterator[tuple[models.Room, Policy]]:
    """The room, locked, and its rules. Raises Invalid (no_room) where it is not there for them."""
    with transaction.atomic(using=router.db_for_write(models.Room)):
        row = locked(slug)
        policy = build_policy(row) if row else Policy()
        if row is None or role_of(policy, who) is None:
            raise no_room(slug)
        yield row, policy


def end_membership(room: models.Room, account: Any) -> None:
    """Take somebody's role in the room, if they have one: by the row itself, so that signals tell of it."""
    for membership in room.memberships.filter(user=account):
        membership.delete()


def locked(slug: str) -> models.Room | None:
    """The room's row, which nobody else changes until the transaction ends."""
    return models.Room.objects.filter(slug=slug).locked().first()
