"""Can this process serve? What it needs of others, asked within a bound."""

from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock, Thread
from time import monotonic

from django.db import Error, connections

from chat import loops, models
from chat.hub import Hub

PATIENCE = 2.0
"""Seconds within which the database must answer."""
FRESH = 1.0
"""Seconds for which an answer holds: anybody may ask, and each question is a new connection."""
GIVEN_UP = 30.0
"""Seconds after which a question without an answer is asked anew: it may be its connection only that is dead."""


class Question:
    """Does the database answer?

    It is asked on a thread that nobody has to wait for, not even the process's end: no timeout of a driver bounds
    what one waits for a database that is frozen. And with a connection of its own, as pages have: that a database
    is full, or that its name leads elsewhere, the chat's own lasting connections would not notice.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked = float("-inf")
        self._answer: Future[bool] = Future()
        self._answer.set_result(False)

    def is_answered(self) -> bool:
        with self._lock:
            age = monotonic() - self._asked
            if age > (FRESH if self._answer.done() else GIVEN_UP):
                self._ask()
            answer, deadline = self._answer, self._asked + PATIENCE
        try:
            return answer.result(max(0.0, deadline - monotonic()))
        except TimeoutError:
            return False

    def _ask(self) -> None:
        self._asked, self._answer = monotonic(), Future()
        Thread(target=_answer, args=[self._answer], name="chat-ready", daemon=True).start()


def _answer(answer: Future[bool]) -> None:
    try:
        # A table, for SQLite opens any file without a look at it.
        models.Room.objects.exists()
        answer.set_result(True)
    except Error:
        answer.set_result(False)
    finally:
        connections.close_all()


_database = Question()


@dataclass(frozen=True, slots=True)
class Readiness:
    database: bool
    layer: bool
    draining: bool


def readiness() -> Readiness:
    """How it is now. Before the first socket nobody has asked the layer: it counts as there."""
    hubs = [hub for _, hub in loops.everywhere(Hub)]
    return Readiness(
        database=_database.is_answered(),
        layer=not any(hub.is_alone for hub in hubs),
        draining=any(hub.draining for hub in hubs),
    )
