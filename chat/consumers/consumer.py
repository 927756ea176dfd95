"""The WebSocket consumer: decodes a frame, checks the limits, calls an operation, replies.

It has no rules, no SQL and no fan-out. It reads its socket in a loop of its own and has no channel in the layer:
events come through the hub. Stock consumers hop to one shared thread for every message (Channels' ``dispatch``);
this one never does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from itertools import count
from typing import Any

from channels.consumer import AsyncConsumer
from django.db import Error as DatabaseError
from msgspec import UNSET

from chat import actions, protocol, runtime
from chat.auth import identify
from chat.conf import chat_settings
from chat.consumers.throttle import Throttle
from chat.consumers.timeouts import Timeouts
from chat.hub import Hub, Socket
from chat.limits import COST, COSTS, INVALID_FRAME, Allowance, Limits, scope_address
from chat.log import Outcome
from chat.loops import current
from chat.metrics.counters import RefusalReason, counters
from chat.protocol import (
    Ack,
    AnyCommand,
    CloseCode,
    Command,
    Delete,
    Edit,
    Error,
    ErrorCode,
    GetEntries,
    GetHistory,
    GetMembers,
    GetSharing,
    Invalid,
    Join,
    Leave,
    Outgoing,
    Ping,
    Pong,
    Post,
    Publish,
    React,
    Read,
    Search,
    SendSignal,
    SetPresence,
    ShowToken,
    Subscribe,
    Typing,
    Unsubscribe,
)
from chat.topics.subscriptions import Subscriptions
from chat.transport import PendingSends, transport_for

logger = logging.getLogger("chat.consumers")

TURN = 8
"""Frames after which other sockets get a turn: reading a frame that already waits does not suspend."""

CODES = range(1000, 1016)
"""Close codes of clients that get their own counter (RFC 6455, section 7.4.1). Clients may send any of 64,000."""

QUESTIONS: dict[type[Command], Callable[[Hub, Socket, Any], Awaitable[Outgoing]]] = {
    GetHistory: actions.get_history,
    Search: actions.search,
    GetMembers: actions.get_members,
    GetSharing: actions.get_sharing,
}
"""The operations of commands that change nothing."""

AsgiMessage = dict[str, Any]


class State(Enum):
    """The state of a socket. It only moves down this list."""

    CONNECTING = "connecting"
    OPEN = "open"
    # We asked for the close. Frames that still come in are ignored.
    CLOSING = "closing"
    CLOSED = "closed"


class ChatConsumer(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """One per socket."""

    state = State.CONNECTING
    # Set when the socket connects.
    hub: Hub
    socket: Socket
    loop: asyncio.AbstractEventLoop
    allowance: Allowance
    throttle: Throttle
    timeouts: Timeouts
    # Invalid frames in a row.
    invalid = 0
    # Messages and other changes that wait for the database, and the future of a write that waits for room, or
    # None.
    unanswered = 0
    slack: asyncio.Future[None] | None = None
    # The client's close code. 1006: the connection was cut.
    left_with = 1006
    # When it last was typing (loop time), by room.
    typed_at: dict[str, float]

    async def __call__(self, scope: AsgiMessage, receive: Any, send: Any) -> None:
        self.loop, self.typed_at = asyncio.get_running_loop(), {}
        await receive()
        limits, address = current(Limits), scope_address(scope)
        refusal = limits.admit(address)
        self.socket = Socket(transport_for(scope, send, current(PendingSends)), address)
        self.socket.allowance = self.allowance = limits.allowance(address)
        self.throttle, self.timeouts = Throttle(), Timeouts(self.socket)
        log = logging.LoggerAdapter(logger, {"connection": self.socket.id})
        self.hub = current(Hub)
        runtime.start()
        enforcer = current(actions.AccessEnforcer)
        events = enforcer.events
        try:
            self.socket.on_removed = self.timeouts.restart_join_timer
            identity = self.socket.identity if refusal else await identify(scope)
            await self._accept(send)
            self.state = State.OPEN
            self.hub.add(self.socket)
            if refusal:
                self._turn_away(refusal, RefusalReason[refusal.name])
            elif not self.socket.claim(identity):
                self._turn_away("You have as many sockets open as one person may have.", RefusalReason.PERSON)
            if enforcer.events != events:
                # Somebody's sign-in ended while this one's was read.
                enforcer.recheck([self.socket])
            self.timeouts.restart_join_timer()
            await self._listen(receive)
        except asyncio.CancelledError:
            # The server stops, and does not wait for its applications.
            raise
        except DatabaseError as error:
            log.error("connection %s: the database does not answer: %s", self.socket.id, error)  # noqa: TRY400 not a fault of ours
            if self.state is State.CONNECTING:
                # Open it to close it with a code: a refused handshake has none, and clients do not come back.
                await self._accept(send)
            self.close(CloseCode.INTERNAL)
            await self.socket.transport.flushed()
        except Exception:
            log.exception("connection %s: an unexpected error closes it", self.socket.id)
            if self.state is State.CONNECTING:
                # There is no socket yet that could be closed with a code: refuse the handshake.
                await send({"type": "websocket.close"})
            else:
                self.close(CloseCode.INTERNAL)
                await self.socket.transport.flushed()
        finally:
            self._count_end()
            self.state = State.CLOSED
            self.timeouts.cancel()
            self.socket.transport.detach()
            self._leave_everything()
            self.allowance.close()

    async def _accept(self, send: Any) -> None:
        await send({"type": "websocket.accept"})
        counters.connects += 1

    async def _listen(self, receive: Any) -> None:
        for heard in count(1):
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.left_with = message.get("code", self.left_with)
                return
            # Don't read from a client that isn't reading: its replies would pile up.
            await self.socket.transport.drained()
            if self.throttle.refused:
                await self.throttle.slow_down()
            if self.state is State.OPEN and self.socket.transport.closed_with is None:
                await self._hear(message)
            if heard % TURN == 0:
                await asyncio.sleep(0)

    async def _hear(self, message: AsgiMessage) -> None:
        try:
            command = protocol.decode(_text(message))
        except Invalid as refusal:
            self._hear_nonsense(refusal)
            return
        self.invalid = 0
        counters.commands[type(command)] += 1
        try:
            self._pay(COSTS.get(type(command), COST))
            if self.loop.time() > self.hub.stalls.fresh_until:
                # The user may have been banned, and messages may have been deleted.
                await self.hub.stalls.end()
            await self._handle(command)
        except Invalid as refusal:
            self._refuse(refusal, command.ref or None)
            if self.throttle.is_hopeless:
                self.close(CloseCode.TOO_MANY)

    def _hear_nonsense(self, refusal: Invalid) -> None:
        self.invalid += 1
        try:
            self._pay(INVALID_FRAME)
        except Invalid as too_many:
            refusal = too_many
        self._refuse(refusal)
        if self.invalid >= chat_settings().INVALID_FRAMES:
            self.close(CloseCode.BAD_INPUT)

    def _pay(self, cost: float) -> None:
        """Pay for a frame, in tokens. Raises Invalid (too_many), with the milliseconds to wait."""
        wait = self.allowance.take(cost)
        if wait or self.throttle.refused:
            self.throttle.count(wait)

    async def _handle(self, command: AnyCommand) -> None:
        match command:
            case Post() | Edit() | Delete() | React() | Publish():
                await self._write(command)
            case Typing():
                self._typing(command.room)
            case Read():
                actions.read(self.hub, self.socket, command)
            case Join():
                try:
                    await actions.join(self.hub, self.socket, command)
                finally:
                    # The token may be valid even if the room is refused.
                    self.timeouts.follow_token()
            case Subscribe():
                await self._subscribe(command)
            case SendSignal():
                current(Subscriptions).signal(self.socket, command, partial(self._refuse, ref=command.ref or None))
            case SetPresence():
                current(Subscriptions).present(self.socket, command)
            case _:
                self.reply(await self._answer(command))

    async def _subscribe(self, command: Subscribe) -> None:
        try:
            if command.token is not UNSET:
                await actions.use_token(self.socket, command.token)
            await current(Subscriptions).subscribe(self.socket, command)
        finally:
            # The token may be valid even if the topic is refused.
            self.timeouts.follow_token()

    async def _answer(self, command: AnyCommand) -> Outgoing:
        if ask := QUESTIONS.get(type(command)):
            return await ask(self.hub, self.socket, command)
        match command:
            case Unsubscribe():
                answer = current(Subscriptions).unsubscribe(self.socket, command)
                self.timeouts.restart_join_timer()
                return answer
            case GetEntries():
                return await current(Subscriptions).entries(self.socket, command)
            case Ping():
                return Pong(timestamp=protocol.now(), ref=command.ref)
            case Leave():
                actions.leave(self.hub, self.socket, command.room, at_once=True)
                self.typed_at.pop(command.room, None)
                self.timeouts.restart_join_timer()
            case ShowToken():
                await actions.use_token(self.socket, command.token)
                self.timeouts.follow_token()
            case _:
                return await actions.run_command(self.hub, self.socket, command)  # type: ignore[arg-type]  # all others
        return Ack(room=command.room, timestamp=protocol.now(), ref=command.ref)

    async def _write(self, command: Post | Edit | Delete | React | Publish) -> None:
        """Submit a change. The ack follows its commit. Meanwhile the socket may send PIPELINE more."""
        while self.unanswered >= chat_settings().PIPELINE and self.socket.transport.closed_with is None:
            self.slack = self.loop.create_future()
            await self.slack
        done = partial(self._written, command)
        match command:
            case Post():
                actions.post(self.hub, self.socket, command, done)
            case Edit():
                actions.edit(self.hub, self.socket, command, done)
            case Delete():
                actions.delete(self.hub, self.socket, command, done)
            case React():
                actions.react(self.hub, self.socket, command, done)
            case Publish():
                current(Subscriptions).publish(self.socket, command, done)
        self.unanswered += 1

    def _written(self, command: Post | Edit | Delete | React | Publish, outcome: Outcome) -> None:
        self.unanswered -= 1
        if self.slack and not self.slack.done():
            self.slack.set_result(None)
        if isinstance(outcome, Invalid):
            self._refuse(outcome, command.ref or None)
            return
        ack = Ack(
            room="" if isinstance(command, Publish) else command.room,
            topic=command.topic if isinstance(command, Publish) else UNSET,
            id=outcome.id,
            seq=outcome.seq,
            timestamp=outcome.timestamp,
            ref=command.ref,
        )
        self.socket.transport.send_soon(protocol.encode(ack))

    def _typing(self, room: str) -> None:
        now = self.loop.time()
        if now - self.typed_at.get(room, -1e9) >= chat_settings().TYPING_INTERVAL:
            actions.typing(self.hub, self.socket, room)
            self.typed_at[room] = now

    def reply(self, outgoing: Outgoing) -> None:
        self.socket.transport.send(protocol.encode(outgoing))

    def _refuse(self, refusal: Invalid, ref: str | None = None) -> None:
        counters.refused[refusal.code] += 1
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
        """Close the socket behind everything that was sent."""
        self.state = State.CLOSING
        self.socket.transport.close(code)

    def _turn_away(self, why: str, reason: RefusalReason) -> None:
        counters.connects_refused[reason] += 1
        self._refuse(Invalid(ErrorCode.TOO_MANY, why))
        self.close(CloseCode.TOO_MANY)

    def _leave_everything(self) -> None:
        if self.socket.rooms:
            current(Subscriptions).leave_all(self.socket)
        for slug in list(self.socket.rooms):
            actions.leave(self.hub, self.socket, slug, at_once=False)
        self.hub.remove(self.socket)

    def _count_end(self) -> None:
        if self.state is State.CONNECTING:
            # The socket never opened.
            return
        ours = self.socket.transport.closed_with or (CloseCode.RESTART if self.hub.draining else None)
        # The server never closes with 1000: a transport has it if the client is gone.
        if ours and ours != CloseCode.NORMAL:
            counters.closed["server", str(int(ours))] += 1
        else:
            counters.closed["client", str(self.left_with) if self.left_with in CODES else "other"] += 1


def _text(message: AsgiMessage) -> str:
    text: str | None = message.get("text")
    if text is None:
        raise Invalid(ErrorCode.BAD_JSON, "The frame must be text, not binary.")
    return text
