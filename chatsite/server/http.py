"""HTTP connections and requests, within bounds of time and size.

Twisted bounds a head's size: 16 KiB in all, 500 headers. Its timeout, 60 s, starts over with each byte.
"""

import dataclasses
import math
import re
from http import HTTPStatus
from io import BytesIO
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.protocols.basic import LineReceiver
from twisted.web import http

from chat.conf import chat_settings
from chat.limits import Limits, client_address, is_proxy
from chat.loops import current
from chat.metrics.counters import RefusalReason, counters
from chatsite.server.wire import AFTER_CLOSE_LIMIT, close_now, half_close, unsent

BODY_LIMIT = 1 << 20
"""Bytes of a body, in chunks with their heads. Django takes a quarter of that in a form."""
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]*)?")
"""A host and a port (RFC 3986, section 3.2.2)."""
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)([^#]*)")
"""An http address as a request's target (RFC 9112, section 3.2.2): its host, and the rest."""
METHODS = b"GET, HEAD, POST"
ROOT_PATH = b"daphne-root-path"
"""Header in which Daphne lets a proxy name the site's root path. A client could set it too, and steer links."""


@dataclasses.dataclass(frozen=True, slots=True)
class Deadlines:
    """Limits in seconds."""

    # A request's head, from the connect (with TLS's handshake) or from its first byte.
    head: float = 10
    # A request's body, from the end of the head.
    body: float = 30
    # A connection without a request, or with a client that reads nothing of the response.
    idle: float = 60
    # From our last byte to the client's end.
    end: float = 2


class ChatHTTPChannel(http.HTTPChannel):  # type: ignore[misc]  # twisted ships no types
    """One HTTP connection. It uses Twisted's timer, and sets it at each stage of a request, not at each byte."""

    deadlines = Deadlines()
    # True until the first byte of the first request.
    is_new = True
    # True between two requests.
    is_idle = False
    # Bytes of this request's chunked body.
    chunked_bytes = 0
    # Unsent bytes of responses when the timer was set last.
    unsent_at_timer = 0
    # True after our last byte.
    ignoring_input = False
    # Bytes that the client sent after our last.
    bytes_after_close = 0

    @property
    def is_busy(self) -> bool:
        """True while a request or its response is under way."""
        return not (self.is_new or self.is_idle)

    def connectionMade(self) -> None:
        self.timeOut = self.deadlines.head
        self.factory.channels.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self.leave_http()

    def leave_http(self) -> None:
        """Forget the connection, which has ended or become a WebSocket."""
        self.factory.channels.discard(self)
        self.factory.notify_drain()

    def dataReceived(self, data: bytes) -> None:
        if self.ignoring_input:
            self.bytes_after_close += len(data)
            if self.bytes_after_close > AFTER_CLOSE_LIMIT:
                self.transport.abortConnection()
            return
        self.is_new = False
        if self.is_idle:
            self.is_idle = False
            self.setTimeout(self.deadlines.head)
        # As Twisted's, which would restart the timer.
        LineReceiver.dataReceived(self, data)

    def lineReceived(self, line: bytes) -> None:
        if not self.ignoring_input:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002 Twisted's signature
        # The answer is that to a head that is too big. Twisted would end the connection without one.
        self._respondToBadRequestAndDisconnect()

    def allHeadersReceived(self) -> None:
        self.chunked_bytes = 0
        if self.length is not None and self.length > BODY_LIMIT:
            self._refuse()
            return
        self.setTimeout(self.deadlines.body)
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if self.ignoring_input:
            return
        if self.length is None and not self._handlingRequest:
            self.chunked_bytes += len(data)
            if self.chunked_bytes > BODY_LIMIT:
                self._refuse()
                return
        super().rawDataReceived(data)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        if self.factory.server.drain or b"close" in headers.getRawHeaders(b"Connection", ()):
            headers.setRawHeaders(b"Connection", [b"close"])
            self.persistent = False
        super().writeHeaders(version, code, reason, headers)

    def requestDone(self, request: Any) -> None:
        self.is_idle = bool(self.persistent) and not self._dataBuffer
        self.unsent_at_timer = unsent(self.transport)
        # Twisted sets the timer to this value when it goes on with the connection.
        self._savedTimeOut = self.deadlines.idle if self.is_idle else self.deadlines.head
        if not self.persistent:
            self.setTimeout(self.deadlines.idle)
        super().requestDone(request)
        self.factory.notify_drain()

    def timeoutConnection(self) -> None:
        """Close the connection, unless the client is still reading the response, however slowly."""
        left = unsent(self.transport)
        if left and left < self.unsent_at_timer:
            self.unsent_at_timer = left
            self.setTimeout(self.deadlines.idle)
        elif left or self.ignoring_input:
            close_now(self.transport)
        else:
            self.loseConnection()

    def loseConnection(self) -> None:
        """Half-close the connection and drop further input.

        The system resets a connection that is closed with unread input. The client would lose a response that was
        sent before the end of its request, or before its next one.
        """
        if self.ignoring_input:
            return
        self.ignoring_input = True
        self._networkProducer.unregisterProducer()
        slow = unsent(self.transport)
        half_close(self.transport)
        self.setTimeout(self.deadlines.idle if slow else self.deadlines.end)

    def _refuse(self) -> None:
        self.transport.write(TOO_LARGE)
        self.loseConnection()


class ChatRequest(WebRequest):  # type: ignore[misc]  # daphne ships no types
    """One request."""

    # The request's target, set by Twisted.
    uri: bytes

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Django reads forms. Twisted would read them first, without Django's limits.
        self._parsePOSTFormSubmission = False

    def __repr__(self) -> str:
        # Twisted's has the query string, which may hold secrets, and Daphne logs it.
        return f"<Request from {self.client_addr!r}>"

    def gotLength(self, _: int | None) -> None:
        # Twisted's writes to the disk. BODY_LIMIT bounds this one.
        self.content = BytesIO()

    def process(self) -> Any:
        self.requestHeaders.removeHeader(ROOT_PATH)
        refusal = self._refusal()
        if refusal:
            status, reason = refusal
            # The limit on requests is the application's. Without it, the next request must cost a connection.
            self.setHeader(b"Connection", b"close")
            return self.basic_error(status, HTTPStatus(status).phrase.encode(), reason)
        channel = self.channel
        answered = super().process()
        if self.transport is None:
            # The connection is a WebSocket now.
            channel.leave_http()
        return answered

    def _refusal(self) -> tuple[int, str] | None:
        """The status and the reason if the server itself refuses the request, else None."""
        if not self._has_one_host() or not self._take_target():
            return 400, "The request names no host, or no target, or two of them."
        if self.method == b"CONNECT" or self.uri == b"*":
            self.setHeader(b"Allow", METHODS)
            return 405, "The server itself takes no requests."
        return self._handshake_refusal() if self.requestHeaders.hasHeader(b"Upgrade") else None

    def _handshake_refusal(self) -> tuple[int, str] | None:
        wait = self._seconds_to_wait()
        if wait:
            counters.connects_refused[RefusalReason.RATE] += 1
            self.setHeader(b"Retry-After", str(math.ceil(wait)).encode())
            return 429, "Too many connections from your address."
        return None if self._is_valid_handshake() else (400, "Not a WebSocket handshake.")

    def _has_one_host(self) -> bool:
        """True if the request names one host. HTTP/1.0 may name none (RFC 9112, section 3.2)."""
        hosts = self.requestHeaders.getRawHeaders(b"Host", ())
        if not hosts:
            return bool(self.clientproto == b"HTTP/1.0")
        return len(hosts) == 1 and HOST.fullmatch(hosts[0]) is not None

    def _take_target(self) -> bool:
        """Read the target, a path or a whole address. An address's host replaces the Host header."""
        if found := ABSOLUTE.fullmatch(self.uri):
            host, rest = found.groups()
            if not HOST.fullmatch(host):
                return False
            self.requestHeaders.setRawHeaders(b"Host", [host])
            self.uri = rest if rest.startswith(b"/") else b"/" + rest
            self.path = self.uri.partition(b"?")[0]
        return (
            self.uri.startswith(b"/") or (self.uri, self.method) == (b"*", b"OPTIONS") or self.method == b"CONNECT"
        )

    def _is_valid_handshake(self) -> bool:
        """False for HTTP/1.0 (RFC 6455, section 4.1), which Daphne accepts, and for bytes that make it fail."""
        protocols = self.requestHeaders.getRawHeaders(b"Sec-WebSocket-Protocol", ())
        return self.clientproto == b"HTTP/1.1" and all(value.isascii() for value in protocols)

    def _seconds_to_wait(self) -> float:
        """How long a WebSocket handshake through a trusted proxy has to wait; 0.0 admits it."""
        proxies = chat_settings().PROXIES
        peer = getattr(self.client, "host", "")
        if not proxies or not is_proxy(peer, proxies):
            return 0.0
        named = [value.decode("latin-1") for value in self.requestHeaders.getRawHeaders(b"X-Forwarded-For", ())]
        address = client_address(peer, named, proxies)
        return 0.0 if address == peer else current(Limits).connect(address)


class ChatHTTPFactory(HTTPFactory):  # type: ignore[misc]  # daphne ships no types
    """Makes a ``ChatHTTPChannel`` for each connection."""

    def __init__(self, server: Any, deadlines: Deadlines) -> None:
        super().__init__(server)
        self._deadlines = deadlines
        # Open connections that are not WebSockets.
        self.channels: set[ChatHTTPChannel] = set()

    def notify_drain(self) -> None:
        """Tell a drain that a request or a connection has ended."""
        if self.server.drain:
            self.server.drain.changed()

    def protocol(self) -> Any:
        channel = ChatHTTPChannel()
        channel.deadlines = self._deadlines
        return http._GenericHTTPChannelProtocol(channel)

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = ChatRequest
        return protocol

    def acceptableProtocols(self) -> list[bytes]:
        # Never HTTP/2, even if its libraries are installed: the limits above don't cover it.
        return [b"http/1.1"]
