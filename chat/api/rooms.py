"""Rooms: found or made for an object of the project; their history; events and tokens."""

from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.contenttypes.models import ContentType
from django.db import router, transaction
from msgspec import Raw

from chat import models, protocol
from chat.auth import tokens
from chat.log import queries
from chat.log.queries import open_room
from chat.protocol import HISTORY_LIMIT, TITLE_LIMIT, Message, RoomEvent, no_room
from chat.topics.events import Event, EventCodec
from chat.topics.publishing import send_frame

Role = models.Membership.Role


def get_or_create_room(*, for_: Any, members: Iterable[Any] | None = None, title: str = "") -> models.Room:
    """The private room of a model's instance, made if it is missing.

    ``members``: the accounts that are members from now on. Others are removed, and the first one of a new room
    owns it. None leaves them as they are. ``title``: of a new room; otherwise the instance's text. It is a part of
    the caller's transaction.
    """
    using = router.db_for_write(models.Room)
    kind = ContentType.objects.db_manager(using).get_for_model(for_)
    subject = f"{kind.app_label}.{kind.model}:{for_.pk}"
    with transaction.atomic(using=using):
        room, _new = models.Room.objects.using(using).get_or_create(
            subject=subject,
            defaults={
                "slug": models.new_hidden_slug(),
                "kind": models.Room.Kind.PRIVATE,
                "title": (title or str(for_))[:TITLE_LIMIT],
            },
        )
        if members is not None:
            _set_members(room, list(members))
    return room


def _set_members(room: models.Room, users: list[Any]) -> None:
    """Make these accounts the members. Rows are saved and deleted one by one: open connections follow signals."""
    wanted = {user.pk: user for user in users}
    for membership in room.memberships.exclude(user__in=list(wanted)):
        membership.delete()
    present = set(room.memberships.values_list("user", flat=True))
    for number, pk in enumerate(pk for pk in wanted if pk not in present):
        role = Role.OWNER if not present and number == 0 else Role.MEMBER
        models.Membership.objects.create(room=room, user_id=pk, role=role)


def history(
    room: models.Room | str, *, before: int | None = None, after: int | None = None, limit: int = 50
) -> list[Message]:
    """Messages, oldest first: before an id, after an id, or the latest ones. ``limit``: at most 100.

    Raises chat.protocol.Invalid: no_room; ValueError for a bad limit, or for ``before`` with ``after``.
    """
    if not 1 <= limit <= HISTORY_LIMIT:
        raise ValueError(f"limit: must be from 1 to {HISTORY_LIMIT}, not {limit}")
    if before is not None and after is not None:
        raise ValueError("before, after: give one of both")
    slug = room if isinstance(room, str) else room.slug
    row = open_room(slug, make=False)
    found, _more = queries.history(row.pk, slug, before=before, after=after, limit=limit)
    return found


def send_event(room: models.Room | str, event: Event) -> None:
    """Send an event to the users who are in a room when the transaction commits. It is not stored.

    ``event``: an instance of a subclass of chat.topics.Event. Clients get `event` with its name and data. Raises
    chat.protocol.Invalid: no_room; ValueError for bad fields.
    """
    slug = room if isinstance(room, str) else room.slug
    if not models.Room.objects.filter(slug=slug).exists():
        raise no_room(slug)
    name, data = EventCodec(slug, type(event)).encode(event)
    frame = protocol.encode(RoomEvent(room=slug, event=name, data=Raw(data.encode()), timestamp=protocol.now()))
    transaction.on_commit(lambda: send_frame(slug, frame), using=router.db_for_write(models.Outbox))


def token_for(user: Any, *, hours: float = 1.0) -> str:
    """A token by which a client connects as this account, without cookies. Valid for ``hours``."""
    return tokens.mint(user, hours)


ahistory = sync_to_async(history)
aget_or_create_room = sync_to_async(get_or_create_room)
asend_event = sync_to_async(send_event)
atoken_for = sync_to_async(token_for)
