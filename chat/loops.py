"""The objects of an event loop: built together, found again by their type, closed together.

Connections, timers and tasks can't outlive their loop, and loops come and go (each test has its own). So no module
holds such an object in a global. chat.runtime says what is built, in which order, and how it is connected.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

CANCEL_AGAIN = 1.0
"""Seconds until tasks that go on are cancelled again."""

Objects: TypeAlias = Mapping[type, Any]
"""A loop's objects by their type, oldest first. Each has an async method ``close``."""

_builders: list[Callable[[], Objects]] = []
_objects: dict[asyncio.AbstractEventLoop, dict[type, Any]] = {}


def add_builder(build: Callable[[], Objects]) -> None:
    """Have ``build`` called on each new loop, after earlier builders. Adding it again does nothing."""
    if build not in _builders:
        _builders.append(build)


def current(kind: type[T]) -> T:
    """The running loop's ``kind``. The first call on a loop builds all of the loop's objects."""
    loop = asyncio.get_running_loop()
    if loop not in _objects:
        install({kind: thing for build in _builders for kind, thing in build().items()})
    found: T = _objects[loop][kind]
    return found


def install(objects: Objects) -> None:
    """Make these the running loop's objects."""
    for dead in [loop for loop in _objects if loop.is_closed()]:
        del _objects[dead]
    _objects[asyncio.get_running_loop()] = dict(objects)


def all_loops(kind: type[T]) -> list[tuple[asyncio.AbstractEventLoop, T]]:
    """The ``kind`` of every living loop, for a thread outside of them (a view, the admin)."""
    return [
        (loop, objects[kind])
        for loop, objects in list(_objects.items())
        if kind in objects and not loop.is_closed()
    ]


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until all have ended.

    A cancellation may be lost: channels_redis can raise an AssertionError in its place. A loop that retries after
    errors of the layer then goes on.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN)
    # Read their errors, or asyncio reports them as never read.
    await asyncio.gather(*tasks, return_exceptions=True)


async def close_current() -> None:
    """Close the running loop's objects, youngest first. All are closed even if one fails."""
    async with AsyncExitStack() as stack:
        for thing in _objects.pop(asyncio.get_running_loop(), {}).values():
            stack.push_async_callback(thing.close)
