"""The ORM from an event loop: on threads of our own, with connections that last.

Not on asgiref's one shared thread, where a slow query would freeze every consumer of the process (channels issue
2132). One thread writes, so that this process never waits for a lock of its own; a few read.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

READERS = 4
"""Threads that read, each with its connection."""

_readers = ThreadPoolExecutor(READERS, thread_name_prefix="chat-read")
_writer = ThreadPoolExecutor(1, thread_name_prefix="chat-write")
# The threads' connections: each thread sees its own only.
_opened: set[BaseDatabaseWrapper] = set()
_opening = Lock()


async def reading(call: Callable[[], T]) -> T:
    """What ``call`` returns, from a thread that may use the ORM. Raises what it raises."""
    return await asyncio.get_running_loop().run_in_executor(_readers, _with_connections, call)


async def writing(call: Callable[[], T]) -> T:
    """As ``reading``, on the one thread that writes: in the order of the calls."""
    return await asyncio.get_running_loop().run_in_executor(_writer, _with_connections, call)


def _with_connections(call: Callable[[], T]) -> T:
    try:
        return call()
    except Error:
        # Whatever is wrong with the connection, the next call gets a new one.
        for connection in connections.all(initialized_only=True):
            connection.close()
        raise
    finally:
        mine = set(connections.all(initialized_only=True)) - _opened
        if mine:
            with _opening:
                _opened.update(mine)


def close_connections() -> None:
    """Close the connections of all threads, while none of them works. The next calls open new ones."""
    with _opening:
        for connection in _opened:
            connection.inc_thread_sharing()
            connection.close()
            connection.dec_thread_sharing()
