"""What each command costs, in tokens: about what it costs the server and everybody in the room."""

from chat.protocol import (
    Command,
    Delete,
    Edit,
    GetHistory,
    Join,
    Leave,
    Ping,
    Post,
    React,
    Read,
    Search,
    Typing,
)

COST = 2.0
"""Of a command that is not listed."""
INVALID_FRAME = 1.0
"""Of a frame that is no command."""
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
}


def cost_of(command: Command) -> float:
    return COSTS.get(type(command), COST)
