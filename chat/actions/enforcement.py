"""Lost access reaches the open connections: a room has a new policy, or a sign-in has ended.

Signals (chat.signals) report a change at once, in every process, through the hub. A change without a signal is
found by comparison: a room's policy once a second, by the hub; each sign-in every CHAT["RECHECK"] seconds.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial

from msgspec import UNSET
from msgspec.structs import asdict

from chat import protocol
from chat.access.authorize import verdicts_by_room
from chat.access.permissions import about_room, check_entering
from chat.actions.chat_room import ChatRoom, open_room, slugs_of
from chat.auth import Identity, revalidate
from chat.auth.usernames import add_missing_names
from chat.conf import chat_settings
from chat.hub import Hub, Socket
from chat.log import read_or_busy, write_or_busy
from chat.loops import end_tasks
from chat.metrics.counters import counters
from chat.presence import Presence
from chat.protocol import CloseCode, ErrorCode, Invalid, Removed, RoomChanged

logger = logging.getLogger("chat.rooms")

BATCH = 500
"""Sockets whose sign-ins are checked by one query."""


class AccessEnforcer:
    """One per event loop."""

    def __init__(self, hub: Hub, presence: Presence) -> None:
        self._hub = hub
        self._presence = presence
        self._loop = asyncio.get_running_loop()
        # Rechecks sign-ins each second, or None before ``start``.
        self._rounds: asyncio.Task[None] | None = None
        self._rechecks: set[asyncio.Task[None]] = set()
        # Called with sockets whose sign-in still holds, after each check.
        self.on_checked: Callable[[Sequence[Socket]], None] = _nothing
        # Number of events about people or sessions so far. An identity that was read while it grew is rechecked.
        self.events = 0

    def start(self) -> None:
        """Recheck sign-ins from now on."""
        self._rounds = self._rounds or self._loop.create_task(self._recheck_all())

    async def close(self) -> None:
        await end_tasks(*self._rechecks, *([self._rounds] if self._rounds else []))

    # --- Policies ---

    def apply_policy(self, room: ChatRoom) -> None:
        """The room has a new policy: apply it to each socket in the room."""
        for socket in room.everybody:
            self.update_socket(room, socket)

    def update_socket(self, room: ChatRoom, socket: Socket) -> None:
        """Remove the socket from the room, or send it its new permissions."""
        try:
            check_entering(room.policy, socket.identity, socket.address, room.slug)
        except Invalid as refusal:
            self.remove_from_room(room.slug, socket, refusal)
            return
        now = about_room(room.policy, socket.identity, socket.address)
        if now != socket.rooms.get(room.slug):
            socket.rooms[room.slug] = now
            event = RoomChanged(**asdict(now), room=room.slug, timestamp=protocol.now())
            socket.transport.send(protocol.encode(event))

    def remove_from_room(self, slug: str, socket: Socket, refusal: Invalid) -> None:
        """Take the socket out, without a grace, and send it `removed` with the refusal's code."""
        self._presence.exit(slug, socket.id, at_once=True)
        self._hub.exit(slug, socket)
        event = Removed(
            room=slug,
            code=refusal.code,
            message=refusal.message,
            retry_after=UNSET if refusal.retry_after is None else refusal.retry_after,
            timestamp=protocol.now(),
        )
        socket.transport.send(protocol.encode(event))
        socket.on_removed()

    def remove_name(self, slug: str, sockets: Sequence[str]) -> None:
        """Remove these sockets: another process gave their name to another person, while the layer was away."""
        refusal = Invalid(ErrorCode.NAME_TAKEN, "Somebody else in this room has your name now: choose another.")
        for socket in [found for name in sockets if (found := self._hub.sockets.get(name))]:
            self.remove_from_room(slug, socket, refusal)

    # --- Sign-ins ---

    def receive(self, people: list[str], sessions: list[str]) -> None:
        """Recheck the sockets of people (``Identity.key``), and end those of sessions (``Proof.digest``)."""
        self.events += 1
        changed, ended = set(people), set(sessions)
        found = []
        for socket in list(self._hub.sockets.values()):
            if socket.identity.proof.digest in ended:
                self.end_session(socket)
            elif socket.identity.key in changed:
                found.append(socket)
        if found:
            self.recheck(found)

    def recheck(self, sockets: Sequence[Socket]) -> None:
        """Start to check whether these sign-ins still hold."""
        task = self._loop.create_task(self.recheck_now(sockets))
        self._rechecks.add(task)
        task.add_done_callback(self._rechecks.discard)

    def recheck_everybody(self) -> None:
        """The channel layer was away, and events about people were lost: recheck every sign-in."""
        self.recheck([socket for socket in self._hub.sockets.values() if socket.identity.lasting])

    async def _recheck_all(self) -> None:
        """Recheck a share of the sign-ins each second, each once in RECHECK seconds; then store new accounts'
        names.
        """
        fill_at = self._loop.time()
        while True:
            await asyncio.sleep(1)
            share = math.ceil(len(self._hub.sockets) / chat_settings().RECHECK)
            await self.recheck_now([socket for socket in self._hub.next_sockets(share) if socket.identity.lasting])
            if self._loop.time() >= fill_at + chat_settings().RECHECK:
                await self._fill_names()
                fill_at = self._loop.time()

    async def _fill_names(self) -> None:
        try:
            await write_or_busy(add_missing_names)
        except Invalid:
            # The database is away. The next round tries again.
            return
        except Exception:
            logger.exception("accounts' names could not be stored")

    async def recheck_now(self, sockets: Sequence[Socket]) -> None:
        for start in range(0, len(sockets), BATCH):
            some = sockets[start : start + BATCH]
            before = [socket.identity for socket in some]
            try:
                found = await read_or_busy(partial(revalidate, before))
            except Invalid:
                # The database is away. The next round tries again.
                return
            except Exception:
                logger.exception("the sign-ins of %d sockets could not be checked", len(some))
                return
            for socket, old, new in zip(some, before, found, strict=True):
                if socket.identity is old:
                    self._renew(socket, new)
            if chat_settings().AUTHORIZE:
                await self._ask_project([socket for socket in some if socket.id in self._hub.sockets])
            self.on_checked(some)

    async def _ask_project(self, sockets: Sequence[Socket]) -> None:
        """Ask the project's own rules again about the rooms of these sockets (chat.access.authorize)."""
        rooms = {slug: room for one in sockets for slug in slugs_of(one) if (room := open_room(self._hub, slug))}
        there = {room: [one for one in sockets if slug in one.rooms] for slug, room in rooms.items()}
        policies = {room: room.policy for room in there}
        asked = {room.log.pk: [one.identity for one in inside] for room, inside in there.items()}
        try:
            found = await read_or_busy(partial(verdicts_by_room, asked))
        except Invalid:
            # The database is away. The next round tries again.
            return
        for room, inside in there.items():
            # A policy that was loaded meanwhile has newer verdicts.
            if room.policy is policies[room] and room.policy.verdicts is not None:
                room.policy.verdicts.update(found.get(room.log.pk) or {})
                for socket in [one for one in inside if room.has(one)]:
                    self.update_socket(room, socket)

    def _renew(self, socket: Socket, identity: Identity | None) -> None:
        if identity is None:
            self.end_session(socket)
        elif identity != socket.identity or identity.staff != socket.identity.staff:
            socket.identity = identity
            for room in [room for slug in slugs_of(socket) if (room := open_room(self._hub, slug))]:
                self.update_socket(room, socket)

    def end_session(self, socket: Socket) -> None:
        """The sign-in has ended: take the socket out of every room, without a grace, and close it."""
        for slug in slugs_of(socket):
            self._presence.exit(slug, socket.id, at_once=True)
        for name in list(socket.rooms):
            self._hub.exit(name, socket)
        counters.sign_ins_ended += socket.transport.closed_with is None
        socket.transport.close(CloseCode.NOT_SIGNED_IN)


def _nothing(sockets: Sequence[Socket]) -> None:
    pass
