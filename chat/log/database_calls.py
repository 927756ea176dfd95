"""Calls on the database's threads; a database error becomes a "busy" reply to a command."""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.db import Error

from chat.database import run_read, run_write
from chat.log.writes import unavailable

T = TypeVar("T")

logger = logging.getLogger("chat.log")


async def read_or_busy(call: Callable[[], T]) -> T:
    """The result of ``call``, from a thread that reads. Raises Invalid (busy) for a database error."""
    try:
        return await run_read(call)
    except Error as error:
        logger.error("the database does not answer: %s", error)  # noqa: TRY400 no traceback: it is not ours
        raise unavailable() from None


async def write_or_busy(call: Callable[[], T]) -> T:
    """Like ``read_or_busy``, on the thread that writes: after all writes that were requested before."""
    try:
        return await run_write(call)
    except Error as error:
        logger.error("the database refuses a change: %s", error)  # noqa: TRY400 as above
        raise unavailable() from None
