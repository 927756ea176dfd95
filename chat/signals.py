"""Django's signals, to every hub: whose sign-in or whose place in a room may be another now."""

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
from chat.auth import session_digest
from chat.hub import Hub, people_part, tell_from_outside


def connect() -> None:
    """Called when the apps are ready."""
    post_save.connect(_room_saved, sender=models.Room, dispatch_uid="chat.room")
    for model in (models.Membership, models.Restriction):
        pre_save.connect(_part_moves, sender=model, dispatch_uid=f"chat.{model.__name__}.before")
    for signal in (post_save, post_delete):
        for model in (models.Membership, models.Restriction):
            signal.connect(_part_changed, sender=model, dispatch_uid=f"chat.{model.__name__}")
        # Not by the sender: proxies and subclasses of the user model are accounts too.
        signal.connect(_account_changed, dispatch_uid="chat.account")
    if "django.contrib.sessions" in settings.INSTALLED_APPS:
        from django.contrib.sessions.models import Session  # noqa: PLC0415 a project may do without that app

        post_delete.connect(_session_deleted, sender=Session, dispatch_uid="chat.Session.deleted")
    pre_delete.connect(_account_goes, dispatch_uid="chat.account.goes")
    post_delete.connect(_account_gone, dispatch_uid="chat.account.gone")
    user_logged_out.connect(_logged_out, dispatch_uid="chat.logged_out")


def _room_saved(instance: models.Room, created: bool, using: str, **_: Any) -> None:  # noqa: FBT001 Django's signature
    if not created:
        _touch(instance.pk, instance.slug, using)


Part = models.Membership | models.Restriction


def _part_moves(instance: Part, using: str, **_: Any) -> None:
    """Note the room that a row was of, for after it is saved: where that is another, both rooms' rules change."""
    rows = type(instance)._base_manager.using(using).filter(pk=instance.pk)  # noqa: SLF001 the documented one that leaves none out
    instance._chat_rooms = set(rows.values_list("room", flat=True)) if instance.pk else set()  # type: ignore[union-attr]  # noqa: SLF001 ours


def _part_changed(instance: Part, using: str, **_: Any) -> None:
    rooms = {instance.room_id, *instance.__dict__.pop("_chat_rooms", ())}
    # In the order in which everybody locks rooms; all of them, where None is among them.
    for room in [None] if None in rooms else sorted(rooms):
        _room_changed(room, using)


def _room_changed(room: int | None, using: str) -> None:
    if room is None:
        _touch_all(using)
    elif slug := models.Room.objects.using(using).filter(pk=room).values_list("slug", flat=True).first():
        _touch(room, slug, using)


def _touch(pk: int, slug: str, using: str) -> None:
    models.Room.objects.using(using).filter(pk=pk).update(rules=F("rules") + 1)
    transaction.on_commit(partial(_to_hubs, Hub.policy_changed, slug), using=using)


def _touch_all(using: str) -> None:
    with transaction.atomic(using=using):
        models.Room.objects.using(using).locked_together()
        models.Room.objects.using(using).update(rules=F("rules") + 1)
    transaction.on_commit(partial(_to_hubs, Hub.all_policies_changed), using=using)


def _account_changed(instance: object, using: str, update_fields: frozenset[str] | None = None, **_: Any) -> None:
    # Each sign-in saves `last_login`.
    if isinstance(instance, get_user_model()) and update_fields != frozenset({"last_login"}):
        _tell_of(instance, using)
        if update_fields is None or not update_fields.isdisjoint({instance.USERNAME_FIELD, "is_active"}):
            _touch_pairs(instance, using)


def _account_goes(instance: object, using: str, **_: Any) -> None:
    if isinstance(instance, get_user_model()):
        before_account_deletion(instance, using)


def _account_gone(instance: object, using: str, **_: Any) -> None:
    if isinstance(instance, get_user_model()):
        after_account_deletion(instance, using)


def _touch_pairs(user: AbstractBaseUser, using: str) -> None:
    """Direct rooms are called by the account's name, and closed if it is not active."""
    rooms = models.Room.objects.using(using).filter(kind=models.Room.Kind.DIRECT, memberships__user=user.pk)
    for pk, slug in rooms.order_by("pk").values_list("pk", "slug"):
        _touch(pk, slug, using)


def _tell_of(user: AbstractBaseUser, using: str) -> None:
    transaction.on_commit(partial(_people_changed, [models.account_key(user.pk)]), using=using)


def _logged_out(request: Any, **_: Any) -> None:
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        transaction.on_commit(partial(_people_changed, [], [session_digest(key)]))


def _session_deleted(instance: Any, using: str, **_: Any) -> None:
    """It ended, or goes on under another key, which a page finds out."""
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
        tell_from_outside(people_part(people, sessions))
