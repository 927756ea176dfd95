"""A project's own rules on rooms: CHAT["AUTHORIZE"] of some tests."""

from typing import Any

from chat import models
from chat.access.authorize import Action

FORBIDDEN: set[tuple[str, str, Action]] = set()
"""The forbidden questions: the user's name ("" for guests), the room's slug, the action."""
ASKED: list[tuple[str, str, Action]] = []
"""All questions so far."""


def authorize(user: Any, room: models.Room, action: Action) -> bool:
    question = (user.get_username(), room.slug, action)
    ASKED.append(question)
    return question not in FORBIDDEN


def broken(user: Any, room: models.Room, action: Action) -> bool:
    raise ZeroDivisionError
