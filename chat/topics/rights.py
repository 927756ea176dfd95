"""Asks the project who may subscribe and publish: all questions of one turn in one call of a thread."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import Error

from chat import models
from chat.auth import Identity, accounts_of
from chat.log import read_or_busy
from chat.protocol import ErrorCode, Invalid, Permission
from chat.topics.declare import Topic
from chat.topics.events import Event

logger = logging.getLogger("chat.topics")


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of one user in one topic."""

    subscribe: bool
    may: tuple[Permission, ...] = ()
    # The topic's counter of rules, read before the question (models.Topic.rules).
    rules: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Wish:
    """A user's wish to publish an event in a topic; None: to remove a key."""

    identity: Identity
    topic: Topic
    event: Event | None

    def ask(self, user: Any) -> bool:
        return self.topic.may_publish(user, self.topic.key, self.event)


@dataclass(eq=False, slots=True)
class Question:
    identity: Identity
    ask: Callable[[Any], Any]
    answer: asyncio.Future[Any]


class RightsReader:
    """One per event loop."""

    def __init__(self) -> None:
        self._waiting: list[Question] = []
        self._task: asyncio.Task[None] | None = None

    async def rights(self, identity: Identity, topic: Topic) -> Rights:
        """Raises Invalid: busy without the database."""
        found: Rights | None = await self._answer(identity, partial(_rights, topic))
        return found or Rights(subscribe=False)

    async def allowed(self, wishes: Sequence["Wish"]) -> list[bool]:
        """The answers to several users' wishes to publish. Raises Invalid: busy without the database."""
        return await read_or_busy(partial(allowed, wishes))

    async def _answer(self, identity: Identity, ask: Callable[[Any], Any]) -> Any:
        question = Question(identity, ask, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._ask_all())
        return await question.answer

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                questions, self._waiting = self._waiting, []
                await self._ask(questions)
        finally:
            self._task = None

    async def _ask(self, questions: Sequence[Question]) -> None:
        try:
            answers = await read_or_busy(partial(_answers, [(one.identity, one.ask) for one in questions]))
        except Invalid as busy:
            answers = [busy] * len(questions)
        for question, answer in zip(questions, answers, strict=True):
            if question.answer.done():
                continue
            if isinstance(answer, Invalid):
                question.answer.set_exception(answer)
            else:
                question.answer.set_result(answer)

    async def close(self) -> None:
        if self._task:
            await self._task


def allowed(wishes: Sequence[Wish]) -> list[bool]:
    """May these users publish? On a thread that may use the ORM; one query for all users."""
    return [bool(answer) for answer in _answers([(wish.identity, wish.ask) for wish in wishes])]


def forbidden(topic: Topic) -> Invalid:
    """The refusal of an event that the user may not publish."""
    return Invalid(ErrorCode.FORBIDDEN, f"You may not publish this in {topic.name}.")


def _rights(topic: Topic, user: Any) -> Rights:
    rules = models.Topic.objects.filter(name=topic.name).values_list("rules", flat=True).first() or 0
    if not topic.may_subscribe(user, topic.key):
        return Rights(subscribe=False)
    may: list[Permission] = ["publish", "signal"] if topic.may_publish(user, topic.key, None) else []
    return Rights(subscribe=True, may=(*may, "present") if topic.presence else tuple(may), rules=rules)


def _answers(questions: Sequence[tuple[Identity, Callable[[Any], Any]]]) -> list[Any]:
    users = accounts_of(identity for identity, _ in questions)
    return [_one(ask, _user(users.get(identity.account))) for identity, ask in questions]


def _user(account: Any) -> Any:
    """Django's user; without an active account, the anonymous one."""
    return account if account is not None and account.is_active else AnonymousUser()


def _one(ask: Callable[[Any], Any], user: Any) -> Any:
    try:
        return ask(user)
    except Error:
        # The database is away. Nobody loses a right by that: the question is busy, and is asked again.
        raise
    except Exception:
        # A bug in the project's rule gives nobody a right.
        logger.exception("a topic's rule failed")
        return None
