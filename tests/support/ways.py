"""The way of an operation through our code: its calls on the event loop's thread and on the database's threads.

    .venv/bin/python -m pytest -s tests/unit/project/test_ways.py

Calls are counted, not timed. A coroutine that goes on after a wait is not called again.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import CodeType, FrameType

from chat.database import on_each_thread

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / package) + "/" for package in ("chat", "chatsite"))
AT_START = 0
"""The argument of the instruction RESUME at which a call begins; after a wait it has others (Python's ``dis``)."""
WAITING = ("on_each_thread", "_once")
"""Functions of chat.database that ``settled`` calls."""
TURNS = 50
"""Turns of the loop after which nothing is left to do that waits for nothing but a turn."""


class Way:
    """The calls of one operation."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()
        self._followed = True

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """For ``sys.setprofile``."""
        code = frame.f_code
        if (
            self._followed
            and event == "call"
            and code.co_filename.startswith(OURS)
            and code.co_code[frame.f_lasti + 1] & 3 == AT_START
            and not code.co_qualname.startswith(WAITING)
        ):
            self.calls[code] += 1

    def end(self) -> None:
        self._followed = False

    @property
    def files(self) -> list[str]:
        return sorted({str(Path(code.co_filename).relative_to(ROOT)) for code in self.calls})

    @property
    def functions(self) -> list[str]:
        """Each with its file and how often it was called."""
        named = [
            f"{Path(code.co_filename).relative_to(ROOT)}:{code.co_qualname} {calls}"
            for code, calls in self.calls.items()
        ]
        return sorted(named)

    def __str__(self) -> str:
        return f"{self.calls.total()} calls, {len(self.calls)} functions, {len(self.files)} files"


@contextmanager
def followed() -> Iterator[Way]:
    """Count the calls within, on this thread and on the database's threads."""
    way = Way()
    on_each_thread(partial(sys.setprofile, way.note))
    sys.setprofile(way.note)
    try:
        yield way
    finally:
        way.end()
        sys.setprofile(None)
        on_each_thread(partial(sys.setprofile, None))


async def settled() -> None:
    """Return when no thread of the database has work left, and nothing waits for a turn of the loop."""
    for _ in range(3):
        on_each_thread(lambda: None)
        for _ in range(TURNS):
            await asyncio.sleep(0)
