"""One WebSocket connection."""

import asyncio
import time
from typing import Any

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor

from chat.conf import chat_settings
from chat.limits import Bucket
from chat.protocol import frame
from chatsite.server.wire import AFTER_CLOSE_LIMIT, Wire, close_now, half_close, unsent

# Twisted's timers use the wall clock. If that is set back by two hours, no timer fires for two hours, and no ping
# finds a dead connection.
reactor.seconds = time.monotonic

CLOSE_TIMEOUT = 5.0
"""Seconds that a client has to answer a close frame: it may have to read the bytes before it first."""

FRAGMENTS = 1_000
"""Frames that one message may have."""
CONTROL_RATE, CONTROL_BURST = 10, 100
"""Pings and pongs that a client may send, each second and at once. Each costs as much CPU as five messages."""
BINARY = 2
"""The opcode of a binary message (RFC 6455, section 11.8)."""
REGISTERED_CODES = range(1000, 1015)
"""Registered close codes (section 7.4.1 and IANA)."""
NEVER_SENT = frozenset({1004, 1005, 1006})
"""Registered close codes that no endpoint sends."""
APPLICATION_CODES = range(3000, 5000)
"""Close codes of frameworks and applications (section 7.4.2)."""

# The head of a client's text frame (RFC 6455, section 5.2).
TEXT = 0x81
"""First byte: FIN and opcode 1."""
MASKED = 0x80
"""Bit of the second byte: the payload is masked."""
EXTENDED = 126
"""Length that stands for a longer one in the next two bytes."""
SHORTEST = 6
"""Bytes of a frame without payload."""


class ChatProtocol(WebSocketProtocol):  # type: ignore[misc]  # daphne ships no types
    """One WebSocket connection."""

    # Made with the application, before the handshake ends. The handshake may never end.
    wire: Wire
    # Autobahn's: parts of the message that is arriving, and whether it is binary.
    message_data: list[bytes] | None
    message_is_binary: bool

    # Start of the handshake (monotonic time).
    began = 0.0
    # Last message or ping (monotonic time).
    last_active = 0.0
    # Budget for pings and pongs, or None without limits.
    control_budget: Bucket | None = None
    # Frames of the message that is arriving.
    fragments = 0
    # True while the inbox is full. Bytes that were read and not parsed stay in Autobahn's ``data``.
    paused = False
    # Bytes that the client sent after our last.
    bytes_after_close = 0
    # Bytes that the client had not read when the last ping was sent.
    unread_at_ping = 0
    # Autobahn's timer for the client's answer to our close frame, or None.
    closeHandshakeTimeoutCall: Any  # noqa: N815 Autobahn's name
    # Timer that cuts a closed connection which does not end, or None.
    abort_timer: asyncio.TimerHandle | None = None

    def onConnect(self, request: Any) -> Any:
        self.began = self.last_active = time.monotonic()
        return super().onConnect(request)

    def onOpen(self) -> None:
        super().onOpen()
        self.wire.open()
        if chat_settings().LIMITS:
            self.control_budget = Bucket(CONTROL_RATE, CONTROL_BURST)
        if self.server.drain:
            self.server.drain.opened(self)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: FBT001, N803 Autobahn's signature
        super().onClose(wasClean, code, reason)
        if self.abort_timer:
            self.abort_timer.cancel()
        # Unsent bytes are gone with the connection: chat.transport must not wait for them to drain.
        if hasattr(self, "wire"):
            self.wire.drained()
        if self.server.drain:
            self.server.drain.changed()

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool:  # noqa: N803 Autobahn's signature
        """Answer the client's close frame with the same, unless ours is sent already, and end the connection.

        Autobahn's own method resets the connection, so that a client may never read our frame.
        """
        if code is not None and not _may_be_received(code):
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
        """Send the client the code of its error, and ignore its further input (RFC 6455, section 7.1.7).

        Don't wait for its answer, which may be in the middle of a flood.
        """
        if self.state == self.STATE_CLOSED:
            return
        self.failedByMe = True
        self.wasNotCleanReason = reason
        if self.state == self.STATE_OPEN:
            self.start_close(code, reason)
        self.data = b""
        self.dropConnection()

    def dropConnection(self, abort: bool = False) -> None:  # noqa: FBT001, FBT002 Autobahn's signature
        """Half-close the connection, and drop further input until the client closes too.

        A timer bounds that: a client that never closes would hold the connection open for ever.
        """
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()
            self.closeHandshakeTimeoutCall = None
        super().dropConnection(abort)
        if not abort and self.abort_timer is None:
            self.abort_timer = asyncio.get_event_loop().call_later(CLOSE_TIMEOUT, close_now, self.transport)
            self._resume_reading()

    def _closeConnection(self, abort: bool = False) -> None:  # noqa: FBT001, FBT002 Autobahn's signature
        if abort:
            self.transport.abortConnection()
        else:
            half_close(self.transport)

    def onCloseHandshakeTimeout(self) -> None:
        """End a connection whose client does not answer our close frame."""
        self.closeHandshakeTimeoutCall = None
        self.dropConnection(abort=bool(unsent(self.transport)))
        close_now(self.transport)

    def _resume_reading(self) -> None:
        """Read on, however full the inbox is: after a close frame it gets nothing more."""
        if self.paused:
            self.paused = False
            self.transport.resumeProducing()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: FBT001, N803 Autobahn's signature
        self.last_active = time.monotonic()
        if self.state == self.STATE_OPEN:
            super().onMessage(payload, isBinary)

    def check_timeouts(self) -> None:
        # As Daphne's, which uses the wall clock: set back by two hours, it would ping no client for two hours.
        now = time.monotonic()
        if self.state == self.STATE_CONNECTING and now - self.began > self.server.websocket_connect_timeout:
            self.serverReject()
        elif self.state == self.STATE_OPEN and now - self.last_active > self.server.ping_interval:
            self._sendAutoPing()
            self.last_active = now

    def onPing(self, payload: bytes) -> None:
        # A client that pings and does not read would fill the memory with pongs. RFC 6455, section 5.5.3, allows
        # answering the latest ping only.
        if self.wire.waiting <= self.wire.high:
            super().onPing(payload)

    def _sendAutoPing(self) -> None:
        self.unread_at_ping = self.wire.unread
        super()._sendAutoPing()

    def onAutoPingTimeout(self) -> None:
        # The ping is behind all unsent bytes. A slow client has not reached it yet; a dead one has read nothing.
        unread = self.wire.unread
        if 0 < unread < self.unread_at_ping:
            self.unread_at_ping = unread
            self.autoPingTimeoutCall = self.factory._batched_timer.call_later(
                self.autoPingTimeout, self.onAutoPingTimeout
            )
        else:
            super().onAutoPingTimeout()

    def dataReceived(self, data: bytes) -> None:
        text = self._whole_text(data)
        if text is None:
            self._parse(data)
        else:
            self.last_active = time.monotonic()
            self.application_queue.put_nowait({"type": "websocket.receive", "text": text})

    def _parse(self, data: bytes) -> None:
        if self.state == self.STATE_CLOSED:
            # Autobahn would keep all of it.
            self.bytes_after_close += len(data)
            if self.bytes_after_close > AFTER_CLOSE_LIMIT:
                self.transport.abortConnection()
            return
        # As Autobahn's, which also formats a debug message, logged or not.
        self._dataReceived(data)

    def consumeData(self) -> None:
        # As Autobahn's, which does not stop while the inbox is full: one read may have 10,000 frames.
        if self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().consumeData()
        while not self.paused and self.state in (self.STATE_OPEN, self.STATE_CLOSING) and self.processData():
            pass

    def pauseProducing(self) -> None:
        """Called by the inbox when it is full."""
        self.paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Called by the inbox when it has space: parse the bytes that were read already, then read on."""
        self.paused = False
        self.consumeData()
        if not self.paused:
            self.transport.resumeProducing()

    def onMessageBegin(self, isBinary: bool) -> None:  # noqa: FBT001, N803 Autobahn's signature
        super().onMessageBegin(isBinary)
        self.fragments = 0

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self.fragments += 1
        if self.fragments > FRAGMENTS:
            self._close_flooder(f"A message may come in {FRAGMENTS} fragments.")

    def processControlFrame(self) -> bool:
        if self.control_budget and self.control_budget.take(1, asyncio.get_running_loop().time()):
            self._close_flooder(f"Pings and pongs: {CONTROL_RATE} a second, {CONTROL_BURST} at once.")
            return False
        return bool(super().processControlFrame())

    def _close_flooder(self, reason: str) -> None:
        self._fail_connection(self.CLOSE_STATUS_CODE_POLICY_VIOLATION, reason)

    def _whole_text(self, data: bytes) -> str | None:
        """The text, if the data is exactly one whole text frame of up to 64 KiB; else None.

        Nearly all messages of a chat are such frames, and Autobahn's parser takes five times as much CPU. That
        parser reads all other input: fragments, control frames, several frames at once, and invalid bytes.
        """
        if len(data) < SHORTEST or data[0] != TEXT or not data[1] & MASKED or not self._is_between_frames():
            return None
        size, start = data[1] & ~MASKED, 2
        if size == EXTENDED:
            size, start = int.from_bytes(data[2:4], "big"), 4
            if size < EXTENDED:
                # The shorter form had to be used: the client's error.
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
            # Autobahn must see input while a ping is under way: any input answers it.
            and self.autoPingTimeoutCall is None
        )

    def onMessageEnd(self) -> None:
        # As Autobahn's, without its Deferreds for listeners, of which there are none.
        if not self.failedByMe:
            self.onMessage(b"".join(self.message_data or ()), self.message_is_binary)
        self.message_data = None

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close" and self.state == self.STATE_OPEN:
            self.start_close(message.get("code") or 1000, message.get("reason") or "")
        elif message["type"] == "websocket.send" and message.get("text") is not None:
            # Daphne drops empty frames, and Autobahn applies the limit for received frames to sent ones.
            self.wire.write(frame(message["text"]))
        elif message["type"] == "websocket.send" and message.get("bytes") is not None:
            if self.state == self.STATE_OPEN:
                self.sendFrame(opcode=BINARY, payload=message["bytes"])
        else:
            super().handle_reply(message)

    def start_close(self, code: int, reason: str) -> None:
        """Send a close frame. The reason is cut to the 123 bytes that fit into one."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=_cut_utf8(reason, 123), isReply=False)
            self._resume_reading()


def _cut_utf8(text: str, size: int) -> bytes:
    return text.encode()[:size].decode(errors="ignore").encode()


def _may_be_received(code: int) -> bool:
    """True if a client may send the close code."""
    return (code in REGISTERED_CODES and code not in NEVER_SENT) or code in APPLICATION_CODES
