"""One WebSocket connection."""

import asyncio
import time
from typing import Any

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor

from chat.conf import chat_settings
from chat.limits import Bucket
from chat.protocol import frame
from chatsite.server.wire import LINGER, Wire, end_writing, let_go, unsent

# Twisted's timers go by the wall clock: set back by two hours, none would fire for as long, and no ping would go
# out to find a dead connection.
reactor.seconds = time.monotonic

FAREWELL = 5.0
"""Seconds that a client has to answer a close: it may have to read what waits for it first."""

FRAGMENTS = 1_000
"""Frames that one message may come in."""
CONTROL_RATE, CONTROL_BURST = 10, 100
"""Pings and pongs that a client may send, in a second and at once: each costs as much CPU as five messages."""
BINARY = 2
"""The opcode of a binary message (RFC 6455, section 11.8)."""
REGISTERED = range(1000, 1015)
"""Close codes that are registered (section 7.4.1 and IANA), and the three among them that are never sent."""
NEVER_SENT = frozenset({1004, 1005, 1006})
FREE = range(3000, 5000)
"""Close codes of frameworks and applications (section 7.4.2)."""

# The head of a client's text frame (RFC 6455, section 5.2): FIN and opcode 1; the bit that says masked; the length
# that says that two more bytes have it; and the bytes of the shortest one, which has no payload.
TEXT = 0x81
MASKED = 0x80
EXTENDED = 126
SHORTEST = 6


class ChatProtocol(WebSocketProtocol):  # type: ignore[misc]  # daphne ships no types
    """One WebSocket connection."""

    # Made with the application, which may outlive the handshake or never see its end.
    wire: Wire
    # The parts of the message that is coming in, and whether it is binary: Autobahn's.
    message_data: list[bytes] | None
    message_is_binary: bool

    # By a clock that nobody sets: when the handshake began, and when it was last pinged or said something.
    began = heard = 0.0
    # What pings and pongs are paid from; None where there are no limits.
    control: Bucket | None = None
    # Frames of the message that is coming in.
    fragments = 0
    # Its inbox is full: what was read and not looked at yet stays in Autobahn's ``data``.
    held = False
    # Bytes that came after our last.
    lingering = 0
    # Bytes that were unread when the last ping was sent.
    unread = 0
    # Autobahn's timer for the client's answer to our close frame; None while there is none.
    closeHandshakeTimeoutCall: Any  # noqa: N815 Autobahn's name
    # Cuts a connection that is closed but does not end; None before that.
    last_resort: asyncio.TimerHandle | None = None

    def onConnect(self, request: Any) -> Any:
        self.began = self.heard = time.monotonic()
        return super().onConnect(request)

    def onOpen(self) -> None:
        super().onOpen()
        self.wire.open()
        if chat_settings().LIMITS:
            self.control = Bucket(CONTROL_RATE, CONTROL_BURST)
        if self.server.drain:
            self.server.drain.opened(self)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: FBT001, N803 Autobahn's signature
        super().onClose(wasClean, code, reason)
        if self.last_resort:
            self.last_resort.cancel()
        # What waited is gone with the connection: whoever waits for it to drain has to go on.
        if hasattr(self, "wire"):
            self.wire.drained()
        if self.server.drain:
            self.server.drain.moved()

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool:  # noqa: N803 Autobahn's signature
        """The client's close frame: it gets the same back, where ours is not out already, and that is the end.

        Autobahn's own method resets the connection, so that a client may never read our frame.
        """
        if code is not None and not _is_close_code(code):
            return bool(self._protocol_violation(f"{code} is no close code"))
        try:
            self.remoteCloseReason = (reasonRaw or b"").decode()
        except UnicodeDecodeError:
            return bool(self._invalid_payload("the reason of a close is no UTF-8"))
        self.remoteCloseCode = code
        self.wasClean = True
        self.sendCloseFrame(code=code, reasonUtf8=reasonRaw, isReply=True)
        self.dropConnection()
        return True

    def _fail_connection(self, code: int = 1001, reason: str = "going away") -> None:
        """Tell the client what it did wrong, and ignore its further input (RFC 6455, section 7.1.7).

        Its answer is not waited for: it may be in the middle of a flood.
        """
        if self.state == self.STATE_CLOSED:
            return
        self.failedByMe = True
        self.wasNotCleanReason = reason
        if self.state == self.STATE_OPEN:
            self.farewell(code, reason)
        self.data = b""
        self.dropConnection()

    def dropConnection(self, abort: bool = False) -> None:  # noqa: FBT001, FBT002 Autobahn's signature
        """End the connection in peace: we say that nothing more comes, and take what is under way until the client
        says so too. And be sure of the end: a client that never does would hold the connection open for ever.
        """
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()
            self.closeHandshakeTimeoutCall = None
        super().dropConnection(abort)
        if not abort and self.last_resort is None:
            self.last_resort = asyncio.get_event_loop().call_later(FAREWELL, let_go, self.transport)
            self._go_on_reading()

    def _closeConnection(self, abort: bool = False) -> None:  # noqa: FBT001, FBT002 Autobahn's signature
        if abort:
            self.transport.abortConnection()
        else:
            end_writing(self.transport)

    def onCloseHandshakeTimeout(self) -> None:
        """The client does not answer our close frame."""
        self.closeHandshakeTimeoutCall = None
        self.dropConnection(abort=bool(unsent(self.transport)))
        let_go(self.transport)

    def _go_on_reading(self) -> None:
        """Read on and put nothing into the inbox any more, however full that is."""
        if self.held:
            self.held = False
            self.transport.resumeProducing()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: FBT001, N803 Autobahn's signature
        self.heard = time.monotonic()
        if self.state == self.STATE_OPEN:
            super().onMessage(payload, isBinary)

    def check_timeouts(self) -> None:
        # As Daphne's, which looks at the wall clock: set back by two hours, it would ping nobody for as long.
        now = time.monotonic()
        if self.state == self.STATE_CONNECTING and now - self.began > self.server.websocket_connect_timeout:
            self.serverReject()
        elif self.state == self.STATE_OPEN and now - self.heard > self.server.ping_interval:
            self._sendAutoPing()
            self.heard = now

    def onPing(self, payload: bytes) -> None:
        # One that pings and does not read would fill the memory with pongs (RFC 6455, section 5.5.3, allows to
        # answer the latest only).
        if self.wire.waiting <= self.wire.high:
            super().onPing(payload)

    def _sendAutoPing(self) -> None:
        self.unread = self.wire.unread
        super()._sendAutoPing()

    def onAutoPingTimeout(self) -> None:
        # The ping stands behind all that waits. A slow peer has not come to it yet; a dead one has read nothing.
        unread = self.wire.unread
        if 0 < unread < self.unread:
            self.unread = unread
            self.autoPingTimeoutCall = self.factory._batched_timer.call_later(
                self.autoPingTimeout, self.onAutoPingTimeout
            )
        else:
            super().onAutoPingTimeout()

    def dataReceived(self, data: bytes) -> None:
        text = self._short_text(data)
        if text is None:
            self._other_data(data)
        else:
            self.heard = time.monotonic()
            self.application_queue.put_nowait({"type": "websocket.receive", "text": text})

    def _other_data(self, data: bytes) -> None:
        if self.state == self.STATE_CLOSED:
            # Autobahn would keep it all.
            self.lingering += len(data)
            if self.lingering > LINGER:
                self.transport.abortConnection()
            return
        # As Autobahn's, without the arguments of a debug message, which it formats logged or not.
        self._dataReceived(data)

    def consumeData(self) -> None:
        # As Autobahn's, which goes on though its application can take no more: one read may have 10,000 frames.
        if self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().consumeData()
        while not self.held and self.state in (self.STATE_OPEN, self.STATE_CLOSING) and self.processData():
            pass

    def pauseProducing(self) -> None:
        """The inbox is full."""
        self.held = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """There is space in it again: first for what was read already."""
        self.held = False
        self.consumeData()
        if not self.held:
            self.transport.resumeProducing()

    def onMessageBegin(self, isBinary: bool) -> None:  # noqa: FBT001, N803 Autobahn's signature
        super().onMessageBegin(isBinary)
        self.fragments = 0

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self.fragments += 1
        if self.fragments > FRAGMENTS:
            self._flooded(f"A message may come in {FRAGMENTS} fragments.")

    def processControlFrame(self) -> bool:
        if self.control and self.control.take(1, asyncio.get_running_loop().time()):
            self._flooded(f"Pings and pongs: {CONTROL_RATE} a second, {CONTROL_BURST} at once.")
            return False
        return bool(super().processControlFrame())

    def _flooded(self, reason: str) -> None:
        self._fail_connection(self.CLOSE_STATUS_CODE_POLICY_VIOLATION, reason)

    def _short_text(self, data: bytes) -> str | None:
        """Read a text of up to 64 KiB, where the data is its frame, no more and no less; else None.

        That is nearly all that a chat hears, and Autobahn's parser takes five times as much CPU. It reads all
        else: fragments, control frames, several frames at once, and whatever is wrong.
        """
        if len(data) < SHORTEST or data[0] != TEXT or not data[1] & MASKED or not self._is_between_frames():
            return None
        size, start = data[1] & ~MASKED, 2
        if size == EXTENDED:
            size, start = int.from_bytes(data[2:4], "big"), 4
            if size < EXTENDED:
                # It would have fitted the shorter form: an error of the peer.
                return None
        elif size > EXTENDED:
            return None
        if len(data) != start + 4 + size:
            return None
        mask = data[start : start + 4] * (size // 4 + 1)
        number = int.from_bytes(data[start + 4 :], "big") ^ int.from_bytes(mask[:size], "big")
        try:
            return number.to_bytes(size, "big").decode()
        except UnicodeDecodeError:
            return None

    def _is_between_frames(self) -> bool:
        return (
            self.state == self.STATE_OPEN
            and not self.data
            and self.current_frame is None
            and not self.inside_message
            # Traffic answers a ping that is under way: Autobahn's to note.
            and self.autoPingTimeoutCall is None
        )

    def onMessageEnd(self) -> None:
        # As Autobahn's, without the Deferreds for listeners that there are none of.
        if not self.failedByMe:
            self.onMessage(b"".join(self.message_data or ()), self.message_is_binary)
        self.message_data = None

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close" and self.state == self.STATE_OPEN:
            self.farewell(message.get("code") or 1000, message.get("reason") or "")
        elif message["type"] == "websocket.send" and message.get("text") is not None:
            # Daphne swallows empty frames, and Autobahn holds what is sent to the limit of what is received.
            self.wire.write(frame(message["text"]))
        elif message["type"] == "websocket.send" and message.get("bytes") is not None:
            if self.state == self.STATE_OPEN:
                self.sendFrame(opcode=BINARY, payload=message["bytes"])
        else:
            super().handle_reply(message)

    def farewell(self, code: int, reason: str) -> None:
        """Start the closing handshake. The reason is cut to the 123 bytes that a close frame has room for."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=_shortened(reason, 123), isReply=False)
            self._go_on_reading()


def _shortened(text: str, size: int) -> bytes:
    return text.encode()[:size].decode(errors="ignore").encode()


def _is_close_code(code: int) -> bool:
    """May a client send it?"""
    return (code in REGISTERED and code not in NEVER_SENT) or code in FREE
