"""Changes in the rooms when an account is deleted, in the transaction of the deletion."""

from django.contrib.auth.base_user import AbstractBaseUser

from chat import models
from chat.auth import Identity

Role = models.Membership.Role
RoomKind = models.Room.Kind

FORMER_LENGTH = models.Room._meta.get_field("former").max_length  # noqa: SLF001 Django's documented way to a field


def before_account_deletion(user: AbstractBaseUser, using: str) -> None:
    """Keep the account's name in its direct rooms, and note on the user which rooms it owns."""
    rooms = models.Room.objects.using(using)
    for room in rooms.filter(kind=RoomKind.DIRECT, memberships__user=user.pk).order_by("pk"):
        former = ", ".join(filter(None, [room.former, user.get_username()]))[:FORMER_LENGTH]
        rooms.filter(pk=room.pk).update(former=former)
    owned = rooms.filter(memberships__user=user.pk, memberships__role=Role.OWNER).order_by("pk")
    user._chat_owned = list(owned.values_list("pk", flat=True))  # type: ignore[attr-defined]  # noqa: SLF001 ours


def after_account_deletion(user: AbstractBaseUser, using: str) -> None:
    """Give a new owner to each room that has none now.

    The account's rows, and those that refer to it, are gone.
    """
    owned = user.__dict__.pop("_chat_owned", ())
    for room in models.Room.objects.using(using).filter(pk__in=owned).order_by("pk"):
        _appoint_owner(room, user, using)


def _appoint_owner(room: models.Room, user: AbstractBaseUser, using: str) -> None:
    """Make the moderator who joined first the owner; in a private room without moderators, the first member."""
    members = models.Membership.objects.using(using).filter(room=room).order_by("joined", "pk")
    if members.filter(role=Role.OWNER).exists():
        return
    heir = members.filter(role=Role.MODERATOR).first()
    if heir is None and room.kind == RoomKind.PRIVATE:
        heir = members.first()
    if heir is None:
        return
    heir.role = Role.OWNER
    heir.save(using=using)
    models.AuditEntry.objects.record(
        room,
        Identity(key=models.account_key(user.pk), name=user.get_username()),
        "role",
        target=models.account_key(heir.user_id),
        target_name=heir.user.get_username(),
        detail="owner: the owner's account was deleted",
    )
