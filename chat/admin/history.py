"""The admin's own history, and the audit log: who of the staff did what."""

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
class Entry:
    """What was done to one thing."""

    pk: int
    # How the history names it. Never by what somebody said: that would outlive its deletion.
    name: str
    what: str


def staff(request: HttpRequest) -> AbstractBaseUser:
    """Who asks. The admin has let them in."""
    if not request.user.is_authenticated:
        raise PermissionDenied
    return request.user


def remember(request: HttpRequest, model: type[Model], entries: Sequence[Entry]) -> None:
    """Write down what the request did."""
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
    """Write down what the request did to a room, or to somebody in it; without a room: everywhere."""
    models.AuditEntry.objects.record(
        room,
        auth.account(staff(request)),
        action,
        target=target,
        target_name=target_name,
        number=number,
        detail=detail,
    )
