"""Answers to a client's questions about a room."""

from functools import partial

from django.db.models import F
from msgspec import UNSET

from chat import models, protocol
from chat.access import policy
from chat.access.permissions import RANKS, RoomPermission, check, may
from chat.actions.guards import require_joined
from chat.actions.moderation import restrictable
from chat.auth import Identity
from chat.hub import Hub, Socket
from chat.limits import limit_key
from chat.log import read_or_busy
from chat.loops import current
from chat.message_log.search_words import parse_query
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
    given,
)

RESTRICTIONS_SHOWN = 200
"""Restrictions in one list, the latest first."""


async def get_history(hub: Hub, socket: Socket, command: GetHistory) -> History:
    """A page of the room's messages: before ``command.before``, after ``command.after``, or the latest page.

    Raises Invalid: not_joined, busy.
    """
    room, _ = require_joined(hub, socket, command.room)
    before, after = given(command.before), given(command.after)
    messages, more = await room.history(before=before, after=after, limit=command.limit)
    require_joined(hub, socket, command.room)
    return History(room=command.room, messages=messages, more=more, timestamp=protocol.now(), ref=command.ref)


async def search(hub: Hub, socket: Socket, command: Search) -> Found:
    """The room's messages with these words, newest first. Raises Invalid: not_joined, bad_field, busy."""
    room, _ = require_joined(hub, socket, command.room)
    if not parse_query(command.query):
        message = "query: has no word, number or picture in it that could be searched for"
        raise Invalid(ErrorCode.BAD_FIELD, message, field="query")
    found = await room.source.search(room.log, command.query, before=given(command.before), limit=command.limit)
    require_joined(hub, socket, command.room)
    return Found(
        room=command.room,
        messages=found.messages,
        more=found.more,
        indexing=found.indexing,
        timestamp=protocol.now(),
        ref=command.ref,
    )


async def get_members(hub: Hub, socket: Socket, command: GetMembers) -> Members:
    """The people with a role in the room. Moderators also get the people who are muted or banned.

    Raises Invalid: not_joined, busy.
    """
    room, _ = require_joined(hub, socket, command.room)
    named = await read_or_busy(partial(_members, room.log.pk))
    restricted: list[Restricted] = []
    if may(room.policy, socket.identity, RoomPermission.MODERATE):
        restricted = await read_or_busy(partial(_restricted, room.log.pk))
    require_joined(hub, socket, command.room)
    return Members(
        room=command.room, members=named, restricted=restricted, timestamp=protocol.now(), ref=command.ref
    )


async def get_sharing(hub: Hub, socket: Socket, command: GetSharing) -> Sharing:
    """The number of other guests in the room who share a person's addresses, as far as those can be restricted.

    Raises Invalid: not_joined, forbidden.
    """
    room, _ = require_joined(hub, socket, command.room)
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
        known=person is None or _is_recognizable(person.identity),
        timestamp=protocol.now(),
        ref=command.ref,
    )


def _is_recognizable(identity: Identity) -> bool:
    """Does a restriction reach this person again without their address?"""
    return identity.lasting or bool(identity.browser)


def _members(room: int) -> list[Member]:
    rows = models.Membership.objects.filter(room=room).select_related("user")
    found = [Member(row.user.get_username(), row.role) for row in rows]  # type: ignore[arg-type]  # the model's choices
    return sorted(found, key=lambda member: (-RANKS[member.role], member.username))


def _restricted(room: int) -> list[Restricted]:
    row = models.Room.objects.filter(pk=room).first()
    if row is None:
        return []
    # The room's own come first, so that restrictions that hold everywhere can't push them off the list.
    rows = policy.active_restrictions(row).order_by(F("room").asc(nulls_last=True), "-pk")[:RESTRICTIONS_SHOWN]
    return [
        Restricted(
            username=found.username or "",
            kind=found.kind,  # type: ignore[arg-type]  # the model's choices
            until=UNSET if found.until is None else round(1_000 * found.until.timestamp()),
            reason=found.reason,
        )
        for found in rows
    ]
