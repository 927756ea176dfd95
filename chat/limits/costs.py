"""Costs of commands and requests in tokens: roughly the work for the server and for everybody in the room."""

from chat.protocol import (
    Command,
    Delete,
    Edit,
    GetEntries,
    GetHistory,
    Join,
    Leave,
    Ping,
    Post,
    Publish,
    React,
    Read,
    Search,
    SendSignal,
    SetPresence,
    Subscribe,
    Typing,
    Unsubscribe,
)

COST = 2.0
"""Cost of a command that COSTS does not list."""
INVALID_FRAME = 1.0
"""Cost of a frame that is not a valid command."""
COSTS: dict[type[Command], float] = {
    Post: 1,
    Edit: 1,
    Delete: 1,
    React: 1,
    Join: 1,
    Leave: 0.2,
    Typing: 0.2,
    Read: 0.1,
    Ping: 0.1,
    GetHistory: 2,
    Search: 5,
    Subscribe: 1,
    Unsubscribe: 0.2,
    Publish: 1,
    SendSignal: 0.5,
    SetPresence: 0.5,
    GetEntries: 2,
}
FILE = 0.5
"""Cost of a request for a static file or a probe. For requests, one token is a millisecond of CPU."""
PAGE = 10.0
"""Cost of a page."""
FORM = 20.0
"""Cost of a submitted form, or of any other request that is neither GET nor HEAD."""


def request_cost(method: str, *, cheap: bool) -> float:
    """The cost of a request. ``cheap``: it is answered without rendering a page."""
    if cheap:
        return FILE
    return PAGE if method in {"GET", "HEAD"} else FORM
