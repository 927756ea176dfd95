"""A client that behaves as the browser's does, and records what it sends and receives.

It keeps what is not acknowledged and sends it again, one command at a time and in order; it comes back with a
growing, random delay and goes on where it was; where a frame shows that something is missing it asks for it.
Compare chat/static/chat/client/client.js and membership.js.
"""

import asyncio
import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

import msgspec

from chat.protocol import (
    Ack,
    AnyOutgoing,
    Deleted,
    Edited,
    Error,
    ErrorCode,
    Found,
    Joined,
    Left,
    Message,
    Position,
    Reacted,
    Reconnect,
    Removed,
    UserList,
    Welcome,
)
from chat.protocol import History as Page
from chat.protocol import Late as ServerIsLate
from torture.case import JOIN
from torture.connection import Connection
from torture.courier import Courier, Entry, busy_for
from torture.link import PACE, Backoff, Link, LinkLost, Pace
from torture.records import (
    Acked,
    Announced,
    Asked,
    Cut,
    Event,
    Gone,
    HasRead,
    Heard,
    History,
    Holding,
    Late,
    Leaving,
    Listed,
    Lost,
    Paged,
    PutOut,
    Refused,
    Searched,
    Sent,
    Strange,
    Welcomed,
)
from torture.timeline import Numbered, Place, Timeline, given, lower, said_of

PAGE = 100
"""Messages of a page of history."""


@dataclass(frozen=True)
class Person:
    """A client's user. The tabs of one browser have one author, with a unique username."""

    who: str
    author: str
    # The session's key; None for a program that only says its name.
    session: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": f"sessionid={self.session}"} if self.session else {}


class Client(Connection):
    """One tab in one room."""

    def __init__(
        self,
        person: Person,
        urls: Sequence[str],
        room: str,
        history: History,
        chance: random.Random,
        *,
        pace: Pace = PACE,
        place: Place | None = None,
    ) -> None:
        super().__init__(urls, person.headers, pace, chance)
        self.person, self.room, self.history = person, room, history
        self.place = place or Place()
        self.timeline = Timeline()
        self.courier = Courier(pace, chance, self._sent)
        # Posts that were acknowledged.
        self.said: list[Entry] = []
        self.joined = False
        # The list of users, as this page would show it.
        self.people: tuple[str, ...] = ()
        # Is what others say late?
        self.late = False
        # When the server last said something on this link, by its own clock.
        self._alive: float | None = None
        self._refs = 0
        # Refs of pages on their way, with which it fills itself after it had to start over.
        self._filling: set[str] = set()
        self._asking: asyncio.Task[None] | None = None
        self._refusals = Backoff(pace, chance)

    # --- What its user does ---

    def do(self, kind: str, *, first: bool = False, **fields: Any) -> str:
        """Give a command to the outbox. Returns its ref."""
        self._refs += 1
        ref = f"{self.person.who}.{self._refs}"
        self.courier.add(Entry(ref, {"type": kind, "room": self.room, "ref": ref, **fields}), first=first)
        return ref

    def again(self, entry: Entry) -> None:
        """Say what was acknowledged once more, as a second tab with the same outbox may."""
        self.courier.add(Entry(entry.ref, entry.command))

    def read(self, seq: int) -> None:
        """Say how far one has read, if there is somebody to say it to."""
        if self.link and self.joined:
            self._note(HasRead, author=self.person.author, seq=seq)
            self.spawn(self._say(self.link, {"type": "read", "room": self.room, "seq": seq}))

    async def _say(self, link: Link, command: dict[str, Any]) -> None:
        with suppress(LinkLost):
            await link.send(msgspec.json.encode(command).decode())

    @property
    def idle(self) -> bool:
        """It is in the room, and nothing of it waits for an answer."""
        return self.joined and not self.place.asking and not self.courier.entries

    def holding(self) -> Holding:
        return Holding(
            who=self.person.who,
            author=self.person.author,
            first=-1 if self.place.first is None else self.place.first,
            last=-1 if self.place.last is None else self.place.last,
            messages=self.timeline.ordered(),
            waiting=[entry.ref for entry in self.courier.entries],
        )

    # --- The link ---

    def on_open(self, link: Link) -> None:
        self.late = False
        self._alive = None
        self._ask(link)

    def on_cut(self) -> None:
        self._note(Cut)

    def on_loss(self, code: int) -> None:
        self.joined = self.place.asking = False
        self._note(Lost, link=self.number, code=code, alive=self._alive)

    def on_nonsense(self, says: str) -> None:
        self._note(Strange, says=says)

    def on_frame(self, frame: AnyOutgoing) -> None:
        self._is_alive(frame)
        room = getattr(frame, "room", self.room)
        if room != self.room:
            self._note(Strange, says=f"a frame of the room {room}: {frame}")
        match frame:
            case Message() | Edited() | Deleted() | Reacted() | Position():
                self._heard(frame)
            case Welcome():
                self._welcomed(frame)
            case Ack():
                self._acked(frame)
            case Error():
                self._errored(frame)
            case Page():
                self._paged(frame)
            case Found():
                self._found(frame)
            case UserList() | Joined() | Left() | ServerIsLate():
                self._heard_of_others(frame)
            case Reconnect() | Removed():
                self._sent_away(frame)

    def _is_alive(self, frame: AnyOutgoing) -> None:
        """The server still holds the connection when it says something."""
        if stamped := getattr(frame, "timestamp", None):
            # A repeated event has an older time.
            self._alive = max(self._alive or -inf, self.history.at(stamped))

    def _sent_away(self, frame: Reconnect | Removed) -> None:
        if isinstance(frame, Reconnect):
            self.come_back_in(frame.after / 1_000)
            return
        self._note(PutOut, code=str(frame.code), known=self.person.session is not None)
        # To come in again, as soon as it may.
        self.cut()

    def _note(self, kind: type[Event], /, **fields: Any) -> None:
        self.history.add(kind(at=self.history.clock(), who=self.person.who, **fields))

    # --- The room ---

    def _ask(self, link: Link, delay: float = 0.0) -> None:
        """Join, or join again where the log was left, and again until there is an answer."""
        self.place.asking = True
        if self._asking:
            self._asking.cancel()
        self._asking = self.spawn(self._keep_asking(link, delay))

    async def _keep_asking(self, link: Link, delay: float) -> None:
        await asyncio.sleep(delay)
        with suppress(LinkLost):
            while self.place.asking:
                self._note(Asked, link=self.number, since=self.place.last, epoch=self.place.epoch)
                await link.send(msgspec.json.encode(self._join()).decode())
                await asyncio.sleep(self.pace.join)

    def _join(self) -> dict[str, Any]:
        command: dict[str, Any] = {"type": "join", "room": self.room, "ref": JOIN}
        if self.person.session is None:
            command["username"] = self.person.author
        if self.place.last is not None:
            command |= {"since": self.place.last, "epoch": self.place.epoch}
        return command

    def _welcomed(self, frame: Welcome) -> None:
        self._note(
            Welcomed,
            link=self.number,
            seq=frame.seq,
            epoch=frame.epoch,
            resumed=frame.resumed,
            last=self.place.last,
            node=self.node,
        )
        if frame.username != self.person.author:
            self._note(Strange, says=f"welcomed as {frame.username}")
        if self.place.welcomed(frame) == "reset":
            self._start_over()
        if not self.joined and self.link:
            self.joined = True
            self._refusals.reset()
            self.spawn(self.courier.carry(self.link))

    def _heard(self, frame: Numbered) -> None:
        judged = self.place.judge(frame)
        content, reactions = said_of(frame)
        self._note(
            Heard,
            link=self.number,
            kind=type(frame).__name__,
            id=0 if isinstance(frame, Position) else frame.id,
            seq=frame.seq,
            lower=lower(frame),
            content=content,
            reactions=reactions,
            taken=judged == "new",
        )
        if judged == "new":
            self.timeline.take(frame, filling=bool(self._filling))
        elif judged == "gap" and not self.place.asking and self.link:
            self._ask(self.link)

    def _heard_of_others(self, frame: UserList | Joined | Left | ServerIsLate) -> None:
        if isinstance(frame, UserList):
            self.people = self.history.names(frame.users)
            said = self.history.at(frame.timestamp)
            self._note(Listed, names=self.people, count=frame.count, said=said)
        elif isinstance(frame, ServerIsLate):
            self.late = frame.late
            self._note(Late, late=frame.late)
        else:
            said, came = self.history.at(frame.timestamp), isinstance(frame, Joined)
            self._note(Announced, name=sys.intern(frame.username), came=came, said=said)

    # --- Starting over ---

    def _start_over(self) -> None:
        """The missed part is not available in order: forget all, and read the pages back to the beginning."""
        self.timeline.forget()
        self.courier.withdraw(self._filling)
        self._filling = {self.do("history", first=True, limit=PAGE)}

    def _paged(self, frame: Page) -> None:
        entry = self.courier.answered(given(frame.ref) or "")
        if entry is None:
            return
        command, ids = entry.command, [message.id for message in frame.messages]
        before, after = command.get("before"), command.get("after")
        self._note(Paged, before=before, after=after, limit=command["limit"], ids=ids, more=frame.more)
        if entry.ref in self._filling:
            self._filling.discard(entry.ref)
            self.timeline.take_page(frame.messages)
            if frame.more and ids and ids[0] > (self.place.first or 0):
                self._filling.add(self.do("history", first=True, limit=PAGE, before=ids[0]))
            else:
                self.timeline.early.clear()

    def _found(self, frame: Found) -> None:
        entry = self.courier.answered(given(frame.ref) or "")
        if entry:
            ids = [message.id for message in frame.messages]
            self._note(Searched, query=entry.command["query"], ids=ids)

    # --- Answers ---

    def _sent(self, entry: Entry) -> None:
        self._note(Sent, author=self.person.author, ref=entry.ref, command=entry.command, link=self.number)

    def _acked(self, frame: Ack) -> None:
        ref = given(frame.ref) or ""
        number, seq = given(frame.id), given(frame.seq)
        self._note(Acked, author=self.person.author, ref=ref, link=self.number, id=number, seq=seq)
        entry = self.courier.answered(ref)
        if entry and entry.kind == "message":
            self.said.append(entry)

    def _errored(self, frame: Error) -> None:
        ref = given(frame.ref) or ""
        if ref == JOIN:
            self._join_refused(frame)
            return
        self._note(Refused, author=self.person.author, ref=ref, code=str(frame.code))
        if frame.code is ErrorCode.BUSY:
            self.courier.busy(ref, busy_for(given(frame.retry_after), self._refusals))
        else:
            self.courier.answered(ref)

    def _join_refused(self, frame: Error) -> None:
        """A name is taken for as long as the server holds the connection that was cut; then it is ours again."""
        self._note(Refused, author=self.person.author, ref=JOIN, code=str(frame.code))
        if frame.code in (ErrorCode.BUSY, ErrorCode.NAME_TAKEN) and self.link:
            self._ask(self.link, busy_for(given(frame.retry_after), self._refusals))


class Visitor(Client):
    """A client that sends nothing, and whose first connection is its last."""

    async def run(self) -> None:
        self.number = 1
        try:
            self.on_loss(await self._one_link())
        finally:
            self._note(Gone)

    def leave(self) -> None:
        """Say that one leaves the room."""
        if self.link:
            self._note(Leaving)
            self.spawn(self._say(self.link, {"type": "leave", "room": self.room}))

    def close(self) -> None:
        """End the connection as it should be."""
        if self.link:
            self._note(Leaving)
            self.spawn(self.link.connection.close())
