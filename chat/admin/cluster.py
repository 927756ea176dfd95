"""Cluster queries of the admin: they reach every process.

A page is rendered on a worker thread, and the hub belongs to the event loop. So a query runs through that loop.
"""

import asyncio
from typing import Any

from chat.actions.snapshot import GUESTS
from chat.hub import Hub, cluster_query
from chat.loops import all_loops
from chat.runtime import ANSWERS


def ask(topic: str, question: Any) -> list[Any]:
    """The answers of all processes. Without a running event loop of the chat, only this process answers."""
    for loop, hub in all_loops(Hub):
        if loop.is_running() and loop is not asyncio._get_running_loop():  # noqa: SLF001 the documented one raises
            answers = asyncio.run_coroutine_threadsafe(hub.ask_all(topic, question), loop)
            return answers.result(2 * cluster_query.ANSWER_TIMEOUT)
    return [ANSWERS[topic](question)]


def guests_at(address: str, other_than: str = "") -> int:
    """The number of guests with an open socket from this address (for IPv6: from its network)."""
    guests = {person for answer in ask(GUESTS, address) for person in answer}
    return len(guests - {other_than})
