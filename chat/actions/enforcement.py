"""What is lost reaches the live sockets: a room's new rules, and a sign-in that ended.

Two ways lead here. Signals tell at once (chat.signals), in every process, through the hub. And what goes
past them is found by comparison: a room's rules once a second, by the hub; each sign-in every CHAT["RECHECK"].
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from functools import partial

from msgspec import UNSET
from msgspec.structs import asdict

from chat import protocol
from chat.access.permissions import about_room, check_entering
from chat.auth import Identity, revalidate
from chat.auth.usernames import add_missing_names
from chat.conf import chat_settings
from chat.hub import Hub, OpenRoom, Socket
from chat.log import read_or_busy, write_or_busy
from chat.loops import current
from chat.metrics.counters import counters
from chat.presence import Presence
from chat.protocol import CloseCode, ErrorCode, Invalid, Removed, RoomChanged

logger = logging.getLogger("chat.rooms")

TOGETHER = 500
"""Sockets whose sign-ins one query looks at."""


class AccessEnforcer:
    """One per event loop: ``of_this_loop(Warden)``."""

    def __init__(self) -> None:
        self._hub = current(Hub)
        self._presence = current(Presence)
        self._hub.rules.on_new = self.apply_policy
        self._hub.cluster.on_people = self.receive
        self._hub.on_return.append(self.recheck_everybody)
        self._presence.on_name_lost = self.remove_name
        self._loop = asyncio.get_running_loop()
        self._rounds = self._loop.create_task(self._recheck_all())
        self._looking: set[asyncio.Task[None]] = set()
        # How often it was told of people or sessions: who was identified meanwhile is looked at again.
        self.events = 0

    async def close(self) -> None:
        tasks = [self._rounds, *self._looking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- Rules ---

    def apply_policy(self, room: OpenRoom) -> None:
        for socket in [*room.sockets, *room.behind]:
            self.update_socket(room, socket)

    def update_socket(self, room: OpenRoom, socket: Socket) -> None:
        """Put a socket out of the room, or tell it what is another now."""
        try:
            check_entering(room.policy, socket.identity, socket.address, room.slug)
        except Invalid as refusal:
            self.remove_from_room(room.slug, socket, refusal)
            return
        now = about_room(room.policy, socket.identity, socket.address)
        if now != socket.rooms.get(room.slug):
            socket.rooms[room.slug] = now
            event = RoomChanged(**asdict(now), room=room.slug, timestamp=protocol.now())
            socket.transport.say(protocol.encode(event))

    def remove_from_room(self, slug: str, socket: Socket, refusal: Invalid) -> None:
        self._presence.exit(slug, socket.id, at_once=True)
        self._hub.exit(slug, socket)
        event = Removed(
            room=slug,
            code=refusal.code,
            message=refusal.message,
            retry_after=UNSET if refusal.retry_after is None else refusal.retry_after,
            timestamp=protocol.now(),
        )
        socket.transport.say(protocol.encode(event))
        socket.on_removed()

    def remove_name(self, slug: str, sockets: Sequence[str]) -> None:
        """Somebody came in elsewhere under the name of these, while the processes did not hear each other."""
        refusal = Invalid(ErrorCode.NAME_TAKEN, "Somebody else in this room has your name now: choose another.")
        for socket in [found for name in sockets if (found := self._hub.sockets.get(name))]:
            self.remove_from_room(slug, socket, refusal)

    # --- Sign-ins ---

    def receive(self, people: list[str], sessions: list[str]) -> None:
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
        """Find out, soon, whether these sign-ins still hold."""
        task = self._loop.create_task(self.recheck_now(sockets))
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    def recheck_everybody(self) -> None:
        """What was said of people while the layer was away nobody here heard."""
        self.recheck([socket for socket in self._hub.sockets.values() if socket.identity.lasting])

    async def _recheck_all(self) -> None:
        """Look at some sign-ins each second, at each once in RECHECK seconds; then for accounts unknown so far."""
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
            # The database is away: with the next round.
            return
        except Exception:
            logger.exception("accounts' names could not be looked for")

    async def recheck_now(self, sockets: Sequence[Socket]) -> None:
        for start in range(0, len(sockets), TOGETHER):
            some = sockets[start : start + TOGETHER]
            before = [socket.identity for socket in some]
            try:
                found = await read_or_busy(partial(revalidate, before))
            except Invalid:
                # Asked again with the next round.
                return
            except Exception:
                logger.exception("the sign-ins of %d sockets could not be looked at", len(some))
                return
            for socket, old, new in zip(some, before, found, strict=True):
                if socket.identity is old:
                    self._renew(socket, new)

    def _renew(self, socket: Socket, identity: Identity | None) -> None:
        if identity is None:
            self.end_session(socket)
        elif identity != socket.identity or identity.staff != socket.identity.staff:
            socket.identity = identity
            for room in [room for slug in list(socket.rooms) if (room := self._hub.room(slug))]:
                self.update_socket(room, socket)

    def end_session(self, socket: Socket) -> None:
        """The sign-in has ended: out of every room at once, and closed."""
        for slug in list(socket.rooms):
            self._presence.exit(slug, socket.id, at_once=True)
            self._hub.exit(slug, socket)
        counters.sign_ins_ended += socket.transport.closed_with is None
        socket.transport.close(CloseCode.NOT_SIGNED_IN)
