"""Two lists of rooms for pages: a person's own, and those that everybody may enter.

The lists don't compete. However many rooms strangers create, all of a person's own rooms are listed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from chat import models
from chat.access.authorize import visible
from chat.auth import Identity
from chat.database import pieces_of
from chat.message_log import queries as log
from chat.protocol import is_hidden

RoomKind = models.Room.Kind
Role = models.Membership.Role

UNREAD_COUNTED = 100
"""Unread messages of one room that are counted at most; the page shows that number as "99+"."""
FULLEST = 500
"""Rooms with people in them that are listed first, at most."""
NEWEST = 2_000
"""Rooms with few messages are listed last. They are searched only among the newest rooms, so many of them."""


@dataclass(slots=True)
class RoomEntry:
    """A room in a list."""

    # The slug.
    name: str
    title: str
    kind: str
    pk: int
    active: datetime | None
    # People in the room now, in all processes.
    count: int = 0
    # Unread messages; None: the person has never read the room.
    unread: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a list."""

    entries: list[RoomEntry]
    page: int
    more: bool


def own_rooms(identity: Identity, counts: Mapping[str, int], *, name: str, page: int, size: int) -> Listing:
    """The rooms in which a person has a role, and those that they have read and may still enter.

    Rooms that the person created or has read come first, with direct rooms; then rooms to which others added them.
    Within each group, rooms with unread messages come first. ``counts``: people by slug. ``name``: part of the
    title.
    """
    roles = _roles(identity)
    read = set(models.ReadPosition.objects.filter(reader=identity.key).values_list("room", flat=True))
    kinds = _open_kinds(identity)
    found = [room for room in _not_archived(roles.keys() | read) if room.pk in roles or room.kind in kinds]
    rows = visible(identity, found)
    pairs = models.pairs_of(rows)
    titles = {pk: pair.title_for(identity.key) for pk, pair in pairs.items()}
    entries = [_entry_of(room, counts, titles.get(room.pk)) for room in rows]
    _count_unread(identity, entries)
    known = read | _created_by(identity) | {room.pk for room in rows if room.kind == RoomKind.DIRECT}
    entries.sort(key=lambda entry: (entry.pk not in known, not entry.unread, entry.title.casefold()))
    return _page([entry for entry in entries if _matches(entry, name)], page, size)


def _roles(identity: Identity) -> dict[int, str]:
    """The person's roles, by the room's primary key."""
    if identity.account is None:
        return {}
    return dict(models.Membership.objects.filter(user=identity.account).values_list("room", "role"))


def _created_by(identity: Identity) -> set[int]:
    """The rooms of which the person was the first member. A later owner may have got the role unasked."""
    if identity.account is None:
        return set()
    earlier = models.Membership.objects.filter(room=OuterRef("room"), pk__lt=OuterRef("pk"))
    owned = models.Membership.objects.filter(~Exists(earlier), user=identity.account, role=Role.OWNER)
    return set(owned.values_list("room", flat=True))


def _open_kinds(identity: Identity | None) -> list[str]:
    """The kinds of rooms that this identity may enter without an invitation."""
    has_account = identity is not None and identity.account is not None
    return [RoomKind.PUBLIC, RoomKind.MEMBERS] if has_account else [RoomKind.PUBLIC]


def _not_archived(keys: set[int]) -> Iterator[models.Room]:
    """The rooms with these primary keys that are not archived."""
    some = sorted(keys)
    for piece in pieces_of(some):
        yield from models.Room.objects.filter(pk__in=piece, archived=None)


def joinable_rooms(
    identity: Identity | None, counts: Mapping[str, int], *, name: str, page: int, size: int
) -> Listing:
    """The rooms that this identity may enter without an invitation. Rooms without any message are left out.

    The fullest rooms come first, then the most recently active, then those with few messages. ``counts``: people
    by slug. ``name``: part of the title or of a public room's slug.
    """
    rooms = joinable_query(identity, name)
    fullest = _with_people(rooms, counts)
    wanted = page * size + 1
    first = fullest[(page - 1) * size : wanted]
    rest = rooms.exclude(pk__in=[room.pk for room in fullest])
    skipped = max(0, (page - 1) * size - len(fullest))
    found = first + _by_activity(rest, skipped, size + 1 - len(first))
    entries = [_entry_of(room, counts) for room in visible(identity, found[:size])]
    listing = Listing(entries, page, len(found) > size)
    if identity is not None:
        _count_unread(identity, listing.entries)
    return listing


def joinable_query(identity: Identity | None, name: str) -> QuerySet[models.Room]:
    rooms = models.Room.objects.filter(kind__in=_open_kinds(identity), archived=None)
    if not name:
        return rooms
    # SQLite ignores the case of ASCII letters only.
    forms = {name, name.lower(), name.upper(), name.capitalize(), name.title()}
    titled = Q(*(("title__icontains", form) for form in sorted(forms)), _connector=Q.OR)
    return rooms.filter(titled | Q(slug__icontains=name, kind=RoomKind.PUBLIC))


def _with_people(rooms: QuerySet[models.Room], counts: Mapping[str, int]) -> list[models.Room]:
    slugs = sorted(counts, key=lambda slug: (-counts[slug], slug))[:FULLEST]
    found = list(rooms.filter(slug__in=slugs)) if slugs else []
    return sorted(found, key=lambda room: (-counts[room.slug], -_last_active(room), room.slug))


def _last_active(room: models.Room) -> float:
    return room.active.timestamp() if room.active else 0.0


def _by_activity(rooms: QuerySet[models.Room], skip: int, number: int) -> list[models.Room]:
    """The most recently active rooms, then those with few messages, without the first ``skip``."""
    if number <= 0:
        return []
    kinds = [RoomKind.PUBLIC, RoomKind.MEMBERS]
    lively = rooms.filter(active__isnull=False, kind__in=kinds).order_by("-active", "-pk")
    found = list(lively[skip : skip + number])
    if len(found) == number:
        return found
    before = 0 if found or not skip else lively.count()
    newest = models.Room.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    quiet = rooms.filter(active=None, seq__gt=0, pk__gt=newest - NEWEST).order_by("-pk")
    start = max(0, skip - before) if not found else 0
    return found + list(quiet[start : start + number - len(found)])


def _entry_of(room: models.Room, counts: Mapping[str, int], title: str | None = None) -> RoomEntry:
    title = title or room.title or room.slug
    return RoomEntry(room.slug, title, room.kind, room.pk, room.active, counts.get(room.slug, 0))


def _count_unread(identity: Identity, entries: Sequence[RoomEntry]) -> None:
    unread = log.unread(identity.key, [entry.pk for entry in entries], most=UNREAD_COUNTED)
    for entry in entries:
        entry.unread = unread.get(entry.pk)


def _matches(entry: RoomEntry, name: str) -> bool:
    wanted = name.casefold()
    return wanted in entry.title.casefold() or (not is_hidden(entry.name) and wanted in entry.name)


def _page(entries: list[Any], page: int, size: int) -> Listing:
    start = (page - 1) * size
    return Listing(entries[start : start + size], page, len(entries) > start + size)
