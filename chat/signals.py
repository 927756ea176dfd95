"""Django's signals reach every hub: a room's policy has changed, or a sign-in may have ended."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models import F
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from chat import loops, models
from chat.actions.account_deletion import after_account_deletion, before_account_deletion
from chat.api.signals import room_created
from chat.auth import session_digest, usernames
from chat.hub import Hub, people_part, publish_from_outside


def connect() -> None:
    """Connect the receivers, once the apps are ready."""
    post_save.connect(_room_saved, sender=models.Room, dispatch_uid="chat.room")
    for model in (models.Membership, models.Restriction):
        pre_save.connect(_note_rooms, sender=model, dispatch_uid=f"chat.{model.__name__}.before")
    for signal in (post_save, post_delete):
        for model in (models.Membership, models.Restriction):
            signal.connect(_access_changed, sender=model, dispatch_uid=f"chat.{model.__name__}")
    if "django.contrib.sessions" in settings.INSTALLED_APPS:
        from django.contrib.sessions.models import Session  # noqa: PLC0415 a project may do without that app

        post_delete.connect(_session_deleted, sender=Session, dispatch_uid="chat.Session.deleted")
    # Without a sender: proxies and subclasses of the user model are accounts too.
    post_save.connect(_account_saved, dispatch_uid="chat.account.saved")
    pre_delete.connect(_account_deleting, dispatch_uid="chat.account.deleting")
    post_delete.connect(_account_deleted, dispatch_uid="chat.account.deleted")
    user_logged_out.connect(_logged_out, dispatch_uid="chat.logged_out")


def _room_saved(instance: models.Room, created: bool, using: str, **_: Any) -> None:  # noqa: FBT001 Django's signature
    if created:
        transaction.on_commit(partial(_announce_room, instance), using=using)
    else:
        _count_change(instance.pk, instance.slug, using)


def _announce_room(room: models.Room) -> None:
    room_created.send_robust(sender=None, room=room)


AccessRow = models.Membership | models.Restriction


def _note_rooms(instance: AccessRow, using: str, **_: Any) -> None:
    """Note the row's room before it is saved: if it moves to another room, the policies of both change."""
    rows = type(instance)._base_manager.using(using).filter(pk=instance.pk)  # noqa: SLF001 the documented manager that leaves no row out
    instance._chat_rooms = set(rows.values_list("room", flat=True)) if instance.pk else set()  # type: ignore[union-attr]  # noqa: SLF001 ours


def _access_changed(instance: AccessRow, using: str, **_: Any) -> None:
    rooms = {instance.room_id, *instance.__dict__.pop("_chat_rooms", ())}
    # None stands for all rooms. Rooms are locked in the order of their keys, everywhere.
    for room in [None] if None in rooms else sorted(rooms):
        _room_changed(room, using)


def _room_changed(room: int | None, using: str) -> None:
    if room is None:
        _count_all(using)
    elif slug := models.Room.objects.using(using).filter(pk=room).values_list("slug", flat=True).first():
        _count_change(room, slug, using)


def _count_change(pk: int, slug: str, using: str) -> None:
    models.Room.objects.using(using).filter(pk=pk).update(rules=F("rules") + 1)
    transaction.on_commit(partial(_to_hubs, Hub.policy_changed, slug), using=using)


def _count_all(using: str) -> None:
    with transaction.atomic(using=using):
        models.Room.objects.using(using).locked_together()
        models.Room.objects.using(using).update(rules=F("rules") + 1)
    transaction.on_commit(partial(_to_hubs, Hub.all_policies_changed), using=using)


def _account_saved(instance: object, using: str, update_fields: frozenset[str] | None, **_: Any) -> None:
    # Each sign-in saves `last_login`, and changes nothing else.
    if not isinstance(instance, get_user_model()) or update_fields == frozenset({"last_login"}):
        return
    _recheck_account(instance, using)
    if update_fields is None or instance.USERNAME_FIELD in update_fields:
        usernames.save_name(instance)
    if update_fields is None or not update_fields.isdisjoint({instance.USERNAME_FIELD, "is_active"}):
        _count_direct_rooms(instance, using)


def _account_deleting(instance: object, using: str, **_: Any) -> None:
    if isinstance(instance, get_user_model()):
        before_account_deletion(instance, using)


def _account_deleted(instance: object, using: str, **_: Any) -> None:
    if isinstance(instance, get_user_model()):
        _recheck_account(instance, using)
        _count_direct_rooms(instance, using)
        after_account_deletion(instance, using)


def _count_direct_rooms(user: AbstractBaseUser, using: str) -> None:
    """A direct room has the name of the account as its title, and is closed while the account is inactive."""
    rooms = models.Room.objects.using(using).filter(kind=models.Room.Kind.DIRECT, memberships__user=user.pk)
    for pk, slug in rooms.order_by("pk").values_list("pk", "slug"):
        _count_change(pk, slug, using)


def _recheck_account(user: AbstractBaseUser, using: str) -> None:
    transaction.on_commit(partial(_people_changed, [models.account_key(user.pk)]), using=using)


def _logged_out(request: Any, **_: Any) -> None:
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        transaction.on_commit(partial(_people_changed, [], [session_digest(key)]))


def _session_deleted(instance: Any, using: str, **_: Any) -> None:
    """The session has ended, or goes on under another key. A page finds that out."""
    ended = [session_digest(instance.session_key)]
    transaction.on_commit(partial(_people_changed, [], ended), using=using)


def _to_hubs(method: Callable[..., None], *arguments: Any) -> bool:
    """Call the method of each hub of this process, on its loop. False if there is none."""
    hubs = loops.all_loops(Hub)
    for loop, hub in hubs:
        loop.call_soon_threadsafe(method, hub, *arguments)
    return bool(hubs)


def _people_changed(people: Sequence[str] = (), sessions: Sequence[str] = ()) -> None:
    if not _to_hubs(Hub.people_changed, people, sessions):
        # Other processes find changed rules by comparing, but would find this late.
        publish_from_outside(people_part(people, sessions))
