"""Questions to every process: each answers for itself, and the one that asked collects the answers."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chat.hub.bus import Event

ANSWER_TIMEOUT = 1.0
"""Seconds that a process may take to answer. Then it is left out."""

Answer: TypeAlias = Callable[[Any], Any]
"""This process's answer to a question. Both are plain values: the channel layer carries them."""


@dataclass(eq=False, slots=True)
class PendingQuery:
    """A question that waits for answers."""

    expected: int
    found: list[Any] = field(default_factory=list)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


class ClusterQuery:
    """One per hub. ``publish`` publishes to all hubs; ``others`` is the number of other hubs.

    ``answers``: the topics that this process answers.
    """

    def __init__(
        self, publish: Callable[[Event], None], others: Callable[[], int], answers: Mapping[str, Answer]
    ) -> None:
        self._publish = publish
        self._others = others
        self._answers = answers
        self._pending: dict[str, PendingQuery] = {}

    async def ask(self, topic: str, question: Any) -> list[Any]:
        """The answers of all processes, ours first."""
        ours = self._answers[topic](question)
        others = self._others()
        if not others:
            return [ours]
        ticket, query = secrets.token_hex(8), PendingQuery(others)
        self._pending[ticket] = query
        self._publish(("ask", ticket, topic, question))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    await query.complete.wait()
        finally:
            del self._pending[ticket]
        return [ours, *query.found]

    def asked(self, ticket: str, topic: str, question: Any) -> None:
        """Another process asks. Our own questions are answered already."""
        if ticket not in self._pending and topic in self._answers:
            self._publish(("answer", ticket, self._answers[topic](question)))

    def answered(self, ticket: str, answer: Any) -> None:
        query = self._pending.get(ticket)
        if query:
            query.found.append(answer)
            if len(query.found) >= query.expected:
                query.complete.set()
