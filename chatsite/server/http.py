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
from chat.limits import Limits, address_of, is_proxy
from chat.loops import of_this_loop
from chat.tally import Reason, tally
from chatsite.server.wire import LINGER, end_writing, let_go, unsent

BODY_LIMIT = 1 << 20
"""Bytes of a body; where it comes in chunks, with their heads. Django takes a quarter of that in a form."""
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]*)?")
"""A host and a port (RFC 3986, section 3.2.2)."""
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)([^#]*)")
"""An http address as a request's target (RFC 9112, section 3.2.2): its host, and the rest."""
METHODS = b"GET, HEAD, POST"
ROOT_PATH = b"daphne-root-path"
"""The header by which Daphne lets a proxy say where the site is. A client could too: links would lead there."""


@dataclasses.dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds."""

    # For a request's head, from the connect or from its first byte. TLS's handshake is in it.
    head: float = 10
    # For its body, from the end of the head.
    body: float = 30
    # Without a request, or without the client's reading anything of the answer.
    idle: float = 60
    # Between our last byte and the client's end.
    end: float = 2


class Channel(http.HTTPChannel):  # type: ignore[misc]  # twisted ships no types
    """One HTTP connection. Its timer is Twisted's; what sets it is not each byte, but how far the request is."""

    deadlines = Deadlines()
    # Nothing of a request has come yet, not of the first either.
    silent = True
    # Between two requests, of which the next has not begun.
    idle = False
    # Bytes of this request's body, where it comes in chunks.
    received = 0
    # Bytes of answers that had not gone out when the timer was set last.
    unsent = 0
    # Our last byte is written: what still comes is not looked at.
    ending = False
    # Bytes that came after that.
    lingering = 0

    @property
    def busy(self) -> bool:
        """Is a request under way, or its answer?"""
        return not (self.silent or self.idle)

    def connectionMade(self) -> None:
        self.timeOut = self.deadlines.head
        self.factory.channels.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self.part()

    def part(self) -> None:
        """It is no HTTP connection any more."""
        self.factory.channels.discard(self)
        self.factory.moved()

    def dataReceived(self, data: bytes) -> None:
        if self.ending:
            self.lingering += len(data)
            if self.lingering > LINGER:
                self.transport.abortConnection()
            return
        self.silent = False
        if self.idle:
            self.idle = False
            self.setTimeout(self.deadlines.head)
        # As Twisted's, which would start the timer anew.
        LineReceiver.dataReceived(self, data)

    def lineReceived(self, line: bytes) -> None:
        if not self.ending:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002 Twisted's signature
        # As a head that is too big. Twisted ends the connection without an answer.
        self._respondToBadRequestAndDisconnect()

    def allHeadersReceived(self) -> None:
        self.received = 0
        if self.length is not None and self.length > BODY_LIMIT:
            self._refuse()
            return
        self.setTimeout(self.deadlines.body)
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if self.ending:
            return
        if self.length is None and not self._handlingRequest:
            self.received += len(data)
            if self.received > BODY_LIMIT:
                self._refuse()
                return
        super().rawDataReceived(data)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        if self.factory.server.drain or b"close" in headers.getRawHeaders(b"Connection", ()):
            headers.setRawHeaders(b"Connection", [b"close"])
            self.persistent = False
        super().writeHeaders(version, code, reason, headers)

    def requestDone(self, request: Any) -> None:
        self.idle = bool(self.persistent) and not self._dataBuffer
        self.unsent = unsent(self.transport)
        # What Twisted sets the timer to when it goes on with the connection.
        self._savedTimeOut = self.deadlines.idle if self.idle else self.deadlines.head
        if not self.persistent:
            self.setTimeout(self.deadlines.idle)
        super().requestDone(request)
        self.factory.moved()

    def timeoutConnection(self) -> None:
        """Cut it, unless it is the client that reads an answer slowly, and does read."""
        left = unsent(self.transport)
        if left and left < self.unsent:
            self.unsent = left
            self.setTimeout(self.deadlines.idle)
        elif left or self.ending:
            let_go(self.transport)
        else:
            self.loseConnection()

    def loseConnection(self) -> None:
        """End the connection in peace: an answer that was given before the end of the request, or that more
        requests followed, would be lost to the client if the system reset it.
        """
        if self.ending:
            return
        self.ending = True
        self._networkProducer.unregisterProducer()
        slow = unsent(self.transport)
        end_writing(self.transport)
        self.setTimeout(self.deadlines.idle if slow else self.deadlines.end)

    def _refuse(self) -> None:
        self.transport.write(TOO_LARGE)
        self.loseConnection()


class Request(WebRequest):  # type: ignore[misc]  # daphne ships no types
    """One request."""

    # The target, as Twisted reads it.
    uri: bytes

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Forms are Django's to read. Twisted would do it before, without Django's limits.
        self._parsePOSTFormSubmission = False

    def __repr__(self) -> str:
        # Twisted's has the query string, which may have secrets, and Daphne logs it.
        return f"<Request from {self.client_addr!r}>"

    def gotLength(self, _: int | None) -> None:
        # Twisted's goes to the disk; BODY_LIMIT bounds this.
        self.content = BytesIO()

    def process(self) -> Any:
        self.requestHeaders.removeHeader(ROOT_PATH)
        if not self._has_one_host() or not self._take_target():
            return self._refuse(400, "The request names no host, or no target, or two of them.")
        if self.method == b"CONNECT" or self.uri == b"*":
            self.setHeader(b"Allow", METHODS)
            return self._refuse(405, "The server itself takes no requests.")
        upgrade = self.requestHeaders.hasHeader(b"Upgrade")
        wait = self._wait() if upgrade else 0.0
        if wait:
            tally.connects_refused[Reason.RATE] += 1
            self.setHeader(b"Retry-After", str(math.ceil(wait)).encode())
            return self._refuse(429, "Too many connections from your address.")
        if upgrade and not self._can_be_upgraded():
            return self._refuse(400, "Not a WebSocket handshake.")
        channel = self.channel
        answered = super().process()
        if self.transport is None:
            # It was upgraded.
            channel.part()
        return answered

    def _refuse(self, status: int, reason: str) -> Any:
        """Answer without the application, whose door counts requests: the next one costs a connection."""
        self.setHeader(b"Connection", b"close")
        return self.basic_error(status, HTTPStatus(status).phrase.encode(), reason)

    def _has_one_host(self) -> bool:
        """HTTP/1.1 must say which host it means, HTTP/1.0 may, and nothing may say two (RFC 9112, section 3.2)."""
        hosts = self.requestHeaders.getRawHeaders(b"Host", ())
        if not hosts:
            return bool(self.clientproto == b"HTTP/1.0")
        return len(hosts) == 1 and HOST.fullmatch(hosts[0]) is not None

    def _take_target(self) -> bool:
        """Read the target, a path or a whole address. The host of an address counts, not the header."""
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

    def _can_be_upgraded(self) -> bool:
        """Is there nothing that Daphne would miss (HTTP/1.0: RFC 6455, section 4.1), or log a traceback of?"""
        protocols = self.requestHeaders.getRawHeaders(b"Sec-WebSocket-Protocol", ())
        return self.clientproto == b"HTTP/1.1" and all(value.isascii() for value in protocols)

    def _wait(self) -> float:
        """Seconds that a WebSocket's handshake has to wait, where it comes through a proxy of ours."""
        proxies = chat_settings().PROXIES
        peer = getattr(self.client, "host", "")
        if not proxies or not is_proxy(peer, proxies):
            return 0.0
        named = [value.decode("latin-1") for value in self.requestHeaders.getRawHeaders(b"X-Forwarded-For", ())]
        address = address_of(peer, named, proxies)
        return 0.0 if address == peer else of_this_loop(Limits).connect(address)


class Factory(HTTPFactory):  # type: ignore[misc]  # daphne ships no types
    """Makes a channel for each connection."""

    def __init__(self, server: Any, deadlines: Deadlines) -> None:
        super().__init__(server)
        self._deadlines = deadlines
        # The open connections that are HTTP's.
        self.channels: set[Channel] = set()

    def moved(self) -> None:
        """A request is not under way any more, or a connection gone."""
        if self.server.drain:
            self.server.drain.moved()

    def protocol(self) -> Any:
        channel = Channel()
        channel.deadlines = self._deadlines
        return http._GenericHTTPChannelProtocol(channel)

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol

    def acceptableProtocols(self) -> list[bytes]:
        # Never HTTP/2, even where its libraries are installed: the bounds above are not its.
        return [b"http/1.1"]
