"""Lists of rooms for a person: their own, and those that everybody may come into. For pages.

Two lists that never compete: strangers can make as many rooms as they like, and one's own are all there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from chat import models
from chat.auth import Identity
from chat.log import queries as log
from chat.log.queries import AT_ONCE
from chat.protocol import is_hidden

Kind = models.Room.Kind
Role = models.Membership.Role

UNREAD_COUNTED = 100
"""Unread messages of one room that are counted: so many mean "99+"."""
PEOPLED = 500
"""Rooms with people that are listed before the others, at most: the fullest."""
NEWEST = 2_000
"""Rooms without much in them are listed last, and only the newest so many are looked through for them."""


@dataclass(slots=True)
class Entry:
    """A room in a list."""

    # The name as in the room's address.
    name: str
    title: str
    kind: str
    pk: int
    active: datetime | None
    # People in it now, of all processes.
    count: int = 0
    # None: they never read it.
    unread: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a list."""

    entries: list[Entry]
    page: int
    more: bool


def own(who: Identity, counts: Mapping[str, int], *, name: str, page: int, size: int) -> Listing:
    """The rooms in which somebody has a role, and those that they have read, as far as they may come in.

    First those that they made or have read, and direct rooms, then the ones that others put them into. Within each
    group, rooms with unread messages come first.
    """
    roles = _roles(who)
    read = set(models.ReadPosition.objects.filter(reader=who.key).values_list("room", flat=True))
    rows = [room for room in _open(roles.keys() | read) if room.pk in roles or room.kind in _kinds(who)]
    pairs = models.pairs_of(rows)
    titles = {pk: pair.title_for(who.key) for pk, pair in pairs.items()}
    entries = [_entry(room, counts, titles.get(room.pk)) for room in rows]
    _count_unread(who, entries)
    known = read | _made_by(who) | {room.pk for room in rows if room.kind == Kind.DIRECT}
    entries.sort(key=lambda entry: (entry.pk not in known, not entry.unread, entry.title.casefold()))
    return _page_of([entry for entry in entries if _named(entry, name)], page, size)


def _roles(who: Identity) -> dict[int, str]:
    """The person's role in each room, by the room's key."""
    if who.account is None:
        return {}
    return dict(models.Membership.objects.filter(user=who.account).values_list("room", "role"))


def _made_by(who: Identity) -> set[int]:
    """The rooms of which they were the first member. Any other owner may have been given the role unasked."""
    if who.account is None:
        return set()
    earlier = models.Membership.objects.filter(room=OuterRef("room"), pk__lt=OuterRef("pk"))
    owned = models.Membership.objects.filter(~Exists(earlier), user=who.account, role=Role.OWNER)
    return set(owned.values_list("room", flat=True))


def _kinds(who: Identity | None) -> list[str]:
    """The kinds of rooms that they may come into without an invitation."""
    return [Kind.PUBLIC] if who is None or who.account is None else [Kind.PUBLIC, Kind.MEMBERS]


def _open(keys: set[int]) -> Iterator[models.Room]:
    """The rooms with these keys that are not archived."""
    some = sorted(keys)
    for start in range(0, len(some), AT_ONCE):
        yield from models.Room.objects.filter(pk__in=some[start : start + AT_ONCE], archived=None)


def joinable_rooms(who: Identity | None, counts: Mapping[str, int], *, name: str, page: int, size: int) -> Listing:
    """The rooms that anybody, or anybody with an account, may come into, without those that nobody ever spoke in.

    The fullest first, then those that were active last, then those with few messages.
    """
    rooms = _open_to(who, name)
    peopled = _with_people(rooms, counts)
    wanted = page * size + 1
    first = [_entry(room, counts) for room in peopled[(page - 1) * size : wanted]]
    rest = rooms.exclude(pk__in=[room.pk for room in peopled])
    skipped = max(0, (page - 1) * size - len(peopled))
    entries = first + [_entry(room, counts) for room in _active(rest, skipped, size + 1 - len(first))]
    listing = Listing(entries[:size], page, len(entries) > size)
    if who is not None:
        _count_unread(who, listing.entries)
    return listing


def _open_to(who: Identity | None, name: str) -> QuerySet[models.Room]:
    rooms = models.Room.objects.filter(kind__in=_kinds(who), archived=None)
    if not name:
        return rooms
    # SQLite knows the cases of ASCII only.
    forms = {name, name.lower(), name.upper(), name.capitalize(), name.title()}
    titled = Q(*(("title__icontains", form) for form in sorted(forms)), _connector=Q.OR)
    return rooms.filter(titled | Q(slug__icontains=name, kind=Kind.PUBLIC))


def _with_people(rooms: QuerySet[models.Room], counts: Mapping[str, int]) -> list[models.Room]:
    fullest = sorted(counts, key=lambda slug: (-counts[slug], slug))[:PEOPLED]
    found = list(rooms.filter(slug__in=fullest)) if fullest else []
    return sorted(found, key=lambda room: (-counts[room.slug], -_moment(room), room.slug))


def _moment(room: models.Room) -> float:
    return room.active.timestamp() if room.active else 0.0


def _active(rooms: QuerySet[models.Room], skip: int, number: int) -> list[models.Room]:
    """The rooms that were active last, then those with few messages, from the place ``skip`` on."""
    if number <= 0:
        return []
    lively = rooms.filter(active__isnull=False, kind__in=[Kind.PUBLIC, Kind.MEMBERS]).order_by("-active", "-pk")
    found = list(lively[skip : skip + number])
    if len(found) == number:
        return found
    before = 0 if found or not skip else lively.count()
    newest = models.Room.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    quiet = rooms.filter(active=None, seq__gt=0, pk__gt=newest - NEWEST).order_by("-pk")
    start = max(0, skip - before) if not found else 0
    return found + list(quiet[start : start + number - len(found)])


def _entry(room: models.Room, counts: Mapping[str, int], title: str | None = None) -> Entry:
    title = title or room.title or room.slug
    return Entry(room.slug, title, room.kind, room.pk, room.active, counts.get(room.slug, 0))


def _count_unread(who: Identity, entries: Sequence[Entry]) -> None:
    unread = log.unread(who.key, [entry.pk for entry in entries], most=UNREAD_COUNTED)
    for entry in entries:
        entry.unread = unread.get(entry.pk)


def _named(entry: Entry, name: str) -> bool:
    wanted = name.casefold()
    return wanted in entry.title.casefold() or (not is_hidden(entry.name) and wanted in entry.name)


def _page_of(entries: list[Any], page: int, size: int) -> Listing:
    start = (page - 1) * size
    return Listing(entries[start : start + size], page, len(entries) > start + size)
