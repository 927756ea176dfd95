"""What belongs to an event loop: made on first use, found again from the same loop, closed with it.

Sockets, timers and tasks can't outlive their loop, and loops come and go (each test has its own), so nothing
of the kind is a module's global.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

T = TypeVar("T")

_kept: dict[asyncio.AbstractEventLoop, dict[type, Any]] = {}


def current(kind: type[T], make: Callable[[], T] | None = None) -> T:
    """The running loop's one ``kind``. Call it with ``make`` where ``kind()`` is not how one is made."""
    loop = asyncio.get_running_loop()
    if loop not in _kept:
        for dead in [known for known in _kept if known.is_closed()]:
            del _kept[dead]
        _kept[loop] = {}
    mine = _kept[loop]
    if kind not in mine:
        mine[kind] = (make or kind)()
    found: T = mine[kind]
    return found


def all_loops(kind: type[T]) -> list[tuple[asyncio.AbstractEventLoop, T]]:
    """Every living loop's ``kind``: for a thread that looks in from outside (the admin)."""
    return [(loop, mine[kind]) for loop, mine in list(_kept.items()) if kind in mine and not loop.is_closed()]


async def close_current() -> None:
    """Close what the running loop keeps, the youngest first. One that fails does not keep the others open."""
    async with AsyncExitStack() as stack:
        for thing in _kept.pop(asyncio.get_running_loop(), {}).values():
            stack.push_async_callback(thing.close)
