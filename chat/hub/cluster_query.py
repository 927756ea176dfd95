"""Questions to every process: each answers for itself, and who asked puts the answers together."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from chat.hub.bus import Event

PATIENCE = 1.0
"""Seconds that a process may take to answer; then it is left out."""

answers: dict[str, Callable[[Any], Any]] = {}
"""What this process says to a question, by its topic: plain values, for they travel by the layer."""


@dataclass(eq=False, slots=True)
class PendingQuery:
    """One question that was asked."""

    expected: int
    found: list[Any] = field(default_factory=list)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


class ClusterQuery:
    """One per hub. ``tell`` tells all hubs; ``others`` says how many there are beside ours."""

    def __init__(self, tell: Callable[[Event], None], others: Callable[[], int]) -> None:
        self._tell = tell
        self._others = others
        self._open: dict[str, PendingQuery] = {}

    async def ask(self, topic: str, question: Any) -> list[Any]:
        """What the processes answer, ours first."""
        ours = answers[topic](question)
        others = self._others()
        if not others:
            return [ours]
        ticket, survey = secrets.token_hex(8), PendingQuery(others)
        self._open[ticket] = survey
        self._tell(("ask", ticket, topic, question))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await survey.complete.wait()
        finally:
            del self._open[ticket]
        return [ours, *survey.found]

    def asked(self, ticket: str, topic: str, question: Any) -> None:
        """Somebody asks. Our own answer we have."""
        if ticket not in self._open and topic in answers:
            self._tell(("answer", ticket, answers[topic](question)))

    def answered(self, ticket: str, answer: Any) -> None:
        survey = self._open.get(ticket)
        if survey:
            survey.found.append(answer)
            if len(survey.found) >= survey.expected:
                survey.complete.set()
