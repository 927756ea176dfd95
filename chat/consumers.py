"""One socket's conversation: decode, verb, reply. No rules, no SQL, no fan-out here.

The consumer reads the socket in a loop of its own and has no channel in the layer: what it hears comes through
the hub. Stock consumers hop to one shared thread for every message (Channels' ``dispatch``); this one never does.
"""

import asyncio
import logging
from enum import Enum
from functools import partial
from itertools import count
from typing import Any

from channels.consumer import AsyncConsumer
from django.db import Error as DatabaseError
from msgspec import UNSET

from chat import protocol, rooms
from chat.auth import Identity, identify
from chat.conf import chat_settings
from chat.hub import Hub, Socket
from chat.lanes import lane_for
from chat.log import Outcome
from chat.loops import of_this_loop
from chat.protocol import (
    Ack,
    AnyCommand,
    CloseCode,
    Delete,
    Edit,
    Error,
    ErrorCode,
    GetHistory,
    Invalid,
    Join,
    Leave,
    Outgoing,
    Ping,
    Pong,
    Post,
    React,
    Read,
    Search,
    Typing,
)

logger = logging.getLogger("chat.consumers")

TURN = 8
"""Frames after which a socket lets the others have a turn: reading one that already waits suspends nothing."""

Message = dict[str, Any]


class State(Enum):
    """Where a socket is in its life; it only moves down this list."""

    CONNECTING = "connecting"
    OPEN = "open"
    # We asked for the close; what still comes in is ignored.
    CLOSING = "closing"
    CLOSED = "closed"


class ChatConsumer(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """Speaks the protocol with one socket."""

    state = State.CONNECTING
    # They are there from the connect on.
    hub: Hub
    socket: Socket
    identity: Identity
    # Invalid frames in a row.
    invalid = 0
    # Messages and other changes that wait for the database, and what waits until they are fewer.
    unanswered = 0
    slack: asyncio.Future[None] | None = None
    # Closes a socket that is in no room; None before the connect.
    patience: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        self.typed_at: dict[str, float] = {}
        await receive()
        self.socket = Socket(lane_for(scope, send), address=_address(scope))
        log = logging.LoggerAdapter(logger, {"connection": self.socket.id})
        self.hub = of_this_loop(Hub)
        try:
            self.identity = await identify(scope)
            await send({"type": "websocket.accept"})
            self.state = State.OPEN
            self.hub.add(self.socket)
            self._be_patient()
            await self._listen(receive)
        except asyncio.CancelledError:
            # The server stops and takes its applications down; it does not wait for farewells.
            raise
        except DatabaseError as error:
            log.error("connection %s: the database does not answer: %s", self.socket.id, error)  # noqa: TRY400 its fault, not ours
            if self.state is State.CONNECTING:
                # Opened, to be closed with a code: a handshake that is refused says nothing, and not to come back.
                await send({"type": "websocket.accept"})
            self.close(CloseCode.INTERNAL)
            await self.socket.lane.flushed()
        except Exception:
            log.exception("connection %s: an unexpected error closes it", self.socket.id)
            if self.state is State.CONNECTING:
                # There is no socket yet to close with a code: the handshake is refused.
                await send({"type": "websocket.close"})
            else:
                self.close(CloseCode.INTERNAL)
                await self.socket.lane.flushed()
        finally:
            self.state = State.CLOSED
            if self.patience:
                self.patience.cancel()
            self.socket.lane.abandon()
            self._leave_everything()

    async def _listen(self, receive: Any) -> None:
        for heard in count(1):
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            # Who does not read what was said is not listened to either: answers would only pile up.
            await self.socket.lane.drained()
            if self.state is State.OPEN and self.socket.lane.closed_with is None:
                await self._hear(message)
            if heard % TURN == 0:
                await asyncio.sleep(0)

    async def _hear(self, message: Message) -> None:
        try:
            command = protocol.decode(_text(message))
        except Invalid as refusal:
            self._refuse(refusal)
            self.invalid += 1
            if self.invalid >= chat_settings().INVALID_FRAMES:
                self.close(CloseCode.BAD_INPUT)
            return
        self.invalid = 0
        try:
            await self._handle(command)
        except Invalid as refusal:
            self._refuse(refusal, command.ref or None)

    async def _handle(self, command: AnyCommand) -> None:
        match command:
            case Post() | Edit() | Delete() | React():
                await self._write(command)
            case Join():
                await rooms.join(self.hub, self.socket, self.identity, command)
            case Leave():
                rooms.leave(self.hub, self.socket, command.room, at_once=True)
                self.typed_at.pop(command.room, None)
                self._be_patient()
                self.reply(Ack(room=command.room, timestamp=protocol.now(), ref=command.ref))
            case Typing():
                self._typing(command.room)
            case Read():
                rooms.read(self.hub, self.socket, self.identity, command)
            case GetHistory():
                self.reply(await rooms.history(self.hub, self.socket, command))
            case Search():
                self.reply(await rooms.search(self.hub, self.socket, command))
            case Ping():
                self.reply(Pong(timestamp=protocol.now(), ref=command.ref))

    async def _write(self, command: Post | Edit | Delete | React) -> None:
        """Have something kept. The answer comes when it is; the socket may say more meanwhile, up to a bound."""
        while self.unanswered >= chat_settings().PIPELINE and self.socket.lane.closed_with is None:
            self.slack = asyncio.get_running_loop().create_future()
            await self.slack
        done = partial(self._written, command)
        match command:
            case Post():
                rooms.post(self.hub, self.socket, command, done)
            case Edit():
                rooms.edit(self.hub, self.socket, self.identity, command, done)
            case Delete():
                rooms.delete(self.hub, self.socket, self.identity, command, done)
            case React():
                rooms.react(self.hub, self.socket, self.identity, command, done)
        self.unanswered += 1

    def _written(self, command: Post | Edit | Delete | React, outcome: Outcome) -> None:
        self.unanswered -= 1
        if self.slack and not self.slack.done():
            self.slack.set_result(None)
        if isinstance(outcome, Invalid):
            self._refuse(outcome, command.ref or None)
            return
        ack = Ack(
            room=command.room,
            id=outcome.id,
            seq=outcome.seq,
            timestamp=outcome.timestamp,
            ref=command.ref,
        )
        self.socket.lane.announce(protocol.encode(ack))

    def _typing(self, room: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self.typed_at.get(room, -1e9) >= chat_settings().TYPING_INTERVAL:
            rooms.typing(self.hub, self.socket, room)
            self.typed_at[room] = now

    def reply(self, outgoing: Outgoing) -> None:
        self.socket.lane.say(protocol.encode(outgoing))

    def _refuse(self, refusal: Invalid, ref: str | None = None) -> None:
        self.reply(
            Error(
                code=refusal.code,
                message=refusal.message,
                field=refusal.field or UNSET,
                ref=refusal.ref or ref or UNSET,
                retry_after=UNSET if refusal.retry_after is None else refusal.retry_after,
                timestamp=protocol.now(),
            )
        )

    def close(self, code: CloseCode) -> None:
        """Close the socket after what was said so far."""
        self.state = State.CLOSING
        self.socket.lane.close(code)

    def _be_patient(self) -> None:
        """A socket that is in no room may look for one for so long, from now."""
        if self.patience:
            self.patience.cancel()
        loop = asyncio.get_running_loop()
        self.patience = loop.call_later(chat_settings().JOIN_TIMEOUT, self._expect_join)

    def _expect_join(self) -> None:
        if not self.socket.rooms:
            self.close(CloseCode.IDLE)

    def _leave_everything(self) -> None:
        for slug in list(self.socket.rooms):
            rooms.leave(self.hub, self.socket, slug, at_once=False)
        self.hub.remove(self.socket)


def _text(message: Message) -> str:
    text: str | None = message.get("text")
    if text is None:
        raise Invalid(ErrorCode.BAD_JSON, "The frame must be text, not binary.")
    return text


def _address(scope: Message) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
