"""A small server in this process that speaks the protocol, keeps its log through restarts, and lies where told.

It is what the client and the verdict are tested against: each lie is one that the verdict must find.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from msgspec import UNSET
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from chat.protocol import (
    Ack,
    AnyCommand,
    Delete,
    Deleted,
    Edit,
    Edited,
    Error,
    ErrorCode,
    GetHistory,
    Join,
    Joined,
    Leave,
    Left,
    Message,
    Outgoing,
    Position,
    Post,
    React,
    Reacted,
    Reaction,
    Read,
    UserList,
    Welcome,
    decode,
    encode,
    now,
)
from chat.protocol import History as Page
from torture.records import Log, Row
from torture.timeline import state_of

LIES = (
    *("lose", "double", "renumber", "skip", "repeat", "swap", "hide", "keep", "forget", "miscount", "cut page"),
    *("linger", "overlook"),
)

OFTEN = 5


@dataclass
class Kept:
    """A message in the fake's log."""

    message: Message
    author: str
    ref: str | None
    changes: int = 0
    reactors: list[tuple[str, str]] = field(default_factory=list)


class Fake:
    """A room and its sockets."""

    def __init__(self, lie: str | None = None) -> None:
        self.lie = lie
        self.occasions = 0
        # Does it know no positions?
        self.forgetful = False
        # How many of the next commands it is too busy for.
        self.busy = 0
        # How many of the next messages it keeps, and then cuts the connection before it answers.
        self.cuts = 0
        self.kept: dict[int, Kept] = {}
        self.seq = 0
        self.read: dict[str, int] = {}
        # Yield the frames for each client in the room, and the clients.
        self.sockets: dict[ServerConnection, asyncio.Queue[str]] = {}
        self.names: dict[ServerConnection, str] = {}
        # A frame that "swap" holds back, per socket.
        self.late: dict[ServerConnection, str] = {}

    # --- Its life ---

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Its address, until the end; what was kept is there the next time too."""
        async with serve(self._talk, "127.0.0.1", port, compression=None) as server:
            yield f"ws://127.0.0.1:{_port(server)}/ws"
            # Killed, not closed: nobody is told.
            for socket in list(self.sockets):
                socket.transport.abort()

    async def _talk(self, socket: ServerConnection) -> None:
        assert socket.request
        cookie = re.search(r"sessionid=([^;]+)", socket.request.headers.get("Cookie", ""))
        name = cookie[1] if cookie else ""
        # One queue and one writer: what is said in one step is not torn apart.
        said: asyncio.Queue[str] = asyncio.Queue()
        writer = asyncio.create_task(_write(socket, said))
        try:
            async for text in socket:
                command = decode(str(text))
                name = name or getattr(command, "username", None) or ""
                self._hear(socket, said, name, command)
                if isinstance(command, Join):
                    self._enter(socket, said, name)
                elif isinstance(command, Leave):
                    self._exit(socket)
        except ConnectionClosed:
            pass
        finally:
            self._exit(socket)
            writer.cancel()

    # --- Who is here ---

    def _enter(self, socket: ServerConnection, said: asyncio.Queue[str], name: str) -> None:
        news = name not in self.names.values()
        self.sockets[socket], self.names[socket] = said, name
        if news:
            self._tell_all(Joined(room="lobby", username=name, timestamp=now()))
        self._tell_all(self._list())

    def _exit(self, socket: ServerConnection) -> None:
        self.sockets.pop(socket, None)
        name = self.names.get(socket)
        if name is None or self.lie == "linger":
            return
        del self.names[socket]
        if name not in self.names.values():
            self._tell_all(Left(room="lobby", username=name, timestamp=now()))
        self._tell_all(self._list())

    def _list(self) -> UserList:
        names = list(dict.fromkeys(self.names.values()))
        return UserList(
            room="lobby",
            users=names[1:] if self.lie == "overlook" else names,
            count=len(names),
            timestamp=now(),
        )

    def _tell_all(self, event: Outgoing) -> None:
        for said in self.sockets.values():
            said.put_nowait(encode(event))

    def _hear(self, socket: ServerConnection, said: asyncio.Queue[str], name: str, command: AnyCommand) -> None:
        answers = self._answers(name, command)
        if isinstance(command, Post) and self.cuts:
            self.cuts -= 1
            socket.transport.abort()
        for answer in answers:
            said.put_nowait(encode(answer))

    # --- Commands ---

    def _answers(self, name: str, command: AnyCommand) -> list[Outgoing]:
        match command:
            case Join():
                return self._join(name, command)
            case Post() if self.busy:
                self.busy -= 1
                return [Error(code=ErrorCode.BUSY, message="", timestamp=0, ref=command.ref, retry_after=20)]
            case Post():
                return [self._post(name, command)]
            case Edit() | Delete() | React():
                return [self._change(name, command)]
            case Read(seq=seq):
                self.read[name] = max(seq, self.read.get(name, 0))
            case GetHistory():
                return [self._page(command)]
        return []

    def _join(self, name: str, command: Join) -> list[Outgoing]:
        resumed = command.since is not UNSET and not self.forgetful
        welcome = Welcome(
            room=command.room,
            username=name,
            seq=self.seq,
            epoch="fake",
            resumed=resumed,
            timestamp=0,
            ref=command.ref,
        )
        position = command.since if resumed and command.since is not UNSET else self.seq
        missed = sorted(
            (kept.message for kept in self.kept.values() if kept.message.seq > position), key=lambda m: m.seq
        )
        frames: list[Outgoing] = [welcome]
        for message in missed:
            frames.append(_told(message, follows=position))
            position = message.seq
        return frames

    def _post(self, name: str, command: Post) -> Ack:
        known = next((k for k in self.kept.values() if (k.author, k.ref) == (name, command.ref)), None)
        if known is None or self.lie == "double":
            self.seq += 1
            message = Message(
                room=command.room,
                id=self.seq,
                seq=self.seq,
                username=name,
                content=command.content,
                timestamp=0,
                reply_to=command.reply_to,
            )
            known = Kept(message, name, command.ref or None)
            if not self._lies("lose"):
                self.kept[self.seq] = known
            self._tell(message)
        number = known.message.id + self._lies("renumber")
        return Ack(room=command.room, timestamp=0, id=number, seq=number, ref=command.ref)

    def _change(self, name: str, command: Edit | Delete | React) -> Ack | Error:
        kept = self.kept.get(command.id)
        if kept is None or (kept.message.deleted and not isinstance(command, Delete)):
            return Error(code=ErrorCode.NOT_FOUND, message="Gone.", timestamp=0, ref=command.ref)
        if not self._lies("forget"):
            event = _apply(kept, name, command, keep=self.lie == "keep")
            if event:
                self.seq += 1
                kept.changes += not self._lies("miscount")
                kept.message.seq = event.seq = self.seq
                self._tell(event)
        return Ack(room=command.room, timestamp=0, id=command.id, seq=kept.message.seq, ref=command.ref)

    def _page(self, command: GetHistory) -> Page:
        if command.after is not UNSET:
            newer = sorted(number for number in self.kept if number > (command.after or 0))
            chosen, more = newer[: command.limit], len(newer) > command.limit
        else:
            older = sorted(number for number in self.kept if number < (command.before or 2**53))
            chosen, more = older[-command.limit :], len(older) > command.limit
        if self.lie == "cut page":
            del chosen[len(chosen) // 2 : len(chosen) // 2 + 1]
        messages = [self.kept[number].message for number in chosen]
        return Page(room=command.room, messages=messages, more=more, timestamp=0, ref=command.ref)

    # --- Events ---

    def _tell(self, event: Message | Edited | Deleted | Reacted) -> None:
        for socket, said in self.sockets.items():
            for text in self._texts(socket, event):
                said.put_nowait(text)

    def _texts(self, socket: ServerConnection, event: Message | Edited | Deleted | Reacted) -> list[str]:
        """An event, as one socket is told of it."""
        text = encode(event)
        if socket in self.late:
            return [text, self.late.pop(socket)]
        if self._lies("skip"):
            return []
        if self._lies("repeat"):
            return [text, text]
        if self._lies("hide"):
            # There was nothing to say, it says.
            return [encode(Position(room=event.room, seq=event.seq))]
        if self._lies("swap"):
            self.late[socket] = text
            return []
        return [text]

    def _lies(self, lie: str) -> bool:
        """Every so often, so that each run has some."""
        self.occasions += self.lie == lie
        return self.lie == lie and self.occasions % OFTEN == 0

    # --- The end ---

    def log(self) -> Log:
        rows = [
            Row(state_of(kept.message), kept.ref, kept.changes, list(kept.reactors))
            for _, kept in sorted(self.kept.items())
        ]
        return Log(
            epoch="fake",
            seq=self.seq,
            pruned=0,
            rows=rows,
            read=self.read,
            texts=[row.state.content for row in rows],
        )


async def _write(socket: ServerConnection, said: asyncio.Queue[str]) -> None:
    with suppress(ConnectionClosed):
        while True:
            await socket.send(await said.get())


def _port(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


def _told(message: Message, *, follows: int) -> Message:
    return Message(**{name: getattr(message, name) for name in message.__struct_fields__} | {"follows": follows})


def _apply(
    kept: Kept, name: str, command: Edit | Delete | React, *, keep: bool
) -> Edited | Deleted | Reacted | None:
    """Change what is kept. None where it is so already."""
    message = kept.message
    match command:
        case Edit(content=content) if content != message.content:
            message.content, message.edited = content, 1
            return Edited(
                room=message.room, id=message.id, seq=0, content=content, edited=1, reactions=message.reactions
            )
        case Delete() if not message.deleted:
            message.content = message.content if keep else ""
            message.deleted, message.edited, message.reactions = True, UNSET, []
            kept.reactors.clear()
            return Deleted(room=message.room, id=message.id, seq=0)
        case React(emoji=emoji, on=on) if on != ((emoji, name) in kept.reactors):
            (kept.reactors.append if on else kept.reactors.remove)((emoji, name))
            message.reactions = _reactions(kept.reactors)
            return Reacted(room=message.room, id=message.id, seq=0, reactions=message.reactions)
    return None


def _reactions(reactors: list[tuple[str, str]]) -> list[Reaction]:
    names: dict[str, list[str]] = {}
    for emoji, name in reactors:
        names.setdefault(emoji, []).append(name)
    return [Reaction(emoji, who, len(who)) for emoji, who in names.items()]
