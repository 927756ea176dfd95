"""What is asked in a room."""

from functools import partial

from django.db.models import F
from msgspec import UNSET

from chat import models, protocol
from chat.access import policy
from chat.access.permissions import RANKS, RoomPermission, check, may
from chat.actions.guards import given, present
from chat.actions.moderation import restrictable
from chat.auth import Identity
from chat.hub import Hub, Socket
from chat.limits import limit_key
from chat.log import read_or_busy
from chat.log.search_words import parse_query
from chat.loops import current
from chat.presence import Presence
from chat.protocol import (
    ErrorCode,
    Found,
    GetHistory,
    GetMembers,
    GetSharing,
    History,
    Invalid,
    Member,
    Members,
    Restricted,
    Search,
    Sharing,
)

SHOWN = 200
"""Restrictions that a list has, the latest first."""


async def history(hub: Hub, socket: Socket, command: GetHistory) -> History:
    """A page of the room's messages before ``command.before``, after ``command.after``, or its latest."""
    room, _ = present(hub, socket, command.room)
    before, after = given(command.before), given(command.after)
    messages, more = await room.history(before=before, after=after, limit=command.limit)
    present(hub, socket, command.room)
    return History(room=command.room, messages=messages, more=more, timestamp=protocol.now(), ref=command.ref)


async def search(hub: Hub, socket: Socket, command: Search) -> Found:
    """The room's messages with these words, the newest first."""
    room, _ = present(hub, socket, command.room)
    if not parse_query(command.query):
        message = "query: has no word, number or picture in it that could be searched for"
        raise Invalid(ErrorCode.BAD_FIELD, message, field="query")
    found = await hub.log.search(room.log, command.query, before=given(command.before), limit=command.limit)
    present(hub, socket, command.room)
    return Found(
        room=command.room,
        messages=found.messages,
        more=found.more,
        indexing=found.indexing,
        timestamp=protocol.now(),
        ref=command.ref,
    )


async def members(hub: Hub, socket: Socket, command: GetMembers) -> Members:
    """Who has a role in the room; for its moderators also who is muted or banned."""
    room, _ = present(hub, socket, command.room)
    named = await read_or_busy(partial(_members, room.log.pk))
    restricted: list[Restricted] = []
    if may(room.policy, socket.identity, RoomPermission.MODERATE):
        restricted = await read_or_busy(partial(_restricted, room.log.pk))
    present(hub, socket, command.room)
    return Members(
        room=command.room, members=named, restricted=restricted, timestamp=protocol.now(), ref=command.ref
    )


async def sharing(hub: Hub, socket: Socket, command: GetSharing) -> Sharing:
    """How many other guests in the room come from where somebody comes from, as far as that may be restricted."""
    room, _ = present(hub, socket, command.room)
    check(room.policy, socket.identity, RoomPermission.MODERATE)
    presence = current(Presence)
    person = presence.person(command.room, command.username)
    places = {limit_key(address) for address in restrictable(person.addresses)} if person else set()
    others = [
        other
        for other in presence.people(command.room)
        if other is not person and other.identity.account is None and places & set(map(limit_key, other.addresses))
    ]
    return Sharing(
        room=command.room,
        username=command.username,
        others=len(others),
        restrictable=bool(places),
        known=person is None or _is_known(person.identity),
        timestamp=protocol.now(),
        ref=command.ref,
    )


def _is_known(who: Identity) -> bool:
    """Can a restriction find them again without their address?"""
    return who.lasting or bool(who.browser)


def _members(room: int) -> list[Member]:
    rows = models.Membership.objects.filter(room=room).select_related("user")
    found = [Member(row.user.get_username(), row.role) for row in rows]  # type: ignore[arg-type]  # the model's choices
    return sorted(found, key=lambda member: (-RANKS[member.role], member.username))


def _restricted(room: int) -> list[Restricted]:
    row = models.Room.objects.filter(pk=room).first()
    # The room's own first: what holds everywhere must not push them off the list.
    rows = policy.active_restrictions(row).order_by(F("room").asc(nulls_last=True), "-pk")[:SHOWN] if row else ()
    return [
        Restricted(
            username=found.username or "",
            kind=found.kind,  # type: ignore[arg-type]  # the model's choices
            until=UNSET if found.until is None else round(1_000 * found.until.timestamp()),
            reason=found.reason,
        )
        for found in rows
    ]
