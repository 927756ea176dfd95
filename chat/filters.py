"""Content filters: functions that get each text before it is saved.

    CHAT = {"FILTERS": ["chat.filters.no_links_from_guests", "mysite.chat.polite"]}

A filter is a plain function. It gets a ``Draft`` and returns the text to save, or raises ``Refused`` with a
sentence for the author. Filters are called in their order, on the event loop, so a filter must not wait for
anything. A filter that fails refuses the text, because no text may pass unchecked.
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
    """The text of a new message, or the new text of an edited one."""

    room: str
    username: str
    role: Role
    text: str


class Refused(Exception):  # noqa: N818 it names what happens
    """The text is not saved. The argument is a sentence for the author."""


Filter = Callable[[Draft], str]

_LINK = re.compile(r"\b(?:https?://|www\.)\S", re.IGNORECASE)


def no_links_from_guests(draft: Draft) -> str:
    """Refuse links from guests."""
    if draft.role == "guest" and _LINK.search(draft.text):
        raise Refused("Guests can't send links here: sign in first.")
    return draft.text


def filtered(draft: Draft) -> str:
    """The text after all filters. Raises Invalid: refused."""
    for name in chat_settings().FILTERS:
        draft = replace(draft, text=_apply(name, draft))
    return draft.text


def _apply(name: str, draft: Draft) -> str:
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
