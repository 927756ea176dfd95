"""A filter that never ends: anybody can make a worker's event loop hang with one word."""

import time

from chat.filters import Draft

WORD = "stand still"


def stuck(draft: Draft) -> str:
    while draft.text == WORD:
        # Not a busy loop: it would take the CPU of the tests beside it.
        time.sleep(0.05)
    return draft.text
