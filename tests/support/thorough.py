"""How much a run of the tests does: `make test` shows each promise; `make test-all` shows it at size, and more.

THOROUGH=1 in the environment makes it the second. A test that takes minutes by nature is marked ``thorough``: the
first leaves it out. A test that can do with less takes its sizes from here.
"""

import os
from typing import TypeVar

from hypothesis import settings

T = TypeVar("T")

THOROUGH = bool(os.environ.get("THOROUGH"))

# A busy machine is no fault of the code: no example has a time limit.
settings.register_profile("usual", deadline=None, max_examples=50)
# For tests that run a second time, on another database.
settings.register_profile("few", deadline=None, max_examples=15)
settings.register_profile("thorough", deadline=None, max_examples=400)
# A profile that the command line names is loaded later.
settings.load_profile("thorough" if THOROUGH else "usual")


def either(usual: T, thorough: T) -> T:
    """The value for `make test`, or the one for `make test-all`."""
    return thorough if THOROUGH else usual
