"""The JavaScript modules that a page's script imports, for its preload links."""

import re
from functools import cache
from pathlib import Path
from posixpath import dirname, join, normpath

from django.conf import settings

STATIC = Path(__file__).parents[1] / "static"
IMPORT = re.compile(r"""^(?:import|export)\s(?:[^"';]*?\sfrom\s*)?["'](\.{1,2}/[^"']+)["']""", re.MULTILINE)
"""An import or re-export of another module, by a relative path."""


def imported_by(script: str) -> tuple[str, ...]:
    """Names of all modules that a script imports, itself not among them, as ``{% static %}`` takes them.

    Without preload links a browser finds a module only after it has parsed the one that imports it: a round trip
    for each level. The files are read once per process; with DEBUG at each call, as they may have changed.
    """
    return walk(script) if settings.DEBUG else _walk_once(script)


def walk(script: str) -> tuple[str, ...]:
    found = {script: None}  # a dict keeps the order
    queue = [script]
    while queue:
        name = queue.pop(0)
        for path in IMPORT.findall((STATIC / name).read_text(encoding="utf-8")):
            module = normpath(join(dirname(name), path))
            if module not in found:
                found[module] = None
                queue.append(module)
    return tuple(found)[1:]


_walk_once = cache(walk)
