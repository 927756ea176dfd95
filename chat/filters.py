"""What may be said: functions that see each text before it is kept.

    CHAT = {"FILTERS": ["chat.filters.no_links_from_guests", "mysite.chat.polite"]}

A filter is a plain function: it gets a ``Draft`` and returns the text to keep, or raises ``Refused`` with a
sentence for whoever wrote it. They are called in their order, on the event loop: a filter must not wait for
anything. One that fails refuses the text, for nothing may pass that was not looked at.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from django.utils.module_loading import import_string

from chat.conf import chat_settings
from chat.protocol import ErrorCode, Invalid, Role

logger = logging.getLogger("chat.filters")


@dataclass(frozen=True, slots=True)
class Draft:
    """A text that somebody wants to say, or to change a message to."""

    room: str
    username: str
    role: Role
    text: str


class Refused(Exception):  # noqa: N818 it names what happens
    """The text is not kept; the argument is a sentence for people."""


Filter = Callable[[Draft], str]

_LINK = re.compile(r"\b(?:https?://|www\.)\S", re.IGNORECASE)


def no_links_from_guests(draft: Draft) -> str:
    """Links are for people with an account."""
    if draft.role == "guest" and _LINK.search(draft.text):
        raise Refused("Guests can't send links here: sign in first.")
    return draft.text


def filtered(draft: Draft) -> str:
    """The text as the filters leave it. Raises Invalid (refused)."""
    for name in chat_settings().FILTERS:
        draft = replace(draft, text=_asked(name, draft))
    return draft.text


def _asked(name: str, draft: Draft) -> str:
    try:
        return _filter(name)(draft)
    except Refused as refusal:
        raise Invalid(ErrorCode.REFUSED, f"content: {refusal}", field="content") from None
    except Exception:
        logger.exception("the filter %s failed", name, extra={"room": draft.room})
        raise Invalid(ErrorCode.REFUSED, "content: it can't be checked now", field="content") from None


@cache
def _filter(name: str) -> Filter:
    found: Filter = import_string(name)
    return found
