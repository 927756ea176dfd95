"""A filter that never ends: with it anybody can make a worker's event loop hang, by a word."""

from chat.filters import Draft

WORD = "stand still"


def stuck(draft: Draft) -> str:
    while draft.text == WORD:
        pass
    return draft.text
