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
from chat.access.permissions import about, check_entering
from chat.auth import Identity, revalidate
from chat.auth.usernames import add_missing_names
from chat.conf import chat_settings
from chat.hub import Hub, OpenRoom, Socket
from chat.log import answered, done
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
        self._hub.rules.on_new = self._new_rules
        self._hub.cluster.on_people = self._hear
        self._hub.on_return.append(self._look_at_everybody)
        self._presence.on_name_lost = self._oust
        self._loop = asyncio.get_running_loop()
        self._rounds = self._loop.create_task(self._look_at_all())
        self._looking: set[asyncio.Task[None]] = set()
        # How often it was told of people or sessions: who was identified meanwhile is looked at again.
        self.heard = 0

    async def close(self) -> None:
        tasks = [self._rounds, *self._looking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- Rules ---

    def _new_rules(self, room: OpenRoom) -> None:
        for socket in [*room.sockets, *room.behind]:
            self.apply(room, socket)

    def apply(self, room: OpenRoom, socket: Socket) -> None:
        """Put a socket out of the room, or tell it what is another now."""
        try:
            check_entering(room.policy, socket.identity, socket.address, room.slug)
        except Invalid as refusal:
            self.put_out(room.slug, socket, refusal)
            return
        now = about(room.policy, socket.identity, socket.address)
        if now != socket.rooms.get(room.slug):
            socket.rooms[room.slug] = now
            event = RoomChanged(**asdict(now), room=room.slug, timestamp=protocol.now())
            socket.transport.say(protocol.encode(event))

    def put_out(self, slug: str, socket: Socket, refusal: Invalid) -> None:
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
        socket.on_put_out()

    def _oust(self, slug: str, sockets: Sequence[str]) -> None:
        """Somebody came in elsewhere under the name of these, while the processes did not hear each other."""
        refusal = Invalid(ErrorCode.NAME_TAKEN, "Somebody else in this room has your name now: choose another.")
        for socket in [found for name in sockets if (found := self._hub.sockets.get(name))]:
            self.put_out(slug, socket, refusal)

    # --- Sign-ins ---

    def _hear(self, people: list[str], sessions: list[str]) -> None:
        self.heard += 1
        changed, ended = set(people), set(sessions)
        found = []
        for socket in list(self._hub.sockets.values()):
            if socket.identity.proof.digest in ended:
                self.end(socket)
            elif socket.identity.key in changed:
                found.append(socket)
        if found:
            self.look(found)

    def look(self, sockets: Sequence[Socket]) -> None:
        """Find out, soon, whether these sign-ins still hold."""
        task = self._loop.create_task(self._look_at(sockets))
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    def _look_at_everybody(self) -> None:
        """What was said of people while the layer was away nobody here heard."""
        self.look([socket for socket in self._hub.sockets.values() if socket.identity.lasting])

    async def _look_at_all(self) -> None:
        """Look at some sign-ins each second, at each once in RECHECK seconds; then for accounts unknown so far."""
        fill_at = self._loop.time()
        while True:
            await asyncio.sleep(1)
            share = math.ceil(len(self._hub.sockets) / chat_settings().RECHECK)
            await self._look_at([socket for socket in self._hub.next_sockets(share) if socket.identity.lasting])
            if self._loop.time() >= fill_at + chat_settings().RECHECK:
                await self._fill_names()
                fill_at = self._loop.time()

    async def _fill_names(self) -> None:
        try:
            await done(add_missing_names)
        except Invalid:
            # The database is away: with the next round.
            return
        except Exception:
            logger.exception("accounts' names could not be looked for")

    async def _look_at(self, sockets: Sequence[Socket]) -> None:
        for start in range(0, len(sockets), TOGETHER):
            some = sockets[start : start + TOGETHER]
            before = [socket.identity for socket in some]
            try:
                found = await answered(partial(revalidate, before))
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
            self.end(socket)
        elif identity != socket.identity or identity.staff != socket.identity.staff:
            socket.identity = identity
            for room in [room for slug in list(socket.rooms) if (room := self._hub.room(slug))]:
                self.apply(room, socket)

    def end(self, socket: Socket) -> None:
        """The sign-in has ended: out of every room at once, and closed."""
        for slug in list(socket.rooms):
            self._presence.exit(slug, socket.id, at_once=True)
            self._hub.exit(slug, socket)
        counters.sign_ins_ended += socket.transport.closed_with is None
        socket.transport.close(CloseCode.NOT_SIGNED_IN)
