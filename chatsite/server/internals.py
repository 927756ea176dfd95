"""The names of Daphne, Autobahn and Twisted that the server uses and that those libraries do not promise to keep.

A renamed one fails in silence: the server sets an attribute that nobody reads, or defines a method that nobody
calls. A deadline or a ping would be gone without an error. So the import of the server compares this list with the
installed libraries, and raises ImportError where a name is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pkgutil import resolve_name
from types import CodeType, FunctionType


@dataclass(frozen=True, slots=True)
class Internal:
    """One name, each place that must have it, and what stops working without it.

    A place is ``module:Class``, which must have the attribute, or ``module:Class.method``, whose code must use it.
    """

    name: str
    places: tuple[str, ...]
    purpose: str


CHANNEL = "twisted.web.http:HTTPChannel"
REQUEST = "twisted.web.http:Request"
DESCRIPTOR = "twisted.internet.abstract:FileDescriptor"
WEBSOCKET = "autobahn.websocket.protocol:WebSocketProtocol"
ADAPTER = "autobahn.twisted.websocket:WebSocketAdapterProtocol"
FACTORY = "autobahn.websocket.protocol:WebSocketServerFactory"
SERVER = "daphne.server:Server"

USED = (
    # Twisted: an HTTP connection.
    Internal("_savedTimeOut", (f"{CHANNEL}.requestDone",), "the deadline of a kept-alive connection"),
    Internal("_dataBuffer", (f"{CHANNEL}.requestDone",), "the deadline of a pipelined request"),
    Internal("_handlingRequest", (f"{CHANNEL}.rawDataReceived",), "the limit on a chunked body"),
    Internal("_networkProducer", (f"{CHANNEL}.loseConnection",), "the orderly end of an HTTP connection"),
    Internal("_respondToBadRequestAndDisconnect", (CHANNEL,), "the answer to a head that is too big"),
    Internal("persistent", (f"{CHANNEL}.requestDone",), "the end of HTTP connections in a drain"),
    Internal("timeOut", (f"{CHANNEL}.connectionMade",), "the deadline of a first request"),
    Internal("_GenericHTTPChannelProtocol", ("twisted.web.http:",), "every limit on HTTP"),
    # Twisted: a request.
    Internal("_parsePOSTFormSubmission", (f"{REQUEST}.requestReceived",), "Django's limits on forms"),
    Internal("content", (f"{REQUEST}.requestReceived",), "bodies that stay off the disk"),
    # Twisted: bytes that wait to be sent.
    Internal("_tempDataBuffer", (f"{DESCRIPTOR}.write", f"{DESCRIPTOR}.doWrite"), "the order of frames"),
    Internal("_tempDataLen", (f"{DESCRIPTOR}.write", f"{DESCRIPTOR}.doWrite"), "the count of unsent bytes"),
    Internal("dataBuffer", (f"{DESCRIPTOR}.doWrite",), "the order of frames"),
    Internal("offset", (f"{DESCRIPTOR}.doWrite",), "the count of unsent bytes"),
    # Twisted: the clock of all timers.
    Internal("seconds", ("twisted.internet.base:ReactorBase.callLater",), "timers when the wall clock is set"),
    # Autobahn: the end of a WebSocket.
    Internal("_closeConnection", (ADAPTER, f"{WEBSOCKET}.dropConnection"), "the orderly end of a WebSocket"),
    Internal(
        "_fail_connection",
        (WEBSOCKET, f"{WEBSOCKET}._protocol_violation", f"{WEBSOCKET}._invalid_payload"),
        "the close code for a client's error",
    ),
    Internal("_protocol_violation", (WEBSOCKET,), "the refusal of invalid close codes"),
    Internal("_invalid_payload", (WEBSOCKET,), "the refusal of invalid close reasons"),
    Internal("failedByMe", (f"{WEBSOCKET}.onMessageFrameData",), "ignoring a client after its error"),
    Internal("wasClean", (f"{WEBSOCKET}._connectionLost",), "the close code that the application gets"),
    Internal("remoteCloseCode", (f"{WEBSOCKET}._connectionLost",), "the close code that the application gets"),
    Internal("remoteCloseReason", (f"{WEBSOCKET}._connectionLost",), "the reason that the application gets"),
    Internal("wasNotCleanReason", (f"{WEBSOCKET}._connectionLost",), "the reason of a failed connection"),
    Internal("closeHandshakeTimeoutCall", (f"{WEBSOCKET}.sendCloseFrame",), "the bound on a closing handshake"),
    # Autobahn: pings.
    Internal("_sendAutoPing", (WEBSOCKET, "daphne.ws_protocol:WebSocketProtocol.check_timeouts"), "pings"),
    Internal("_batched_timer", (f"{FACTORY}.__init__", f"{WEBSOCKET}._sendAutoPing"), "the deadline of a pong"),
    Internal("autoPingTimeoutCall", (f"{WEBSOCKET}._sendAutoPing",), "the deadline of a pong"),
    # Autobahn: frames that come in.
    Internal("_dataReceived", (WEBSOCKET, f"{ADAPTER}.dataReceived"), "reading from a WebSocket"),
    Internal("data", (f"{WEBSOCKET}._dataReceived", f"{WEBSOCKET}.processData"), "reading from a WebSocket"),
    Internal("current_frame", (f"{WEBSOCKET}.processData",), "the short way of text frames"),
    Internal("inside_message", (f"{WEBSOCKET}.processData",), "the short way of text frames"),
    Internal("message_data", (f"{WEBSOCKET}.onMessageFrame",), "messages in fragments"),
    Internal("message_is_binary", (f"{WEBSOCKET}.onMessageBegin",), "binary messages"),
    # Daphne: the factories that it makes, and what it keeps about a connection.
    Internal("http_factory", (f"{SERVER}.run",), "every limit on HTTP"),
    Internal("ws_factory", (f"{SERVER}.run",), "every limit on WebSockets"),
    Internal("application_instance", (f"{SERVER}.create_application",), "waiting for applications in a drain"),
)
"""Undocumented names that the server reads, sets, calls or overrides."""

OVERRIDDEN = {
    SERVER: "run create_application listen_success log_action stop kill_all_applications",
    "daphne.ws_protocol:WebSocketProtocol": "onConnect onOpen onClose onMessage check_timeouts handle_reply",
    WEBSOCKET: "onCloseFrame dropConnection onCloseHandshakeTimeout onPing onAutoPingTimeout consumeData "
    "onMessageBegin onMessageFrameBegin processControlFrame onMessageEnd",
    ADAPTER: "dataReceived",
    CHANNEL: "connectionMade connectionLost dataReceived lineReceived allHeadersReceived rawDataReceived "
    "writeHeaders requestDone timeoutConnection loseConnection",
    "twisted.protocols.basic:LineReceiver": "lineLengthExceeded",
    REQUEST: "gotLength",
    "daphne.http_protocol:WebRequest": "process",
    "daphne.http_protocol:HTTPFactory": "buildProtocol acceptableProtocols",
    "twisted.web.http:HTTPFactory": "protocol",
    "twisted.internet.protocol:Factory": "buildProtocol doStart doStop",
}
"""Documented methods that the server overrides, by the class that has them."""


def check() -> None:
    """Raise ImportError where a name is missing. Its message has a sentence for each."""
    missing = list(_missing())
    if missing:
        raise ImportError("\n".join([*missing, "Install the versions that requirements.txt has."]))


def _missing() -> Iterator[str]:
    for internal in USED:
        for place in internal.places:
            if not _has(place, internal.name):
                yield _sentence(place, internal.name, f"without it {internal.purpose} would stop working")
    for place, names in OVERRIDDEN.items():
        for name in names.split():
            if not _has(place, name):
                yield _sentence(place, name, "the method that replaces it would never be called")


def _has(place: str, name: str) -> bool:
    try:
        found = resolve_name(place)
    except (ImportError, AttributeError):
        return False
    return name in _names(found.__code__) if isinstance(found, FunctionType) else hasattr(found, name)


def _names(code: CodeType) -> Iterator[str]:
    """The attributes, globals and strings that the code uses, and those of the functions in it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _names(constant)


def _sentence(place: str, name: str, loss: str) -> str:
    library, where = place.partition(".")[0], place.strip(":").replace(":", ".")
    return f"{library} {version(library)} has no {name} in {where}: {loss}."
