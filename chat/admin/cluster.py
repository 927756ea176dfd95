"""Questions of the staff to every process, and how many guests come from an address, in all of them.

The page is made on a worker thread beside the loop that owns the hub, so it asks through that loop.
"""

import asyncio
from typing import Any

from chat.actions.snapshot import GUESTS
from chat.hub import Hub, cluster_query
from chat.loops import all_loops
from chat.runtime import ANSWERS


def ask(topic: str, question: Any) -> list[Any]:
    """The answer of every process. Without a running loop of ours there is no other process to ask."""
    for loop, hub in all_loops(Hub):
        if loop.is_running() and loop is not asyncio._get_running_loop():  # noqa: SLF001 the documented one raises
            asking = asyncio.run_coroutine_threadsafe(hub.ask_all(topic, question), loop)
            return asking.result(2 * cluster_query.ANSWER_TIMEOUT)
    return [ANSWERS[topic](question)]


def guests_at(address: str, other_than: str = "") -> int:
    """Guests with an open socket that comes from this address (of IPv6: from its network)."""
    found = {person for answer in ask(GUESTS, address) for person in answer}
    return len(found - {other_than})
