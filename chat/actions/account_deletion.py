"""An account is deleted: what it leaves in the rooms. In the transaction of the deletion."""

from django.contrib.auth.base_user import AbstractBaseUser

from chat import models
from chat.actions.audit import keep
from chat.auth import Identity

Role = models.Membership.Role
Kind = models.Room.Kind

FORMER = models.Room._meta.get_field("former").max_length  # noqa: SLF001 Django's documented way to a field


def before_account_deletion(user: AbstractBaseUser, using: str) -> None:
    """Before its rows go: keep its name in direct rooms, and remember what it owns."""
    rooms = models.Room.objects.using(using)
    for room in rooms.filter(kind=Kind.DIRECT, memberships__user=user.pk).order_by("pk"):
        former = ", ".join(filter(None, [room.former, user.get_username()]))[:FORMER]
        rooms.filter(pk=room.pk).update(former=former)
    owned = rooms.filter(memberships__user=user.pk, memberships__role=Role.OWNER).order_by("pk")
    user._chat_owned = list(owned.values_list("pk", flat=True))  # type: ignore[attr-defined]  # noqa: SLF001 ours


def after_account_deletion(user: AbstractBaseUser, using: str) -> None:
    """When its rows are gone, and those of all that go with it: have somebody own what nobody owns now."""
    for room in (
        models.Room.objects.using(using).filter(pk__in=user.__dict__.pop("_chat_owned", ())).order_by("pk")
    ):
        _pass_on(room, user, using)


def _pass_on(room: models.Room, user: AbstractBaseUser, using: str) -> None:
    """To the moderator who is there longest; where there is none, and the room is private, to such a member."""
    people = models.Membership.objects.using(using).filter(room=room).order_by("joined", "pk")
    if people.filter(role=Role.OWNER).exists():
        return
    heir = people.filter(role=Role.MODERATOR).first()
    if heir is None and room.kind == Kind.PRIVATE:
        heir = people.first()
    if heir is None:
        return
    heir.role = Role.OWNER
    heir.save(using=using)
    who = Identity(key=models.account_key(user.pk), name=user.get_username())
    target, name = models.account_key(heir.user_id), heir.user.get_username()
    keep(room, who, "role", target=target, target_name=name, detail="owner: the owner's account was deleted")
