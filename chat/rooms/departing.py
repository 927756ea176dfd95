"""An account is deleted: what it leaves in the rooms. In the transaction of the deletion, before the rows go."""

from django.contrib.auth.base_user import AbstractBaseUser

from chat import models
from chat.auth import Identity
from chat.rooms.records import keep

Role = models.Membership.Role
Kind = models.Room.Kind

FORMER = models.Room._meta.get_field("former").max_length  # noqa: SLF001 Django's documented way to a field


def depart(user: AbstractBaseUser, using: str) -> None:
    """Keep the name in the rooms of two, and have somebody own the rooms that nobody else owns."""
    roles = models.Membership.objects.using(using).filter(user=user.pk)
    rooms = models.Room.objects.using(using)
    for room in rooms.filter(kind=Kind.DIRECT, memberships__user=user.pk).order_by("pk"):
        former = ", ".join(filter(None, [room.former, user.get_username()]))[:FORMER]
        rooms.filter(pk=room.pk).update(former=former)
    for role in (
        roles.filter(role=Role.OWNER).exclude(room__kind=Kind.DIRECT).select_related("room").order_by("room")
    ):
        _pass_on(role.room, user, using)


def _pass_on(room: models.Room, user: AbstractBaseUser, using: str) -> None:
    """To the moderator who is there longest; where there is none, and the room is private, to such a member."""
    others = (
        models.Membership.objects.using(using).filter(room=room).exclude(user=user.pk).order_by("joined", "pk")
    )
    if others.filter(role=Role.OWNER).exists():
        return
    heir = others.filter(role=Role.MODERATOR).first()
    if heir is None and room.kind == Kind.PRIVATE:
        heir = others.first()
    if heir is None:
        return
    heir.role = Role.OWNER
    heir.save(using=using)
    who = Identity(key=models.account_key(user.pk), name=user.get_username())
    target, name = models.account_key(heir.user_id), heir.user.get_username()
    keep(room, who, "role", target=target, target_name=name, detail="owner: the owner's account was deleted")
