"""Rooms: found or made for an object of the project; their history; events and tokens."""

from collections.abc import Iterable
from typing import Any

from django.db import router, transaction
from msgspec import Raw

from chat import models, protocol
from chat.api.async_twins import in_thread
from chat.auth import tokens
from chat.message_log import queries
from chat.message_log.queries import open_room
from chat.protocol import HISTORY_LIMIT, TITLE_LIMIT, Message, RoomEvent, no_room
from chat.topics.events import Event, EventCodec
from chat.topics.publishing import send_frame, to_hubs

Role = models.Membership.Role

EVENT = "event_for_person"
"""The event between hubs: write a frame to the sockets of an account."""


def get_or_create_room(*, for_: Any, members: Iterable[Any] | None = None, title: str = "") -> models.Room:
    """The private room of a model's instance, made if it is missing.

    ``members``: the accounts that are members from now on. Others are removed, and the first one of a new room
    owns it. None leaves them as they are. ``title``: of a new room; otherwise the instance's text. It is a part of
    the caller's transaction. Raises ValueError for an instance without a primary key.
    """
    using = router.db_for_write(models.Room)
    if for_.pk is None:
        raise ValueError("for_: must be saved first")
    subject = f"{for_._meta.label_lower}:{for_.pk}"  # noqa: SLF001 Django's documented API
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


def send_event(to: Any, event: Event) -> None:
    """Send an event to the users in a room, or to the connections of an account, with the transaction's commit.

    ``to``: a room, its slug, or an account. ``event``: an instance of a subclass of chat.topics.Event. It is not
    stored, and comes at most once. Clients get `event` with its name and data. Raises chat.protocol.Invalid:
    no_room; ValueError for bad fields. Without Redis only the server's process reaches anybody.
    """
    using = router.db_for_write(models.Outbox)
    if not isinstance(to, models.Room | str):
        key, frame = models.account_key(to.pk), _event_frame("", event)
        transaction.on_commit(lambda: to_hubs(EVENT, key, frame), using=using)
        return
    slug = to if isinstance(to, str) else to.slug
    if not models.Room.objects.filter(slug=slug).exists():
        raise no_room(slug)
    frame = _event_frame(slug, event)
    transaction.on_commit(lambda: send_frame(slug, frame), using=using)


def _event_frame(slug: str, event: Event) -> str:
    name, data = EventCodec(slug, type(event)).encode(event)
    return protocol.encode(RoomEvent(room=slug, event=name, data=Raw(data.encode()), timestamp=protocol.now()))


def token_for(user: Any, *, hours: float = 1.0) -> str:
    """A token by which a client connects as this account, without cookies. Valid for ``hours``."""
    return tokens.mint(user, hours)


ahistory, aget_or_create_room = in_thread(history), in_thread(get_or_create_room)
asend_event, atoken_for = in_thread(send_event), in_thread(token_for)
