"""Records of the staff's actions, in the admin's own history and in the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest

from chat import auth, models


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One object, and the change of it."""

    pk: int
    # The object's name in the history. Never a message's text, which would outlive its deletion.
    name: str
    what: str


def staff(request: HttpRequest) -> AbstractBaseUser:
    """The request's user, whom the admin has authorised."""
    if not request.user.is_authenticated:
        raise PermissionDenied
    return request.user


def log_changes(request: HttpRequest, model: type[Model], entries: Sequence[HistoryEntry]) -> None:
    """Record the request's changes in the admin's history."""
    kind = ContentType.objects.get_for_model(model)
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=staff(request).pk,
            content_type=kind,
            object_id=str(entry.pk),
            object_repr=entry.name,
            action_flag=CHANGE,
            change_message=entry.what,
        )
        for entry in entries
    )


def audit(
    request: HttpRequest,
    action: str,
    room: models.Room | None = None,
    *,
    target: str = "",
    target_name: str = "",
    number: int | None = None,
    detail: str = "",
) -> None:
    """Record an action in the audit log: on a room or on a user in it. None means everywhere."""
    models.AuditEntry.objects.record(
        room,
        auth.account(staff(request)),
        action,
        target=target,
        target_name=target_name,
        number=number,
        detail=detail,
    )
