"""One WebSocket connection."""

import asyncio
import time
from typing import Any

from daphne.ws_protocol import WebSocketProtocol

from chat.protocol import frame
from chatsite.server.wire import Wire

FAREWELL = 5.0
"""Seconds that a client has to answer a close: it may have to read what waits for it first."""

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

    # Bytes that were unread when the last ping was sent.
    unread = 0
    # Cuts a connection that is closed but does not end; None before that.
    last_resort: asyncio.TimerHandle | None = None

    def onOpen(self) -> None:
        super().onOpen()
        self.wire.open()

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: FBT001, N803 Autobahn's signature
        super().onClose(wasClean, code, reason)
        if self.last_resort:
            self.last_resort.cancel()
        # What waited is gone with the connection: whoever waits for it to drain has to go on.
        if hasattr(self, "wire"):
            self.wire.drained()

    def dropConnection(self, abort: bool = False) -> None:  # noqa: FBT001, FBT002 Autobahn's signature
        """End the connection, and be sure of it: a peer that reads nothing would hold it open for ever."""
        super().dropConnection(abort)
        if not abort and self.last_resort is None:
            loop = asyncio.get_event_loop()
            self.last_resort = loop.call_later(FAREWELL, self.transport.abortConnection)

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
            # As Autobahn's, without the arguments of a debug message, which it formats logged or not.
            self._dataReceived(data)
        else:
            self.last_ping = time.time()
            self.application_queue.put_nowait({"type": "websocket.receive", "text": text})

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
        else:
            super().handle_reply(message)

    def farewell(self, code: int, reason: str) -> None:
        """Start the closing handshake. The reason is cut to the 123 bytes that a close frame has room for."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=_cut(reason, 123), isReply=False)


def _cut(text: str, size: int) -> bytes:
    return text.encode()[:size].decode(errors="ignore").encode()
