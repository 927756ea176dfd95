"""Async functions that call sync ones on a thread."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

P = ParamSpec("P")
T = TypeVar("T")


def in_thread(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The function's async twin. It runs where Django runs sync code: within a transaction of a sync caller."""
    call = sync_to_async(function)

    @wraps(function)
    async def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        return await call(*args, **kwargs)

    twin.__name__ = twin.__qualname__ = f"a{function.__name__}"
    twin.__doc__ = f"``{function.__name__}``, from async code."
    return twin
