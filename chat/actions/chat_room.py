"""The chat's kind of open room: its policy, its slow mode, its welcome and its history."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import cast

from msgspec import UNSET
from msgspec.structs import asdict

from chat import protocol
from chat.access import policy
from chat.access.authorize import DENIED, verdicts_by_room
from chat.access.policy import Policy
from chat.auth import Identity
from chat.hub import Event, Hub, OpenRoom, Socket
from chat.log import RoomLog, read_or_busy
from chat.message_log import MessageLog
from chat.protocol import AboutRoom, Invalid, Message, Ref, Welcome, no_room

DENY_ALL = Policy(kind="private")
"""The policy of a deleted room."""
PLAIN = AboutRoom()
"""A public room with nothing special about it."""


class ChatRoom(OpenRoom):
    """An open room in which people chat."""

    source: MessageLog

    def __init__(self, source: MessageLog, log: RoomLog, on_policy: Callable[["ChatRoom"], None]) -> None:
        super().__init__(source, log)
        # The rules, as the database had them when they were last loaded.
        self.policy = Policy()
        # Called with the room when its policy is another.
        self._on_policy = on_policy
        # Identities that are joining, each with the number of its joins.
        self._joining: dict[Identity, int] = {}
        # When each person last posted (loop time), for slow mode.
        self._posted: dict[str, float] = {}
        # The latest page of messages, and its key: the log, its position, the limit.
        self._latest_page: tuple[tuple[RoomLog, int, int], asyncio.Task[tuple[list[Message], bool]]] | None = None

    # --- Policy ---

    async def load(self) -> None:
        log = self.log
        found = await read_or_busy(partial(policy.load, log.pk))
        if found is None:
            raise no_room(log.slug)
        known = self.policy
        if found.verdicts is not None and (found.rules, found.epoch) == (known.rules, known.epoch):
            # The same rules: a refused join has them loaded again, and must not have everybody asked about.
            found.verdicts.update(known.verdicts or {})
        # Others may begin to join meanwhile.
        await self._ask(found, self._identities)
        if log is self.log:
            self._set_policy(found)

    def is_up_to_date(self, rules: int) -> bool:
        return self.policy.rules == rules

    async def open_again(self) -> RoomLog:
        # A room that is not public is not made again: nobody may enter it by its name.
        return await self.source.open(self.slug, make=not protocol.is_hidden(self.slug))

    def invalidate(self) -> None:
        self.policy = replace(self.policy, rules=-1)

    def remove_everybody(self) -> None:
        self._set_policy(DENY_ALL)

    def _set_policy(self, found: Policy) -> None:
        self.policy = found
        self._on_policy(self)

    # --- The project's own rules (chat.access.authorize) ---

    @contextmanager
    def considering(self, identity: Identity) -> Iterator[None]:
        """While the identity is joining, policies that are loaded have the project's verdict on it."""
        self._joining[identity] = self._joining.get(identity, 0) + 1
        try:
            yield
        finally:
            self._joining[identity] -= 1
            if not self._joining[identity]:
                del self._joining[identity]
            self._forget_verdict(identity)

    async def ask_project(self, identity: Identity) -> None:
        """Have the project's verdict on an identity in the policy. Raises Invalid (busy)."""
        while (known := self.policy).verdicts is not None and identity.key not in known.verdicts:
            await self._ask(known, lambda: [identity])

    async def _ask(self, known: Policy, identities: Callable[[], list[Identity]]) -> None:
        while known.verdicts is not None and (
            missing := [identity for identity in identities() if identity.key not in known.verdicts]
        ):
            found = await read_or_busy(partial(verdicts_by_room, {self.log.pk: missing}))
            # A room that is gone allows nothing.
            known.verdicts.update(found.get(self.log.pk) or dict.fromkeys([one.key for one in missing], DENIED))

    def _identities(self) -> list[Identity]:
        """The identities that the policy is asked about: those in the room, and those that are joining."""
        return [*{socket.identity for socket in self.everybody} | self._joining.keys()]

    def left(self, socket: Socket) -> None:
        self._forget_verdict(socket.identity)

    def _forget_verdict(self, identity: Identity) -> None:
        """An identity that returns is asked about again."""
        if self.policy.verdicts and identity not in self._identities():
            self.policy.verdicts.pop(identity.key, None)

    # --- Slow mode ---

    def slow_mode_wait(self, person: str, pause: int) -> float:
        """Seconds until this person may post again; at most 0: now. ``pause``: seconds between two posts."""
        return self._posted.get(person, -pause) + pause - self._loop.time()

    def note_post(self, hub: Hub, person: str) -> None:
        """This person posts now: every process must know."""
        self._posted[person] = self._loop.time()
        hub.publish(self.slug, ("spoke", person))

    def receive(self, event: Event) -> None:
        match event:
            case "spoke", person:
                self._posted[person] = self._loop.time()
            case _:
                super().receive(event)

    # --- Welcome and history ---

    def welcome(self, socket: Socket, *, resumed: bool, read: int | None = None, ref: Ref | None = None) -> None:
        """Send a socket its position in the room, and what it may do there."""
        about = cast(AboutRoom, socket.rooms.get(self.slug) or PLAIN)
        welcome = Welcome(
            **asdict(about),
            room=self.slug,
            username=socket.username or "",
            seq=self.written,
            epoch=self.log.epoch,
            resumed=resumed,
            timestamp=protocol.now(),
            you=socket.identity.public,
            read=UNSET if read is None else read,
            ref=ref or UNSET,
        )
        socket.transport.send(protocol.encode(welcome))

    def greet(self, socket: Socket) -> None:
        self.welcome(socket, resumed=False)

    async def history(self, *, before: int | None, after: int | None, limit: int) -> tuple[list[Message], bool]:
        """A page of messages, oldest first, and whether there are more that way.

        The latest page is read once for all who ask while nothing changes, as a crowd does that starts over.
        """
        if before is not None or after is not None:
            return await self.source.history(self.log, before=before, after=after, limit=limit)
        key = (self.log, self.position, limit)
        if self._latest_page is None or self._latest_page[0] != key or self._latest_page[1].cancelled():
            page = self._loop.create_task(self.source.history(self.log, before=None, after=None, limit=limit))
            self._latest_page = (key, page)
        try:
            return await asyncio.shield(self._latest_page[1])
        except Invalid:
            self._latest_page = None
            raise

    def forget_pages(self) -> None:
        self._latest_page = None


open_room = cast(Callable[[Hub, str], ChatRoom | None], Hub.room)
"""The room with this slug, if it is open in this process. Names with a colon are of other kinds (chat.topics)."""


def slugs_of(socket: Socket) -> list[str]:
    """The chat's rooms that the socket is in."""
    return [name for name in socket.rooms if not protocol.is_topic(name)]


async def hold_room(hub: Hub, slug: str, *, make: bool, owner: int | str | None = None) -> ChatRoom:
    """``Hub.open``, for the chat's kind of room."""
    return cast(ChatRoom, await hub.open(slug, make=make, owner=owner))
