"""A snapshot of one process for the staff: its connections, its rooms, and the users that are near their limits.

It comes from the hub, not from rows that could be stale. The channel layer carries it to the process that asked,
so it is made of plain values.
"""

import os
import socket as os_socket
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from chat.actions.ban_form import ban_url
from chat.hub import Hub, Socket
from chat.limits import HolderUsage, Limits, limit_key
from chat.loops import all_loops
from chat.presence import Presence
from chat.protocol import AboutRoom

CONNECTIONS = "connections"
GUESTS = "guests"
ROWS = 500
"""Sockets on the page; a search finds the others."""
LEADING = ("owner", "moderator")


class Row(NamedTuple):
    """One socket, as the page shows it."""

    id: str
    name: str
    # The key for limits and restrictions: "account:…", "guest:…" or "socket:…".
    person: str
    # True: the user moderates every room.
    staff: bool
    # Each room, how many tabs the person has there in this process, and their role if more than a member's.
    rooms: list[tuple[str, int, str]]
    # Seconds since 1970.
    since: float
    address: str
    # Bytes that wait to be sent.
    queue: int
    # Tokens left for the person and for the address. None: not among the emptiest buckets.
    person_tokens: float | None
    address_tokens: float | None
    # The admin's forms to ban them, filled in, or "".
    ban_person: str
    ban_address: str
    process: str


class RoomRow(NamedTuple):
    """An open room: people of all processes, sockets of this one, and the log's position."""

    name: str
    people: int
    sockets: int
    seq: int


class ProcessSnapshot(NamedTuple):
    """The answer of one process."""

    process: str
    rows: list[Row]
    # Number of sockets that were found, also those that are not shown.
    found: int
    rooms: list[RoomRow]
    usage: list[HolderUsage]

    @classmethod
    def of(cls, said: Any) -> "ProcessSnapshot":
        """From the plain values that another process sent."""
        process, rows, found, rooms, usage = said
        return cls(
            process,
            [Row(*row) for row in rows],
            found,
            [RoomRow(*room) for room in rooms],
            [HolderUsage(*holder) for holder in usage],
        )


Usage = dict[tuple[str, str], HolderUsage]


def connections(question: Any) -> ProcessSnapshot:
    """The answer to {"words": a search} or {"ids": sockets}."""
    ids = question.get("ids")
    found = _chosen(set(ids)) if ids is not None else _found(question["words"])
    found.sort(key=lambda found: found.since, reverse=True)
    usage = _usage()
    near = [near for near in usage.values() if near.tokens < near.burst]
    return ProcessSnapshot(process(), _rows(found[:ROWS], usage), len(found), _rooms(), near)


def guests_from(address: str) -> list[str]:
    """The guests of this process that come from this address (of IPv6: its network), as ``Identity.person``."""
    key = limit_key(address)
    guests = [socket for socket in _sockets() if socket.identity.account is None]
    return [socket.identity.person for socket in guests if limit_key(socket.address) == key]


def process() -> str:
    return f"{os_socket.gethostname()}, pid {os.getpid()}"


def _chosen(ids: set[str]) -> list[Socket]:
    return [found for found in _sockets() if found.id in ids]


def _sockets() -> Iterator[Socket]:
    for _loop, hub in all_loops(Hub):
        yield from list(hub.sockets.values())


def _found(query: str) -> list[Socket]:
    """The sockets whose name, room, address, person or id has ``query`` in it."""
    return [found for found in _sockets() if query.casefold() in _words(found)]


def _words(found: Socket) -> str:
    known = [found.username or "", *found.rooms, found.address, found.identity.person, found.id]
    return " ".join(known).casefold()


def _rows(sockets: list[Socket], usage: Usage) -> list[Row]:
    tabs = _tabs()
    return [_row(found, tabs, usage) for found in sockets]


def _row(found: Socket, tabs: dict[tuple[str, str], int], usage: Usage) -> Row:
    name, person = found.username or "", found.identity.person
    # A copy in one step: the loop goes on meanwhile.
    rooms = sorted(dict(found.rooms).items())
    return Row(
        id=found.id,
        name=name,
        person=person,
        staff=found.identity.staff,
        rooms=[(slug, tabs.get((slug, name), 0), _leading_role(about)) for slug, about in rooms],
        since=found.since,
        address=found.address,
        queue=found.transport.waiting,
        person_tokens=_tokens(usage, "person", person),
        address_tokens=_tokens(usage, "address", limit_key(found.address)),
        ban_person=ban_url(person, name=name),
        ban_address=ban_url("", address=found.address, name=name) if found.identity.account is None else "",
        process=process(),
    )


def _leading_role(about: object) -> str:
    role = about.role if isinstance(about, AboutRoom) else ""
    return role if role in LEADING else ""


def _usage() -> Usage:
    return strictest(holder for _loop, limits in all_loops(Limits) for holder in limits.snapshot(ROWS))


def strictest(usage: Iterable[HolderUsage]) -> Usage:
    """By kind and key, the emptiest first. A key with two entries gets the emptier one."""
    found: Usage = {}
    for holder in sorted(usage, key=lambda holder: holder.tokens / holder.burst):
        found.setdefault((holder.kind, holder.key), holder)
    return found


def _tokens(usage: Usage, kind: str, key: str) -> float | None:
    holder = usage.get((kind, key))
    return holder.tokens if holder else None


def _tabs() -> dict[tuple[str, str], int]:
    """How many sockets each (room, name) has."""
    return {
        (slug, person.name): len(person.sockets)
        for _loop, presence in all_loops(Presence)
        for slug in presence.counts()
        for person in presence.people(slug)
    }


def _rooms() -> list[RoomRow]:
    """The open rooms, the fullest first."""
    people = {slug: n for _loop, presence in all_loops(Presence) for slug, n in presence.counts().items()}
    rooms = {slug: room for _loop, hub in all_loops(Hub) for slug, room in hub.rooms().items()}
    fullest = sorted(rooms, key=lambda slug: (-people.get(slug, 0), slug))[:ROWS]
    return [RoomRow(slug, people.get(slug, 0), rooms[slug].audience, rooms[slug].position) for slug in fullest]
